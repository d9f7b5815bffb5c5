"""Checks of the measurements on the held-out day: accuracy, slices, spread, misses, calibration, leakage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training_jobs.gate import metrics
from training_jobs.gate.check import Check, family_level, reported, share, skipped
from training_jobs.gate.measure import HeldOut, Measured
from training_jobs.gate.metrics import LENGTH_BUCKETS
from training_jobs.gate.model import Model
from training_jobs.gate.rules import judge
from training_jobs.gate.thresholds import Thresholds
from training_jobs.serving.knn import INDEX_SESSIONS
from training_jobs.serving.model_files import ModelCard
from training_jobs.serving.recommendation import Evidence
from training_jobs.serving.sessions import Float64, Int64
from training_jobs.snapshot.dataset import Catalogue

METRICS = ("hr_at_20", "mrr_at_20")
_CATEGORIES = 5


def measured_checks(
    measured: Mapping[str, Measured],
    held: HeldOut,
    resampler: metrics.Resampler,
    limits: Thresholds,
    note: str,
) -> list[Check]:
    """Make all checks of ranks and recommended lists. `note` is the reason if there is no champion."""
    return [
        *accuracy_checks(measured, held, resampler, limits, note),
        *slice_checks(measured, held, resampler, limits),
        *spread_checks(measured["candidate"], held, limits),
        reach_check(measured["candidate"], held, limits),
        *miss_checks(measured, held, resampler, limits),
        *confidence_checks(measured["candidate"], held, resampler, limits),
    ]


def accuracy_checks(
    measured: Mapping[str, Measured],
    held: HeldOut,
    resampler: metrics.Resampler,
    limits: Thresholds,
    note: str,
) -> list[Check]:
    """Check that the candidate beats popularity, and is within the margin of the other baselines and the champion."""
    n = len(held.cases)
    candidate = measured["candidate"]
    hits = int(candidate.hits.sum())
    found = [judge(limits, "hr_at_20", share(candidate.hits), n=n, interval=metrics.wilson_interval(hits, n))]
    for metric in METRICS:
        for name in ("popularity", "item_to_item", "session_knn", "champion"):
            if name not in measured:
                found.append(skipped(f"{metric} against {name}", note, against=name))
                continue
            gain = _values(candidate, metric) - _values(measured[name], metric)
            beaten_outright = name == "popularity"
            found.append(
                judge(
                    limits,
                    f"{metric} above popularity" if beaten_outright else f"{metric} against {name}",
                    share(gain),
                    n=n,
                    against=name,
                    interval=resampler.family_interval(gain, family_level(limits)),
                )
            )
    return found


def slice_checks(
    measured: Mapping[str, Measured], held: HeldOut, resampler: metrics.Resampler, limits: Thresholds
) -> list[Check]:
    """Check that no session length and no category is served worse than by the champion, or session-kNN without one.

    Slices of the target are compared with the champion alone. A baseline that always shows the session's own
    items wins the returns and loses the other slices.
    """
    found = []
    champion = "champion" in measured
    other = "champion" if champion else "session_knn"
    gain = measured["candidate"].hits - measured[other].hits
    name = f"hr_at_20 against {other}"
    for over, inside in slices(held).items():
        n, value = int(inside.sum()), share(gain[inside])
        interval = resampler.family_interval(gain, family_level(limits), inside)
        if over.startswith("target ") and not champion:
            why = "the target defines the slice, so only a champion is a fair opponent"
            found.append(reported(name, value, why, n=n, over=over, against=other, interval=interval))
            continue
        found.append(
            judge(
                limits,
                name,
                value,
                n=n,
                over=over,
                against=other,
                interval=interval,
                rule="target slice" if over.startswith("target ") else "slice",
            )
        )
    return found


def slices(held: HeldOut) -> dict[str, NDArray[np.bool_]]:
    """Return masks over the cases: by session length, by the target's popularity and age, and by the current item's category."""
    cases = held.cases
    lengths, ends = cases.lengths, [*LENGTH_BUCKETS[1:], None]
    named: dict[str, NDArray[np.bool_]] = {}
    for begin, end in zip(LENGTH_BUCKETS, ends, strict=True):
        label = f"{begin}+" if end is None else f"{begin}" if end - begin == 1 else f"{begin}-{end - 1}"
        named[f"length {label}"] = (lengths >= begin) & (lengths < end if end else True)
    target = held.popularity[cases.targets]
    known = held.active[cases.targets]
    sold = np.sort(held.popularity[held.active])
    if len(sold):
        head, tail = np.quantile(sold, [0.9, 0.5])
        named["target in top tenth"] = known & (target >= head)
        named["target in the middle"] = known & (target < head) & (target >= tail)
        named["target in lower half"] = known & (target < tail)
    named["target new to the shop"] = ~known
    owner = np.repeat(np.arange(len(cases)), lengths)
    again = np.bincount(owner, weights=cases.items == cases.targets[owner], minlength=len(cases)) > 0
    named["target seen in the session"] = again
    if held.data.catalogue is not None:
        named |= _by_category(held, held.data.catalogue)
    return named


def _by_category(held: HeldOut, catalogue: Catalogue) -> dict[str, NDArray[np.bool_]]:
    """Return masks of the categories with the most sessions."""
    current = catalogue.categories[held.cases.items[held.cases.offsets[1:] - 1]]
    codes, counts = np.unique(current[current >= 0], return_counts=True)
    most = codes[np.argsort(-counts, kind="stable")[:_CATEGORIES]]
    return {f"in category {catalogue.names[code]}": current == code for code in most}


def spread_checks(candidate: Measured, held: HeldOut, limits: Thresholds) -> list[Check]:
    """Check that recommendations are not the same few best-sellers for everybody."""
    shown, n = candidate.top, len(held.cases)
    reachable = max(1, min(int(held.active.sum()), 20 * n))
    recommended = np.bincount(shown[shown >= 0], minlength=len(held.active)) > 0
    covered = float((recommended & held.active).sum()) / reachable
    ratio = metrics.popularity_ratio(shown, held.cases.targets, held.popularity)
    gini = metrics.gini(shown, len(held.active))
    return [
        judge(limits, name, value, n=n)
        for name, value in (
            ("coverage of active items", covered),
            ("popularity ratio", ratio),
            ("gini of recommendations", gini),
        )
    ]


def reach_check(candidate: Measured, held: HeldOut, limits: Thresholds) -> Check:
    """Check that every category is shown about as often as shoppers click it next. The value is the least ratio of the shares."""
    name, catalogue = "least shown over clicked of a category", held.data.catalogue
    if catalogue is None:
        return skipped(name, "the snapshot has no catalogue")
    shown = candidate.top[candidate.top >= 0]
    clicked, seen = (
        np.bincount(of[of >= 0], minlength=len(catalogue.names)).astype(np.float64)
        for of in (catalogue.categories[held.cases.targets], catalogue.categories[shown])
    )
    often = clicked >= limits.reach_minimum_clicks
    ratios = (seen / max(seen.sum(), 1.0))[often] / (clicked / max(clicked.sum(), 1.0))[often]
    return judge(limits, name, float(ratios.min(initial=1.0)), n=int(often.sum()))


def miss_checks(
    measured: Mapping[str, Measured], held: HeldOut, resampler: metrics.Resampler, limits: Thresholds
) -> list[Check]:
    """Check the misses: the shown items are nearer to the target, by category and price, than best-sellers are."""
    rows = (
        ("same category on misses", same_category),
        ("price distance on misses", price_distance),
    )
    catalogue = held.data.catalogue
    found = []
    for name, nearness in rows:
        if catalogue is None:
            found.append(skipped(name, "the snapshot has no catalogue", against="popularity"))
            continue
        own, other = (
            nearness(measured[model].top, held.cases.targets, catalogue)
            for model in ("candidate", "popularity")
        )
        inside = (measured["candidate"].rank > 20) & np.isfinite(own) & np.isfinite(other)
        difference = np.where(inside, own - other, 0.0)
        found.append(
            judge(
                limits,
                name,
                share(difference[inside]),
                n=int(inside.sum()),
                over="misses",
                against="popularity",
                interval=resampler.family_interval(difference, family_level(limits), inside),
            )
        )
    return found


def same_category(top: Int64, targets: Int64, catalogue: Catalogue) -> Float64:
    """Return the share of shown items in the target's category per case, NaN if it is unknown."""
    shown, wanted = np.where(top >= 0, catalogue.categories[top], -1), catalogue.categories[targets]
    alike = ((shown == wanted[:, None]) & (top >= 0)).sum(axis=1) / np.maximum((top >= 0).sum(axis=1), 1)
    return np.where(wanted >= 0, alike, np.nan)


def price_distance(top: Int64, targets: Int64, catalogue: Catalogue) -> Float64:
    """Return the mean |log(price / the target's price)| of shown items with a price per case, NaN without any."""
    prices = np.where(catalogue.prices > 0, catalogue.prices, np.nan)
    logs = np.log(prices)
    distance = np.abs(np.where(top >= 0, logs[top], np.nan) - logs[targets][:, None])
    there = np.isfinite(distance)
    total, count = np.where(there, distance, 0.0).sum(axis=1), there.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def confidence_checks(
    candidate: Measured, held: HeldOut, resampler: metrics.Resampler, limits: Thresholds
) -> list[Check]:
    """Check that scores are calibrated, and that the confident half has a higher hit rate."""
    n = len(held.cases)
    sure = np.zeros(n, bool)
    sure[np.argsort(-candidate.confidence, kind="stable")[: n // 2]] = True
    halves = [share(candidate.hits[sure]), share(candidate.hits[~sure])]
    # The difference of two means over all cases, as one mean: each half weighted by the inverse of its share.
    weighted = np.where(sure, candidate.hits * n / max(n // 2, 1), -candidate.hits * n / max(n - n // 2, 1))
    return [
        judge(
            limits, "calibration error", metrics.calibration_error(candidate.confidence, candidate.hits), n=n
        ),
        judge(
            limits,
            "hr_at_20 of the surer half above the other",
            halves[0] - halves[1],
            n=n,
            interval=resampler.family_interval(weighted, family_level(limits)),
        ),
    ]


def leakage_checks(
    variant: Model,
    card: ModelCard,
    served: Model,
    evidence: Evidence,
    served_card: ModelCard,
    candidate: Measured,
    held: HeldOut,
    limits: Thresholds,
) -> list[Check]:
    """Check that the variant has learnt the sessions before the held-out day and no later ones, and the served model all.

    `evidence` is the served model's.
    """
    late = {held.data.vocabulary[row] for row in np.flatnonzero(~held.active)}
    rows = np.array([variant.rows[item] for item in late if item in variant.rows], np.int64)
    learnt = variant.evidence()
    newest_ms = int(held.data.sessions.ends_ms.max())
    claimed = float(card.metrics.get("hr_at_20", np.nan))
    return [
        judge(
            limits,
            "training ends before the held-out day (ms)",
            card.trained_until_ms - held.holdout_start_ms,
            n=1,
        ),
        judge(
            limits,
            "sessions in the measured model beyond those before the cut",
            learnt.sessions - min(held.past, INDEX_SESSIONS),
            n=1,
        ),
        judge(
            limits,
            "sessions in the served model beyond those of the snapshot",
            evidence.sessions - min(len(held.data.sessions), INDEX_SESSIONS),
            n=1,
        ),
        judge(
            limits,
            "items of the snapshot that the served model lacks",
            sum(item not in served.rows for item in held.data.vocabulary),
            n=len(held.data.vocabulary),
        ),
        judge(
            limits,
            "items of the held-out day known from clicks",
            int(learnt.from_clicks[rows].sum()),
            n=1,
        ),
        judge(
            limits,
            "hr_at_20 as training measured it (difference)",
            abs(share(candidate.hits) - claimed),
            n=len(held.cases),
        ),
        judge(limits, "served model lags the snapshot (ms)", newest_ms - served_card.trained_until_ms, n=1),
    ]


def served_check(
    served: Measured, candidate: Measured, held: HeldOut, resampler: metrics.Resampler, limits: Thresholds
) -> Check:
    """Check that the served model is at least as good as the measured one on these cases, which it has learnt."""
    gain = served.hits - candidate.hits
    return judge(
        limits,
        "hr_at_20 of the served model, which has seen the day",
        share(gain),
        n=len(held.cases),
        against="candidate",
        interval=resampler.family_interval(gain, family_level(limits)),
    )


def _values(measured: Measured, metric: str) -> Float64:
    return measured.hits if metric == "hr_at_20" else measured.reciprocals
