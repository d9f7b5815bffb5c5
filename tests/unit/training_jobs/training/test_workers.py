"""Two processes that train one encoder together, over gloo on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_jobs.training.two_processes import GRADIENTS, ROWS

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Each process's result. The processes meet as torchrun lets them meet."""
    folder = tmp_path_factory.mktemp("two")
    store = {"TORCHELASTIC_RUN_ID": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.unit.training_jobs.training.two_processes", str(folder / "result")],
            cwd=REPOSITORY,
            env={**os.environ, **store, "WORLD_SIZE": "2", "RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in (0, 1)
    ]
    try:
        assert [process.wait(timeout=120) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    return [json.loads((folder / f"result.{rank}").read_text()) for rank in (0, 1)]


def _free_port() -> str:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_both_end_with_the_same_weights_and_have_learnt(results: list[dict[str, Any]]) -> None:
    first, second = results
    assert first["weights"] == second["weights"]
    assert first["losses"] == second["losses"]
    assert first["losses"][-1] < 0.9 * first["losses"][0]


def test_each_gets_the_rows_of_both_with_the_mean_gradient(results: list[dict[str, Any]]) -> None:
    mean = {row: 0.0 for rows in ROWS for row in rows}
    for rows, gradients in zip(ROWS, GRADIENTS, strict=True):
        for row, (gradient,) in zip(rows, gradients, strict=True):
            mean[row] += gradient / 2
    for result in results:
        merged = result["merged"]
        assert merged["rows"] == sorted(mean)
        assert merged["values"] == [[float(row)] for row in sorted(mean)]
        assert merged["gradient"] == [[mean[row]] for row in sorted(mean)]


def test_the_first_decides_and_the_smallest_number_counts(results: list[dict[str, Any]]) -> None:
    assert [result["smallest"] for result in results] == [6, 6]
    assert [result["first"] for result in results] == [{"rank": 0}, {"rank": 0}]


def test_weights_that_differ_after_training_are_an_error(results: list[dict[str, Any]]) -> None:
    assert "refused" not in results[0]
    assert "weights of process 1 differ" in results[1]["refused"]
