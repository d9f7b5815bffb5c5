"""The period that a replay is asked for, read strictly: a slip of the pen must not replay a year, or nothing."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

HOUR_FORMAT = "%Y-%m-%dT%H"
EXAMPLE = '{"archive": "rejected", "from_hour": "2026-11-20T00", "to_hour": "2026-11-20T23"}'
REQUIRED = ("archive", "from_hour", "to_hour")
# What a replay that ran out of time adds, to be called again with.
CONTINUED = ("after_key", "stored_before")


class Period(NamedTuple):
    """An archive and its hours of receipt in UTC, the last one included.

    `after_key` is the last file that an earlier call did. `stored_before` leaves out what came after the first call, such
    as its own output, which lands in `raw/` too.
    """

    archive: str
    first_hour: datetime
    last_hour: datetime
    after_key: str
    stored_before: datetime

    def prefixes(self) -> Iterator[str]:
        """Where the files of each hour lie, in order."""
        hour = self.first_hour
        while hour <= min(self.last_hour, self.stored_before):
            yield f"{self.archive}/{hour:%Y/%m/%d/%H}/"
            hour += timedelta(hours=1)

    def rest_after(self, key: str) -> dict[str, str]:
        """The event that goes on behind the file `key`."""
        hour = datetime.strptime("/".join(key.split("/")[1:5]), "%Y/%m/%d/%H")
        return {
            "archive": self.archive,
            "from_hour": f"{hour:{HOUR_FORMAT}}",
            "to_hour": f"{self.last_hour:{HOUR_FORMAT}}",
            "after_key": key,
            "stored_before": self.stored_before.isoformat(),
        }


def parse_period(event: Any, now: datetime) -> Period:
    """The period that an event asks for.

    Raises:
        ValueError: what is wrong with it, and what it should look like.
    """
    if not isinstance(event, Mapping):
        raise _wrong(f"the event is {event!r}, not an object")
    unknown = sorted(set(event) - {*REQUIRED, *CONTINUED})
    missing = [name for name in REQUIRED if name not in event]
    if missing or unknown:
        raise _wrong(
            "; ".join(
                f"{what} {', '.join(names)}"
                for what, names in (("missing:", missing), ("unknown:", unknown))
                if names
            )
        )
    if event["archive"] not in ("raw", "rejected"):
        raise _wrong(f"archive is raw or rejected, not {event['archive']!r}")
    first, last = _hour(event, "from_hour"), _hour(event, "to_hour")
    if first > last:
        raise _wrong(f"from_hour {event['from_hour']} lies after to_hour {event['to_hour']}")
    if first > now:
        raise _wrong(f"from_hour {event['from_hour']} lies in the future; hours are in UTC")
    return Period(event["archive"], first, last, str(event.get("after_key", "")), _stored_before(event, now))


def _hour(event: Mapping[str, Any], name: str) -> datetime:
    try:
        return datetime.strptime(event[name], HOUR_FORMAT).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise _wrong(f"{name} is an hour in UTC such as 2026-11-20T07, not {event[name]!r}") from None


def _stored_before(event: Mapping[str, Any], now: datetime) -> datetime:
    try:
        before = datetime.fromisoformat(event["stored_before"]) if "stored_before" in event else now
    except (TypeError, ValueError):
        raise _wrong(f"stored_before {event['stored_before']!r} is no time") from None
    if before.tzinfo is None:
        raise _wrong(f"stored_before {event['stored_before']!r} is no time with a zone")
    return before


def _wrong(what: str) -> ValueError:
    return ValueError(f"{what}. An event is {EXAMPLE}")
