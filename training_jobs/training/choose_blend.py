"""Choose the blend on the validation tail: the settings of session-kNN, its catalogue sessions, and its share of the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from training_jobs.gate import baselines
from training_jobs.serving.answer import Answerer
from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.kernels.compile import compiled_kernels
from training_jobs.serving.knn import KnnIndex, KnnSettings, build_index
from training_jobs.serving.returns import return_floor
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Float32, Int64, Sessions
from training_jobs.snapshot.dataset import Cases
from training_jobs.training import tune
from training_jobs.training.fit_ranker import LEAST_CASES

POPULARITY_HALF_LIFE_DAYS = 3.0
# A search of settings on a tail of fewer cases fits their noise.
SEARCHED_CASES = 1_000
# Of the objective. A shop with LEAST_CASES cases gets catalogue sessions only if they gain more, and one with fewer cases has
# them unless they lose more.
_LEAST_CHANGE = 0.02
# Where a tail is too small to choose on. The items of catalogue sessions are in order of price, so votes fade with the distance.
_OF_A_NEW_SHOP = KnnSettings(near_decay=8.0, query_decay=2.0, catalogue_weight=1.0)
# The share of session-kNN there: an encoder that has learnt from a few hundred clicks knows less than the catalogue.
_SHARE_OF_A_NEW_SHOP = 0.85
# Shares that are compared with the default one.
_SHARES = (0.15, 0.3, 0.7, 0.85)


def choose_blend(
    learnt: EncoderWeights,
    learn: Sessions,
    catalogue: Sessions,
    cases: Cases,
    weight: Float32 | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Recommender:
    """Return the blend that ranks the targets of the tail best, without a ranker.

    A shop whose tail has fewer than SEARCHED_CASES cases is new, and gets catalogue sessions with fixed settings.

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
        settings = BlendSettings(share, knn, return_floor=floors)
        return Recommender(names, learnt, index, popularity, settings, kernels=kernels)

    def searched(index: KnnIndex, start: KnnSettings) -> Recommender:
        if not len(cases):
            return blend(index, start)
        knn, _ = tune.tune_knn(
            index, cases, popularity, start=start, kernels=kernels, weight=weight, stop=stop
        )
        return blend(index, knn)

    def objective(rank: Int64) -> float:
        return tune.objective(rank, weight) if len(rank) else 0.0

    plain, of_plain = choose_share(searched(build_index(learn, items), KnnSettings()), cases, weight)
    if not len(catalogue):
        return plain
    index = build_index(learn, items, catalogue=catalogue)
    if len(cases) < SEARCHED_CASES:
        other = blend(index, _OF_A_NEW_SHOP, _SHARE_OF_A_NEW_SHOP)
        of_other = ranks_by_share(other, cases, [other.settings.knn_weight])[0]
    else:
        # This search begins where the first one ended, so that it gains by the catalogue and not by its beginning.
        start = replace(plain.settings.knn, catalogue_weight=1.0)
        other, of_other = choose_share(searched(index, start), cases, weight)
    least = _LEAST_CHANGE if len(cases) >= LEAST_CASES else -_LEAST_CHANGE
    return other if objective(of_other) >= objective(of_plain) + least else plain


def choose_share(
    blend: Recommender, cases: Cases, weight: Float32 | None = None
) -> tuple[Recommender, Int64]:
    """Return the blend with the share of session-kNN that surely ranks the tail better, or as it is if none does.

    With it comes the rank of each target among its first 20, and 21 for others.

    Args:
        blend: the blend without a ranker.
        cases: cases that it has not learnt. With fewer than LEAST_CASES nothing is compared.
        weight: the weight of each case, None if all are equal.
    """
    shares = [blend.settings.knn_weight, *(_SHARES if len(cases) >= LEAST_CASES else ())]
    ranks = ranks_by_share(blend, cases, shares)
    gains = [0.0, *(tune.certain_gain(rank, ranks[0], weight) for rank in ranks[1:])]
    best = max(range(len(gains)), key=gains.__getitem__)
    chosen = blend.unranked(replace(blend.settings, knn_weight=shares[best])) if best else blend
    return chosen, ranks[best]


def ranks_by_share(blend: Recommender, cases: Cases, shares: Sequence[float]) -> Int64:
    """Return the rank of each target among the first 20 per share of session-kNN, [shares, cases], and 21 for others.

    The objective reads no more. The blend is asked as by a shop, whose current item does not compete, with its kernels.
    A case is encoded, and its neighbors vote, once for all shares.
    """
    answerer, ranks = Answerer(blend.parts, blend.kernels), np.full((len(shares), len(cases)), 21, np.int64)
    for row, target in enumerate(cases.targets.tolist()):
        prefix = cases.prefix(row)
        question = answerer.question(prefix, 20, prefix[-1:].astype(np.int64))
        for at, share in enumerate(shares):
            shown = answerer.blend(question._replace(knn_weight=share)).rows[:20].tolist()
            if target in shown:
                ranks[at, row] = shown.index(target) + 1
    return ranks
