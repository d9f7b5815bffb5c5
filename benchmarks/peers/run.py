"""One run: our neural model, then each peer, on the same data, cores and threads, with one row each."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import next_item
from benchmarks.conditions import conditions
from benchmarks.next_item_layouts import Bench, load
from benchmarks.next_item_training import choose_recipe, excludes_current, train_encoder
from benchmarks.peers.environment import REPOSITORY, run_worker
from benchmarks.peers.exchange import Plan, Task, predicted_positions, scorer_of_file, write_task
from benchmarks.peers.settings import published
from training_jobs.gate import baselines
from training_jobs.gate.measure import Measured, measure
from training_jobs.serving.encoder_numpy import probabilities
from training_jobs.training import tune
from training_jobs.training.fit_encoder import Epoch


def run(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the rows. A peer's row has the ratios of ours to it, from this run."""
    bench = load(options.data)
    exclude = excludes_current(bench.learn)
    torch.set_num_threads(options.threads)
    about = conditions("peers", threads=options.threads, seed=options.seed, budget_s=options.budget_s)
    ours = about | neural(bench, options, exclude)
    yield ours
    for name in options.models:
        row = about | peer(bench, name, options, exclude)
        row["ours_over_this"] = {
            figure: round(ours[figure] / row[figure], 3) if ours[figure] and row[figure] else None
            for figure in ("events_per_s", "events_per_cpu_s", "mrr_at_20", "hr_at_20")
        }
        yield row


def neural(bench: Bench, options: argparse.Namespace, exclude: bool) -> dict[str, Any]:
    """Train ours with the code of `benchmarks.next_item`, and with its shares of the budget."""
    cpu_s: list[float] = []

    def on_epoch(epoch: Epoch) -> None:
        cpu_s.append(time.process_time())
        print(
            f"neural epoch={epoch.epoch}/{epoch.epochs} seconds={epoch.seconds:.1f}",
            file=sys.stderr,
            flush=True,
        )

    began = time.perf_counter()
    recipe, _ = choose_recipe(bench, options.seed, options.budget_s * next_item.TRIALS_SHARE)
    trained = train_encoder(bench, recipe, options.seed, options.budget_s * next_item.TRAIN_SHARE, on_epoch)
    seconds = time.perf_counter() - began
    epochs, events = trained.epochs, predicted_positions(bench.train)
    per_epoch = sum(epoch.seconds for epoch in epochs) / len(epochs)
    # From the epochs after the first, because only training happens between the ends of two epochs.
    cpu_per_epoch = (cpu_s[-1] - cpu_s[-len(epochs)]) / (len(epochs) - 1) if len(epochs) > 1 else 0.0
    measured = measure(
        "neural", lambda prefixes: probabilities(trained.final, prefixes), bench.test, exclude_current=exclude
    )
    return row(bench, measured) | {
        "library": "tugboat",
        "version": version("tugboat"),
        "versions": {"torch": torch.__version__},
        "settings": recipe.described(),
        "source_of_settings": "chosen among the recipes of benchmarks.next_item_training",
        "epochs": len(epochs),
        "converged": len(epochs) == recipe.fit.epochs,
        "refit": True,
        "seconds_per_epoch": round(per_epoch, 2),
        "events_per_s": round(events / per_epoch, 1),
        "cpu_seconds_per_epoch": round(cpu_per_epoch, 2),
        "events_per_cpu_s": round(events / cpu_per_epoch, 1) if cpu_per_epoch else None,
        "train_seconds": round(seconds, 1),
    }


def peer(bench: Bench, name: str, options: argparse.Namespace, exclude: bool) -> dict[str, Any]:
    """Train and score a peer in its own environment, and rank its scores in ours."""
    chosen = published(name, bench.layout)
    plan = Plan(
        chosen.library,
        chosen.algorithm,
        chosen.settings,
        chosen.patience,
        options.seed,
        options.threads,
        options.budget_s,
        exclude,
    )
    valid = tune.sample(bench.valid, options.seed)
    with tempfile.TemporaryDirectory(dir=REPOSITORY / "build", prefix="peers-run-") as place:
        directory = Path(place).resolve()
        write_task(directory, Task(plan, bench.items, bench.learn, bench.train, valid, bench.test))
        print(f"{name}: {chosen.library} {chosen.algorithm}", file=sys.stderr, flush=True)
        run_worker(directory, options.threads)
        report: dict[str, Any] = json.loads((directory / "report.json").read_text())
        scorer = scorer_of_file(directory / "scores.npy")
        measured = measure(name, scorer, bench.test, exclude_current=exclude)
    report["train_seconds"] = report.pop("seconds")
    return (
        row(bench, measured)
        | {
            "library": chosen.library,
            "version": report["versions"][chosen.library],
            "settings": {"algorithm": chosen.algorithm, "patience": chosen.patience} | chosen.settings,
            "source_of_settings": chosen.source,
            "events_per_cpu_s": round(predicted_positions(bench.learn) / report["cpu_seconds_per_epoch"], 1),
        }
        | report
    )


def row(bench: Bench, measured: Measured) -> dict[str, Any]:
    share = baselines.popularity(bench.train, bench.items)
    return next_item.describe(bench, measured, share, draws=500)
