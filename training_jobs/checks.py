"""The gate's checks: each a row with a value, a bound and a verdict. Too few cases is never a pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs import metrics
from training_jobs.data import Cases, Int64
from training_jobs.measure import BASELINES, HeldOut, Measured, latencies_ms
from training_jobs.recommend import LENGTH_BUCKETS, Recommender

Thresholds = Mapping[str, Any]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
}


@dataclass(frozen=True)
class Check:
    """`verdict` is passed, failed or skipped; `reason` says why in a sentence wherever it is not passed."""

    name: str
    slice: str
    n: int
    minimum_n: int
    value: float
    bound: float
    comparator: str
    interval: tuple[float, float] | None
    verdict: str
    reason: str


def check(
    name: str,
    value: float,
    comparator: str,
    bound: float,
    *,
    n: int,
    minimum_n: int = 1,
    over: str = "all",
    interval: tuple[float, float] | None = None,
    required: bool = True,
) -> Check:
    """Compare. With fewer than `minimum_n` cases a required check fails and another is skipped."""
    if n < minimum_n:
        reason = f"{name} ({over}): {n} cases, at least {minimum_n} are needed to judge"
        return Check(
            name,
            over,
            n,
            minimum_n,
            value,
            bound,
            comparator,
            interval,
            "failed" if required else "skipped",
            reason,
        )
    if np.isfinite(value) and _COMPARE[comparator](value, bound):
        return Check(name, over, n, minimum_n, value, bound, comparator, interval, "passed", "")
    reason = f"{name} ({over}) is {value:.4g}, must be {comparator} {bound:.4g}"
    return Check(name, over, n, minimum_n, value, bound, comparator, interval, "failed", reason)


def skipped(name: str, reason: str) -> Check:
    return Check(name, "all", 0, 0, 0.0, 0.0, "", None, "skipped", reason)


def accuracy_checks(measured: Mapping[str, Measured], held: HeldOut, limits: Thresholds) -> list[Check]:
    """Better than every baseline, no worse than the champion."""
    cases, least = held.cases, int(limits["minimum_cases"])
    found = []
    candidate = measured["candidate"]
    for metric, values in (("hr_at_20", _hits), ("mrr_at_20", _reciprocals)):
        for name in BASELINES:
            gain = values(candidate) - values(measured[name])
            found.append(
                check(
                    f"{metric} above {name}",
                    float(gain.mean()) if len(gain) else 0.0,
                    ">",
                    0.0,
                    n=len(cases),
                    minimum_n=least,
                    interval=metrics.bootstrap_interval(gain, cases.session),
                )
            )
        if "champion" in measured:
            gain = values(candidate) - values(measured["champion"])
            found.append(
                check(
                    f"{metric} against champion",
                    float(gain.mean()) if len(gain) else 0.0,
                    ">=",
                    -float(limits["champion_tolerance"][metric]),
                    n=len(cases),
                    minimum_n=least,
                    interval=metrics.bootstrap_interval(gain, cases.session),
                )
            )
    return found


def slice_checks(measured: Mapping[str, Measured], held: HeldOut, limits: Thresholds) -> list[Check]:
    """No length of session, and no part of the catalogue, may be served worse than by the champion or session-kNN.

    (Popularity is no measure here: in a small shop it has every target of the best-selling slice among its 20.)
    """
    found = []
    other = "champion" if "champion" in measured else "session_knn"
    for name, inside in slices(held).items():
        gain = (_hits(measured["candidate"]) - _hits(measured[other]))[inside]
        found.append(
            check(
                f"hr_at_20 against {other}",
                float(gain.mean()) if len(gain) else 0.0,
                ">=",
                -float(limits["slice_tolerance"]),
                n=int(inside.sum()),
                minimum_n=int(limits["minimum_slice_cases"]),
                over=name,
                interval=metrics.bootstrap_interval(gain, held.cases.session[inside]),
                required=False,
            )
        )
    return found


def slices(held: HeldOut) -> dict[str, NDArray[np.bool_]]:
    """Masks over the cases: by session length, and by how popular the target was."""
    lengths = held.cases.lengths
    ends = [*LENGTH_BUCKETS[1:], None]
    named = {}
    for begin, end in zip(LENGTH_BUCKETS, ends, strict=True):
        label = (
            f"length {begin}+"
            if end is None
            else f"length {begin}"
            if end - begin == 1
            else f"length {begin}-{end - 1}"
        )
        named[label] = (lengths >= begin) & (lengths < end if end else True)
    target = np.where(held.cases.targets >= 0, held.popularity[held.cases.targets], 0.0)
    sold = np.sort(held.popularity[held.active])
    if len(sold):
        head, tail = np.quantile(sold, [0.9, 0.5])
        named["target in top tenth"] = target >= head
        named["target in the middle"] = (target < head) & (target >= tail)
        named["target in lower half"] = target < tail
    return named


def spread_checks(measured: Mapping[str, Measured], held: HeldOut, limits: Thresholds) -> list[Check]:
    """Not the same few best-sellers for everybody."""
    shown, n = measured["candidate"].top, len(held.cases)
    active = int(held.active.sum())
    reachable = max(1, min(active, 20 * n))
    recommended = np.bincount(shown[shown >= 0], minlength=len(held.active)) > 0
    covered = float((recommended & held.active).sum()) / reachable
    ratio = metrics.popularity_ratio(shown, held.cases.targets, held.popularity)
    gini = metrics.gini(shown, len(held.active))
    least = int(limits["minimum_cases"])
    return [
        check(
            "coverage of active items",
            covered,
            ">=",
            float(limits["minimum_coverage_of_active_items"]),
            n=n,
            minimum_n=least,
        ),
        check(
            "popularity ratio", ratio, "<=", float(limits["maximum_popularity_ratio"]), n=n, minimum_n=least
        ),
        check("gini of recommendations", gini, "<=", float(limits["maximum_gini"]), n=n, minimum_n=least),
    ]


def behaviour_checks(
    recommender: Recommender, sessions: Sequence[Sequence[str]], limits: Thresholds
) -> list[Check]:
    """What must hold for any answer, asked through the very code the endpoint runs."""
    n, k = len(sessions), min(20, max(1, len(recommender.vocabulary) - 2))
    answers = [recommender.recommend(items, k) for items in sessions]
    whole = sum(len(set(a.items)) == k for a in answers)
    current = sum(items[-1] in a.items for items, a in zip(sessions, answers, strict=True))
    finite = sum(all(np.isfinite(a.scores)) and a.scores == sorted(a.scores, reverse=True) for a in answers)
    barred = 0
    for items, answer in zip(sessions, answers, strict=True):
        barred += len(set(recommender.recommend(items, k, answer.items[:5]).items) & set(answer.items[:5]))
    unknown = [recommender.recommend(["\x00 no such item", *items], k).items for items in sessions]
    same = sum(u == a.items for u, a in zip(unknown, answers, strict=True))
    again = [recommender.recommend([*items, items[-1]], k).items for items in sessions]
    repeated = [_overlap(b, a.items) for b, a in zip(again, answers, strict=True)]
    swapped = [
        _overlap(recommender.recommend([items[1], items[0], *items[2:]], k).items, a.items)
        for items, a in zip(sessions, answers, strict=True)
        if len(items) >= 3
    ]
    cold = [recommender.recommend(items, k) for items in ([], ["\x00 no such item"])]
    popular = {recommender.vocabulary[row] for row in np.argsort(-recommender.popularity, kind="stable")[:k]}
    return [
        check("answers with k distinct items", whole / max(n, 1), "==", 1.0, n=n),
        check("answers with the current item", current, "==", 0, n=n),
        check("answers with finite, ordered scores", finite / max(n, 1), "==", 1.0, n=n),
        check("excluded items shown", barred, "==", 0, n=n),
        check("answers unmoved by an unknown id", same / max(n, 1), "==", 1.0, n=n),
        check(
            "overlap after a duplicate event",
            float(np.mean(repeated)) if repeated else 0.0,
            ">=",
            float(limits["minimum_duplicate_overlap"]),
            n=n,
        ),
        check(
            "overlap after swapping the two oldest clicks",
            float(np.mean(swapped)) if swapped else 0.0,
            ">=",
            float(limits["minimum_swap_overlap"]),
            n=len(swapped),
            minimum_n=20,
            required=False,
        ),
        check(
            "cold sessions answered by popularity",
            sum(set(a.items) == popular for a in cold),
            "==",
            len(cold),
            n=len(cold),
        ),
    ]


def artefact_checks(
    served: Recommender,
    golden: Sequence[Mapping[str, Any]],
    sessions: Sequence[Sequence[str]],
    archive_bytes: int,
    held: HeldOut,
    trained_until_ms: int,
    limits: Thresholds,
) -> list[Check]:
    """Leakage, parity of the served files with what training saw, speed and size."""
    overlap = [
        _overlap(served.recommend(row["items"], int(row["k"])).items, row["expected"]) for row in golden
    ]
    taken = latencies_ms(served, sessions)
    p50, p99 = (float(np.quantile(taken, q)) if len(taken) else float("inf") for q in (0.5, 0.99))
    size_limit = int(limits["maximum_archive_bytes"])
    return [
        check(
            "training ends before the held-out day (ms)",
            trained_until_ms - held.holdout_start_ms,
            "<=",
            -1,
            n=1,
        ),
        check(
            "golden sessions answered alike",
            float(np.mean(overlap)) if overlap else 0.0,
            ">=",
            float(limits["minimum_golden_overlap"]),
            n=len(golden),
            minimum_n=20,
        ),
        check("latency p50 (ms)", p50, "<=", float(limits["latency_p50_ms"]), n=len(taken), minimum_n=5),
        check("latency p99 (ms)", p99, "<=", float(limits["latency_p99_ms"]), n=len(taken), minimum_n=5),
        check("archive size (bytes)", archive_bytes, "<=", size_limit, n=1),
    ]


def _hits(measured: Measured) -> NDArray[np.float64]:
    return (measured.rank <= 20).astype(np.float64)


def _reciprocals(measured: Measured) -> NDArray[np.float64]:
    return metrics.reciprocal_ranks(measured.rank, 20)


def _overlap(found: Sequence[str], expected: Sequence[str]) -> float:
    return len(set(found) & set(expected)) / max(len(expected), 1)


def probe_sessions(cases: Cases, vocabulary: Sequence[str], count: int) -> list[list[str]]:
    """Real prefixes of the held-out day, evenly spread, as item ids."""
    rows: Int64 = np.unique(np.linspace(0, max(len(cases) - 1, 0), min(count, len(cases))).astype(np.int64))
    return [[vocabulary[item] for item in cases.prefix(int(row))][-200:] for row in rows]
