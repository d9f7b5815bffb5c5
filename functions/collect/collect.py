"""Collect: store a request's accepted events below raw/, and its refused ones below rejected/ with the reason."""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from functions.collect.origin import Origin
from functions.collect.pixel import parse_pixel
from functions.platform.contract import COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS, ID_MAX_CHARACTERS
from functions.platform.errors import Reason, RequestRefused
from functions.platform.events.batch import parse_batch
from functions.platform.events.contract import ServerField, Timing, accept, line
from functions.platform.events.intake import Intake
from functions.platform.events.masking import masked_body, masked_id, masked_json, masked_text
from functions.platform.events.receipt_stamps import stamps, take_receipts
from functions.platform.http import ApiRequest
from functions.platform.log import get_logger
from functions.platform.settings import CollectSettings

log = get_logger(__name__)

# A request may hold 500 values that are no events, such as numbers. Nothing could be replayed from them.
OTHERS_KEPT = 10
# A mail address has at most 254 characters, and each of them may be percent-encoded.
CUT_BYTES = 1024


@dataclass(frozen=True)
class Refusal:
    """A refused event, or the refused body as a whole if `index` is None."""

    index: int | None
    event_id: str | None
    reason: str
    message: str


class Collected(NamedTuple):
    """The number of accepted events of a request, and its refusals."""

    accepted: int
    refused: list[Refusal]

    def as_json(self) -> dict[str, Any]:
        """Return the body of the response."""
        return {"accepted": self.accepted, "refused": [asdict(refusal) for refusal in self.refused]}


class Arrival(NamedTuple):
    """The facts that all events of a request have in common."""

    shop_id: str
    timing: Timing
    source: str
    origin: Origin
    request_id: str


def collect_batch(
    request: ApiRequest, origin: Origin, intake: Intake, now_ms: int | None = None
) -> Collected:
    """Store the events of a POST /events body. A body without a valid key is neither read nor stored.

    Raises:
        RequestRefused: the key is wrong, or the whole body is unreadable; an unreadable body is stored in rejected/.
        StorageUnavailable: the events are not stored, and the client must send them again.
    """
    shop_id = _shop_of(request.query.get("key"), intake.settings)
    received_at_ms = now_ms or _now_ms()
    try:
        batch = parse_batch(request.body)
    except RequestRefused as refused:
        # A cut address is still an address, so the end is cut after masking.
        payload = request.body[: COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS + CUT_BYTES].decode(
            "utf-8", "replace"
        )
        payload = masked_body(payload)[:COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS]
        refusal = Refusal(None, None, refused.reason.value, refused.message)
        arrival = Arrival(shop_id, Timing(received_at_ms), "events", origin, request.request_id)
        _store_refused([(refusal, payload)], arrival, intake)
        raise
    timing = Timing(received_at_ms, batch.sent_at_ms)
    return _collect(batch.events, Arrival(shop_id, timing, "events", origin, request.request_id), intake)


def collect_pixel(
    request: ApiRequest, origin: Origin, intake: Intake, now_ms: int | None = None
) -> Collected:
    """Store the one event of a GET /pixel.gif query string.

    Raises:
        RequestRefused: the key is wrong.
        StorageUnavailable: the event is not stored.
    """
    shop_id = _shop_of(request.query.get("key"), intake.settings)
    received_at_ms = now_ms or _now_ms()
    event = parse_pixel(request.query, request.request_id, received_at_ms)
    arrival = Arrival(shop_id, Timing(received_at_ms), "pixel", origin, request.request_id)
    return _collect([event], arrival, intake)


def _shop_of(key: str | None, settings: CollectSettings) -> str:
    """Return the shop that the key belongs to."""
    shop_id = settings.shop_keys.get(key or "")
    if shop_id is None:
        problem = "is not known here" if key else "is missing"
        raise RequestRefused(
            Reason.WRONG_KEY, f"the shop's key {problem}: send ?key=... as the operator gave it"
        )
    return shop_id


def _collect(events: list[Any], arrival: Arrival, intake: Intake) -> Collected:
    lines: list[bytes] = []
    refused: list[tuple[Refusal, Any]] = []
    shops = frozenset({arrival.shop_id})
    server = ServerField(
        arrival.timing.received_at_ms,
        {"source": arrival.source, **arrival.origin._asdict(), "request_id": arrival.request_id},
    )
    for index, raw in enumerate(events):
        try:
            event, event_time_ms = accept(raw, shops, arrival.timing)
            tokens = take_receipts(event)
            receipts = stamps(tokens, event, event_time_ms, intake.receipt_keys) if tokens else None
            lines.append(line(event, server.encode(event_time_ms, receipts), intake.pseudonym))
        except RequestRefused as refusal:
            event_id = raw.get("event_id") if isinstance(raw, dict) else None
            shown_id = event_id[:ID_MAX_CHARACTERS] if isinstance(event_id, str) else None
            refused.append((Refusal(index, shown_id, refusal.reason.value, refusal.message), raw))
    if lines:
        intake.store(lines)
    if refused:
        _store_refused(refused, arrival, intake)
    log.info("events collected", source=arrival.source, accepted=len(lines), refused=len(refused))
    return Collected(len(lines), [refusal for refusal, _ in refused])


def _store_refused(refused: list[tuple[Refusal, Any]], arrival: Arrival, intake: Intake) -> None:
    lines = []
    others = 0
    for refusal, payload in refused:
        if refusal.index is not None and not isinstance(payload, dict):
            others += 1
            if others > OTHERS_KEPT:
                continue
        if refusal.index is not None:
            payload = masked_json(payload, intake.pseudonym)
        event_id = refusal.event_id
        record = {
            **asdict(refusal),
            "event_id": event_id and masked_id(event_id, intake.pseudonym),
            "message": masked_text(refusal.message),
            "payload": json.dumps(payload, ensure_ascii=False)[:COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS],
            "sender": arrival.shop_id,
            "source": arrival.source,
            "request_id": arrival.request_id,
            # A replay needs both times and the origin to restore the event as it would have been stored.
            "received_at_ms": arrival.timing.received_at_ms,
            "sent_at_ms": arrival.timing.sent_at_ms,
            **arrival.origin._asdict(),
        }
        lines.append(_encoded(record) + b"\n")
    if others > OTHERS_KEPT:
        log.warning("refused values not kept", not_kept=others - OTHERS_KEPT)
    intake.store_rejected(lines)


def _encoded(record: dict[str, Any]) -> bytes:
    """Return JSON in UTF-8. Escapes would make text of other scripts six times as long, and a second time as a payload."""
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(record, separators=(",", ":")).encode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
