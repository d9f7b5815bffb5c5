"""The peers' libraries really learn from the benchmark's files. Needs `make peers`."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.environment import NotSetUp, run_worker
from benchmarks.peers.exchange import Plan, Task, scorer_of_file, write_task
from benchmarks.peers.settings import published
from tests.missing import missing
from training_jobs.gate.measure import measure
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import prefix_cases

ITEMS = 30


def walks(sessions: int, seed: int) -> Sessions:
    """Sessions that go round a ring of items, so that the next item follows from the last."""
    rng = np.random.default_rng(seed)
    lists = [(rng.integers(ITEMS) + np.arange(length)) % ITEMS for length in rng.integers(2, 6, sessions)]
    offsets = np.r_[0, np.cumsum([len(items) for items in lists])]
    return Sessions(np.concatenate(lists).astype(np.int32), offsets, np.arange(offsets[-1]))


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("core", {"embedding_size": 16, "train_batch_size": 64, "learning_rate": 0.02}),
        ("rectools_sasrec", {"n_factors": 16, "n_negatives": 8, "lr": 0.02}),
    ],
)
def test_a_peer_learns_a_ring_and_its_scores_are_of_the_benchmarks_items(
    name: str, smaller: dict[str, float], tmp_path: Path
) -> None:
    peer = published(name, "events")
    plan = Plan(peer.library, peer.algorithm, peer.settings | smaller, 2, 0, 1, 8.0, True)
    learn, test = walks(400, seed=1), prefix_cases(walks(60, seed=3))
    task = Task(plan, ITEMS, learn, walks(440, seed=1), prefix_cases(walks(40, seed=2)), test)
    write_task(tmp_path, task)
    try:
        run_worker(tmp_path, threads=1)
    except NotSetUp:
        missing("the peers' environment (build/peers)", "make peers")
    ranked = measure(name, scorer_of_file(tmp_path / "scores.npy"), test).rank
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["epochs"] > 0
    assert report["refit"]
    assert np.mean(ranked <= 5) > 0.5, report
