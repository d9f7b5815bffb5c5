"""The verdicts of checks, and the meaning of single figures."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training_jobs import shop
from tests.unit.training_jobs.conftest import Trained
from training_jobs.gate import metrics
from training_jobs.gate.check import check, family_level, skipped
from training_jobs.gate.checks_measured import leakage_checks, price_distance, same_category, slices
from training_jobs.gate.checks_served import probe_sessions
from training_jobs.gate.measure import held_out, latencies_ms, measure, measure_recommender
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.knn import build_index
from training_jobs.serving.model_files import load_recommender
from training_jobs.serving.ranker import Ranker
from training_jobs.serving.returns import CLICKS
from training_jobs.serving.session_recommender import Recommender
from training_jobs.snapshot.dataset import Catalogue, Dataset, no_content
from training_jobs.snapshot.parquet import read_dataset


@pytest.mark.parametrize(
    ("value", "comparator", "bound", "verdict"),
    [
        (1.0, ">", 1.0, "failed"),
        (1.0, ">=", 1.0, "passed"),
        (1.0, "<=", 1.0, "passed"),
        (1.1, "<=", 1.0, "failed"),
        (0.0, "==", 0.0, "passed"),
        (math.nan, "<=", 1.0, "failed"),
        (math.inf, ">=", 0.0, "failed"),
    ],
)
def test_a_value_is_compared_with_its_bound(
    value: float, comparator: str, bound: float, verdict: str
) -> None:
    row = check("figure", value, comparator, bound, n=10)
    assert row.verdict == verdict
    assert bool(row.reason) == (verdict == "failed")


def test_too_few_cases_fail_what_is_required_and_skip_the_rest_and_both_say_so() -> None:
    for required, verdict in ((True, "failed"), (False, "skipped")):
        row = check("figure", 1.0, ">", 0.0, n=9, minimum_n=10, required=required)
        assert row.verdict == verdict
        assert row.reason == "figure (all): 9 cases, at least 10 are needed to judge"
    assert skipped("figure", "no champion").verdict == "skipped"


def test_a_loss_counts_only_where_the_whole_interval_misses_the_margin() -> None:
    def verdict(interval: tuple[float, float], value: float = -0.05) -> str:
        return check("gain", value, ">=", -0.01, n=500, interval=interval, by_far_end=True).verdict

    assert verdict((-0.11, 0.01)) == "passed"
    assert verdict((-0.09, -0.01)) == "passed"
    assert verdict((-0.09, -0.011)) == "failed"
    assert verdict((math.nan, math.nan)) == "failed"
    assert check("gain", -0.05, ">=", -0.01, n=500, interval=(-0.11, 0.01)).verdict == "failed"
    excess = check("distance", 0.3, "<=", 0.1, n=500, interval=(0.05, 0.55), by_far_end=True)
    assert excess.verdict == "passed"


def test_a_value_that_is_no_number_is_not_saved_by_its_interval() -> None:
    row = check("gain", math.nan, ">=", 0.0, n=5, interval=(-1.0, 1.0), by_far_end=True)
    assert row.verdict == "failed"


def test_thirty_comparisons_of_equal_models_refuse_as_rarely_as_one() -> None:
    """Both rank alike on average; the cases of a session go together."""
    rng = np.random.default_rng(0)
    sessions = np.repeat(np.arange(150), 3)
    level = family_level(replace(read_thresholds(), family_error=0.05, family_rows=30))
    refused = 0
    for _ in range(400):
        resampler = metrics.Resampler(sessions, draws=1)
        gains = rng.choice([-1.0, 0.0, 1.0], (30, 150), p=[0.1, 0.8, 0.1])[:, sessions]
        refused += any(resampler.family_interval(gain, level)[1] < 0.0 for gain in gains)
    assert refused / 400 < 0.08


def test_quantiles_of_student_s_t_are_the_published_ones() -> None:
    # Abramowitz and Stegun, table 26.10.
    for level, degrees, expected in ((0.975, 10, 2.228), (0.995, 20, 2.845), (0.9995, 30, 3.646)):
        assert metrics.t_quantile(level, degrees) == pytest.approx(expected, abs=0.005)


def test_the_family_interval_is_that_of_whole_sessions() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), 4)
    values = np.repeat(rng.random(400), 4)
    low, high = metrics.Resampler(groups).family_interval(values, 0.975)
    assert (low, high) == pytest.approx(metrics.Resampler(groups).interval(values), abs=0.006)
    assert metrics.Resampler(groups).family_interval(values, 0.975, np.zeros(1600, bool)) == (0.0, 0.0)
    assert metrics.Resampler(np.zeros(5, np.int64)).family_interval(np.ones(5), 0.9) == (-np.inf, np.inf)


def test_wilson_s_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-4)
    assert metrics.wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-4)
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)


def test_an_interval_of_a_slice_is_that_of_its_cases_alone() -> None:
    rng = np.random.default_rng(0)
    groups, values = rng.integers(0, 400, 1500), rng.random(1500)
    inside = rng.random(1500) < 0.4
    low, high = metrics.Resampler(groups).interval(values, inside)
    alone = metrics.bootstrap_interval(values[inside], groups[inside])
    assert (low, high) == pytest.approx(alone, abs=0.006)
    assert low < values[inside].mean() < high


def test_calibration_error_is_zero_where_chances_come_true_and_large_where_they_do_not() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(20_000)
    came = (rng.random(20_000) < said).astype(float)
    assert metrics.calibration_error(said, came) < 0.02
    assert metrics.calibration_error(np.full(1000, 0.9), np.zeros(1000)) == pytest.approx(0.9)
    assert sum(n for _, _, n in metrics.reliability(said, came)) == 20_000
    assert metrics.calibration_error(np.zeros(0), np.zeros(0)) == 0.0


CATALOGUE = Catalogue(np.array([10.0, 20.0, 40.0, np.nan, 0.0]), np.array([0, 0, 1, -1, 1]), ["x", "y"])


def test_nearness_of_misses_by_category_and_price() -> None:
    top, targets = np.array([[0, 2, -1], [1, 3, 4], [0, 1, 2]]), np.array([1, 0, 3])
    same = same_category(top, targets, CATALOGUE)
    assert same[:2] == pytest.approx([0.5, 1 / 3])
    assert math.isnan(same[2])
    distance = price_distance(top, targets, CATALOGUE)
    assert distance[:2] == pytest.approx([math.log(2), math.log(2)])
    assert math.isnan(distance[2])


def ring(sessions: int = 300) -> Dataset:
    return Dataset(shop.walks(sessions), [f"i{at}" for at in range(shop.ITEMS)], no_content(shop.ITEMS))


def test_lengths_part_the_cases_and_so_does_what_is_known_of_the_target() -> None:
    data = ring()
    held = held_out(data, int(data.sessions.starts_ms[220]))
    found = slices(held)
    for kind in ("length ", "target in ", "target new"):
        assert any(name.startswith(kind) for name in found)
    for parts in (("length ",), ("target in ", "target new")):
        count = np.sum([mask for name, mask in found.items() if name.startswith(parts)], axis=0)
        assert set(count.tolist()) == {1}
    again = found["target seen in the session"]
    for case in range(len(held.cases)):
        assert again[case] == (held.cases.targets[case] in held.cases.prefix(case))


def test_held_out_cases_are_bounded_and_drawn_alike() -> None:
    data = ring()
    cut = int(data.sessions.starts_ms[150])
    few, same = held_out(data, cut, limit=50), held_out(data, cut, limit=50)
    assert len(few.cases) == 50 < len(held_out(data, cut).cases)
    assert np.array_equal(few.cases.targets, same.cases.targets)
    assert few.past == 150


def test_the_current_item_does_not_compete_and_the_top_is_what_ranks_say() -> None:
    held = held_out(ring(), int(ring().sessions.starts_ms[220]))
    scores = np.random.default_rng(0).random((len(held.cases), shop.ITEMS)).astype(np.float32)
    asked = iter(range(len(held.cases)))
    found = measure("any", lambda prefixes: scores[[next(asked) for _ in prefixes]], held.cases, batch=7)
    for case in range(len(held.cases)):
        assert held.cases.prefix(case)[-1] not in found.top[case]
        assert (held.cases.targets[case] in found.top[case]) == (found.rank[case] <= 20)
        assert found.confidence[case] == pytest.approx(scores[case, found.top[case]].sum(), rel=1e-5)


def test_a_model_with_another_vocabulary_is_measured_by_names(trained: Trained) -> None:
    """The champion's rows are not the snapshot's, and some of its items are gone."""
    good, card = load_recommender(trained.model_dir / "holdout")
    held = held_out(trained.data, card.holdout_start_ms)
    expected = measure_recommender("good", good, held)
    order = np.random.default_rng(0).permutation(len(good.vocabulary))
    place = np.argsort(order)
    weights = type(good.weights)(
        good.weights.vectors[order], good.weights.tensors, good.weights.heads, good.weights.temperature
    )
    sessions = trained.data.sessions.take(trained.data.sessions.ends_ms < card.holdout_start_ms)
    renumbered = type(sessions)(place[sessions.items].astype(np.int32), sessions.offsets, sessions.times_ms)
    index = build_index(renumbered, len(order), good.settings.knn.recent_sessions)
    assert good.ranker is not None
    other = Recommender(
        [good.vocabulary[at] for at in order],
        weights,
        index,
        good.popularity[order],
        good.settings,
        ranker=Ranker(good.ranker.network, good.ranker.facts[order]),
    )
    found = measure_recommender("other", other, held)
    assert (found.rank == expected.rank).mean() > 0.99


def test_a_model_that_does_not_know_the_last_click_is_measured_as_it_answers(trained: Trained) -> None:
    good, card = load_recommender(trained.model_dir / "holdout")
    held = held_out(trained.data, card.holdout_start_ms, limit=200)
    renamed = {int(held.cases.prefix(case)[-1]) for case in range(0, len(held.cases), 10)}
    vocabulary = [f"new-{row}" if row in renamed else item for row, item in enumerate(held.data.vocabulary)]
    held = replace(held, data=replace(held.data, vocabulary=vocabulary))
    # Shoppers of this shop return to what they have seen.
    returning = replace(good.settings, return_floor=(0.5,) * CLICKS)
    champion = Recommender(good.vocabulary, good.weights, good.index, good.popularity, returning)
    found = measure_recommender("champion", champion, held)
    last_known_shown = 0
    for case in range(len(held.cases)):
        items = [vocabulary[row] for row in held.cases.prefix(case)]
        answer = [held.rows[item] for item in champion.recommend(items, 20).items if item in held.rows]
        assert set(answer) <= set(found.top[case].tolist())
        if items[-1] not in good.rows:
            known = [held.rows[item] for item in items if item in good.rows]
            last_known_shown += known[-1:] != [] and known[-1] in answer
    assert last_known_shown > 0


def test_a_click_of_the_held_out_day_in_the_measured_model_is_found(trained: Trained) -> None:
    good, card = load_recommender(trained.model_dir / "holdout")
    held = held_out(trained.data, card.holdout_start_ms)
    measured = measure_recommender("candidate", good, held)
    limits = replace(read_thresholds(), reproduction_tolerance=0.05, minimum_cases=100)

    def failed(popularity: np.ndarray) -> list[str]:
        model = Recommender(good.vocabulary, good.weights, good.index, popularity, good.settings)
        served, served_card = load_recommender(trained.model_dir)
        rows = leakage_checks(model, card, served, served.evidence(), served_card, measured, held, limits)
        return [row.name for row in rows if row.verdict == "failed"]

    assert failed(good.popularity) == []
    leaked = good.popularity.copy()
    leaked[good.rows[shop.COLD_ITEM]] = 0.01
    assert failed(leaked) == ["items of the held-out day known from clicks"]


def test_probes_are_real_sessions_spread_over_the_cases() -> None:
    data = ring()
    held = held_out(data, int(data.sessions.starts_ms[150]))
    probes = probe_sessions(held.cases, data.vocabulary, 30)
    assert 25 <= len(probes) <= 30
    assert probes[0] == [data.vocabulary[item] for item in held.cases.prefix(0)]
    assert probes[-1] == [data.vocabulary[item] for item in held.cases.prefix(len(held.cases) - 1)]
    assert probe_sessions(held.cases.take(np.zeros(len(held.cases), bool)), data.vocabulary, 30) == []


def test_latency_is_of_whole_answers_one_each(trained: Trained) -> None:
    served, _ = load_recommender(trained.model_dir)
    taken = latencies_ms(served, [["sku-001"], ["sku-002", "sku-003"]])
    assert taken.shape == (2,)
    assert (taken > 0.01).all()
    assert len(latencies_ms(served, [])) == 0


def test_categories_have_their_names(tmp_path: Path) -> None:
    interactions, items = shop.write_shop(tmp_path)
    data = read_dataset(interactions, items)
    found = slices(held_out(data, int(data.sessions.starts_ms[400])))
    named = [name for name in found if name.startswith("in category ")]
    assert len(named) == 5
    assert set(named) <= {f"in category all/kind{at}" for at in range(8)}
