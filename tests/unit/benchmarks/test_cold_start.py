"""The benchmark of cold start hides items completely, and measures what it says."""

from typing import Any

import numpy as np
import pytest

from benchmarks.cold_start import means
from benchmarks.cold_start_items import split
from benchmarks.cold_start_logs import ShopLog, of_events, with_embeddings
from benchmarks.cold_start_models import fused, ranked, without_model
from benchmarks.runs import without
from tests.unit.training_jobs import shop
from training_jobs.snapshot.dataset import prefix_cases

START_MS = 1_700_000_000_000


def viewed(number: int, client: str, item: str, **columns: Any) -> dict[str, Any]:
    return {
        "shop_id": "s", "client_id": client, "event_id": f"{client}-{number}", "event_name": "view_item",
        "client_time_ms": START_MS + number * 1000, "items": [{"item_id": item, **columns}],
    }  # fmt: skip


def a_log() -> ShopLog:
    """40 items of two categories, and 200 sessions."""
    items = 40
    return ShopLog(
        "log",
        shop.walks(200, items),
        [str(row) for row in range(items)],
        [f"thing {row}" for row in range(items)],
        ["boots/high" if row % 2 else "tents" for row in range(items)],
        ["brand"] * items,
        np.arange(1.0, items + 1),
    )


def test_a_log_has_the_columns_of_items_and_the_sessions_of_the_warehouse() -> None:
    history = [
        viewed(0, "c1", "b", price=2.0), viewed(1, "c1", "a", item_category="x/y"), viewed(2, "c1", "a", item_brand="z"),
        viewed(3, "c2", "c"), viewed(4, "crawler-1", "d"), viewed(5, "crawler-1", "a"),
    ]  # fmt: skip
    log = of_events("log", history, {"b": "a title"})
    assert log.vocabulary == ["a", "b", "c"]
    assert [log.sessions.session(row).tolist() for row in range(len(log.sessions))] == [[1, 0]]
    assert (log.titles, log.categories, log.brands) == (
        [None, "a title", None],
        ["x/y", None, None],
        ["z", None, None],
    )
    assert log.prices[1] == 2.0


def test_embeddings_know_sessions_that_nobody_is_measured_on() -> None:
    log = a_log()
    one = with_embeddings(log, 0.5, seed=0)
    assert len(one.sessions) == 100
    assert np.allclose(np.linalg.norm(one.embeddings, axis=1), 1.0, atol=1e-5)
    # The walks go along the row numbers, so neighbors in the log have like embeddings.
    alike = one.embeddings @ one.embeddings.T
    beside = np.diagonal(alike, 1).mean()
    assert beside > alike[np.triu_indices(40, 10)].mean() + 0.1
    assert np.array_equal(with_embeddings(log, 0.5, seed=0).embeddings, one.embeddings)
    assert np.array_equal(one.dataset(one.sessions).content.embeddings, one.embeddings)


def test_without_an_item_its_neighbors_are_one_view_and_short_sessions_are_gone() -> None:
    sessions = shop.packed([[0, 1, 0, 2], [1, 2], [3, 4]])
    found = without(sessions, np.arange(5) == 1)
    assert [found.session(row).tolist() for row in range(len(found))] == [[0, 2], [3, 4]]


@pytest.mark.parametrize("test", [True, False])
def test_no_session_to_learn_from_has_a_held_out_item(test: bool) -> None:
    parts = split(a_log(), 0, test=test)
    assert parts.held.sum() == pytest.approx(8, abs=1)
    assert not parts.learn.clicks(40)[parts.held].any()
    assert parts.unseen[parts.held].all()
    assert not (parts.cold & parts.warm).any()
    for row in np.flatnonzero(parts.cold).tolist():
        assert parts.unseen[parts.cases.targets[row]]
        assert parts.cases.targets[row] not in parts.cases.prefix(row)


def test_the_choice_of_settings_sees_nothing_of_the_test() -> None:
    choice, test = split(a_log(), 0, test=False), split(a_log(), 0, test=True)
    assert not (choice.held & test.held).any()
    assert not test.held[choice.cases.targets].any()
    assert not choice.learn.clicks(40)[test.held].any()


def test_lists_without_a_model_rank_a_new_item_by_its_category_and_price() -> None:
    log = a_log()
    past = without(log.sessions, np.arange(40) == 11)
    scorers = without_model(log, past, START_MS * 2, 0)
    cases = prefix_cases(shop.packed([[13, 11]]))
    inside = np.arange(40) == 11
    first_day = ranked(scorers["first_day"], cases, inside)
    assert first_day.every.tolist() == [2]
    assert first_day.inside.tolist() == [1]
    assert ranked(scorers["category_popularity"], cases, inside).every.tolist() == [19]
    assert ranked(scorers["popularity"], cases, inside).every.tolist() > [35]


def test_a_fusion_puts_first_what_both_put_early() -> None:
    first, second = np.array([[4.0, 3.0, 2.0, 1.0]]), np.array([[-np.inf, 3.0, 2.0, 4.0]])
    score = fused(lambda _: first, lambda _: second)
    places = np.argsort(-score([np.array([0], np.int32)])[0]).tolist()
    assert (places[0], places[-1]) == (1, 2)


def test_means_are_per_model_and_number_of_sessions() -> None:
    rows = [
        {"model": "m", "seed": seed, "sessions": count, "hr_at_20": count / 100 + seed / 10}
        for seed in (0, 1)
        for count in (0, 100)
    ]
    found = means(rows)
    assert [(row["sessions"], row["hr_at_20"], row["seeds"]) for row in found] == [
        (0, 0.05, [0, 1]),
        (100, 1.05, [0, 1]),
    ]
    assert found[0]["deviation"] == {"hr_at_20": 0.05}
