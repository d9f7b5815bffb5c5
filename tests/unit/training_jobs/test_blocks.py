"""Work on sessions goes block by block: the same result as at once, in memory that does not grow with the sessions."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.training_jobs import shop
from training_jobs.gate.baselines import popularity
from training_jobs.gate.checks_snapshot import largest_network_share, largest_surge
from training_jobs.serving import knn, sessions
from training_jobs.serving.knn import KnnIndex, build_index
from training_jobs.serving.ranker import item_facts
from training_jobs.serving.returns import return_floor
from training_jobs.serving.sessions import DAY_MS, Sessions
from training_jobs.snapshot.dataset import before, prefix_cases, sampled_cases, within
from training_jobs.training import warm_start

ITEMS = 30


def visits(count: int = 200, longest: int = 130) -> Sessions:
    """Return sessions with repeated items, a few of them longer than a neighbor may be. They span three days."""
    rng = np.random.default_rng(5)
    lengths = np.where(rng.random(count) < 0.05, longest, rng.integers(1, 9, count))
    clicks = [(rng.integers(0, ITEMS**0.5, length) ** 2 % ITEMS).tolist() for length in lengths]
    return shop.packed(clicks, gap_ms=3 * DAY_MS // count)


def index_at_once(log: Sessions, items: int, recent: int) -> KnnIndex:
    """Return the index, written without blocks."""
    ends = log.ends_ms
    age_days = ((ends.max() - ends) / DAY_MS).astype(np.float32)
    order = knn.sampling_order(age_days, log.networks)
    past = []
    for row in order.tolist():
        clicks = log.session(row)[-100:].tolist()
        past.append([item for at, item in enumerate(clicks) if item not in clicks[at + 1 :]])
    holding = [[row for row in reversed(range(len(past))) if item in past[row]] for item in range(items)]
    frequency = np.array([len(rows) for rows in holding])
    return KnnIndex(
        np.array([row for rows in holding for row in rows[:recent]], np.int32),
        np.r_[0, np.cumsum(np.minimum(frequency, recent))],
        np.array([item for clicks in past for item in clicks], np.int32),
        np.r_[0, np.cumsum([len(clicks) for clicks in past])],
        age_days[order],
        np.log(len(past) / np.maximum(frequency, 1)).astype(np.float32),
    )


@pytest.mark.parametrize("recent", [2, 5000])
@pytest.mark.parametrize("block", [1, 7, 200, 10_000])
def test_the_index_is_the_same_for_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, block: int, recent: int
) -> None:
    log = visits()
    monkeypatch.setattr(sessions, "BLOCK_EVENTS", block)
    found, expected = build_index(log, ITEMS, recent), index_at_once(log, ITEMS, recent)
    for name in vars(expected):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine.dtype == theirs.dtype
        assert mine.tolist() == theirs.tolist(), name


def test_the_index_keeps_the_newest_sessions_where_there_are_more_than_it_may_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = visits()
    monkeypatch.setattr(knn, "INDEX_SESSIONS", 50)
    found, expected = build_index(log, ITEMS), build_index(log.between(150, 200), ITEMS)
    assert found.sessions == 50
    for name in vars(expected):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def results() -> dict[str, Callable[[Sessions], Any]]:
    return {
        "popularity": lambda log: popularity(log, ITEMS).tobytes(),
        "recent popularity": lambda log: popularity(log, ITEMS, 0.7).tobytes(),
        "item facts": lambda log: item_facts(log, ITEMS).tobytes(),
        "return floor": return_floor,
        "clicks": lambda log: log.clicks(ITEMS).tobytes(),
        "surge": lambda log: largest_surge(log, 5, 2),
        "networks": lambda log: largest_network_share(
            replace(log, networks=np.arange(len(log), dtype=np.int32) % 7),
            best_sellers=5,
            minimum_sessions=2,
            minimum_share=0.02,
        ),
    }


@pytest.mark.parametrize("result", results())
def test_counts_are_the_same_to_the_last_bit_for_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    log, work = visits(), results()[result]
    at_once = work(log)
    for block in (1, 7, 200):
        monkeypatch.setattr(sessions, "BLOCK_EVENTS", block)
        assert work(log) == at_once


def test_pairs_are_the_same_however_many_are_sorted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = warm_start.co_occurrence(visits(), ITEMS)
    monkeypatch.setattr(warm_start, "_PAIRS", 100)
    in_parts = warm_start.co_occurrence(visits(), ITEMS)
    assert [part.tobytes() for part in in_parts] == [part.tobytes() for part in at_once]


def test_the_sampled_cases_are_rows_of_all_cases() -> None:
    log = visits()
    everything = prefix_cases(log)
    rows = np.sort(np.random.default_rng(3).choice(len(everything), 40, replace=False))
    found, expected = sampled_cases(log, 3, 40), everything.take(rows)
    for name in vars(expected):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert len(sampled_cases(log, 3, 10**6)) == len(everything)


def test_a_cut_in_time_shares_the_memory_of_the_sessions() -> None:
    log = visits()
    cut = int(log.ends_ms[120])
    past, rest = before(log, cut), within(log, cut)
    assert np.shares_memory(past.items, log.items)
    assert past.ends_ms.tolist() == [end for end in log.ends_ms.tolist() if end < cut]
    assert rest.starts_ms.tolist() == [
        start for start, end in zip(log.starts_ms.tolist(), log.ends_ms.tolist(), strict=True) if start >= cut
    ]


def test_the_index_takes_less_than_thirty_bytes_per_click(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    count, length, items = 60_000, 5, 1000
    clicks = rng.integers(0, items, count * length).astype(np.int32)
    log = Sessions(clicks, np.arange(0, count * length + 1, length), np.arange(count * length) * 1000)
    monkeypatch.setattr(sessions, "BLOCK_EVENTS", 2**14)
    tracemalloc.start()
    build_index(log, items)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * len(clicks)
