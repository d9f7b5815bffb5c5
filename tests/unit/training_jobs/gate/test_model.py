"""The gate judges any model with its interface: here session-kNN alone, which has no arrays that the gate could read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training_jobs.conftest import Trained
from training_jobs.gate.baselines import knn_scorer, popularity
from training_jobs.gate.evaluation import Candidate, judged
from training_jobs.gate.measure import held_out, measure_recommender
from training_jobs.gate.rules import RULES
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.knn import KnnScorer, KnnSettings, build_index
from training_jobs.serving.model_files import load_card
from training_jobs.serving.recommendation import Evidence, Recommendation
from training_jobs.serving.sessions import Float32, Int32, Int64, Sessions
from training_jobs.snapshot.dataset import before


class KnnModel:
    """Session-kNN with popularity as its floor."""

    def __init__(self, vocabulary: list[str], sessions: Sessions) -> None:
        self.vocabulary, self.sessions = vocabulary, sessions
        self.rows = {item: row for row, item in enumerate(vocabulary)}
        self.popularity = popularity(sessions, len(vocabulary))
        index = build_index(sessions, len(vocabulary))
        self._score = knn_scorer(KnnScorer(index, KnnSettings()), self.popularity)

    def scores(self, prefixes: Sequence[Int32], exclude: Sequence[Collection[int]] | None = None) -> Float32:
        out = np.tile(self.popularity.astype(np.float32), (len(prefixes), 1))
        for row, prefix in enumerate(prefixes):
            if len(prefix):
                out[row] = self._score([prefix])[0]
        current = [prefix[-1:].tolist() for prefix in prefixes]
        for row, rows in enumerate(current if exclude is None else exclude):
            out[row, list(rows)] = -np.inf
        return out

    def recommend(self, items: Sequence[str], k: int, exclude: Collection[str] = ()) -> Recommendation:
        prefix = np.array([self.rows[item] for item in items if item in self.rows], np.int32)
        excluded = [self.rows[item] for item in {*exclude, *items[-1:]} if item in self.rows]
        scores = self.scores([prefix], [excluded])[0]
        best = np.argsort(-scores, kind="stable")[:k]
        best = best[np.isfinite(scores[best])]
        source = "session" if len(prefix) else "popularity"
        return Recommendation(
            [self.vocabulary[row] for row in best], scores[best].tolist(), source, f"by {source}"
        )

    def similar(self, item: str, k: int, exclude: Collection[str] = ()) -> Recommendation:
        return self.recommend([item], k, exclude)

    def rerank(
        self, items: Sequence[str], candidates: Sequence[str], exclude: Collection[str] = ()
    ) -> Recommendation:
        prefix = np.array([self.rows[item] for item in items if item in self.rows], np.int32)
        scores = self.scores([prefix])[0]
        listed = sorted(candidates, key=lambda item: -scores[self.rows[item]])
        return Recommendation(
            listed, [float(scores[self.rows[item]]) for item in listed], "rerank", "by scores"
        )

    def popular(self, k: int) -> list[str]:
        order = np.argsort(-self.popularity.astype(np.float32), kind="stable")
        return [self.vocabulary[row] for row in order[:k]]

    def nearest(self, rows: Int64) -> Int64:
        scores = self.scores([np.array([row], np.int32) for row in rows])
        return np.asarray(scores.argmax(axis=1))

    def evidence(self) -> Evidence:
        every = np.ones(len(self.vocabulary), bool)
        return Evidence(len(self.sessions), self.popularity > 0, every, every)


@pytest.fixture(scope="module")
def knn(trained: Trained) -> Candidate:
    card = load_card(trained.model_dir)
    data = trained.data
    served = KnnModel(data.vocabulary, data.sessions)
    variant = KnnModel(data.vocabulary, before(data.sessions, card.holdout_start_ms))
    held = held_out(data, card.holdout_start_ms)
    measured = measure_recommender("candidate", variant, held)
    card = replace(card, metrics={"hr_at_20": float(measured.hits.mean())})
    golden = [
        {"items": [item], "k": 20, "expected": served.recommend([item], 20).items}
        for item in data.vocabulary[:30]
    ]
    variant_card = replace(card, trained_until_ms=int(variant.sessions.ends_ms.max()))
    return Candidate(trained.model_dir, served, served, card, variant, variant_card, [], golden)


def test_knn_alone_runs_through_every_check_of_the_gate(
    trained: Trained, knn: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[KnnModel] = []
    evidence = KnnModel.evidence

    def noted(model: KnnModel) -> Evidence:
        asked.append(model)
        return evidence(model)

    monkeypatch.setattr(KnnModel, "evidence", noted)
    result = judged(knn, knn.variant, "the same model", trained.data, read_thresholds())
    # In a large catalogue it takes seconds.
    assert asked == [knn.served, knn.variant]
    names = {check["name"] for check in result["checks"]}
    renamed = {"slice", "target slice"}
    assert RULES.keys() - renamed <= names
    # In this shop, item-to-item orders the next clicks better than session-kNN.
    failed = [check["name"] for check in result["checks"] if check["verdict"] == "failed"]
    assert failed == ["mrr_at_20 against item_to_item"]
    assert not result["passed"]


def test_a_model_of_another_kind_is_caught_as_well(trained: Trained, knn: Candidate) -> None:
    # The measured variant has learnt the held-out day.
    leaking = replace(knn, variant=knn.served)
    result = judged(leaking, None, "no champion", trained.data, read_thresholds())
    failed = {check["name"] for check in result["checks"] if check["verdict"] == "failed"}
    assert "sessions in the measured model beyond those before the cut" in failed
