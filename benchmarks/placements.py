"""Measure each placement on its own task, on a generated shop, with the gate's tasks and a baseline beside each.

Without --model, session-kNN stands in for the model, so the run takes a minute. With an archive, its holdout variant is measured
on the snapshot that it was trained on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.conditions import conditions, parser
from benchmarks.shops import write_snapshot
from demo.generator import History
from training_jobs.gate.baselines import knn_scorer, popularity
from training_jobs.gate.measure import held_out
from training_jobs.gate.placements import measure_placements
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.knn import KnnScorer, KnnSettings, build_index
from training_jobs.serving.model_files import load_card, load_recommender
from training_jobs.serving.recommendation import Recommendation
from training_jobs.serving.sessions import Float32, Sessions
from training_jobs.snapshot.dataset import before, choose_split
from training_jobs.snapshot.parquet import read_dataset


class SessionKnn:
    """Session-kNN with popularity as its floor, behind the interface that the placements ask."""

    def __init__(self, vocabulary: list[str], sessions: Sessions) -> None:
        self.vocabulary = vocabulary
        self.rows = {item: row for row, item in enumerate(vocabulary)}
        share = popularity(sessions, len(vocabulary))
        self._score = knn_scorer(KnnScorer(build_index(sessions, len(vocabulary)), KnnSettings()), share)

    def recommend(self, items: Sequence[str], k: int, exclude: Collection[str] = ()) -> Recommendation:
        """Return the best items after a session."""
        scores = self._scores(items)
        scores[[self.rows[item] for item in {*exclude, *items[-1:]} if item in self.rows]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:k]
        return Recommendation(
            [self.vocabulary[row] for row in best], scores[best].tolist(), "session", "session-kNN"
        )

    def similar(self, item: str, k: int, exclude: Collection[str] = ()) -> Recommendation:
        """Return the best items after a session of one item."""
        return self.recommend([item], k, exclude)

    def rerank(
        self, items: Sequence[str], candidates: Sequence[str], exclude: Collection[str] = ()
    ) -> Recommendation:
        """Return the candidates by their scores."""
        scores = self._scores(items)
        ordered = sorted(candidates, key=lambda item: -scores[self.rows[item]])
        values = [float(scores[self.rows[item]]) for item in ordered]
        return Recommendation(ordered, values, "session", "session-kNN")

    def _scores(self, items: Sequence[str]) -> Float32:
        prefix = np.array([self.rows[item] for item in items if item in self.rows], np.int32)
        return np.array(self._score([prefix])[0])


def main(argv: Sequence[str] | None = None) -> int:
    """Print one JSON line."""
    command = parser("placements", __doc__ or "", "--events 100000 --seed 5")
    add = command.add_argument
    add("--events", type=int, default=100_000, help="events of the generated shop (default %(default)s)")
    add("--days", type=int, default=14, help="days of its history (default %(default)s)")
    add("--seed", type=int, default=5, help="its seed (default %(default)s)")
    add("--model", type=Path, help="an archive's folder, with --snapshot")
    add("--snapshot", type=Path, help="the folder with interactions/ and items/ of that archive")
    options = command.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.snapshot or Path(scratch)
        if not options.snapshot:
            write_snapshot(
                History(options.events, options.seed, options.days, end=date(2026, 11, 28)), folder
            )
        data = read_dataset(folder / "interactions", folder / "items")
    if options.model:
        cut_ms = load_card(options.model).holdout_start_ms
        model, _ = load_recommender(options.model / "holdout")
    else:
        cut_ms = choose_split(data.sessions, 24.0).holdout_start_ms
        model = SessionKnn(data.vocabulary, before(data.sessions, cut_ms))  # type: ignore[assignment]
    figures, checks = measure_placements(model, held_out(data, cut_ms), read_thresholds())
    about = conditions("placements", events=options.events, days=options.days, seed=options.seed)
    verdicts = {check.name.partition(" ")[2]: check.verdict for check in checks}
    rows = {name: {**figure, "verdict": verdicts[name]} for name, figure in figures.items()}
    print(json.dumps({**about, "model": str(options.model or "session-kNN"), "placements": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
