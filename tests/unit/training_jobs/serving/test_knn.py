"""Session-kNN, in numpy and compiled, against VMIS-kNN written out slowly, on the sample that the index keeps."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training_jobs import shop
from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.knn import KnnIndex, KnnSettings, build_index, sampling_order
from training_jobs.serving.sessions import DAY_MS, Sessions


def slow_vmis_knn(
    sessions: Sessions, items: int, settings: KnnSettings, prefix: list[int]
) -> dict[int, float]:
    """Item -> score, by the book: neighbours by weighted overlap, votes by similarity, idf and distance."""
    newest = sessions.ends_ms.max()
    age_days = ((newest - sessions.ends_ms) / DAY_MS).astype(np.float32)
    order = sampling_order(age_days, None)
    past = []
    for row in order.tolist():
        clicks = sessions.session(row).tolist()
        past.append([item for at, item in enumerate(clicks) if item not in clicks[at + 1 :]])
    frequency = {item: sum(item in clicks for clicks in past) for item in range(items)}
    query = prefix[-settings.last_items :]
    length = len(query)
    alike: dict[int, float] = {}
    met: dict[int, tuple[int, int]] = {}
    for place, item in enumerate(query):
        if item in query[place + 1 :]:
            continue
        weight = (place + 1) / length
        if settings.query_decay > 0:
            weight = np.exp(-(length - 1 - place) / settings.query_decay)
        holding = [row for row in reversed(range(len(past))) if item in past[row]]
        for row in holding[: settings.recent_sessions]:
            alike[row] = alike.get(row, 0.0) + weight
            met[row] = (place, item)
    best = sorted(alike, key=lambda row: (round(alike[row] * 1e6), row), reverse=True)[: settings.neighbours]
    scores: dict[int, float] = {}
    for row in best:
        place, matched = met[row]
        vote = alike[row] * max(1.0 - settings.position_decay * (length - 1 - place), 0.0)
        if settings.age_decay_days > 0:
            vote *= np.exp(-age_days[order[row]] / settings.age_decay_days)
        for at, item in enumerate(past[row]):
            weight = vote * np.log(len(past) / frequency[item]) ** settings.idf_power
            distance = at - past[row].index(matched)
            if settings.near_decay > 0:
                weight *= np.exp(-abs(distance) / settings.near_decay)
            if distance < 0:
                weight *= settings.backward_weight
            scores[item] = scores.get(item, 0.0) + weight
    total = sum(scores.values())
    return {item: score / total for item, score in scores.items()} if total > 0 else scores


@pytest.mark.parametrize(
    "settings",
    [
        KnnSettings(),
        KnnSettings(neighbours=5),
        KnnSettings(recent_sessions=4, neighbours=1000),
        KnnSettings(last_items=2, query_decay=1.5),
        KnnSettings(near_decay=2.0, backward_weight=0.4),
        KnnSettings(age_decay_days=0.02, idf_power=0.5, neighbours=7),
        KnnSettings(position_decay=0.3, idf_power=0.0),
    ],
    ids=lambda settings: str(vars(settings)) if not isinstance(settings, KnnSettings) else "",
)
def test_scores_are_those_of_vmis_knn(kernels: Kernels, settings: KnnSettings) -> None:
    rng = np.random.default_rng(3)
    sessions = shop.packed([rng.integers(0, 15, rng.integers(1, 8)).tolist() for _ in range(60)])
    vote = kernels.voter(build_index(sessions, 15), settings)
    for _ in range(30):
        prefix = rng.integers(0, 15, rng.integers(1, 14))
        expected = slow_vmis_knn(sessions, 15, settings, prefix.tolist())
        found, scores = vote(prefix.astype(np.int32))
        assert sorted(expected) == sorted(found.tolist())
        assert scores == pytest.approx([expected[item] for item in found], abs=1e-6)


def test_a_question_leaves_nothing_behind_for_the_next(kernels: Kernels) -> None:
    sessions = shop.walks(100)
    vote = kernels.voter(build_index(sessions, shop.ITEMS), KnnSettings())
    asked = [sessions.session(row) for row in range(40)]
    first = [vote(prefix)[1].copy() for prefix in asked]
    for prefix, scores in reversed(list(zip(asked, first, strict=True))):
        assert np.array_equal(vote(prefix)[1], scores)


def test_an_item_without_sessions_has_no_neighbours(kernels: Kernels) -> None:
    vote = kernels.voter(build_index(shop.packed([[0, 1]]), 3), KnnSettings())
    found, scores = vote(np.array([2], np.int32))
    assert len(found) == len(scores) == 0
    empty = kernels.voter(build_index(shop.packed([[0, 1]]).take(np.zeros(1, bool)), 3), KnnSettings())
    assert len(empty(np.array([0], np.int32))[0]) == 0


def test_among_equals_the_session_with_the_highest_number_is_the_neighbour(kernels: Kernels) -> None:
    index = build_index(shop.packed([[0, 1], [0, 2], [0, 3]]), 4)
    vote = kernels.voter(index, replace(KnnSettings(), neighbours=1, idf_power=0.0))
    sampled = index.session_items[index.session_offsets[2] :].tolist()
    assert sorted(vote(np.array([0], np.int32))[0].tolist()) == sampled


def postings(index: KnnIndex, item: int) -> list[int]:
    begin, end = index.posting_offsets[item], index.posting_offsets[item + 1]
    found: list[int] = index.posting_sessions[begin:end].tolist()
    return found


def test_the_index_keeps_the_sessions_of_an_item_with_the_highest_numbers() -> None:
    index = build_index(shop.packed([[0, 1]] * 10), 2, recent_sessions=3)
    assert postings(index, 0) == [9, 8, 7]


def test_a_sample_of_any_size_is_spread_over_the_days_and_prefers_the_recent_ones() -> None:
    days = 20
    sessions = shop.packed([[0, 1]] * 10_000, gap_ms=days * DAY_MS // 10_000)
    index = build_index(sessions, 2, recent_sessions=2000)
    for size in (200, 2000):
        ages = index.session_age_days[postings(index, 0)[:size]]
        shares = np.histogram(ages, [0, 1, 4, 8, days])[0] / size
        assert shares[0] < 0.3, "the newest day is a part of the sample"
        assert shares[0] > shares[3] / 12 * 2, "a new day has more than an old one"
        assert (shares > 0.02).all()


def test_one_network_does_not_fill_a_day_of_the_sample() -> None:
    sessions = shop.packed([[0, 1]] * 2000, gap_ms=DAY_MS // 2000)
    networks = np.where(np.arange(2000) % 2, 1, np.arange(2000) + 2).astype(np.int32)
    index = build_index(replace(sessions, networks=networks), 2, recent_sessions=200)
    # Session ages identify the sessions: half of them are of network 1, and their weight is that of 32.
    row = np.rint((index.session_age_days.max() - index.session_age_days[postings(index, 0)]) * 2000).astype(
        int
    )
    assert (networks[row] == 1).mean() < 0.1


def test_a_shop_with_one_network_is_sampled_like_one_without(kernels: Kernels) -> None:
    sessions = shop.walks(300)
    one = replace(sessions, networks=np.ones(300, np.int32))
    unknown = replace(sessions, networks=np.zeros(300, np.int32))
    expected = build_index(sessions, shop.ITEMS)
    for known in (one, unknown):
        assert build_index(known, shop.ITEMS).posting_sessions.tolist() == expected.posting_sessions.tolist()


def test_a_very_long_session_is_remembered_by_its_end() -> None:
    index = build_index(shop.packed([list(range(150))]), 150)
    assert index.session_items.tolist() == list(range(50, 150))


def test_a_shop_without_sessions_votes_by_its_catalogue(kernels: Kernels) -> None:
    none = shop.packed([[0, 1]]).take(np.zeros(1, bool))
    index = build_index(none, 4, catalogue=shop.packed([[0, 1, 2]]))
    found, votes = kernels.voter(index, KnnSettings(near_decay=1.0, catalogue_weight=1.0))(
        np.array([0], np.int32)
    )
    assert found[np.argsort(-votes)].tolist() == [0, 1, 2]


def test_votes_of_catalogue_sessions_fade_as_sessions_of_the_item_arrive(kernels: Kernels) -> None:
    catalogue = shop.packed([[0, 1], [1, 0]])
    settings = KnnSettings(neighbours=20, idf_power=0.0, catalogue_weight=1.0)
    shares = []
    for sessions in (1, 5, 18, 19, 30):
        index = build_index(shop.packed([[0, 2]] * sessions), 3, catalogue=catalogue)
        found, votes = kernels.voter(index, settings)(np.array([0], np.int32))
        shares.append(float(votes[found == 1].sum()))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.3
    assert shares[-1] == 0, "more sessions than neighbours leave the catalogue no place"


@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_the_weight_of_catalogue_sessions_does_not_depend_on_the_decay_by_age(
    kernels: Kernels, decay: float
) -> None:
    index = build_index(shop.packed([[0, 2]]), 3, catalogue=shop.packed([[0, 1]]))
    settings = KnnSettings(idf_power=0.0, age_decay_days=decay, catalogue_weight=0.5)
    found, votes = kernels.voter(index, settings)(np.array([0], np.int32))
    share = dict(zip(found.tolist(), votes.tolist(), strict=True))
    assert share[1] == pytest.approx(share[2] / 2)


def test_catalogue_sessions_change_no_weight_of_an_item_and_are_not_counted_as_clicks() -> None:
    sessions = shop.packed([[0, 2], [0, 3]])
    plain, index = build_index(sessions, 5), build_index(sessions, 5, catalogue=shop.packed([[0, 1], [2, 1]]))
    assert np.array_equal(index.idf, plain.idf)
    assert (plain.catalogue_sessions, index.catalogue_sessions) == (0, 2)
    assert index.clicked_items.tolist() == plain.clicked_items.tolist() == [True, False, True, True, False]
