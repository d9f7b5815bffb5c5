"""Split events into training and test, for data without test sessions of its own."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from demo.datasets import Dataset
from demo.sessions import Event, EventLog, held_out_sessions, training_sessions
from imports.rejects import Rejects

DAY_MS = 86_400_000
SHORTEST_SHARE, LARGEST_SHARE, USUAL_SHARE = 0.01, 0.20, 0.10


def cutoff_of(dataset: Dataset) -> int | None:
    """Return the time at which the test begins, or None if the data has its own test.

    The test is the last 24 hours. If these have under 1 % or over 20 % of the events, it is the last tenth of the events.
    """
    if dataset.test:
        return None
    if dataset.cutoff_ms is not None:
        return dataset.cutoff_ms
    times_ms = array("q")
    with Rejects() as unseen:
        times_ms.extend(event["client_time_ms"] for event in dataset.read(unseen))
    if not times_ms:
        return None
    ordered = sorted(times_ms)
    last_day_ms = ordered[-1] - DAY_MS
    share = 1 - bisect_left(ordered, last_day_ms) / len(ordered)
    if SHORTEST_SHARE <= share <= LARGEST_SHARE:
        return last_day_ms
    return ordered[int(len(ordered) * (1 - USUAL_SHARE))]


@dataclass
class Split:
    """The training events to send, and the sessions of both sides for the report."""

    dataset: Dataset
    cutoff_ms: int | None
    # A report needs every event of both sides, about 200 bytes each.
    for_report: bool = True
    training: EventLog = field(default_factory=EventLog)
    held_out: EventLog = field(default_factory=EventLog)
    held_out_events: int = 0

    def training_events(self, rejects: Rejects) -> Iterator[Event]:
        """Yield the events to send."""
        for event in self.dataset.read(rejects):
            trained = self.cutoff_ms is None or event["client_time_ms"] < self.cutoff_ms
            if not trained:
                self.held_out_events += 1
            if self.for_report and not self.dataset.is_bot(event["client_id"]):
                (self.training if trained else self.held_out).add(event)
            if trained:
                yield event

    def training_sessions(self) -> list[list[str]]:
        """Return the sessions that the baselines learn from."""
        return training_sessions(self.training)

    def test_sessions(self) -> list[list[str]]:
        """Return the sessions that all recommenders are scored on."""
        return self.dataset.test or held_out_sessions(self.held_out, self.training)

    def item_names(self) -> dict[str, str]:
        """Return the names of items, as far as the events have them."""
        return {**self.held_out.item_names, **self.training.item_names}
