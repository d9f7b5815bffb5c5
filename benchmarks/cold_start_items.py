"""The first part of `benchmarks.cold_start`: whole items lose all their clicks, and the next clicks on them are ranked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cold_start_logs import ShopLog
from benchmarks.cold_start_models import Ranked, of_model, ranked, trained, without_model
from benchmarks.runs import without
from training_jobs.gate import metrics
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import Cases, prefix_cases, sampled_rows

# Of the items, for the test and for the choice of settings.
HELD_SHARE = 0.2
# Of the sessions, the newest ones: for the test, and before them for the choice of settings.
LATER_SHARE = 0.15
CASES = 3000

Row = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """Sessions to learn from, cases of later sessions, and the items that were held out.

    A case is `cold` if its target has no click in `learn` and is new to the session, and `warm` if it has a click.
    """

    learn: Sessions
    cases: Cases
    held: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    cold: NDArray[np.bool_]
    warm: NDArray[np.bool_]


def split(log: ShopLog, seed: int, *, test: bool) -> Split:
    """Hold out a fifth of the items. The choice of settings has other items and older sessions than the test.

    For the choice the items of the test have no clicks either, and no case asks for them.
    """
    sessions, items = log.sessions, len(log.vocabulary)
    group = np.random.default_rng([seed, 1]).permutation(items) / items
    of_test, of_choice = group < HELD_SHARE, (group >= HELD_SHARE) & (group < 2 * HELD_SHARE)
    first = round(len(sessions) * (1 - (1 if test else 2) * LATER_SHARE))
    last = len(sessions) if test else round(len(sessions) * (1 - LATER_SHARE))
    learn = without(sessions.between(0, first), of_test if test else of_test | of_choice)
    cases = prefix_cases(sessions.between(first, last))
    if not test:
        cases = cases.take(~of_test[cases.targets])
    cases = cases.take(sampled_rows(len(cases), seed, CASES))
    unseen = learn.clicks(items) == 0
    again = np.array([target in cases.prefix(row) for row, target in enumerate(cases.targets)], bool)
    cold = unseen[cases.targets]
    return Split(learn, cases, of_test if test else of_choice, unseen, cold & ~again, ~cold)


def measure_items(log: ShopLog, seed: int, *, test: bool, emit: Callable[[Row], None]) -> None:
    """Emit one row per model."""
    parts = split(log, seed, test=test)
    now_ms = int(parts.learn.ends_ms.max()) + 1
    model, shares = trained(log, parts.learn, seed)
    scorers = without_model(log, parts.learn, now_ms, seed) | of_model(model)
    for name, score in scorers.items():
        found = figures(ranked(score, parts.cases, parts.unseen), parts)
        emit(
            {"model": name, "seed": seed, **found, **shares}
            | ({"catalogue_sessions": model.index.catalogue_sessions} if name == "model" else {})
        )


def figures(found: Ranked, parts: Split) -> Row:
    """Return the hits on cold items, among all and among cold ones only, and those on warm items."""
    cold, warm = parts.cold, parts.warm
    return {
        "cold_cases": int(cold.sum()),
        "cold_items": int(parts.unseen.sum()),
        **_hits("cold", found.every[cold]),
        **_hits("cold_among_cold", found.inside[cold]),
        "warm_cases": int(warm.sum()),
        **_hits("warm", found.every[warm]),
        **_hits("every", found.every[cold | warm]),
    }


def _hits(name: str, rank: NDArray[np.int64]) -> Row:
    return {
        f"{name}_hr_at_20": round(metrics.hit_rate(rank, 20), 4),
        f"{name}_mrr_at_20": round(metrics.mrr(rank, 20), 4),
    }
