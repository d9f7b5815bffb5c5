"""The models that `benchmarks.cold_start` compares: lists without a model, session-kNN, and the training job's own archive."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cold_start_logs import ShopLog
from training_jobs.gate import baselines, metrics
from training_jobs.serving.encoder_numpy import probabilities
from training_jobs.serving.knn import KnnScorer, KnnSettings, build_index
from training_jobs.serving.model_files import load_recommender
from training_jobs.serving.session_recommender import Recommender
from training_jobs.serving.sessions import Float32, Float64, Int32, Int64, Sessions
from training_jobs.snapshot.dataset import Cases
from training_jobs.training.job import JobSettings, run

_BATCH = 128
_FUSION_RANKS = 60


def trained(log: ShopLog, sessions: Sessions, seed: int) -> tuple[Recommender, dict[str, float]]:
    """Run the training job on these sessions with the whole catalogue.

    Returns:
        The served model of its archive, and the shares of their neighbors in its items without a click.
    """
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        run(
            log.dataset(sessions),
            JobSettings(seed=seed),
            Path(directory),
            None,
            version="bench",
            snapshot="bench",
            log=lines.append,
        )
        line = next(line for line in reversed(lines) if line["stage"] == "unclicked")
        shares = {name: line[name] for name in ("neighbors_share", "embeddings_share")}
        return load_recommender(Path(directory))[0], shares


def of_model(model: Recommender) -> dict[str, baselines.Scorer]:
    """Return the scorers of a trained model: its encoder alone, and what it serves."""
    return {
        "encoder": lambda prefixes: probabilities(model.weights, prefixes),
        "model": model.scores,
    }


def without_model(log: ShopLog, past: Sessions, now_ms: int, seed: int) -> dict[str, baselines.Scorer]:
    """Return the scorers that need no training. Items without a click in `past` are as old as `now_ms`."""
    items = len(log.vocabulary)
    rng = np.random.default_rng([seed, 3])
    share = baselines.popularity(past, items)
    first_seen = np.full(items, now_ms, np.int64)
    np.minimum.at(first_seen, past.items, past.times_ms)
    return {
        "random": lambda prefixes: rng.random((len(prefixes), items), np.float32),
        "popularity": baselines.popularity_scorer(share),
        "category_popularity": _category_scorer(log.categories, share, rng),
        "first_day": _first_day_scorer(log, first_seen),
        "session_knn": baselines.knn_scorer(KnnScorer(build_index(past, items), KnnSettings()), share),
    }


def _category_scorer(
    categories: Sequence[str | None], share: Float64, rng: np.random.Generator
) -> baselines.Scorer:
    """Rank by levels of the category in common with the last item, then by popularity. Equals are in random order."""
    paths = [(name or "").split("/") if name else [] for name in categories]
    levels = np.full((len(paths), max(map(len, paths))), -1, np.int64)
    for depth in range(levels.shape[1]):
        code: dict[tuple[str, ...], int] = {}
        for row, path in enumerate(paths):
            if len(path) > depth:
                levels[row, depth] = code.setdefault(tuple(path[: depth + 1]), len(code))
    best = share.max() or 1.0

    def score(prefixes: Sequence[Int32]) -> Float32:
        last = levels[[prefix[-1] for prefix in prefixes]]
        common = ((last[:, None] == levels) & (levels >= 0)).sum(axis=2)
        ties = rng.random((len(prefixes), len(paths)))
        return np.asarray(common + 0.9 * share / best + 1e-6 * ties, np.float32)

    return score


def _first_day_scorer(log: ShopLog, first_seen_ms: Int64) -> baselines.Scorer:
    """Score the lists that /recommend answers with before the first model, in their order."""
    first_day = log.first_day(first_seen_ms)
    rows = {item: row for row, item in enumerate(log.vocabulary)}

    def score(prefixes: Sequence[Int32]) -> Float32:
        out = np.full((len(prefixes), len(rows)), -np.inf, np.float32)
        for at, prefix in enumerate(prefixes):
            viewed = [log.vocabulary[row] for row in prefix]
            picked, _ = first_day.lists(viewed).pick(viewed, len(rows), set())
            out[at, [rows[item] for item in picked]] = -np.arange(len(picked))
        return out

    return score


def fused(first: baselines.Scorer, second: baselines.Scorer) -> baselines.Scorer:
    """Return the reciprocal rank fusion of two scorers (Cormack et al., 2009). An item without a score counts as the last."""

    def score(prefixes: Sequence[Int32]) -> Float32:
        places = (np.argsort(np.argsort(-np.array(one(prefixes)), axis=1), axis=1) for one in (first, second))
        return np.asarray(sum(1.0 / (_FUSION_RANKS + 1 + place) for place in places), np.float32)

    return score


def only(scorer: baselines.Scorer, items: NDArray[np.bool_]) -> baselines.Scorer:
    """Return a scorer of these items only."""
    return lambda prefixes: np.where(items, np.array(scorer(prefixes)), np.float32(-np.inf))


@dataclass(frozen=True)
class Ranked:
    """The ranks of each case's target among all items, and among the items `inside` only."""

    every: Int64
    inside: Int64


def ranked(score: baselines.Scorer, cases: Cases, inside: NDArray[np.bool_]) -> Ranked:
    """Rank each case twice. The current item does not compete, because no shop recommends it."""
    found = np.empty((2, len(cases)), np.int64)
    for begin in range(0, len(cases), _BATCH):
        part = slice(begin, min(begin + _BATCH, len(cases)))
        prefixes = [cases.prefix(row) for row in range(part.start, part.stop)]
        scores = np.array(score(prefixes))
        scores[np.arange(len(prefixes)), [prefix[-1] for prefix in prefixes]] = -np.inf
        found[0, part] = metrics.ranks(scores, cases.targets[part])
        found[1, part] = metrics.ranks(np.where(inside, scores, -np.inf), cases.targets[part])
    return Ranked(found[0], found[1])
