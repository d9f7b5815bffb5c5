"""Stamps: the verdicts on the receipts that an event brings back, stored in its field `server`.

Each distinct token is verified once. Tokens are removed from the event, because they are credentials of a session.
Only a token that could not be verified stays, in its stamp, for a replay.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from functions.platform.contract import PLACEMENT_DEFAULT
from functions.platform.events.event import Event
from functions.platform.receipt import EventTimes, Receipt, Verdict
from functions.platform.receipt_keys import ReceiptKeys

Stamp = dict[str, Any]


def take_receipts(event: Event) -> dict[str, list[str]]:
    """Remove the tokens from the event, and return the item ids of each. Items without a token use the event's."""
    token_of_event, event.receipt = event.receipt, UNSET
    item_ids: dict[str, list[str]] = {}
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
        for item_id in dict.fromkeys(item_ids):
            if receipt is None:
                stamp = by_verdict.setdefault(("", Verdict.FORGED), {"verdict": Verdict.FORGED, "items": []})
                stamp["items"].append({"item_id": item_id})
                continue
            verdict = receipt.judge(event.shop_id, event.session_id, item_id, times)
            stamp = by_verdict.setdefault(
                (token, verdict),
                {
                    "verdict": verdict,
                    "recommendation_id": receipt.recommendation_id,
                    "model_version": receipt.model_version,
                    "variant": receipt.variant,
                    "issued_at_ms": receipt.issued_at_s * 1000,
                    **_labels(receipt),
                    "items": [],
                },
            )
            stamp["items"].append({"item_id": item_id, "slot": receipt.slot_of(item_id)})
    return list(by_verdict.values())


def _labels(receipt: Receipt) -> Stamp:
    """Return the labels of a receipt that differ from their defaults."""
    return {} if receipt.placement == PLACEMENT_DEFAULT else {"placement": receipt.placement}


def restamp(archived: Iterable[Stamp], event: Event, times: EventTimes, keys: ReceiptKeys) -> list[Stamp]:
    """Return an archived event's stamps, and verify the unverified receipts once more."""
    kept, tokens = [], {}
    for stamp in archived:
        if stamp["verdict"] == Verdict.UNVERIFIED:
            tokens[stamp["receipt"]] = [item["item_id"] for item in stamp["items"]]
        else:
            kept.append(stamp)
    return kept + stamps(tokens, event, times, keys)
