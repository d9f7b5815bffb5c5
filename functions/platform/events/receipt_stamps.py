"""Stamps: the verdicts on the receipts that an event brings back, stored in its field `server`.

Each distinct token is verified once. Tokens are removed from the event, because they are credentials of a session.
Only a token that could not be verified stays, in its stamp, for a replay.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from functions.platform.contract import EXPOSURE_EVENT, PLACEMENT_DEFAULT
from functions.platform.events.event import Event
from functions.platform.receipt import EventTimes, Receipt, Verdict
from functions.platform.receipt_keys import ReceiptKeys

Stamp = dict[str, Any]


def take_receipts(event: Event) -> dict[str, list[str]]:
    """Remove the tokens from the event, and return the item ids of each. Items without a token use the event's.

    An exposure's token is for the whole answer, which may have no items: its list is empty.
    """
    token_of_event, event.receipt = event.receipt, UNSET
    item_ids: dict[str, list[str]] = {}
    if event.event_name == EXPOSURE_EVENT and token_of_event is not UNSET:
        item_ids[token_of_event] = []
    for item in () if event.items is UNSET else event.items:
        token = token_of_event if item.receipt is UNSET else item.receipt
        item.receipt = UNSET
        if token is not UNSET:
            item_ids.setdefault(token, []).append(item.item_id)
    return item_ids


def stamps(
    tokens: Mapping[str, Iterable[str]], event: Event, times: EventTimes, keys: ReceiptKeys
) -> list[Stamp]:
    """Return one stamp per receipt and verdict, with its items and their slots, counted from 0."""
    by_verdict: dict[tuple[str, Verdict], Stamp] = {}
    for token, item_ids in tokens.items():
        try:
            receipt = keys.read(token)
        except LookupError:
            by_verdict[token, Verdict.UNVERIFIED] = {
                "verdict": Verdict.UNVERIFIED,
                "receipt": token,
                "items": [{"item_id": item_id} for item_id in dict.fromkeys(item_ids)],
            }
            continue
        if event.event_name == EXPOSURE_EVENT:
            by_verdict[token, Verdict.VALID] = _exposure(receipt, event, times)
            continue
        for item_id in dict.fromkeys(item_ids):
            if receipt is None:
                stamp = by_verdict.setdefault(("", Verdict.FORGED), {"verdict": Verdict.FORGED, "items": []})
                stamp["items"].append({"item_id": item_id})
                continue
            verdict = receipt.judge(event.shop_id, event.session_id, item_id, times)
            stamp = by_verdict.setdefault(
                (token, verdict),
                {"verdict": verdict, **_answer_of(receipt), "items": []},
            )
            slot = receipt.slot_of(item_id)
            explored = {"explored": True} if slot in receipt.explored else {}
            stamp["items"].append({"item_id": item_id, "slot": slot, **explored})
    return list(by_verdict.values())


def _answer_of(receipt: Receipt) -> Stamp:
    """Return the facts of the receipt about its answer. The default placement is left out, and so are rules without effect."""
    return {
        "recommendation_id": receipt.recommendation_id,
        "model_version": receipt.model_version,
        "variant": receipt.variant,
        "issued_at_ms": receipt.issued_at_s * 1000,
        **({} if receipt.placement == PLACEMENT_DEFAULT else {"placement": receipt.placement}),
        **({"rules": receipt.rules} if receipt.rules else {}),
    }


def _exposure(receipt: Receipt | None, event: Event, times: EventTimes) -> Stamp:
    """Return the stamp of an exposure: the arms of its client, and the number of items of the answer."""
    if receipt is None:
        return {"verdict": Verdict.FORGED, "items": []}
    return {
        "verdict": receipt.judge_exposure(event.shop_id, event.session_id, event.client_id, times),
        **_answer_of(receipt),
        "slots": len(receipt.slots),
        "experiments": [one._asdict() for one in receipt.assignments],
        "items": [],
    }


def restamp(archived: Iterable[Stamp], event: Event, times: EventTimes, keys: ReceiptKeys) -> list[Stamp]:
    """Return an archived event's stamps, and verify the unverified receipts once more."""
    kept, tokens = [], {}
    for stamp in archived:
        if stamp["verdict"] == Verdict.UNVERIFIED:
            tokens[stamp["receipt"]] = [item["item_id"] for item in stamp["items"]]
        else:
            kept.append(stamp)
    return kept + stamps(tokens, event, times, keys)
