"""Measure next-item prediction on public clicks: one JSON line per model, on the test cases of one directory.

It identifies the layout (next_item_layouts.py) and chooses every setting on a validation tail within --budget-s.
Then it ranks all items for every test case; ties count against the model.
It reads the test once, after all choices.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import conditions, parser
from benchmarks.next_item_layouts import Bench, LayoutError, load
from benchmarks.next_item_training import choose_recipe, excludes_current, train_encoder
from training_jobs.gate import baselines, metrics
from training_jobs.gate.measure import Measured, measure
from training_jobs.gate.metrics import LENGTH_BUCKETS
from training_jobs.serving.encoder_numpy import probabilities
from training_jobs.serving.kernels.compile import compiled_kernels
from training_jobs.serving.knn import KnnScorer, build_index
from training_jobs.serving.ranker import Ranker, item_facts
from training_jobs.serving.returns import return_floor
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Float64, Int64
from training_jobs.snapshot.dataset import DataError
from training_jobs.training import fit_ranker, tune
from training_jobs.training.choose_blend import choose_share
from training_jobs.training.encoder_torch import EncoderSettings
from training_jobs.training.fit_encoder import Epoch

# The settings of VMIS-kNN as published; ours has more (tune.py).
VMIS_GRID: dict[str, tuple[float, ...]] = {
    "last_items": (9, 2, 3, 5),
    "neighbours": (200, 100, 500, 1500),
    "recent_sessions": (1000, 500, 5000),
}
# Shares of the budget. The rest is for kNN settings and the ranker, which their cases bound.
TRIALS_SHARE, TRAIN_SHARE = 0.2, 0.6

Row = dict[str, Any]


def run(bench: Bench, seeds: Sequence[int], budget_s: float, draws: int, emit: Callable[[Row], None]) -> None:
    """Emit one row per model, one per seed where the seed matters, then the means over seeds."""
    exclude = excludes_current(bench.learn)
    share = baselines.popularity(bench.train, bench.items)
    learnt = baselines.popularity(bench.learn, bench.items)
    valid = tune.sample(bench.valid, seeds[0])
    vmis_mrr = math.nan
    rows: list[Row] = []

    def row(
        name: str,
        score: baselines.Scorer,
        seconds: float,
        seed: int,
        settings: Row,
        exclude: bool,
        **more: Any,
    ) -> Row:
        began = time.perf_counter()
        measured = measure(name, score, bench.test, exclude_current=exclude)
        found = describe(bench, measured, share, draws) | {
            "mrr_at_20_over_vmis_knn": None,
            "train_seconds": round(seconds, 1),
            "test_seconds": round(time.perf_counter() - began, 1),
            "seed": seed,
            "settings": {"exclude_current": exclude, **settings},
            **more,
        }
        if not math.isnan(vmis_mrr):
            found["mrr_at_20_over_vmis_knn"] = round(found["mrr_at_20"] / max(vmis_mrr, 1e-9), 4)
        rows.append(found)
        emit(found)
        return found

    row("popularity", baselines.popularity_scorer(share), 0.0, seeds[0], {}, False)
    row("session_popularity", baselines.session_popularity_scorer(share), 0.0, seeds[0], {}, False)
    row("item_to_item", baselines.item_to_item_scorer(bench.train, share), 0.0, seeds[0], {}, False)

    began = time.perf_counter()
    index = build_index(bench.learn, bench.items)
    full = build_index(bench.train, bench.items)
    kernels = compiled_kernels(EncoderSettings().dim)
    vmis, _ = tune.tune_knn(index, valid, learnt, grid=VMIS_GRID, exclude_current=False, kernels=kernels)
    vmis_scorer = baselines.knn_scorer(KnnScorer(full, vmis), share)
    vmis_row = row("vmis_knn", vmis_scorer, time.perf_counter() - began, seeds[0], asdict(vmis), False)
    vmis_mrr = vmis_row["mrr_at_20"]

    began = time.perf_counter()
    knn, _ = tune.tune_knn(index, valid, learnt, exclude_current=exclude, kernels=kernels)
    knn_seconds = time.perf_counter() - began
    knn_scorer = baselines.knn_scorer(KnnScorer(full, knn), share)
    row("session_knn", knn_scorer, knn_seconds, seeds[0], asdict(knn), exclude)

    began = time.perf_counter()
    recipe, trials = choose_recipe(bench, seeds[0], budget_s * TRIALS_SHARE)
    trials_seconds = time.perf_counter() - began
    for seed in seeds:
        began = time.perf_counter()
        trained = train_encoder(bench, recipe, seed, budget_s * TRAIN_SHARE, report_epoch)
        seconds = trials_seconds + time.perf_counter() - began
        speed = {"events_per_s": round(max(e.events / e.seconds for e in trained.epochs)), "trials": trials}
        row(
            "neural",
            lambda p, w=trained.final: probabilities(w, p),  # type: ignore[misc]
            seconds,
            seed,
            recipe.described(),
            exclude,
            **speed,
        )
        began = time.perf_counter()
        blend = BlendSettings(knn=knn, exclude_current=exclude, return_floor=return_floor(bench.learn))
        names = [str(item) for item in range(bench.items)]
        unranked, _ = choose_share(
            Recommender(names, trained.chosen_with, index, learnt, blend, kernels=kernels), valid
        )
        choice = fit_ranker.choose(unranked, bench.learn, bench.valid, seed)
        network, rank = choice.network, choice.rank
        blend = replace(unranked.settings, floor_ranked=choice.floor_ranked)
        tail = {
            "tail_hr_at_20": round(metrics.hit_rate(rank, 20), 4),
            "tail_mrr_at_20": round(metrics.mrr(rank, 20), 4),
        }
        print(f"tail {tail}", file=sys.stderr, flush=True)
        seconds += knn_seconds + time.perf_counter() - began
        ranker = Ranker(network, item_facts(bench.train, bench.items)) if network else None
        recommender = Recommender(names, trained.final, full, share, blend, ranker=ranker)
        described = recipe.described() | asdict(blend) | {"ranker": network is not None}
        row("blend", recommender.scores, seconds, seed, described, exclude, **speed, **tail)
    if len(seeds) > 1:
        for name in ("neural", "blend"):
            emit(mean_row([found for found in rows if found["model"] == name]))


def report_epoch(epoch: Epoch) -> None:
    rate = epoch.events / max(epoch.seconds, 1e-9)
    print(
        f"epoch={epoch.epoch}/{epoch.epochs} loss={epoch.loss:.4f} seconds={epoch.seconds:.1f} events_per_s={rate:.0f}",
        file=sys.stderr,
        flush=True,
    )


def describe(bench: Bench, measured: Measured, popularity: Float64, draws: int) -> Row:
    """Return the metrics, intervals and slices of one model."""
    cases, rank = bench.test, measured.rank
    resampler = metrics.Resampler(cases.session, draws)
    return {
        "data": bench.name,
        "layout": bench.layout,
        "model": measured.name,
        "cases": len(cases),
        **metrics.summary(rank),
        "hr_at_20_interval": [round(v, 4) for v in resampler.interval(measured.hits)],
        "mrr_at_20_interval": [round(v, 4) for v in resampler.interval(measured.reciprocals)],
        "coverage": round(metrics.coverage(measured.top, bench.items), 4),
        "popularity_ratio": round(metrics.popularity_ratio(measured.top, cases.targets, popularity), 3),
        "slices": _slices(bench, rank, popularity),
    }


def _slices(bench: Bench, rank: Int64, popularity: Float64) -> dict[str, Row]:
    cases = bench.test
    lengths, target = cases.lengths, popularity[cases.targets]
    head, middle = np.quantile(popularity[popularity > 0], [0.9, 0.5])
    revisited = np.array([target in cases.prefix(row) for row, target in enumerate(cases.targets)])
    ends = [*(begin - 1 for begin in LENGTH_BUCKETS[1:]), math.inf]
    masks = {
        f"length_{begin}" + ("" if begin == end else "_or_more" if end == math.inf else f"_to_{end}"): (
            (lengths >= begin) & (lengths <= end)
        )
        for begin, end in zip(LENGTH_BUCKETS, ends, strict=True)
    }
    masks |= {
        "target_head_tenth": target >= head,
        "target_middle": (target < head) & (target >= middle),
        "target_tail_half": target < middle,
        "target_of_the_session": revisited,
        "target_new_to_the_session": ~revisited,
    }
    return {
        name: {
            "cases": int(mask.sum()),
            "hr_at_20": round(metrics.hit_rate(rank[mask], 20), 4),
            "mrr_at_20": round(metrics.mrr(rank[mask], 20), 4),
        }
        for name, mask in masks.items()
    }


def mean_row(rows: Sequence[Row]) -> Row:
    """Return the mean and the standard deviation of each figure over the seeds."""
    names = [
        name
        for name in rows[0]
        if name.startswith(("hr_at_", "mrr_at_", "ndcg_at_")) and "interval" not in name
    ]
    figures = {name: np.array([row[name] for row in rows], float) for name in names}
    return {
        **{name: rows[0][name] for name in ("data", "layout", "model", "cases")},
        **{name: round(float(values.mean()), 5) for name, values in figures.items()},
        "deviation": {name: round(float(values.std(ddof=1)), 5) for name, values in figures.items()},
        "seed": "mean",
        "seeds": [row["seed"] for row in rows],
    }


def arguments() -> argparse.ArgumentParser:
    command = parser("next_item", __doc__, "--data clicks/diginetica --seeds 3")
    add = command.add_argument
    add("--data", type=Path, required=True, help="directory in one of the three layouts")
    add(
        "--budget-s",
        type=float,
        default=1800.0,
        help="seconds for choosing and training (default %(default)s)",
    )
    add("--seed", type=int, default=0, help="first seed (default %(default)s)")
    add(
        "--seeds",
        type=int,
        default=1,
        help="number of seeds; several add a row of means (default %(default)s)",
    )
    add("--threads", type=int, default=0, help="threads of torch; 0 for torch's default")
    add("--bootstrap", type=int, default=500, help="draws for the intervals (default %(default)s)")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    about = conditions("next_item", threads=torch.get_num_threads(), budget_s=options.budget_s)
    try:
        bench = load(options.data)
        seeds = range(options.seed, options.seed + max(1, options.seeds))
        run(
            bench,
            seeds,
            options.budget_s,
            options.bootstrap,
            lambda row: print(json.dumps(about | row), flush=True),
        )
    except (LayoutError, DataError, OSError) as error:
        print(f"next_item: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
