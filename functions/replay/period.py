"""The period of a replay, read strictly: a typing error must not replay a year, or nothing."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

HOUR_FORMAT = "%Y-%m-%dT%H"
EXAMPLE = '{"archive": "rejected", "from_hour": "2026-11-20T00", "to_hour": "2026-11-20T23"}'
REQUIRED = ("archive", "from_hour", "to_hour")
# A replay that runs out of time adds these to the event for its next call.
CONTINUED = ("after_key", "stored_before")


class Period(NamedTuple):
    """An archive and its hours of receipt in UTC, the last hour included.

    `after_key` is the last file that an earlier call finished. `stored_before` excludes files that are newer than the
    first call, such as the replay's own output in raw/.
    """

    archive: str
    first_hour: datetime
    last_hour: datetime
    after_key: str
    stored_before: datetime

    def hours(self) -> Iterator[tuple[datetime, str]]:
        """Yield each hour with its S3 prefix, in order."""
        hour = self.first_hour
        while hour <= min(self.last_hour, self.stored_before):
            yield hour, f"{self.archive}/{hour:%Y/%m/%d/%H}/"
            hour += timedelta(hours=1)

    def rest_after(self, key: str) -> dict[str, str]:
        """Return the event that continues after the file `key`."""
        hour = datetime.strptime("/".join(key.split("/")[1:5]), "%Y/%m/%d/%H")
        return {
            "archive": self.archive,
            "from_hour": f"{hour:{HOUR_FORMAT}}",
            "to_hour": f"{self.last_hour:{HOUR_FORMAT}}",
            "after_key": key,
            "stored_before": self.stored_before.isoformat(),
        }


def parse_period(event: Any, now: datetime) -> Period:
    """Return the period that an event asks for.

    Raises:
        ValueError: the message names the problem and shows a valid event.
    """
    if not isinstance(event, Mapping):
        raise _invalid(f"the event is {event!r}, not an object")
    unknown = sorted(set(event) - {*REQUIRED, *CONTINUED})
    missing = [name for name in REQUIRED if name not in event]
    if missing or unknown:
        raise _invalid(
            "; ".join(
                f"{problem} {', '.join(names)}"
                for problem, names in (("missing:", missing), ("unknown:", unknown))
                if names
            )
        )
    if event["archive"] not in ("raw", "rejected"):
        raise _invalid(f"archive is raw or rejected, not {event['archive']!r}")
    first, last = _hour(event, "from_hour"), _hour(event, "to_hour")
    if first > last:
        raise _invalid(f"from_hour {event['from_hour']} lies after to_hour {event['to_hour']}")
    if first > now:
        raise _invalid(f"from_hour {event['from_hour']} lies in the future; hours are in UTC")
    return Period(event["archive"], first, last, str(event.get("after_key", "")), _stored_before(event, now))


def _hour(event: Mapping[str, Any], name: str) -> datetime:
    try:
        return datetime.strptime(event[name], HOUR_FORMAT).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise _invalid(f"{name} is an hour in UTC such as 2026-11-20T07, not {event[name]!r}") from None


def _stored_before(event: Mapping[str, Any], now: datetime) -> datetime:
    try:
        before = datetime.fromisoformat(event["stored_before"]) if "stored_before" in event else now
    except (TypeError, ValueError):
        raise _invalid(f"stored_before {event['stored_before']!r} is no time") from None
    if before.tzinfo is None:
        raise _invalid(f"stored_before {event['stored_before']!r} is no time with a zone")
    return before


def _invalid(problem: str) -> ValueError:
    return ValueError(f"{problem}. An event is {EXAMPLE}")
