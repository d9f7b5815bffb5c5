"""Receipts: valid for their own shop, session, items and time, and unforgeable without the key."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

import contracts
from functions.platform.contract import RECOMMEND_K_MAX
from functions.platform.receipt import (
    LIFETIME_S,
    SKEW_MS,
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


def receipt(**changes: str) -> Receipt:
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


@pytest.mark.parametrize("version", ["v0", "v2", "v", "", "V1"])
def test_an_unknown_version_is_forged(version: str) -> None:
    assert read(version + token().removeprefix("v1"), [KEY]) is None


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
    assert receipt().judge(shop, session, item, NOW_S * 1000 + after_ms) == verdict
