"""Receipts: valid for their own shop, session, items and time, and unforgeable without the key."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import contracts
from functions.platform.contract import RECOMMEND_K_MAX
from functions.platform.receipt import (
    LIFETIME_S,
    SKEW_MS,
    Assignment,
    EventTimes,
    Labels,
    Receipt,
    Verdict,
    issue,
    read,
)

RECEIPT_MAX_CHARACTERS = contracts.read("event.schema")["definitions"]["receipt"]["maxLength"]

KEY = b"k" * 64
NOW_S = 1_700_000_000
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=64)


def token(
    recommendation: str = "rec-1",
    shop: str = "demo",
    session: str = "s1",
    items: tuple[str, ...] = ("a", "b", "c"),
    key: bytes = KEY,
) -> str:
    return issue(recommendation, shop, session, "model-7", "all-traffic", items, NOW_S, key)


def at(event_after_ms: int, received_after_ms: int | None = None) -> EventTimes:
    """The times of an event, counted from the issue; it is received when it happens, or later."""
    received_ms = event_after_ms if received_after_ms is None else received_after_ms
    return EventTimes(NOW_S * 1000 + event_after_ms, NOW_S * 1000 + received_ms)


def receipt(**changes: Any) -> Receipt:
    found = read(token(**changes), [KEY])
    assert found is not None
    return found


@given(IDS, IDS, IDS, st.lists(IDS, unique=True, max_size=RECOMMEND_K_MAX))
def test_an_issued_receipt_is_read_back(
    recommendation: str, shop: str, session: str, items: list[str]
) -> None:
    issued = token(recommendation, shop, session, tuple(items))
    found = read(issued, [b"another key", KEY])
    assert found is not None
    assert found[:5] == (recommendation, shop, session, "model-7", "all-traffic")
    assert (found.issued_at_s, found.expires_at_s) == (NOW_S, NOW_S + LIFETIME_S)
    assert [found.slot_of(item) for item in items] == list(range(len(items)))
    assert len(issued) <= RECEIPT_MAX_CHARACTERS


@given(st.data())
def test_any_changed_character_makes_it_forged(data: st.DataObject) -> None:
    good = token()
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.characters().filter(lambda character: character != good[place]))
    assert read(good[:place] + other + good[place + 1 :], [KEY]) is None


def test_another_spelling_of_the_same_signature_is_forged() -> None:
    signed, _, signature = token().rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spelled = signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ 1]
    assert base64.urlsafe_b64decode(spelled + "=") == base64.urlsafe_b64decode(signature + "=")
    assert read(f"{signed}.{spelled}", [KEY]) is None


@given(st.binary(max_size=80).filter(lambda key: key != KEY))
def test_another_key_forges(key: bytes) -> None:
    assert read(token(key=key), [KEY]) is None


@given(st.text(max_size=100))
def test_any_other_text_is_forged(text: str) -> None:
    assert read(text, [KEY]) is None


@pytest.mark.parametrize("version", ["v0", "v1", "v3", "v", "", "V2"])
def test_another_version_is_forged(version: str) -> None:
    assert read(version + token().removeprefix("v2"), [KEY]) is None


def old_token(items: tuple[str, ...] = ("a", "b", "c"), key: bytes = KEY) -> str:
    """A receipt of version 1, with unkeyed digests."""
    fields = ["rec-1", "demo", "s1", "model-7", "all-traffic", NOW_S, NOW_S + LIFETIME_S]
    digests = b"".join(hashlib.sha256(item.encode()).digest()[:4] for item in items)
    payload = json.dumps(fields, separators=(",", ":")).encode() + b"\n" + digests
    signed = b"v1." + base64.urlsafe_b64encode(payload).rstrip(b"=")
    signature = base64.urlsafe_b64encode(hmac.digest(key, signed, "sha256")).rstrip(b"=")
    return (signed + b"." + signature).decode()


def test_a_receipt_from_before_the_keyed_digests_is_still_read() -> None:
    found = read(old_token(), [b"newer key", KEY])
    assert found is not None
    assert [found.slot_of(item) for item in ("a", "b", "c", "d")] == [0, 1, 2, None]
    assert found.judge("demo", "s1", "b", at(0)) is Verdict.VALID
    assert read("v2" + old_token().removeprefix("v1"), [KEY]) is None
    assert read(old_token(key=b"guessed"), [KEY]) is None


def test_an_id_that_was_searched_for_has_not_the_digest_of_a_recommended_one() -> None:
    """The audit's attack: 12,785,829 tries found an id whose four unkeyed bytes are those of one of 100 items."""
    items = tuple(f"item-{n}" for n in range(100))
    digests = {hashlib.sha256(item.encode()).digest()[:2] for item in items}
    # Two bytes instead of four: the search takes milliseconds, and the receipt's own bytes are whole.
    searched = [f"z{n}" for n in range(20_000) if hashlib.sha256(f"z{n}".encode()).digest()[:2] in digests]
    assert len(searched) > 10
    found = receipt(items=items)
    assert [found.slot_of(item) for item in searched] == [None] * len(searched)


def test_the_digests_of_an_item_differ_between_recommendations_and_keys() -> None:
    assert receipt().slots[0] != receipt(recommendation="rec-2").slots[0]
    other = read(token(key=b"another key"), [b"another key"])
    assert other is not None
    assert receipt().slots[0] != other.slots[0]
    assert {len(slot) for slot in receipt().slots} == {4}


def test_a_keyed_digest_takes_no_more_characters() -> None:
    assert len(token()) == len(old_token())


def test_a_receipt_carries_its_placement_and_one_without_stands_on_a_products_page() -> None:
    labelled = issue("rec-1", "demo", "s1", "m", "v", ["a"], NOW_S, KEY, Labels("cart"))
    found = read(labelled, [KEY])
    assert found is not None
    assert (found.placement, found.slot_of("a")) == ("cart", 0)
    old = read(old_token(), [KEY])
    assert old is not None
    assert (old.placement, receipt().placement) == ("product", "product")


ARM = Assignment("spring", "B", 5_000, "A")


def exposed(client: str = "c1", **changes: Any) -> Receipt:
    labels = Labels("cart", (ARM,), client)
    token_of_arm = issue("rec-1", "demo", "s1", "m", "none", changes.get("items", []), NOW_S, KEY, labels)
    found = read(token_of_arm, [KEY])
    assert found is not None
    return found


def test_a_receipt_of_an_empty_answer_carries_the_arms_of_its_client() -> None:
    found = exposed()
    assert (found.assignments, found.slots, found.placement) == ((ARM,), (), "cart")


@pytest.mark.parametrize(
    ("shop", "session", "client", "after_ms", "verdict"),
    [
        ("demo", "s1", "c1", 0, Verdict.VALID),
        ("demo", "s1", "c2", 0, Verdict.FOREIGN),
        ("demo", "s1", "", 0, Verdict.FOREIGN),
        ("demo", "s2", "c1", 0, Verdict.FOREIGN),
        ("other", "s1", "c1", 0, Verdict.FOREIGN),
        ("demo", "s1", "c1", LIFETIME_S * 1000 + 1, Verdict.EXPIRED),
    ],
)
def test_an_exposure_counts_for_the_client_of_the_answer_only(
    shop: str, session: str, client: str, after_ms: int, verdict: Verdict
) -> None:
    assert exposed().judge_exposure(shop, session, client, at(after_ms)) is verdict


def test_an_item_cannot_pass_for_the_client() -> None:
    found = exposed(items=["c1"])
    assert found.slots[0] != base64.urlsafe_b64decode(found.client_digest + "==")
    assert receipt().judge_exposure("demo", "s1", "c1", at(0)) is Verdict.FOREIGN


def test_the_longest_labels_fit_the_contract() -> None:
    longest = "\U0001f600" * 64
    arms = tuple(Assignment("x" * 32, "y" * 16, 10_000, "z" * 16) for _ in range(2))
    items = tuple(f"item-{n}" for n in range(RECOMMEND_K_MAX))
    labels = Labels("category", arms, "c" * 64, "r" * 12)
    issued = issue("r" * 36, longest, longest, "m" * 128, "v" * 63, items, NOW_S, KEY, labels)
    assert len(issued) <= RECEIPT_MAX_CHARACTERS


def test_a_receipt_carries_the_revision_of_the_rules() -> None:
    found = read(issue("rec-1", "demo", "s1", "m", "v", ["a"], NOW_S, KEY, Labels(rules="r1")), [KEY])
    assert found is not None
    assert (found.rules, found.placement, found.assignments) == ("r1", "product", ())


def test_without_labels_the_last_release_reads_a_receipt_too() -> None:
    """While a release is deployed, its /recommend signs for the collector of the last one."""
    payload = token().split(".")[1]
    fields, _, _ = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).partition(b"\n")
    assert len(json.loads(fields)) == 7


def test_without_keys_nothing_is_valid() -> None:
    assert read(token(), []) is None


def test_the_longest_recommendation_fits_the_contract() -> None:
    longest = "\U0001f600" * 64
    items = tuple(f"item-{n}" for n in range(RECOMMEND_K_MAX))
    assert (
        len(issue("r" * 36, longest, longest, "m" * 128, "v" * 63, items, NOW_S, KEY))
        <= RECEIPT_MAX_CHARACTERS
    )


@pytest.mark.parametrize(
    ("shop", "session", "item", "after_ms", "verdict"),
    [
        ("demo", "s1", "a", 0, Verdict.VALID),
        ("demo", "s1", "c", LIFETIME_S * 1000, Verdict.VALID),
        ("demo", "s1", "a", LIFETIME_S * 1000 + 1, Verdict.EXPIRED),
        ("demo", "s1", "a", -SKEW_MS, Verdict.VALID),
        ("demo", "s1", "a", -SKEW_MS - 1, Verdict.EXPIRED),
        ("other", "s1", "a", 0, Verdict.FOREIGN),
        ("demo", "s2", "a", 0, Verdict.FOREIGN),
        ("demo", "s1", "d", 0, Verdict.FOREIGN),
        ("demo", "s2", "a", LIFETIME_S * 1000 + 1, Verdict.FOREIGN),
    ],
)
def test_it_is_valid_for_its_shop_session_items_and_time(
    shop: str, session: str, item: str, after_ms: int, verdict: Verdict
) -> None:
    assert receipt().judge(shop, session, item, at(after_ms)) == verdict


QUEUE_MS = 3 * 24 * 3_600_000


@pytest.mark.parametrize(
    ("claimed_after_ms", "received_after_ms", "verdict"),
    [
        (60_000, LIFETIME_S * 1000 + QUEUE_MS, Verdict.VALID),
        (60_000, LIFETIME_S * 1000 + QUEUE_MS + 1, Verdict.LATE),
        (LIFETIME_S * 1000, LIFETIME_S * 1000 + QUEUE_MS, Verdict.VALID),
        # The audit's attack: issued 200 days ago, and claimed to have happened a minute later.
        (60_000, 200 * 86_400_000, Verdict.LATE),
        (LIFETIME_S * 1000 + 1, 200 * 86_400_000, Verdict.EXPIRED),
    ],
)
def test_an_event_that_arrives_after_every_queue_is_late_whatever_time_it_claims(
    claimed_after_ms: int, received_after_ms: int, verdict: Verdict
) -> None:
    assert receipt().judge("demo", "s1", "a", at(claimed_after_ms, received_after_ms)) is verdict


@given(st.integers(-(10**10), 10**10), st.integers(0, 10**11))
def test_no_claim_of_a_time_revives_a_receipt(claimed_after_ms: int, received_after_ms: int) -> None:
    verdict = receipt().judge("demo", "s1", "a", at(claimed_after_ms, received_after_ms))
    if received_after_ms > LIFETIME_S * 1000 + QUEUE_MS:
        assert verdict is not Verdict.VALID
