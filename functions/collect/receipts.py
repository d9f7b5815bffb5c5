"""Receipts that events bring back: each distinct one is read once, and what it says of which items goes into `server`.

The tokens themselves are taken off: they are credentials of a session. Only one that could not be verified stays, in its
stamp, for a replay.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from functions.receipt import Verdict
from functions.receipt_keys import ReceiptKeys

Stamp = dict[str, Any]


def take_receipts(event: dict[str, Any]) -> dict[str, list[str]]:
    """The ids of the items that came with each token; an item without its own comes with the event's."""
    of_event = event.pop("receipt", None)
    taken: dict[str, list[str]] = {}
    for item in event.get("items", ()):
        token = item.pop("receipt", of_event)
        if token is not None:
            taken.setdefault(token, []).append(item["item_id"])
    return taken


def stamps(
    taken: Mapping[str, Iterable[str]], event: Mapping[str, Any], event_time_ms: int, keys: ReceiptKeys
) -> list[Stamp]:
    """A stamp for every receipt and verdict, with its items and their slots, from 0."""
    made: dict[tuple[str, Verdict], Stamp] = {}
    for token, item_ids in taken.items():
        try:
            receipt = keys.read(token)
        except LookupError:
            made[token, Verdict.UNVERIFIED] = {
                "verdict": Verdict.UNVERIFIED,
                "receipt": token,
                "items": [{"item_id": item_id} for item_id in dict.fromkeys(item_ids)],
            }
            continue
        for item_id in dict.fromkeys(item_ids):
            if receipt is None:
                stamp = made.setdefault(("", Verdict.FORGED), {"verdict": Verdict.FORGED, "items": []})
                stamp["items"].append({"item_id": item_id})
                continue
            verdict = receipt.judge(event["shop_id"], event["session_id"], item_id, event_time_ms)
            stamp = made.setdefault(
                (token, verdict),
                {
                    "verdict": verdict,
                    "recommendation_id": receipt.recommendation_id,
                    "model_version": receipt.model_version,
                    "variant": receipt.variant,
                    "issued_at_ms": receipt.issued_at_s * 1000,
                    "items": [],
                },
            )
            stamp["items"].append({"item_id": item_id, "slot": receipt.slot_of(item_id)})
    return list(made.values())


def stamps_again(
    before: Iterable[Stamp], event: Mapping[str, Any], event_time_ms: int, keys: ReceiptKeys
) -> list[Stamp]:
    """An archived event's stamps, with another try for what could not be verified."""
    kept, taken = [], {}
    for stamp in before:
        if stamp["verdict"] == Verdict.UNVERIFIED:
            taken[stamp["receipt"]] = [item["item_id"] for item in stamp["items"]]
        else:
            kept.append(stamp)
    return kept + stamps(taken, event, event_time_ms, keys)
