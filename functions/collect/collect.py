"""Collect: store a request's accepted events below raw/, and its refused ones below rejected/ with the reason."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from functions.collect.origin import Origin
from functions.collect.pixel import parse_pixel
from functions.platform.contract import (
    COLLECT_PAGE_AGE_MAX_MS,
    COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS,
    ID_MAX_CHARACTERS,
)
from functions.platform.errors import Reason, RequestRefused
from functions.platform.events.batch import parse_batch
from functions.platform.events.clock import set_back_ms
from functions.platform.events.contract import ServerField, Timing, accept, line
from functions.platform.events.intake import Intake
from functions.platform.events.masking import masked_body, masked_id, masked_json, masked_text
from functions.platform.events.receipt_stamps import Stamp, stamps, take_receipts
from functions.platform.http import ApiRequest
from functions.platform.log import get_logger
from functions.platform.metrics import ComparedRelease
from functions.platform.receipt import EventTimes, Verdict
from functions.platform.settings import CollectSettings

log = get_logger(__name__)

CLICK_EVENT = "recommendation_click"
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
    """The number of accepted events of a request, its refusals, and the time of its receipt.

    `clicks` counts the clicks on items of the two releases of the shop's canary.
    """

    accepted: int
    refused: list[Refusal]
    received_at_ms: int
    clicks: Mapping[ComparedRelease, int] = MappingProxyType({})
    shop_id: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the body of the response. By `received_at_ms`, a client measures the error of its clock."""
        return {
            "accepted": self.accepted,
            "refused": [asdict(refusal) for refusal in self.refused],
            "received_at_ms": self.received_at_ms,
        }


class Arrival(NamedTuple):
    """The facts that all events of a request have in common."""

    shop_id: str
    timing: Timing
    source: str
    origin: Origin
    request_id: str
    # The shop's secret key came with the request: its back end sent it, not a page.
    is_trusted: bool = False

    def stamps(self) -> dict[str, Any]:
        """Return what the origin and the key add to each line."""
        trust = {"trusted": True} if self.is_trusted else {}
        return {**self.origin._asdict(), **trust}


def collect_batch(
    request: ApiRequest,
    origin: Origin,
    intake: Intake,
    now_ms: int | None = None,
    trusted_shop: str | None = None,
) -> Collected:
    """Store the events of a POST /events body. A body without a valid key is neither read nor stored.

    Args:
        request: the request.
        origin: its origin.
        intake: settings, storage clients and receipt keys.
        now_ms: the time of receipt; by default now.
        trusted_shop: the shop whose secret key came with the request.

    Raises:
        RequestRefused: the key is wrong, or the whole body is unreadable; an unreadable body is stored in rejected/.
        StorageUnavailable: the events are not stored, and the client must send them again.
    """
    shop_id = _sending_shop(request.query.get("key"), trusted_shop, intake.settings)
    received_at_ms = now_ms or _now_ms()
    arrival = Arrival(
        shop_id, Timing(received_at_ms), "events", origin, request.request_id, trusted_shop is not None
    )
    try:
        batch = parse_batch(request.body)
    except RequestRefused as refused:
        # A cut address is still an address, so the end is cut after masking.
        payload = request.body[: COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS + CUT_BYTES].decode(
            "utf-8", "replace"
        )
        payload = masked_body(payload)[:COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS]
        refusal = Refusal(None, None, refused.reason.value, refused.message)
        _store_refused([(refusal, payload, arrival.timing)], arrival, intake)
        raise
    timing = Timing(received_at_ms, batch.sent_at_ms, batch.clock_error_ms)
    return _collect(batch.events, arrival._replace(timing=timing), intake)


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


def _sending_shop(key: str | None, trusted_shop: str | None, settings: CollectSettings) -> str:
    """Return the shop that sends. A secret key identifies its shop, and a key beside it must be of the same shop."""
    if trusted_shop is None:
        return _shop_of(key, settings)
    if trusted_shop not in settings.shops:
        raise RequestRefused(
            Reason.WRONG_SECRET_KEY,
            f"the secret key is of shop {trusted_shop!r}, which this stage no longer lists: ask its operator",
        )
    if key is not None and _shop_of(key, settings) != trusted_shop:
        raise RequestRefused(
            Reason.WRONG_KEY,
            f"?key=... is of another shop than the secret key of {trusted_shop!r}: leave it out",
        )
    return trusted_shop


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
    refused: list[tuple[Refusal, Any, Timing]] = []
    clicks: Counter[ComparedRelease] = Counter()
    shops = frozenset({arrival.shop_id})
    server = ServerField(
        arrival.timing.received_at_ms,
        {"source": arrival.source, **arrival.stamps(), "request_id": arrival.request_id},
    )
    age_max_ms = None if arrival.is_trusted else COLLECT_PAGE_AGE_MAX_MS
    set_back = set_back_ms(events, arrival.timing.sent_at_ms)
    for index, raw in enumerate(events):
        timing = arrival.timing._replace(set_back_ms=set_back[index])
        try:
            event, event_time_ms = accept(raw, shops, timing, age_max_ms)
            tokens = take_receipts(event)
            times = EventTimes(event_time_ms, arrival.timing.received_at_ms)
            receipts = stamps(tokens, event, times, intake.receipt_keys) if tokens else None
            lines.append(line(event, server.encode(event_time_ms, receipts), intake.pseudonym))
            if receipts and event.event_name == CLICK_EVENT:
                clicks.update(_compared(receipts))
        except RequestRefused as refusal:
            event_id = raw.get("event_id") if isinstance(raw, dict) else None
            shown_id = event_id[:ID_MAX_CHARACTERS] if isinstance(event_id, str) else None
            refused.append((Refusal(index, shown_id, refusal.reason.value, refusal.message), raw, timing))
    if lines:
        intake.store(lines)
    if refused:
        _store_refused(refused, arrival, intake)
    log.info("events collected", source=arrival.source, accepted=len(lines), refused=len(refused))
    refusals = [refusal for refusal, _, _ in refused]
    return Collected(len(lines), refusals, arrival.timing.received_at_ms, clicks, arrival.shop_id)


def _compared(receipts: Iterable[Stamp]) -> set[ComparedRelease]:
    """Return the releases of a canary whose items an event has valid receipts of. They are the answers' variants."""
    variants = {stamp.get("variant") for stamp in receipts if stamp["verdict"] == Verdict.VALID}
    return {release for release in ComparedRelease if release.value in variants}


def _store_refused(refused: list[tuple[Refusal, Any, Timing]], arrival: Arrival, intake: Intake) -> None:
    lines = []
    others = 0
    for refusal, payload, timing in refused:
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
            # A replay needs the times, the origin and the trust to restore the event as it would have been stored.
            **timing._asdict(),
            **arrival.stamps(),
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
