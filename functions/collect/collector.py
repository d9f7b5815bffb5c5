"""Collect: a request's events to `raw/`, what is refused to `rejected/` with its reason."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from functions.collect.contract import Server, Timing, accept, line
from functions.collect.delivery import deliver
from functions.collect.origin import Origin
from functions.collect.receipts import stamps, take_receipts
from functions.collect.request import parse_batch, parse_pixel
from functions.errors import Reason, RequestRefused
from functions.log import get_logger
from functions.receipt_keys import ReceiptKeys
from functions.settings import CollectSettings

log = get_logger(__name__)

# A frame that draws no pixel, hence transparent. Every byte is below 0x80, so it passes API Gateway as text for every
# Accept header there is; as a binary body it would need a media type that matches the first one a browser names.
GIF = base64.b64decode("R0lGODlhAQABAAAAACwAAAAAAQABAAACASwAOw==").decode("ascii")
RAW_PREFIX = "raw/"
REJECTED_PREFIX = "rejected/"
REFUSED_PAYLOAD_MAX_CHARACTERS = 65_536


@dataclass(frozen=True)
class Refusal:
    """An event that was not taken, or the whole body when `index` is None."""

    index: int | None
    event_id: str | None
    reason: str
    message: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Collected(NamedTuple):
    """What became of a request."""

    accepted: int
    refused: list[Refusal]

    def as_json(self) -> dict[str, Any]:
        return {"accepted": self.accepted, "refused": [refusal.as_json() for refusal in self.refused]}


class Storage(NamedTuple):
    """The clients that a collector writes through."""

    firehose: Any
    s3: Any


def collect_batch(
    body: bytes,
    key: str | None,
    origin: Origin,
    request_id: str,
    settings: CollectSettings,
    storage: Storage,
    receipt_keys: ReceiptKeys,
    now_ms: int | None = None,
) -> Collected:
    """Takes the events of a POST /events body.

    Args:
        key: the sender's; a body that comes without a right one is not even read, and not kept.

    Raises:
        RequestRefused: the key is wrong, or nothing of the body could be read; then it is kept in `rejected/`.
        StorageUnavailable: the events are not stored, the client must send them again.
    """
    shop = _shop_of(key, settings)
    received_at_ms = now_ms or _now_ms()
    try:
        batch = parse_batch(body)
    except RequestRefused as refusal:
        text = body[:REFUSED_PAYLOAD_MAX_CHARACTERS].decode("utf-8", "replace")
        whole = Refusal(None, None, refusal.reason.value, refusal.message)
        timing = Timing(received_at_ms)
        _keep_refused([(whole, text)], shop, timing, "events", origin, request_id, settings, storage)
        raise
    timing = Timing(received_at_ms, batch.sent_at_ms)
    return _collect(batch.events, shop, timing, "events", origin, request_id, settings, storage, receipt_keys)


def collect_pixel(
    query: Mapping[str, str],
    origin: Origin,
    request_id: str,
    settings: CollectSettings,
    storage: Storage,
    receipt_keys: ReceiptKeys,
    now_ms: int | None = None,
) -> Collected:
    """Takes the one event of a GET /pixel.gif query string, where `key` stands beside it.

    Raises:
        RequestRefused: the key is wrong.
        StorageUnavailable: the event is not stored.
    """
    shop = _shop_of(query.get("key"), settings)
    received_at_ms = now_ms or _now_ms()
    event = parse_pixel(query, request_id, received_at_ms)
    return _collect(
        [event], shop, Timing(received_at_ms), "pixel", origin, request_id, settings, storage, receipt_keys
    )


def _shop_of(key: str | None, settings: CollectSettings) -> str:
    """The shop that a request speaks for."""
    shop = settings.keys.get(key or "")
    if shop is None:
        told = "is not known here" if key else "is missing"
        raise RequestRefused(
            Reason.WRONG_KEY, f"the shop's key {told}: send ?key=... as the operator gave it"
        )
    return shop


def _collect(
    events: list[Any],
    shop: str,
    timing: Timing,
    source: str,
    origin: Origin,
    request_id: str,
    settings: CollectSettings,
    storage: Storage,
    receipt_keys: ReceiptKeys,
) -> Collected:
    lines: list[bytes] = []
    refused: list[tuple[Refusal, Any]] = []
    shops = frozenset({shop})
    server = Server(timing.received_at_ms, {"source": source, **origin._asdict(), "request_id": request_id})
    for index, event in enumerate(events):
        try:
            kept = accept(event, shops, timing)
            event_time_ms = kept.pop("event_time_ms")
            taken = take_receipts(kept)
            receipts = stamps(taken, kept, event_time_ms, receipt_keys) if taken else None
            lines.append(line(kept, server.of(event_time_ms, receipts)))
        except RequestRefused as refusal:
            event_id = event.get("event_id") if isinstance(event, dict) else None
            shown_id = event_id[:64] if isinstance(event_id, str) else None
            refused.append((Refusal(index, shown_id, refusal.reason.value, refusal.message), event))
    if lines:
        deliver(
            lines, settings.events_stream, RAW_PREFIX, settings.events_bucket, storage.firehose, storage.s3
        )
    if refused:
        _keep_refused(refused, shop, timing, source, origin, request_id, settings, storage)
    log.info("events collected", source=source, accepted=len(lines), refused=len(refused))
    return Collected(len(lines), [refusal for refusal, _ in refused])


def _keep_refused(
    refused: list[tuple[Refusal, Any]],
    shop: str,
    timing: Timing,
    source: str,
    origin: Origin,
    request_id: str,
    settings: CollectSettings,
    storage: Storage,
) -> None:
    lines = []
    for refusal, payload in refused:
        record = {
            **refusal.as_json(),
            "payload": json.dumps(payload)[:REFUSED_PAYLOAD_MAX_CHARACTERS],
            "sender": shop,
            "source": source,
            "request_id": request_id,
            # With these a replay makes the event what it would have been.
            "received_at_ms": timing.received_at_ms,
            "sent_at_ms": timing.sent_at_ms,
            **origin._asdict(),
        }
        lines.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
    deliver(
        lines, settings.rejected_stream, REJECTED_PREFIX, settings.events_bucket, storage.firehose, storage.s3
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
