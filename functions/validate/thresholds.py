"""The gate's limits: the defaults of thresholds.json, and the limits that a shop has of its own.

A misspelt or missing key of thresholds.json fails at start.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Days = Annotated[int, Meta(ge=1)]


class Freshness(Struct, frozen=True, forbid_unknown_fields=True):
    """Hours since the newest load."""

    largest_hours_since_load: Annotated[float, Meta(gt=0)]


class Unloaded(Struct, frozen=True, forbid_unknown_fields=True):
    """Days since a file first failed to load."""

    largest_days: Days


class RowShare(Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the loaded rows; fewer rows are not judged."""

    largest_share: Share
    fewest_rows: Count


class EventShare(Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the received events; fewer events are not judged."""

    largest_share: Share
    fewest_events: Count


class Band(Struct, frozen=True, forbid_unknown_fields=True):
    """A ratio to the days before, whose usual value is 1."""

    lowest_ratio: Annotated[float, Meta(gt=0, le=1)]
    highest_ratio: Annotated[float, Meta(ge=1)]


class Volume(Band, frozen=True, forbid_unknown_fields=True):
    """Events per day; a shop with fewer is not judged."""

    fewest_events_a_day: Count


class EventsPerSession(Band, frozen=True, forbid_unknown_fields=True):
    """Events per session; a shop with fewer sessions is not judged."""

    fewest_sessions: Count


class EventMix(Struct, frozen=True, forbid_unknown_fields=True):
    """Population stability index of the event kinds; a shop with fewer events is not judged."""

    largest_psi: float
    fewest_events: Count


class Missing(Struct, frozen=True, forbid_unknown_fields=True):
    """The share of events without a field, per field; fewer events are not judged."""

    fewest_events: Count
    largest_share: dict[str, Share]


class Lost(Struct, frozen=True, forbid_unknown_fields=True):
    """The share of events that lack a field which they had on the days before, per field; fewer events are not judged."""

    fewest_events: Count
    largest_share: dict[str, Share]


class OrderShare(Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the orders that the back end reported; fewer orders are not judged."""

    largest_share: Share
    fewest_orders: Count


class Drift(Struct, frozen=True, forbid_unknown_fields=True):
    """Population stability index of a column of the newest day: a warning, and a failure if `failing_psi` is set.

    A model with fewer rows is not judged.
    """

    largest_psi: Annotated[float, Meta(gt=0)]
    failing_psi: Annotated[float, Meta(gt=0)] | None
    fewest_rows: Count


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """Age of the lists for mail, and their share of the clients; fewer clients are not judged."""

    largest_hours: Annotated[float, Meta(gt=0)]
    lowest_ratio: Annotated[float, Meta(gt=0, le=1)]
    fewest_clients: Count


class History(Struct, frozen=True, forbid_unknown_fields=True):
    """The days that are judged, the days that they are compared with, and the fewest days to compare with."""

    judged_days: Days
    trailing_days: Days
    fewest_days: Days


class Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """Every limit of the gate."""

    freshness: Freshness
    unloaded: Unloaded
    unusable: RowShare
    repeated: RowShare
    rejected: EventShare
    volume: Volume
    events_per_session: EventsPerSession
    event_mix: EventMix
    missing: Missing
    lost: Lost
    other_currencies: OrderShare
    drift: Drift
    batch: Batch
    history: History


class LimitRefused(ValueError):
    """A limit of a shop has no such name or no such value. The message contains both and what is allowed."""


@cache
def thresholds() -> Thresholds:
    """Read thresholds.json, the one place where the default limits are set.

    Raises:
        msgspec.ValidationError: a key is unknown or missing, or a value is outside its bounds.
    """
    return msgspec.json.decode((Path(__file__).parent / "thresholds.json").read_bytes(), type=Thresholds)


def limit_names() -> dict[str, float | None]:
    """Return the name and the default of every limit that a shop can have of its own.

    The days of `history` are the same for all shops: they decide how much a run reads.
    """
    found: dict[str, float | None] = {}
    for group, limits in msgspec.to_builtins(thresholds()).items():
        for name, value in limits.items():
            parts = value.items() if isinstance(value, dict) else [(None, value)]
            found |= {".".join(filter(None, (group, name, part))): default for part, default in parts}
    return {name: default for name, default in found.items() if not name.startswith("history.")}


def with_limits(values: Mapping[str, float]) -> Thresholds:
    """Return the thresholds with these limits instead of their defaults.

    Raises:
        LimitRefused: a limit is unknown, or its value is outside its bounds.
    """
    defaults, changed = limit_names(), msgspec.to_builtins(thresholds())
    for name, value in values.items():
        if name not in defaults:
            raise LimitRefused(f"{name} is no limit. The limits are {', '.join(sorted(defaults))}")
        _put(changed, name.split("."), value)
        try:
            msgspec.convert(changed, Thresholds)
        except msgspec.ValidationError as error:
            raise LimitRefused(
                f"{name} cannot be {value:g}: it is {unit(name)}, and its default is "
                f"{'none' if defaults[name] is None else format(defaults[name], 'g')} ({str(error).split(' - at')[0]})"
            ) from error
    return msgspec.convert(changed, Thresholds)


def unit(name: str) -> str:
    """Return the unit of a limit in words."""
    if "largest_share" in name:
        return "a share from 0 to 1"
    last = name.rpartition(".")[2]
    if last.endswith("_ratio"):
        return (
            "a ratio to the usual, above 0 and at most 1"
            if "lowest" in last
            else "a ratio to the usual, at least 1"
        )
    if last.endswith("_psi"):
        return "a population stability index above 0"
    if "hours" in last:
        return "a number of hours above 0"
    return (
        "a whole number of days"
        if "days" in last
        else f"a whole number of {last.partition('_')[2].replace('_', ' ')}"
    )


def _put(tree: dict[str, Any], path: list[str], value: float) -> None:
    *groups, last = path
    for group in groups:
        tree = tree[group]
    tree[last] = int(value) if isinstance(tree[last], int) and float(value).is_integer() else value
