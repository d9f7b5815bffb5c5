"""Experiments of a shop: which arm a client is in, from experiments/<shop>.toml.

The arm follows from a hash of the client's id, so nothing is stored and anybody can recompute it: docs/ab_tests.md.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, ValidationError, convert, field

from functions.platform.contract import PLACEMENTS
from functions.platform.log import get_logger
from functions.platform.receipt import Assignment

log = get_logger(__name__)

# experiments/ is beside functions/, in the repository and in the Lambda's zip.
FOLDER = Path(__file__).resolve().parents[2] / "experiments"
BUCKETS = 10_000
# The collector replaces an id with a mail address by a pseudonym, so only ids of these characters are the same in events.
CLIENT = re.compile(r"[A-Za-z0-9._~-]{1,64}")
HOLDOUT_ARM, SHOWN_ARM = "holdout", "shown"

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}\Z")]
Seed = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
# model: the endpoint. related, popular: the fallback's lists. none: an empty carousel.
Treatment = Literal["model", "related", "popular", "none"]


class ExperimentsError(Exception):
    """A file of experiments is invalid. The message names the file and the correct form."""


class Arm(Struct, frozen=True, forbid_unknown_fields=True):
    """One arm: its share of the experiment's clients, and what answers them."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,16}\Z")]
    share: Annotated[float, Meta(gt=0, lt=1)]
    answers: Treatment


class Experiment(Struct, frozen=True, forbid_unknown_fields=True):
    """One experiment. The first arm is the control. Without placements, it is everywhere."""

    name: Name
    seed: Seed
    arms: Annotated[list[Arm], Meta(min_length=2)] = field(name="arm")
    start: Annotated[datetime, Meta(tz=True)] | None = None
    end: Annotated[datetime, Meta(tz=True)] | None = None
    placements: Annotated[tuple[str, ...], Meta(min_length=1)] = PLACEMENTS

    @property
    def period(self) -> tuple[datetime, datetime]:
        """Return the first moment, and the one after the last."""
        return self.start or datetime.min.replace(tzinfo=UTC), self.end or datetime.max.replace(tzinfo=UTC)


class Holdout(Struct, frozen=True, forbid_unknown_fields=True):
    """The clients that never see a carousel, in no experiment. Their number shows what all recommendations are worth."""

    seed: Seed
    share: Annotated[float, Meta(ge=0.01, le=0.05)]
    name: Name = "holdout"


class Shop(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of experiments/<shop>.toml."""

    experiments: list[Experiment] = field(name="experiment", default_factory=list)
    holdout: Holdout | None = None


class Assigned(NamedTuple):
    """The client's arms, and what answers its request."""

    assignments: tuple[Assignment, ...] = ()
    treatment: Treatment = "model"


def bucket(seed: str, experiment: str, client_id: str) -> int:
    """Return the bucket of a client in one experiment, from 0 to 9,999. docs/ab_tests.md has the same in SQL."""
    digest = hashlib.sha256(f"{seed}:{experiment}:{client_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def assign(shop: Shop, client_id: str | None, placement: str, now: datetime) -> Assigned:
    """Return the client's arms at a placement. A client in the holdout is in no other experiment."""
    if client_id is None or not CLIENT.fullmatch(client_id):
        return Assigned()
    assignments = []
    if shop.holdout:
        name, held = shop.holdout.name, _buckets(shop.holdout.share)
        if bucket(shop.holdout.seed, name, client_id) < held:
            return Assigned((Assignment(name, HOLDOUT_ARM, held, HOLDOUT_ARM),), "none")
        assignments.append(Assignment(name, SHOWN_ARM, BUCKETS - held, HOLDOUT_ARM))
    for experiment in shop.experiments:
        first, end = experiment.period
        if placement in experiment.placements and first <= now < end:
            arm = _arm_of(experiment, bucket(experiment.seed, experiment.name, client_id))
            control = experiment.arms[0].name
            assignments.append(Assignment(experiment.name, arm.name, _buckets(arm.share), control))
            return Assigned(tuple(assignments), arm.answers)
    return Assigned(tuple(assignments))


def _arm_of(experiment: Experiment, number: int) -> Arm:
    end = 0
    for arm in experiment.arms:
        end += _buckets(arm.share)
        if number < end:
            return arm
    raise ValueError(f"the shares of {experiment.name} do not sum to 1")


def _buckets(share: float) -> int:
    return round(share * BUCKETS)


def read_experiments(directory: Path) -> dict[str, Shop]:
    """Return the experiments of each shop. A deployment validates the files, so an invalid one is only logged here."""
    shops = {}
    for path in sorted(directory.glob("*.toml")):
        try:
            shops[path.stem] = parse(path)
        except (OSError, ExperimentsError) as error:
            log.warning("experiments not read", file=path.name, error=str(error))
    return shops


def parse(path: Path) -> Shop:
    """Return the experiments of one file.

    Raises:
        ExperimentsError: the file is invalid.
        OSError: the file cannot be read.
    """
    import tomllib

    try:
        shop = convert(tomllib.loads(path.read_text("utf-8-sig")), Shop)
    except (ValidationError, ValueError) as error:
        raise ExperimentsError(
            f"experiments/{path.name}: {error}. docs/ab_tests.md has an example"
        ) from error
    if problems := list(_problems(shop)):
        raise ExperimentsError("\n".join(f"experiments/{path.name}: {problem}" for problem in problems))
    return shop


def _problems(shop: Shop) -> Iterator[str]:
    names = [one.name for one in shop.experiments] + ([shop.holdout.name] if shop.holdout else [])
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} is the name of two experiments: give each its own, because results are kept by name"
    if shop.holdout and not _is_whole(shop.holdout.share):
        yield f"{shop.holdout.name}: a share has at most 4 decimals, such as 0.02"
    for experiment in shop.experiments:
        for problem in _problems_of(experiment):
            yield f"{experiment.name}: {problem}"
    for one, other in combinations(shop.experiments, 2):
        shared = [place for place in one.placements if place in other.placements]
        if shared and max(one.period[0], other.period[0]) < min(one.period[1], other.period[1]):
            yield (
                f"{one.name} and {other.name} overlap at {', '.join(shared)}: a request has one answer, so give them "
                "other placements, or an `end` of the first before the `start` of the second"
            )


def _problems_of(experiment: Experiment) -> Iterator[str]:
    arms = [arm.name for arm in experiment.arms]
    if len(set(arms)) < len(arms):
        yield f"two arms have the same name, of {', '.join(arms)}"
    if not all(_is_whole(arm.share) for arm in experiment.arms):
        yield "a share has at most 4 decimals, such as 0.25"
    elif (total := sum(_buckets(arm.share) for arm in experiment.arms)) != BUCKETS:
        yield f"the shares of its arms sum to {total / BUCKETS:g}: they must sum to 1"
    unknown = [place for place in experiment.placements if place not in PLACEMENTS]
    if unknown:
        yield f"no placement is {', '.join(unknown)}: use {', '.join(PLACEMENTS)}"
    if len(set(experiment.placements)) < len(experiment.placements):
        yield "a placement is listed twice"
    if experiment.period[0] >= experiment.period[1]:
        yield "its end is not after its start"


def _is_whole(share: float) -> bool:
    """Return True if the share is a whole number of buckets."""
    return abs(share * BUCKETS - round(share * BUCKETS)) < 1e-6
