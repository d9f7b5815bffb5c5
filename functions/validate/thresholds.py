"""The gate's limits, read from thresholds.json; a misspelt or missing key fails at start."""

from pathlib import Path
from typing import Annotated

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
    history: History


def thresholds() -> Thresholds:
    """Read thresholds.json, the one place where the limits are set.

    Raises:
        msgspec.ValidationError: a key is unknown or missing, or a value is outside its bounds.
    """
    return msgspec.json.decode((Path(__file__).parent / "thresholds.json").read_bytes(), type=Thresholds)
