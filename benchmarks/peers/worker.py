"""The program in the peers' environment: `python -m benchmarks.peers.worker DIR` trains by DIR's plan and scores the test."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.peers.exchange import read_task, write_scores
from benchmarks.peers.training import Model, train


def main(directory: Path) -> None:
    task = read_task(directory)
    import torch

    torch.set_num_threads(task.plan.threads)
    model: Model
    if task.plan.library == "recbole":
        from benchmarks.peers.recbole_peer import RecBole

        model = RecBole(task, directory)
    else:
        from benchmarks.peers.rectools_peer import RecTools

        model = RecTools(task)
    trained = train(model, task)
    write_scores(directory / "scores.npy", model.scores, task.test, task.items)
    versions = {name: importlib.metadata.version(name) for name in (task.plan.library, "torch", "numpy")}
    (directory / "report.json").write_text(json.dumps({"versions": versions} | asdict(trained)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
