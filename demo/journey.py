"""The steps of the journey that the demo and the benchmark share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from demo.environment import Environment
from demo.landed import LandingWatch
from demo.replay import Replayed, send
from demo.secret_keys import temporary_secret_keys
from demo.split import Split
from imports.rejects import Rejects


class JourneyFailed(Exception):
    """A step of the journey failed."""


class Timings:
    """The duration of each step, in order."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []
        self._started_s = time.monotonic()

    def add(self, name: str, seconds: float) -> None:
        """Add a duration that was measured elsewhere."""
        self.stages.append((name, seconds))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the duration of a block."""
        started_s = time.monotonic()
        place = len(self.stages)
        try:
            yield
        finally:
            self.stages.insert(place, (name, time.monotonic() - started_s))

    @property
    def total_s(self) -> float:
        """Return the seconds since the journey began."""
        return time.monotonic() - self._started_s


def send_events(
    where: Environment, split: Split, rejects: Rejects, connections: int, timings: Timings
) -> tuple[Replayed, LandingWatch]:
    """Send the training events, and return the result with a watch on raw/ that began before the first event."""
    watch = LandingWatch(where.client("s3"), where.events_bucket())
    with timings.stage("replay"), temporary_secret_keys(where) as secret_key_of:
        sent = send(
            split.training_events(rejects),
            where.api_url,
            where.shop_keys,
            secret_key_of=secret_key_of,
            user_agent_of=split.dataset.user_agent_of,
            connections=connections,
            expected=split.dataset.expected,
        )
    return sent, watch


def land(watch: LandingWatch, sent: Replayed, timeout_s: float, timings: Timings) -> None:
    """Wait until every accepted event is in S3.

    Raises:
        JourneyFailed: events are missing after the timeout.
    """
    with timings.stage("landing"):
        sent.landed = watch.wait_for(sent.accepted, timeout_s)
    if sent.landed < sent.accepted:
        raise JourneyFailed(
            f"{sent.accepted:,} events were accepted, but only {sent.landed:,} are in S3 after {timeout_s:.0f} s:"
            " check the delivery stream with `make logs`, or increase --landing-timeout"
        )
