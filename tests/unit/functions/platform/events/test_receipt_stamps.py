"""The stamps of the receipts that an event brings back."""

from typing import Any

import pytest

import contracts
from functions.platform.events.contract import Timing, accept
from functions.platform.events.receipt_stamps import restamp
from functions.platform.receipt import LIFETIME_S, Assignment, EventTimes, Labels, issue
from functions.platform.receipt_keys import ReceiptKeys
from testing.fakes import FakeFirehose, FakeSecrets
from tests.unit.functions.collect.test_collect import NOW_MS, event, send

RECEIPT_MAX_CHARACTERS = contracts.read("event.schema")["definitions"]["receipt"]["maxLength"]

ISSUED_S = NOW_MS // 1000 - 60


def token(
    recommendation: str = "rec-1",
    session: str = "s1",
    items: tuple[str, ...] = ("a", "b", "c"),
    issued_at_s: int = ISSUED_S,
    key: str = "key-1",
) -> str:
    return issue(recommendation, "demo", session, "m1", "v1", items, issued_at_s, key.encode())


def stored(sent: dict[str, Any]) -> dict[str, Any]:
    firehose = FakeFirehose()
    assert send([sent], firehose).refused == []
    [line] = firehose.lines("events")
    return line


def provenance(recommendation: str = "rec-1") -> dict[str, Any]:
    return {
        "recommendation_id": recommendation,
        "model_version": "m1",
        "variant": "v1",
        "issued_at_ms": ISSUED_S * 1000,
    }


def test_an_event_s_receipt_applies_to_each_of_its_items() -> None:
    line = stored(
        event(
            event_name="recommendation_impression",
            items=[{"item_id": "b"}, {"item_id": "c"}],
            receipt=token(),
        )
    )
    seen = [{"item_id": "b", "slot": 1}, {"item_id": "c", "slot": 2}]
    assert line["server"]["receipts"] == [{"verdict": "valid", **provenance(), "items": seen}]


def test_a_stamp_has_the_placement_that_is_not_the_default() -> None:
    labelled = issue("rec-1", "demo", "s1", "m1", "v1", ["b"], ISSUED_S, b"key-1", Labels("cart"))
    [stamp] = stored(event(items=[{"item_id": "b"}], receipt=labelled))["server"]["receipts"]
    assert stamp == {
        "verdict": "valid",
        **provenance(),
        "placement": "cart",
        "items": [{"item_id": "b", "slot": 0}],
    }


ARM = Assignment("spring", "B", 5_000, "A")


def exposure(client: str = "c1", **more: Any) -> dict[str, Any]:
    issued = issue(
        "rec-1", "demo", "s1", "m1", "none", [], ISSUED_S, b"key-1", Labels("cart", (ARM,), client)
    )
    return event(event_name="recommendation_exposure", **{"items": [], "receipt": issued, **more})


def test_an_exposure_without_items_gets_a_stamp_with_its_arms() -> None:
    line = stored(exposure(client=event()["client_id"]))
    assert "receipt" not in line
    assert line["server"]["receipts"] == [
        {
            "verdict": "valid",
            **provenance(),
            "variant": "none",
            "placement": "cart",
            "slots": 0,
            "experiments": [{"experiment": "spring", "arm": "B", "share": 5_000, "control": "A"}],
            "items": [],
        }
    ]


def test_an_exposure_of_an_invented_client_is_foreign_and_a_forged_one_has_no_arms() -> None:
    [stamp] = stored(exposure(client="another"))["server"]["receipts"]
    assert stamp["verdict"] == "foreign"
    [stamp] = stored(exposure(receipt=token(key="guessed")))["server"]["receipts"]
    assert stamp == {"verdict": "forged", "items": []}


def test_an_exposure_that_could_not_be_verified_is_verified_by_a_replay() -> None:
    secrets = FakeSecrets()
    keys = ReceiptKeys("receipts", lambda: secrets)
    secrets.down = True
    firehose = FakeFirehose()
    sent = exposure(client=event()["client_id"])
    send([sent], firehose, receipt_keys=keys)
    [line] = firehose.lines("events")
    [waiting] = line["server"]["receipts"]
    assert waiting == {"verdict": "unverified", "receipt": sent["receipt"], "items": []}
    archived, _ = accept(line, frozenset({"demo"}), Timing(NOW_MS))
    times = EventTimes(NOW_MS, NOW_MS)
    [stamp] = restamp([waiting], archived, times, ReceiptKeys("receipts", FakeSecrets))
    assert (stamp["verdict"], stamp["experiments"][0]["arm"]) == ("valid", "B")


def test_items_use_their_own_receipts() -> None:
    items = [
        {"item_id": "a", "receipt": token()},
        {"item_id": "x", "price": 3},
        {"item_id": "b", "receipt": token("rec-2")},
    ]
    line = stored(event(event_name="purchase", items=items))
    assert line["server"]["receipts"] == [
        {"verdict": "valid", **provenance(), "items": [{"item_id": "a", "slot": 0}]},
        {"verdict": "valid", **provenance("rec-2"), "items": [{"item_id": "b", "slot": 1}]},
    ]
    assert line["items"] == [{"item_id": "a"}, {"item_id": "x", "price": 3}, {"item_id": "b"}]


def test_no_token_of_a_session_is_stored() -> None:
    line = stored(event(items=[{"item_id": "a", "receipt": token()}], receipt=token("rec-2")))
    assert "receipt" not in line
    assert token() not in str(line)


@pytest.mark.parametrize(
    ("receipt", "item", "verdict"),
    [
        (token(), "a", "valid"),
        (token(), "z", "foreign"),
        (token(session="s2"), "a", "foreign"),
        (token(issued_at_s=ISSUED_S - LIFETIME_S), "a", "expired"),
        (token(issued_at_s=ISSUED_S + 3600), "a", "expired"),
        (token(key="guessed"), "a", "forged"),
        ("nonsense", "a", "forged"),
        ("", "a", "forged"),
    ],
)
def test_a_bad_receipt_refuses_no_event_and_gets_its_verdict(receipt: str, item: str, verdict: str) -> None:
    [stamp] = stored(event(items=[{"item_id": item}], receipt=receipt))["server"]["receipts"]
    assert stamp["verdict"] == verdict


def test_a_receipt_is_judged_by_the_corrected_event_time() -> None:
    two_days_ms = 2 * LIFETIME_S * 1000
    slow = event(client_time_ms=NOW_MS - 1000 - two_days_ms, items=[{"item_id": "a"}], receipt=token())
    firehose = FakeFirehose()
    send([slow], firehose, sent_at_ms=NOW_MS - two_days_ms)
    assert firehose.lines("events")[0]["server"]["receipts"][0]["verdict"] == "valid"
    assert stored(slow)["server"]["receipts"][0]["verdict"] == "expired"


def test_a_backdated_purchase_with_an_old_receipt_is_late() -> None:
    """The audit's attack: five orders of 1e15 each, with a receipt of 200 days ago."""
    issued_at_s = ISSUED_S - 200 * LIFETIME_S
    bought = {"item_id": "a", "price": 1e9, "quantity": 10**6}
    orders = [
        event(
            event_id=f"e{n}",
            event_name="purchase",
            transaction_id=f"invented-{n}",
            client_time_ms=issued_at_s * 1000 + 60_000,
            items=[bought],
            receipt=token(issued_at_s=issued_at_s),
        )
        for n in range(5)
    ]
    page, back_end = FakeFirehose(), FakeFirehose()
    assert [one.reason for one in send(orders, page).refused] == ["event_too_old"] * 5
    assert send(orders, back_end, trusted_shop="demo").accepted == 5
    verdicts = [line["server"]["receipts"][0]["verdict"] for line in back_end.lines("events")]
    assert verdicts == ["late"] * 5


def test_the_stamp_of_a_forged_receipt_has_none_of_its_content() -> None:
    [stamp] = stored(event(items=[{"item_id": "a"}], receipt=token(key="guessed")))["server"]["receipts"]
    assert stamp == {"verdict": "forged", "items": [{"item_id": "a"}]}


def test_without_a_key_the_token_stays_in_its_stamp() -> None:
    secrets = FakeSecrets()
    secrets.down = True
    firehose = FakeFirehose()
    keys = ReceiptKeys("receipts", lambda: secrets)
    send([event(items=[{"item_id": "a"}, {"item_id": "b"}], receipt=token())], firehose, receipt_keys=keys)
    [line] = firehose.lines("events")
    waiting = {"verdict": "unverified", "receipt": token(), "items": [{"item_id": "a"}, {"item_id": "b"}]}
    assert line["server"]["receipts"] == [waiting]
    assert "receipt" not in line


def test_events_without_receipts_read_no_key_and_get_no_stamp() -> None:
    secrets = FakeSecrets()
    firehose = FakeFirehose()
    keys = ReceiptKeys("receipts", lambda: secrets)
    send(
        [event(), event(event_id="e2", items=[]), event(event_id="e3", receipt=token(), items=[])],
        firehose,
        receipt_keys=keys,
    )
    assert secrets.calls == 0
    assert not any("receipts" in line["server"] for line in firehose.lines("events"))


def test_a_cart_full_of_receipts_is_not_too_large() -> None:
    items = [
        {"item_id": f"i{n}", "receipt": "x" * (RECEIPT_MAX_CHARACTERS - 3) + f"{n:03}"} for n in range(200)
    ]
    line = stored(event(event_name="purchase", items=items))
    assert line["server"]["receipts"] == [
        {"verdict": "forged", "items": [{"item_id": f"i{n}"} for n in range(200)]}
    ]


def test_half_a_surrogate_pair_in_a_receipt_is_forged() -> None:
    assert stored(event(receipt="\ud800"))["server"]["receipts"][0]["verdict"] == "forged"
    secrets = FakeSecrets()
    secrets.down = True
    assert ReceiptKeys("receipts", lambda: secrets).read("\ud800") is None
