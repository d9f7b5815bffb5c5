"""Checks of the served files by the endpoint's own code: constraints, perturbations, parity, speed, size."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.gate import metrics
from training_jobs.gate.check import Check, family_level, share
from training_jobs.gate.measure import latencies_ms
from training_jobs.gate.model import Model
from training_jobs.gate.rules import judge
from training_jobs.gate.thresholds import Thresholds
from training_jobs.serving import inference
from training_jobs.serving.contract import ARCHIVE_FALLBACK, ENDPOINT_ITEMS_MAX
from training_jobs.serving.recommendation import Evidence, Recommendation
from training_jobs.serving.session_recommender import top
from training_jobs.serving.sessions import Float32, Int64
from training_jobs.snapshot.dataset import Cases

Sessions = Sequence[Sequence[str]]
_UNKNOWN = "\x00 no such item"


def probe_sessions(cases: Cases, vocabulary: Sequence[str], count: int) -> list[list[str]]:
    """Return real prefixes of the held-out day as item ids, spread evenly."""
    rows: Int64 = np.unique(np.linspace(0, max(len(cases) - 1, 0), min(count, len(cases))).astype(np.int64))
    return [[vocabulary[item] for item in cases.prefix(int(row))][-ENDPOINT_ITEMS_MAX:] for row in rows]


def constraint_checks(served: Model, sessions: Sessions, limits: Thresholds) -> list[Check]:
    """Check the constraints of every answer."""
    n, k = len(sessions), _width(served)
    answers = [served.recommend(items, k) for items in sessions]
    pairs = list(zip(sessions, answers, strict=True))
    filtered = [(a.items[:5], served.recommend(items, k, a.items[:5])) for items, a in pairs]
    cold = [served.recommend(items, k) for items in ([], [_UNKNOWN])]
    best = set(served.popular(k))
    return [
        judge(limits, "answers with k distinct items", share([len(set(a.items)) == k for a in answers]), n=n),
        judge(limits, "answers with the current item", sum(items[-1] in a.items for items, a in pairs), n=n),
        judge(limits, "answers with finite, ordered scores", share([_ordered(a) for a in answers]), n=n),
        judge(
            limits,
            "filtered items shown",
            sum(len({*excluded} & {*a.items}) for excluded, a in filtered),
            n=n,
        ),
        judge(
            limits,
            "short answers that begin the long ones",
            share([served.recommend(items, min(5, k)).items == a.items[:5] for items, a in pairs]),
            n=n,
        ),
        judge(
            limits,
            "answers that are the same again",
            share([served.recommend(items, k).items == a.items for items, a in pairs]),
            n=n,
        ),
        judge(limits, "cold sessions answered by popularity", sum({*a.items} == best for a in cold), n=2),
        judge(
            limits,
            "answers that say where they come from",
            share(
                [bool(a.reason) and (a.source == "session") for a in answers]
                + [a.source == "popularity" for a in cold]
            ),
            n=n + 2,
        ),
        judge(
            limits,
            "overlap of the first five of two sessions",
            _cross_overlap([a.items[:5] for a in answers]),
            n=n,
        ),
    ]


def perturbation_checks(served: Model, sessions: Sessions, limits: Thresholds) -> list[Check]:
    """Check that small changes of a session change its answer a little, and that its end matters more than its beginning."""
    k = _width(served)
    base = {tuple(items): served.recommend(items, k).items for items in sessions}

    def overlaps(changed: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[float]:
        return [_overlap(served.recommend(new, k).items, base[tuple(old)]) for old, new in changed]

    def row(name: str, values: Sequence[float]) -> Check:
        return judge(
            limits,
            name,
            share(np.asarray(values)),
            n=len(values),
            interval=metrics.bootstrap_interval(np.asarray(values), np.arange(len(values))),
        )

    alike = _most_alike(served, {item for items in sessions for item in items if item in served.rows})
    long = [items for items in sessions if len(items) >= 3]
    strangers = [
        served.vocabulary[at] for at in np.linspace(0, len(served.vocabulary) - 1, len(long)).astype(int)
    ]
    first = overlaps([(items, [x, *items[1:]]) for items, x in zip(long, strangers, strict=True)])
    last = overlaps([(items, [*items[:-1], x]) for items, x in zip(long, strangers, strict=True)])
    effect = np.array(first) - np.array(last)
    unknown = overlaps([(items, [_UNKNOWN, *items]) for items in sessions])
    prefixes = [
        np.array([served.rows[item] for item in items if item in served.rows], np.int32) for items in sessions
    ]
    together = served.scores(prefixes) if prefixes else np.zeros((0, 1))
    apart = max(
        (_difference(together[at], served.scores([p])[0]) for at, p in enumerate(prefixes)),
        default=np.inf,
    )
    return [
        judge(
            limits, "answers unmoved by an unknown id", share([one == 1.0 for one in unknown]), n=len(unknown)
        ),
        judge(limits, "difference that padding makes to a score", apart, n=len(prefixes)),
        row(
            "overlap after a duplicate event",
            overlaps([(items, [*items, items[-1]]) for items in sessions]),
        ),
        row(
            "overlap after swapping the two oldest clicks",
            overlaps([(items, [items[1], items[0], *items[2:]]) for items in long]),
        ),
        row(
            "overlap with the last click on the most similar item instead",
            overlaps([(items, [*items[:-1], alike[items[-1]]]) for items in sessions if items[-1] in alike]),
        ),
        judge(
            limits,
            "effect of the last click beyond that of the first",
            share(effect),
            n=len(long),
            interval=metrics.Resampler(np.arange(len(long))).family_interval(effect, family_level(limits)),
        ),
    ]


def stock_checks(
    served: Model, out_of_stock: Collection[str], sessions: Sessions, limits: Thresholds
) -> list[Check]:
    """Check that answers respect the out-of-stock list, and that a wrong list does not empty them."""
    k = _width(served)
    answers = [{*served.recommend(items, k).items} for items in sessions]
    gone = set(out_of_stock)
    return [
        judge(
            limits,
            "answers with five items or more, all in stock",
            share([len(answer) >= min(5, k) and not answer & gone for answer in answers]),
            n=len(answers),
        )
    ]


def golden_checks(served: Model, golden: Sequence[Mapping[str, Any]], limits: Thresholds) -> list[Check]:
    """Check that the files answer as training did, directly and through the endpoint's handlers."""
    direct = [
        _overlap(served.recommend(row["items"], int(row["k"])).items, row["expected"]) for row in golden
    ]
    model = inference.Model(served, "", threading.Lock())
    handled = [_overlap(_through_handlers(model, row), row["expected"]) for row in golden]
    return [
        judge(limits, "golden sessions answered alike", share(direct), n=len(golden)),
        judge(limits, "golden sessions through the handlers", share(handled), n=len(golden)),
    ]


def parity_checks(
    directory: Path,
    served: Model,
    evidence: Evidence,
    variant: Model,
    sessions: Sessions,
    limits: Thresholds,
) -> list[Check]:
    """Compare the served model with the measured one, and the shortlist with the full ranking; check the endpoint's files."""
    k = min(20, _width(served))
    short = [served.recommend(items, k).items for items in sessions]
    variants = [
        _overlap(mine, variant.recommend(items, k).items) for mine, items in zip(short, sessions, strict=True)
    ]
    whole = [_whole_ranking(served, items, k) for items in sessions]
    scanned = [_overlap(mine, best) for mine, best in zip(short, whole, strict=True)]
    fallback = _fallback_items(directory)
    return [
        judge(limits, "overlap of the scan with the whole float32 ranking", share(scanned), n=len(scanned)),
        judge(
            limits,
            "items with codes of another vector",
            int((~evidence.own_codes).sum()),
            n=len(served.vocabulary),
        ),
        judge(limits, "overlap of the served with the measured model", share(variants), n=len(variants)),
        judge(
            limits,
            "fallback items the model does not know",
            sum(i not in served.rows for i in fallback),
            n=len(fallback),
        ),
        judge(
            limits,
            "files of the endpoint's code",
            sum(
                (directory / "code" / name).is_file()
                for name in ("training_jobs/serving/inference.py", "training_jobs/server.py")
            ),
            n=2,
        ),
    ]


def budget_checks(
    served: Model, evidence: Evidence, sessions: Sessions, archive_bytes: int, limits: Thresholds
) -> list[Check]:
    """Check the speed on this machine, and the size."""
    taken = latencies_ms(served, sessions)
    p50, p99 = (float(np.quantile(taken, q)) if len(taken) else float("inf") for q in (0.5, 0.99))
    return [
        judge(limits, "latency p50 (CPU ms)", p50, n=len(taken)),
        judge(limits, "latency p99 (CPU ms)", p99, n=len(taken)),
        judge(limits, "archive size (bytes)", archive_bytes, n=1),
        judge(
            limits,
            "items without a finite vector",
            int((~evidence.scorable).sum()),
            n=len(served.vocabulary),
        ),
    ]


def _width(served: Model) -> int:
    """Return 20, or fewer in a tiny shop: all items but the current one and five that are excluded."""
    return max(1, min(20, len(served.vocabulary) - 6))


def _difference(left: Float32, right: Float32) -> float:
    """Return the largest difference, or infinity where the excluded items (-inf) are not the same in both."""
    shown = np.isfinite(left)
    same = np.array_equal(shown, np.isfinite(right))
    return float(np.abs(left[shown] - right[shown]).max(initial=0.0)) if same else np.inf


def _ordered(answer: Recommendation) -> bool:
    return bool(np.isfinite(answer.scores).all()) and answer.scores == sorted(answer.scores, reverse=True)


def _overlap(found: Sequence[str], expected: Sequence[str]) -> float:
    return len(set(found) & set(expected)) / max(len(expected), 1)


def _cross_overlap(answers: Sequence[Sequence[str]]) -> float:
    """Return the mean overlap of each session's list with the list of the session half of the list away."""
    half = len(answers) // 2
    return share([_overlap(a, b) for a, b in zip(answers[:half], answers[half:], strict=False)])


def _most_alike(served: Model, items: set[str]) -> dict[str, str]:
    """Return the most similar other item per item."""
    asked = sorted(items)
    found = {}
    for begin in range(0, len(asked), 256):
        rows = np.array([served.rows[item] for item in asked[begin : begin + 256]])
        for row, other in zip(rows, served.nearest(rows), strict=True):
            if other >= 0:
                found[served.vocabulary[row]] = served.vocabulary[other]
    return found


def _whole_ranking(served: Model, items: Sequence[str], k: int) -> list[str]:
    """Return the best `k` by the scores of all items, which `recommend` must find without them."""
    known = np.array([served.rows[item] for item in items if item in served.rows], np.int32)
    scores = served.scores([known], [[served.rows[item] for item in items[-1:] if item in served.rows]])[0]
    return [served.vocabulary[row] for row in top(scores, k)]


def _through_handlers(model: inference.Model, row: Mapping[str, Any]) -> list[str]:
    query = inference.input_fn(json.dumps({"items": row["items"], "k": row["k"]}), "application/json")
    answer, _ = inference.output_fn(inference.predict_fn(query, model), "application/json")
    return [item["item_id"] for item in json.loads(answer)["items"]]


def _fallback_items(directory: Path) -> set[str]:
    """Return every item that the fallback may show; none if the file is missing or broken."""
    try:
        raw = json.loads((directory / ARCHIVE_FALLBACK).read_text("utf-8"))
        return {*raw["popular"], *(item for items in raw["related"].values() for item in items)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
