"""Checks of what was measured on the held-out day: accuracy, slices, spread, misses, calibration, leakage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training_jobs.gate import metrics
from training_jobs.gate.check import Check, Thresholds, check, family_level, reported, share, skipped
from training_jobs.gate.measure import HeldOut, Measured
from training_jobs.gate.metrics import LENGTH_BUCKETS
from training_jobs.serving.model_files import ModelCard
from training_jobs.serving.session_recommender import Recommender
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
    """All that follows from ranks and lists shown. `note` says why there is no champion, where there is none."""
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
    """Better than popularity; not shown to be worse than the other baselines and the champion by more than the margin."""
    n, least = len(held.cases), int(limits["minimum_cases"])
    candidate = measured["candidate"]
    hits = int(candidate.hits.sum())
    found = [
        check(
            "hr_at_20",
            share(candidate.hits),
            ">=",
            float(limits["minimum_hr_at_20"]),
            n=n,
            minimum_n=least,
            interval=metrics.wilson_interval(hits, n),
        )
    ]
    for metric in METRICS:
        for name in ("popularity", "item_to_item", "session_knn", "champion"):
            if name not in measured:
                found.append(skipped(f"{metric} against {name}", note, against=name))
                continue
            gain = _values(candidate, metric) - _values(measured[name], metric)
            beaten_outright = name == "popularity"
            found.append(
                check(
                    f"{metric} above popularity" if beaten_outright else f"{metric} against {name}",
                    share(gain),
                    ">" if beaten_outright else ">=",
                    0.0 if beaten_outright else -float(limits["margin"][metric]),
                    n=n,
                    minimum_n=least,
                    against=name,
                    interval=resampler.family_interval(gain, family_level(limits)),
                    by_far_end=not beaten_outright,
                )
            )
    return found


def slice_checks(
    measured: Mapping[str, Measured], held: HeldOut, resampler: metrics.Resampler, limits: Thresholds
) -> list[Check]:
    """No length of session and no category may be served worse than by the champion, or else by session-kNN.

    Slices that the target defines are judged against the champion alone: a baseline that always shows the session's own
    items wins the returns and loses the rest, and popularity wins the best sellers.
    """
    found, least = [], int(limits["minimum_slice_cases"])
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
            check(
                name,
                value,
                ">=",
                -float(limits["target_slice_margin" if over.startswith("target ") else "slice_margin"]),
                n=n,
                minimum_n=least,
                over=over,
                against=other,
                interval=interval,
                by_far_end=True,
                required=False,
            )
        )
    return found


def slices(held: HeldOut) -> dict[str, NDArray[np.bool_]]:
    """Masks over the cases: by session length, how popular or new the target was, and the current item's category."""
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
    """The categories in which most people are looking."""
    current = catalogue.categories[held.cases.items[held.cases.offsets[1:] - 1]]
    codes, counts = np.unique(current[current >= 0], return_counts=True)
    most = codes[np.argsort(-counts, kind="stable")[:_CATEGORIES]]
    return {f"in category {catalogue.names[code]}": current == code for code in most}


def spread_checks(candidate: Measured, held: HeldOut, limits: Thresholds) -> list[Check]:
    """Not the same few best-sellers for everybody."""
    shown, n = candidate.top, len(held.cases)
    reachable = max(1, min(int(held.active.sum()), 20 * n))
    recommended = np.bincount(shown[shown >= 0], minlength=len(held.active)) > 0
    covered = float((recommended & held.active).sum()) / reachable
    ratio = metrics.popularity_ratio(shown, held.cases.targets, held.popularity)
    gini = metrics.gini(shown, len(held.active))
    least = int(limits["minimum_cases"])
    return [
        check(name, value, comparator, float(limits[bound]), n=n, minimum_n=least)
        for name, value, comparator, bound in (
            ("coverage of active items", covered, ">=", "minimum_coverage_of_active_items"),
            ("popularity ratio", ratio, "<=", "maximum_popularity_ratio"),
            ("gini of recommendations", gini, "<=", "maximum_gini"),
        )
    ]


def reach_check(candidate: Measured, held: HeldOut, limits: Thresholds) -> Check:
    """Every category that shoppers go on to is shown to somebody."""
    name, catalogue = "categories clicked but never shown", held.data.catalogue
    if catalogue is None:
        return skipped(name, "the snapshot has no catalogue")
    shown = candidate.top[candidate.top >= 0]
    clicked, seen = (
        np.bincount(of[of >= 0], minlength=len(catalogue.names))
        for of in (catalogue.categories[held.cases.targets], catalogue.categories[shown])
    )
    often = clicked >= int(limits["minimum_slice_cases"])
    return check(name, int((often & (seen == 0)).sum()), "==", 0, n=int(often.sum()), required=False)


def miss_checks(
    measured: Mapping[str, Measured], held: HeldOut, resampler: metrics.Resampler, limits: Thresholds
) -> list[Check]:
    """Where the target was missed, what was shown is still nearer to it, by category and price, than best-sellers are."""
    rows = (
        ("same category on misses", same_category, ">=", -float(limits["same_category_tolerance"])),
        ("price distance on misses", price_distance, "<=", float(limits["price_distance_tolerance"])),
    )
    catalogue = held.data.catalogue
    found = []
    for name, nearness, comparator, bound in rows:
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
            check(
                name,
                share(difference[inside]),
                comparator,
                bound,
                n=int(inside.sum()),
                minimum_n=int(limits["minimum_slice_cases"]),
                over="misses",
                against="popularity",
                interval=resampler.family_interval(difference, family_level(limits), inside),
                by_far_end=True,
                required=False,
            )
        )
    return found


def same_category(top: Int64, targets: Int64, catalogue: Catalogue) -> Float64:
    """Share of the items shown that are in the target's category; NaN where that is unknown."""
    shown, wanted = np.where(top >= 0, catalogue.categories[top], -1), catalogue.categories[targets]
    alike = ((shown == wanted[:, None]) & (top >= 0)).sum(axis=1) / np.maximum((top >= 0).sum(axis=1), 1)
    return np.where(wanted >= 0, alike, np.nan)


def price_distance(top: Int64, targets: Int64, catalogue: Catalogue) -> Float64:
    """Mean |log(price / the target's price)| of the items shown whose price is known; NaN where there are none."""
    prices = np.where(catalogue.prices > 0, catalogue.prices, np.nan)
    logs = np.log(prices)
    distance = np.abs(np.where(top >= 0, logs[top], np.nan) - logs[targets][:, None])
    there = np.isfinite(distance)
    total, count = np.where(there, distance, 0.0).sum(axis=1), there.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def confidence_checks(
    candidate: Measured, held: HeldOut, resampler: metrics.Resampler, limits: Thresholds
) -> list[Check]:
    """What the model says of its chances is roughly so, and it is right more often where it is sure."""
    n, least = len(held.cases), int(limits["minimum_cases"])
    sure = np.zeros(n, bool)
    sure[np.argsort(-candidate.confidence, kind="stable")[: n // 2]] = True
    halves = [share(candidate.hits[sure]), share(candidate.hits[~sure])]
    # The difference of two means over all cases, as one mean: each half weighted by the inverse of its share.
    weighted = np.where(sure, candidate.hits * n / max(n // 2, 1), -candidate.hits * n / max(n - n // 2, 1))
    return [
        check(
            "calibration error",
            metrics.calibration_error(candidate.confidence, candidate.hits),
            "<=",
            float(limits["maximum_calibration_error"]),
            n=n,
            minimum_n=least,
        ),
        check(
            "hr_at_20 of the surer half above the other",
            halves[0] - halves[1],
            ">=",
            0.0,
            n=n,
            minimum_n=least,
            interval=resampler.family_interval(weighted, family_level(limits)),
            by_far_end=True,
        ),
    ]


def leakage_checks(
    variant: Recommender,
    card: ModelCard,
    served: Recommender,
    served_card: ModelCard,
    candidate: Measured,
    held: HeldOut,
    limits: Thresholds,
) -> list[Check]:
    """The measured variant knows all sessions before the held-out day and none of it; the served model knows all of it."""
    late = {held.data.vocabulary[row] for row in np.flatnonzero(~held.active)}
    rows = np.array([variant.rows[item] for item in late if item in variant.rows], np.int64)
    postings = np.diff(variant.index.posting_offsets)
    newest_ms = int(held.data.sessions.ends_ms.max())
    claimed = float(card.metrics.get("hr_at_20", np.nan))
    return [
        check(
            "training ends before the held-out day (ms)",
            card.trained_until_ms - held.holdout_start_ms,
            "<=",
            -1,
            n=1,
        ),
        check(
            "sessions in the measured model beyond those before the cut",
            variant.index.sessions - held.past,
            "==",
            0,
            n=1,
        ),
        check(
            "sessions in the served model beyond those of the snapshot",
            served.index.sessions - len(held.data.sessions),
            "==",
            0,
            n=1,
        ),
        check(
            "items of the snapshot that the served model lacks",
            sum(item not in served.rows for item in held.data.vocabulary),
            "==",
            0,
            n=len(held.data.vocabulary),
        ),
        check(
            "items of the held-out day known from clicks",
            int(((variant.popularity[rows] > 0) | (postings[rows] > 0)).sum()),
            "==",
            0,
            n=1,
        ),
        check(
            "hr_at_20 as training measured it (difference)",
            abs(share(candidate.hits) - claimed),
            "<=",
            float(limits["reproduction_tolerance"]),
            n=len(held.cases),
            minimum_n=int(limits["minimum_cases"]),
        ),
        check("served model lags the snapshot (ms)", newest_ms - served_card.trained_until_ms, "<=", 0, n=1),
    ]


def served_check(
    served: Measured, candidate: Measured, held: HeldOut, resampler: metrics.Resampler, limits: Thresholds
) -> Check:
    """Only its twin was measured; having learnt these very cases, the served model must know them at least as well."""
    gain = served.hits - candidate.hits
    return check(
        "hr_at_20 of the served model, which has seen the day",
        share(gain),
        ">=",
        -float(limits["served_tolerance"]),
        n=len(held.cases),
        minimum_n=int(limits["minimum_cases"]),
        against="candidate",
        interval=resampler.family_interval(gain, family_level(limits)),
        by_far_end=True,
    )


def _values(measured: Measured, metric: str) -> Float64:
    return measured.hits if metric == "hr_at_20" else measured.reciprocals
