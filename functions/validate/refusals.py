"""Count the refused events of one shop by sender and reason, from the files below rejected/."""

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, get_args

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from functions.platform.contract import REJECTED_PREFIX
from functions.platform.errors import StorageUnavailable
from functions.platform.events.event import Event
from functions.platform.log import get_logger
from functions.validate.senders import Cell, cell, key
from functions.validate.summary import FailingRow

log = get_logger(__name__)

# Whoever fills rejected/ must not use up the time and the memory of this step. Of more bytes, or of more files, an even
# sample is read: the begin of each file, or every n-th file. What it shows is multiplied to the size of the whole.
LARGEST_READ_BYTES, LARGEST_READ_FILES = 256 * 1024**2, 2_000
CHUNK_BYTES = 256 * 1024
SHOWN_ROWS = 10
# zlib's number for the format gzip: https://docs.python.org/3/library/zlib.html#zlib.decompress
GZIP = 31
EVENT_NAMES = frozenset(get_args(Event.__annotations__["event_name"]))
# An operator's import of a data set writes its rejected rows there too. The collector's own sources are these.
SOURCES = frozenset(("events", "pixel"))


class _Line(msgspec.Struct):
    """The fields of a refused line that are needed here."""

    reason: str | None = None
    sender: str | None = None
    source: str | None = None
    ip_prefix: str | None = None
    is_bot: bool = False
    trusted: bool = False
    request_id: str | None = None
    payload: str | None = None


class _Payload(msgspec.Struct):
    """The ids of the client and of the refused event, and its name. Each may have any value."""

    client_id: Any = None
    event_id: Any = None
    event_name: Any = None


class Kind(NamedTuple):
    """The UTC day, the name and the reason of refused events. The name is `unknown` if it is none of the contract's."""

    day: str
    event_name: str
    reason: str


class Sender(NamedTuple):
    """A network, the reason of its refusals, and one of its requests as an example."""

    network: str
    reason: str
    request_id: str


@dataclass
class Refused:
    """The refused events of a shop. The numbers are estimates if only a sample was read."""

    by_cell: dict[Cell, float] = field(default_factory=dict)
    by_sender: dict[tuple[str, str], float] = field(default_factory=dict)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    by_kind: dict[Kind, float] = field(default_factory=dict)
    days: tuple[str, ...] = ()
    rows: list[FailingRow] = field(default_factory=list)  # the first ones, one per network and reason
    is_sample: bool = False

    @property
    def total(self) -> int:
        """Return the number of refused events."""
        return round(sum(self.by_sender.values()))

    def by_reason(self) -> dict[str, int]:
        """Return the number of refused events per reason, the most frequent first."""
        found: dict[str, float] = {}
        for (_, reason), events in self.by_sender.items():
            found[reason] = found.get(reason, 0.0) + events
        return {
            reason: round(events)
            for reason, events in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
        }

    def most(self, number: int) -> list[tuple[Sender, int]]:
        """Return the senders with the most refused events."""
        ranked = sorted(self.by_sender.items(), key=lambda pair: (-pair[1], pair[0]))[:number]
        return [
            (Sender(network, reason, self.examples[network, reason]), round(events))
            for (network, reason), events in ranked
        ]


def read_refused(s3: Any, bucket: str, shop_id: str, days: Iterable[datetime]) -> Refused:
    """Count the refused events that came with a key of this shop on these days.

    Bots are excluded. So is an event whose shop is unknown: the collector stores none.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    days = list(days)
    refused = Refused(days=tuple(f"{day:%Y-%m-%d}" for day in days))
    try:
        files = [found for day in days for found in _listed(s3, bucket, f"{REJECTED_PREFIX}{day:%Y/%m/%d}/")]
        step = -(-len(files) // LARGEST_READ_FILES) or 1
        read = files[::step]
        refused.is_sample = step > 1
        for name, size in read:
            _count(s3, bucket, name, size, LARGEST_READ_BYTES // len(read), step, shop_id, refused)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{REJECTED_PREFIX} could not be read: {error}") from error
    return refused


KEEP_REFUSED = """
insert into QA.REFUSED_EVENTS (RUN_ID, CHECKED_AT, SHOP_ID, DAY, EVENT_NAME, REASON, EVENTS)
values (%s, %s, %s, %s, %s, %s, %s)
"""


def keep_refused(connection: Any, run_id: str, shop_id: str, now: datetime, refused: Refused) -> None:
    """Store the counts per day, event kind and reason. A day without refused events has one row with 0."""
    counts = {kind: round(events) for kind, events in refused.by_kind.items()}
    counted = {kind.day for kind in counts}
    counts |= {Kind(day, "", ""): 0 for day in refused.days if day not in counted}
    # One time for all rows, so that a reader finds the newest count of a day.
    at = now.replace(tzinfo=None)
    rows = [(run_id, at, shop_id, *kind, events) for kind, events in sorted(counts.items())]
    with connection.cursor() as cursor:
        cursor.executemany(KEEP_REFUSED, rows)


def _listed(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield found["Key"], int(found["Size"])


def _count(
    s3: Any, bucket: str, name: str, size: int, largest_bytes: int, step: int, shop_id: str, refused: Refused
) -> None:
    """Add the lines of one file, at most its first `largest_bytes`."""
    body = s3.get_object(Bucket=bucket, Key=name)["Body"]
    try:
        text, unpacked_bytes = _begin(body, largest_bytes)
    except zlib.error as error:
        log.warning("refused events not read", file=name, error=str(error))
        return
    # Firehose names a file by the hour: rejected/2026/01/09/23/<name>
    day = "-".join(name.removeprefix(REJECTED_PREFIX).split("/")[:3])
    lines, weight = text.split(b"\n"), float(step)
    if unpacked_bytes < size:
        refused.is_sample = True
        lines, weight = lines[:-1], step * size / unpacked_bytes
    for number, line in enumerate(lines, 1):
        _add(line, shop_id, day, weight, refused, f"s3://{bucket}/{name}", number)


def _begin(body: Any, largest_bytes: int) -> tuple[bytes, int]:
    """Return the begin of a gzip file as text, and the number of bytes of the file that it takes."""
    unpacker, text_bytes, file_bytes = zlib.decompressobj(GZIP), 0, 0
    parts: list[bytes] = []
    while packed := body.read(CHUNK_BYTES):
        while packed:
            if text_bytes >= largest_bytes:
                return b"".join(parts), file_bytes
            part = unpacker.decompress(packed, largest_bytes - text_bytes)
            left = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            file_bytes += len(packed) - len(left)
            text_bytes += len(part)
            parts.append(part)
            packed = left
            if unpacker.eof:  # a file can have several parts
                unpacker = zlib.decompressobj(GZIP)
    return b"".join(parts), file_bytes


def _add(
    line: bytes, shop_id: str, day: str, weight: float, refused: Refused, file: str, number: int
) -> None:
    try:
        found = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if found.sender != shop_id or found.source not in SOURCES or found.is_bot:
        return
    network, reason = found.ip_prefix or "unknown network", found.reason or "unknown reason"
    payload = _payload(found)
    name = payload.event_name
    kind = Kind(day, name if isinstance(name, str) and name in EVENT_NAMES else "unknown", reason)
    refused.by_kind[kind] = refused.by_kind.get(kind, 0.0) + weight
    at = _cell(shop_id, found, payload.client_id)
    if (network, reason) not in refused.examples and len(refused.rows) < SHOWN_ROWS:
        event_id = payload.event_id if isinstance(payload.event_id, str) else None
        refused.rows.append(FailingRow(file, number, event_id, note=reason))
    refused.by_cell[at] = refused.by_cell.get(at, 0.0) + weight
    refused.by_sender[network, reason] = refused.by_sender.get((network, reason), 0.0) + weight
    refused.examples.setdefault((network, reason), found.request_id or "")


def _payload(line: _Line) -> _Payload:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        return _PAYLOAD_DECODER.decode(line.payload or "{}")
    return _Payload()


def _cell(shop_id: str, line: _Line, client_id: Any) -> Cell:
    """Return the sender's cell. Refused events without a readable client are those of one client."""
    client = key(shop_id, client_id) if isinstance(client_id, str) else key(shop_id)
    network = key(shop_id, line.ip_prefix) if line.ip_prefix and not line.trusted else client
    return cell(network[0], client[0])


_DECODER = msgspec.json.Decoder(_Line)
_PAYLOAD_DECODER = msgspec.json.Decoder(_Payload)
