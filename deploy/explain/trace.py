"""Find a recommendation and its session's events: in the warehouse, else in the raw files of the last hours."""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from deploy.command import DeployError
from functions.platform import warehouse
from functions.platform.contract import (
    PLACEMENT_DEFAULT,
    RAW_PREFIX,
    RECOMMEND_ITEMS_MAX,
    SESSION_ITEM_EVENTS,
)
from functions.platform.packed_days import Manifest, read_manifest
from functions.platform.receipt import LIFETIME_S, Verdict
from functions.recommend.recommendation import FALLBACK_VARIANT

Json = dict[str, Any]

# A receipt has whole seconds, so an event of the same second can be earlier or later than the answer.
CLOCK_STEP_MS = 1000

# A user's default is all of its roles at once, and some of them can write.
ONE_ROLE = "use secondary roles none"
MART = """
    select shop_id, model_version, variant, issued_at_ms, items_shown, items_clicked, items_carted, items_bought, revenue
    from MARTS.RECOMMENDATIONS
    where recommendation_id = %s
"""
NAMING = """
    select payload, filename, row_number, loaded_at
    from RAW.EVENTS
    where loaded_at between %s and %s and payload:recommendation_id::varchar = %s
    union all
    select events.payload, events.filename, events.row_number, events.loaded_at
    from RAW.EVENTS as events,
        lateral flatten(input => events.payload:server.receipts) as receipt
    where events.loaded_at between %s and %s and receipt.value:recommendation_id::varchar = %s
"""
OF_SESSION = """
    select payload, filename, row_number, loaded_at
    from RAW.EVENTS
    where
        loaded_at between %s and %s
        and payload:shop_id::varchar = %s
        and payload:session_id::varchar = %s
"""


class ExplainError(DeployError):
    """The recommendation cannot be traced. The message ends with the next step."""


@dataclass(frozen=True)
class StoredEvent:
    """An event as it is stored, and its place: a line of a raw file, from 1."""

    payload: Json
    key: str
    line: int
    loaded_at: str | None

    @property
    def time_ms(self) -> int:
        """Return the time of the event on the server's clock."""
        server = self.payload.get("server", {})
        return int(server.get("event_time_ms") or server.get("received_at_ms") or 0)

    @property
    def item_ids(self) -> list[str]:
        """Return the ids of the event's items."""
        return [str(item["item_id"]) for item in self.payload.get("items") or []]

    def stamps(self, recommendation_id: str) -> list[Json]:
        """Return the verdicts on receipts of a recommendation."""
        found = self.payload.get("server", {}).get("receipts") or []
        return [stamp for stamp in found if stamp.get("recommendation_id") == recommendation_id]

    def names(self, recommendation_id: str) -> bool:
        """Return True if the event belongs to the recommendation."""
        return self.payload.get("recommendation_id") == recommendation_id or bool(
            self.stamps(recommendation_id)
        )


@dataclass
class Shown:
    """An item of the answer that came back in events. `slot` counts from 0; None without a valid receipt."""

    item_id: str
    slot: int | None
    events: list[str] = field(default_factory=list)


@dataclass
class Trace:
    """A recommendation: when and by what it was answered, what came of it, and its session's events."""

    recommendation_id: str
    found_in: str
    shop_id: str
    session_id: str | None
    model_version: str | None
    variant: str | None
    issued_at_ms: int
    outcome: Json | None
    naming: list[StoredEvent]
    session: list[StoredEvent]

    @property
    def placement(self) -> str:
        """Return the placement of the answer."""
        stamps = [stamp for event in self.naming for stamp in event.stamps(self.recommendation_id)]
        return str(stamps[0].get("placement", PLACEMENT_DEFAULT)) if stamps else PLACEMENT_DEFAULT

    @property
    def is_fallback(self) -> bool:
        """Return True if the fallback answered."""
        return self.variant == FALLBACK_VARIANT

    @property
    def arm_answers(self) -> str | None:
        """Return what the arm of an experiment answers instead of the model, or None."""
        return self.variant if self.variant in ("related", "popular", "none") else None

    @property
    def shown(self) -> list[Shown]:
        """Return the items that came back in events with the recommendation's id, by slot."""
        found: dict[str, Shown] = {}
        for event in self.naming:
            kind = str(event.payload["event_name"])
            slots = {
                item["item_id"]: item.get("slot")
                for stamp in event.stamps(self.recommendation_id)
                if stamp["verdict"] == Verdict.VALID
                for item in stamp["items"]
            }
            of_event = event.payload.get("recommendation_id") == self.recommendation_id
            for item_id in event.item_ids if of_event and not slots else slots:
                shown = found.setdefault(item_id, Shown(item_id, slots.get(item_id)))
                if kind not in shown.events:
                    shown.events.append(kind)
        return sorted(found.values(), key=lambda one: (one.slot is None, one.slot or 0, one.item_id))

    @property
    def rules(self) -> str:
        """Return the revision of the shop's rules that changed the answer; empty without a valid receipt of such an answer."""
        found = (
            stamp.get("rules", "") for event in self.naming for stamp in event.stamps(self.recommendation_id)
        )
        return next(filter(None, found), "")

    @property
    def verdicts(self) -> dict[str, int]:
        """Return the number of events per verdict on this recommendation's receipts."""
        counts: dict[str, int] = {}
        for event in self.naming:
            for stamp in event.stamps(self.recommendation_id):
                counts[stamp["verdict"]] = counts.get(stamp["verdict"], 0) + 1
        return counts

    @property
    def before(self) -> list[StoredEvent]:
        """Return the session's events up to the answer. From the first event that names it on, they are later."""
        naming = [event.time_ms for event in self.session if event.names(self.recommendation_id)]
        end_ms = min([self.issued_at_ms + CLOCK_STEP_MS, *naming])
        return [event for event in self.session if event.time_ms < end_ms]

    def questions(self) -> list[list[str]]:
        """Return the items that the page asked with, as its events tell them.

        Events of the answer's own second may be later than the answer, so there can be several candidates, the
        likeliest first.
        """
        before = self.before
        sure = sum(event.time_ms <= self.issued_at_ms for event in before)
        candidates = [_session_items(before[:count]) for count in range(len(before), sure - 1, -1)]
        return [one for at, one in enumerate(candidates) if one not in candidates[:at]]


def _session_items(events: Iterable[StoredEvent]) -> list[str]:
    """Return the items of a session as the storefront's SDK sends them: no immediate repeats, the last ones."""
    items: list[str] = []
    for event in events:
        if event.payload["event_name"] in SESSION_ITEM_EVENTS:
            items += [item_id for item_id in event.item_ids if items[-1:] != [item_id]]
    return items[-RECOMMEND_ITEMS_MAX:]


def from_warehouse(
    connection: Any, recommendation_id: str, days: int, now: datetime | None = None
) -> Trace | None:
    """Return the recommendation with the events that name it and those of its session; None if none is loaded.

    Args:
        connection: a connection under the role EXPLAINER.
        recommendation_id: the `request_id` of /recommend's answer.
        days: how many days of loads are searched: after the answer if a mart has it, else the last ones.
        now: the time of the search.
    """
    now = now or datetime.now(UTC)
    warehouse.rows(connection, ONE_ROLE)
    marts = warehouse.rows(connection, MART, (recommendation_id,))
    names = ("shop_id", "model_version", "variant", "issued_at_ms")
    document = dict(zip(names, marts[0], strict=False)) if marts else {}
    outcome = (
        dict(zip(("shown", "clicked", "carted", "bought", "revenue"), marts[0][4:], strict=True))
        if marts
        else None
    )
    begin = _time(int(document["issued_at_ms"])) if document else now - timedelta(days=days)
    end = begin + timedelta(days=days, hours=1)
    window = (_naive(begin - timedelta(hours=1)), _naive(end))
    naming = _events(
        warehouse.rows(connection, NAMING, (*window, recommendation_id, *window, recommendation_id))
    )
    if not naming and not document:
        return None
    trace = _trace(recommendation_id, "the warehouse", naming, document, outcome)
    if trace.session_id is not None:
        first = _time(trace.issued_at_ms) - timedelta(seconds=LIFETIME_S)
        of_session = (_naive(first), _naive(end), trace.shop_id, trace.session_id)
        trace.session = _events(warehouse.rows(connection, OF_SESSION, of_session))
    return trace


def from_raw_files(
    s3: Any, bucket: str, recommendation_id: str, hours: int, now: datetime | None = None
) -> Trace | None:
    """Return the recommendation from the raw files of the last hours, which may not be loaded yet."""
    now = now or datetime.now(UTC)
    keys = [
        found["Key"]
        for back in range(hours, -1, -1)
        for page in s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{RAW_PREFIX}{now - timedelta(hours=back):%Y/%m/%d/%H/}"
        )
        for found in page.get("Contents", [])
    ]
    naming = [
        event for event in _lines(s3, bucket, keys, recommendation_id) if event.names(recommendation_id)
    ]
    if not naming:
        return None
    trace = _trace(recommendation_id, "raw files that are not loaded yet", _distinct(naming), {}, None)
    trace.session = _distinct(
        event
        for event in _lines(s3, bucket, keys, str(trace.session_id))
        if (event.payload["shop_id"], event.payload["session_id"]) == (trace.shop_id, trace.session_id)
    )
    return trace


def file_states(s3: Any, bucket: str, events: Iterable[StoredEvent]) -> dict[str, str]:
    """Return, per raw file of the events, the place of its lines today."""
    states: dict[str, str] = {}
    manifests: dict[str, Manifest] = {}
    for key in {event.key for event in events}:
        day = "-".join(key.removeprefix(RAW_PREFIX).split("/")[:3])
        if day not in manifests:
            manifests[day] = read_manifest(s3, bucket, day)[0]
        try:
            s3.head_object(Bucket=bucket, Key=key)
            states[key] = "raw"
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NotFound"):
                raise
            packed = manifests[day].by_key().get(key)
            states[key] = f"packed in {packed.part}" if packed else "deleted"
    return states


def _trace(
    recommendation_id: str, found_in: str, naming: list[StoredEvent], document: Json, outcome: Json | None
) -> Trace:
    stamps = [stamp for event in naming for stamp in event.stamps(recommendation_id)]
    first = stamps[0] if stamps else {}
    of_session = next((event.payload for event in naming if _is_of_the_session(event, recommendation_id)), {})
    earliest = naming[0].time_ms if naming else 0
    return Trace(
        recommendation_id,
        found_in,
        str(document.get("shop_id") or naming[0].payload["shop_id"]),
        of_session.get("session_id"),
        document.get("model_version") or first.get("model_version"),
        document.get("variant") or first.get("variant"),
        int(document.get("issued_at_ms") or first.get("issued_at_ms") or earliest),
        outcome,
        naming,
        [],
    )


def _is_of_the_session(event: StoredEvent, recommendation_id: str) -> bool:
    """Return False for the event of another session, which brought a foreign receipt."""
    stamps = event.stamps(recommendation_id)
    return not stamps or any(stamp["verdict"] != Verdict.FOREIGN for stamp in stamps)


def _events(rows: Iterable[tuple[Any, ...]]) -> list[StoredEvent]:
    return _distinct(
        StoredEvent(
            json.loads(payload) if isinstance(payload, str) else payload, str(key), int(line), str(loaded_at)
        )
        for payload, key, line, loaded_at in rows
    )


def _distinct(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    """Return the first copy of each event, in the order of their times."""
    first: dict[str, StoredEvent] = {}
    for event in sorted(events, key=lambda one: (one.loaded_at or "", one.key, one.line)):
        first.setdefault(str(event.payload["event_id"]), event)
    return sorted(first.values(), key=lambda one: (one.time_ms, str(one.payload["event_id"])))


def _lines(s3: Any, bucket: str, keys: Iterable[str], text: str) -> Iterator[StoredEvent]:
    """Yield the events of raw files whose line contains a text."""
    # JSON escapes quotes and backslashes, so compare with the id as JSON has it.
    wanted = json.dumps(text, ensure_ascii=False)[1:-1].encode()
    for key in keys:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        try:
            lines = gzip.decompress(body).split(b"\n")
        except (OSError, EOFError):
            continue  # Load reports an unreadable file
        for number, line in enumerate(lines, 1):
            if wanted in line:
                try:
                    yield StoredEvent(json.loads(line), key, number, None)
                except ValueError:
                    continue  # Load reports it


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _naive(time: datetime) -> datetime:
    """Return the time as a Snowflake TIMESTAMP_NTZ in UTC."""
    return time.replace(tzinfo=None)
