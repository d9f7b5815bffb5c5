"""The stages that the demo and the benchmark share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from demo.environment import Environment
from demo.landed import LandingWatch
from demo.rejects import Rejects
from demo.replay import Replayed, send
from demo.split import Split


class JourneyFailed(Exception):
    """A stage that did not do its part."""


class Timings:
    """How long each stage took, in order."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []
        self._started_s = time.monotonic()

    def add(self, name: str, seconds: float) -> None:
        """Note a duration that was measured elsewhere."""
        self.stages.append((name, seconds))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note how long the block takes."""
        started_s = time.monotonic()
        place = len(self.stages)
        try:
            yield
        finally:
            self.stages.insert(place, (name, time.monotonic() - started_s))

    @property
    def total_s(self) -> float:
        """Since the journey began."""
        return time.monotonic() - self._started_s


def send_events(
    where: Environment, split: Split, rejects: Rejects, connections: int, timings: Timings
) -> tuple[Replayed, LandingWatch]:
    """Send the training events, with somebody watching raw/ from before the first one."""
    watch = LandingWatch(where.client("s3"), where.events_bucket())
    with timings.stage("replay"):
        sent = send(
            split.training_events(rejects),
            where.api_url,
            where.shop_keys,
            user_agent_of=split.dataset.user_agent_of,
            connections=connections,
            expected=split.dataset.expected,
        )
    return sent, watch


def land(watch: LandingWatch, sent: Replayed, timeout_s: float, timings: Timings) -> None:
    """Wait until every accepted event lies in S3.

    Raises:
        JourneyFailed: some are missing when the time is up.
    """
    with timings.stage("landing"):
        sent.landed = watch.wait_for(sent.accepted, timeout_s)
    if sent.landed < sent.accepted:
        raise JourneyFailed(
            f"{sent.accepted:,} events were accepted but only {sent.landed:,} lie in S3 after {timeout_s:.0f} s:"
            " look at the delivery stream (`make logs`), or give --landing-timeout more seconds"
        )
