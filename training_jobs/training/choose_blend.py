"""Choose the blend on the validation tail: the settings of session-kNN, and whether its index has catalogue sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from training_jobs.gate import baselines
from training_jobs.gate.measure import measure
from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.kernels.compile import compiled_kernels
from training_jobs.serving.knn import KnnIndex, KnnSettings, build_index
from training_jobs.serving.returns import return_floor
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Float32, Sessions
from training_jobs.snapshot.dataset import Cases
from training_jobs.training import tune
from training_jobs.training.fit_ranker import LEAST_CASES

POPULARITY_HALF_LIFE_DAYS = 3.0
# Of the objective. A shop with many cases gets catalogue sessions only if they gain more, and a new shop has them unless they
# lose more.
_LEAST_CHANGE = 0.02
# Where a tail is too small to choose on. The items of catalogue sessions are in order of price, so votes fade with the distance.
_OF_A_NEW_SHOP = KnnSettings(near_decay=8.0, query_decay=2.0, catalogue_weight=1.0)
# The share of session-kNN there: an encoder that has learnt from a few hundred clicks knows less than the catalogue.
_SHARE_OF_A_NEW_SHOP = 0.85


def choose_blend(
    learnt: EncoderWeights,
    learn: Sessions,
    catalogue: Sessions,
    cases: Cases,
    weight: Float32 | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Recommender:
    """Return the blend that ranks the targets of the tail best, without a ranker.

    A shop whose tail has fewer than LEAST_CASES cases is new. It gets catalogue sessions with fixed settings, because a search
    would fit the noise of so few cases.

    Args:
        learnt: the encoder that has learnt `learn`.
        learn: the sessions before the tail.
        catalogue: the catalogue's sessions; may be empty.
        cases: cases of the tail; may be empty.
        weight: the weight of each case, None if all are equal.
        stop: ends the search before its next try.
    """
    items = len(learnt.vectors)
    popularity = baselines.popularity(learn, items, POPULARITY_HALF_LIFE_DAYS)
    floors, kernels = return_floor(learn), compiled_kernels(learnt.dim)
    names = [str(row) for row in range(items)]

    def blend(index: KnnIndex, knn: KnnSettings, share: float = BlendSettings().knn_weight) -> Recommender:
        return Recommender(names, learnt, index, popularity, BlendSettings(share, knn, return_floor=floors))

    def searched(index: KnnIndex, start: KnnSettings) -> Recommender:
        if not len(cases):
            return blend(index, start)
        knn, _ = tune.tune_knn(
            index, cases, popularity, start=start, kernels=kernels, weight=weight, stop=stop
        )
        return blend(index, knn)

    def objective(of: Recommender) -> float:
        return tune.objective(measure("blend", of.scores, cases).rank, weight) if len(cases) else 0.0

    plain = searched(build_index(learn, items), KnnSettings())
    if not len(catalogue):
        return plain
    index = build_index(learn, items, catalogue=catalogue)
    if len(cases) < LEAST_CASES:
        of_a_new_shop = blend(index, _OF_A_NEW_SHOP, _SHARE_OF_A_NEW_SHOP)
        return of_a_new_shop if objective(of_a_new_shop) >= objective(plain) - _LEAST_CHANGE else plain
    # The second search begins where the first one ended, so that it gains by the catalogue and not by its beginning.
    other = searched(index, replace(plain.settings.knn, catalogue_weight=1.0))
    return other if objective(other) >= objective(plain) + _LEAST_CHANGE else plain
