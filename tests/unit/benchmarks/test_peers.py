"""The peers' files, conversions and training loop, without their libraries."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peers.conversion import expand, known_tails, newest, over_all_items, write_prefixes
from benchmarks.peers.exchange import (
    Plan,
    Task,
    predicted_positions,
    read_task,
    scorer_of_file,
    write_scores,
    write_task,
)
from benchmarks.peers.settings import PEERS, published
from benchmarks.peers.table import markdown
from benchmarks.peers.training import train
from training_jobs.gate.measure import measure
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import Cases, prefix_cases

ITEMS = 6


def sessions_of(*lists: Sequence[int]) -> Sessions:
    offsets = np.cumsum([0, *(len(items) for items in lists)])
    items = np.array([item for items in lists for item in items], np.int32)
    return Sessions(items, offsets, np.arange(len(items), dtype=np.int64))


def task_of(learn: Sessions, train_on: Sessions | None = None, **plan: Any) -> Task:
    chosen = {"patience": 2, "seed": 0, "threads": 1, "budget_s": 100.0, "exclude_current": False} | plan
    cases = prefix_cases(sessions_of([0, 1, 2], [3, 4]))
    return Task(Plan("none", "None", {}, **chosen), ITEMS, learn, train_on or learn, cases, cases)


def test_a_task_arrives_as_it_was_sent(tmp_path: Path) -> None:
    sent = task_of(sessions_of([1, 2], [3]), sessions_of([1, 2], [3], [5, 4, 0]))
    write_task(tmp_path, sent)
    arrived = read_task(tmp_path)
    assert arrived.plan == sent.plan
    assert arrived.items == ITEMS
    for name in ("learn", "train", "valid", "test"):
        for field, value in vars(getattr(sent, name)).items():
            assert np.array_equal(getattr(getattr(arrived, name), field), value), (name, field)


@given(
    st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=9), min_size=1, max_size=6),
    st.integers(1, 5),
)
def test_every_position_with_one_before_it_is_an_example(lists: list[list[int]], longest: int) -> None:
    sessions = sessions_of(*lists)
    before, after = expand(sessions, longest)
    wanted = [(items[:at][-longest:], items[at]) for items in lists for at in range(1, len(items))]
    got = [(prefix.tolist(), target) for prefix, target in zip(before, after.tolist(), strict=True)]
    assert got == wanted
    assert predicted_positions(sessions) == len(wanted)


def test_prefixes_are_written_in_recboles_format(tmp_path: Path) -> None:
    write_prefixes(tmp_path / "x.inter", sessions_of([4, 5, 1], [2]), longest=1)
    assert (tmp_path / "x.inter").read_text().splitlines() == [
        "session_id:token\titem_id_list:token_seq\titem_id:token",
        "0\t4\t5",
        "1\t5\t1",
    ]


def test_sequences_hold_the_newest_known_items_under_the_peers_ids() -> None:
    ids = np.array([0, 10, 20, 30, 40, 50])
    assert newest(sessions_of([1, 2, 3, 0, 4], [5, 0], [1, 2]), ids, longest=3) == [[20, 30, 40], [10, 20]]


def test_tails_are_padded_on_the_side_a_library_wants() -> None:
    ids = np.array([0, 10, 20, 30, 40, 50])
    prefixes = [np.array(items, np.int32) for items in ([1, 2, 3], [0, 4], [0])]
    assert known_tails(prefixes, ids, 2, pad_left=False).tolist() == [[20, 30], [40, 0], [0, 0]]
    assert known_tails(prefixes, ids, 3, pad_left=True).tolist() == [[10, 20, 30], [0, 0, 40], [0, 0, 0]]


def test_what_a_peer_does_not_know_cannot_be_hit_and_knowing_nothing_loses_to_every_item() -> None:
    own = np.array([[9.0, 0.1, 0.2], [9.0, 0.3, 0.4]], np.float32)  # id 0 is padding
    over = over_all_items(own, np.array([2, 0, 1]), np.array([[1, 0], [0, 0]]))
    assert over[0].tolist() == pytest.approx([0.2, -math.inf, 0.1])
    cases = Cases(np.array([2, 1], np.int32), np.array([0, 1, 2]), np.array([0, 0]), np.array([0, 1]))
    ranked = measure("peer", lambda prefixes: over[: len(prefixes)], cases, exclude_current=False)
    assert ranked.rank.tolist() == [1, 3]


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, -math.inf, math.nan]), min_size=ITEMS, max_size=ITEMS),
        min_size=1,
        max_size=300,
    ),
    st.randoms(use_true_random=False),
)
def test_a_file_of_scores_ranks_as_brute_force_says(scores: list[list[float]], random: Any) -> None:
    targets = np.array([random.randrange(ITEMS) for _ in scores])
    cases = Cases(
        np.zeros(len(scores), np.int32), np.arange(len(scores) + 1), targets, np.arange(len(scores))
    )
    rows = iter(scores)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "scores.npy"
        write_scores(
            path, lambda prefixes: np.array([next(rows) for _ in prefixes], np.float32), cases, ITEMS
        )
        ranked = measure("peer", scorer_of_file(path), cases, exclude_current=False, batch=7).rank
    for row, target, rank in zip(scores, targets, ranked, strict=True):
        own = row[target]
        others = [value for at, value in enumerate(row) if at != target]
        lost = ITEMS + 1 if not math.isfinite(own) else 1 + sum(value >= own for value in others)
        assert rank == lost


class Scripted:
    """A model with epochs of ten seconds and scripted validation: 1 is a hit at the first rank."""

    def __init__(self, script: Sequence[int], batches: int = 10) -> None:
        self.now, self.script, self.batches = 0.0, script, batches
        self.passes: list[str] = []
        self.epoch, self.rate = 0, 1.0

    def train_epoch(self, part: str, stop: Any) -> float:
        self.passes.append(part)
        self.epoch += part == "learn"
        for batch in range(self.batches):
            self.now += 10 / self.batches
            if stop():
                return (batch + 1) / self.batches
        return 1.0

    def scores(self, prefixes: Sequence[np.ndarray]) -> np.ndarray:
        worth = self.script[min(self.epoch, len(self.script)) - 1]
        out = np.zeros((len(prefixes), ITEMS), np.float32)
        out[np.arange(len(prefixes)), [int(prefix[-1]) + 1 for prefix in prefixes]] = worth
        return out

    def state(self) -> int:
        return self.epoch

    def restore(self, state: int) -> None:
        self.epoch = state

    def slow_down(self, factor: float) -> None:
        self.rate /= factor


def trained(model: Scripted, task: Task) -> Any:
    return train(model, task, clock=lambda: model.now, cpu_clock=lambda: model.now / 2)


def test_training_stops_when_validation_no_longer_gets_better_and_keeps_the_best() -> None:
    model = Scripted([-1, 1, -1, -1, 1])
    report = trained(model, task_of(sessions_of([0, 1, 2])))
    assert (report.epochs, report.best_epoch, report.converged) == (4, 2, True)
    assert model.epoch == 2
    assert report.valid_mrr_at_20[1] == 1.0
    assert report.valid_mrr_at_20[0] < 1.0


def test_the_budget_cuts_an_epoch_and_the_report_says_so() -> None:
    report = trained(Scripted([1]), task_of(sessions_of([0, 1, 2]), budget_s=5.0))
    assert (report.epochs, report.converged, report.refit) == (0.5, False, False)
    assert report.seconds_per_epoch == 10.0
    assert report.cpu_seconds_per_epoch == 5.0
    assert report.events_per_s == 0.2


def test_the_validation_tail_is_learnt_in_one_slower_epoch_within_the_budget() -> None:
    model = Scripted([-1, 1])
    learn = sessions_of([0, 1, 2])
    report = trained(model, task_of(learn, sessions_of([0, 1, 2], [2, 3, 4]), patience=9, budget_s=50.0))
    assert model.passes == ["learn", "learn", "learn", "train"]
    assert report.refit
    assert model.rate == 0.25
    assert model.now <= 50.0


def test_every_peer_says_where_its_settings_are_from_and_users_have_the_papers_own() -> None:
    assert {"gru4rec", "core", "narm", "srgnn", "rectools_sasrec"} <= set(PEERS)
    assert all(peer.source and peer.settings for peer in PEERS.values())
    assert published("rectools_sasrec", "users").settings["n_blocks"] == 1
    assert published("rectools_sasrec", "events").settings["n_blocks"] == 2
    assert published("core", "users") == published("core", "events")


def test_the_table_marks_what_the_budget_cut_and_shows_ours_once() -> None:
    row: dict[str, Any] = {
        "data": "shop", "threads": 1, "cases": 10, "at": "2026-01-01", "command": "run",
        "machine": {"cpu": "x", "cores": 1, "memory_gib": 4, "load_1_minute": 0.1},
        "model": "neural", "library": "tugboat", "version": "1", "hr_at_20": 0.5, "mrr_at_20": 0.25,
        "mrr_at_20_interval": [0.2, 0.3], "epochs": 3, "converged": True, "train_seconds": 4,
        "seconds_per_epoch": 1.0, "cpu_seconds_per_epoch": 0.9, "events_per_s": 1000.0, "events_per_cpu_s": None,
    }  # fmt: skip
    peer = row | {"model": "core", "library": "recbole", "epochs": 0.5, "converged": False}
    peer["ours_over_this"] = {"events_per_s": 12.5, "events_per_cpu_s": None, "mrr_at_20": 1.1}
    lines = markdown([row, row | {"events_per_s": 3000.0}, peer]).splitlines()
    ours = [line for line in lines if line.startswith("| neural")]
    theirs = [line for line in lines if line.startswith("| core")]
    assert len(ours) == 1
    assert "2,000" in ours[0]
    assert "0.5+" in theirs[0]
    assert "12.5x" in theirs[0]
    assert "1.10" not in theirs[0]
    assert "1.10" in markdown([row, peer | {"converged": True}])
    slow = peer | {"epochs": 9.0, "best_epoch": 6.0, "cpu_seconds_per_epoch": 4.5}
    assert "| 10.0x+ |" in markdown([row, slow]), "27 seconds of processor time and counting, ours takes 2.7"
