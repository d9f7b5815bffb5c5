"""Next-item prediction on public sessions: `python -m benchmarks.next_item --data DIR`.

Detects the layout, chooses every setting on a validation tail by time, then ranks all items for every test case (ties
count against the model) and prints one JSON line a model. The test cases are looked at once, after all is chosen.
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

from benchmarks.next_item_layouts import Bench, LayoutError, load
from training_jobs import baselines, metrics, tune
from training_jobs.data import Float64, Sessions, no_content
from training_jobs.encoder import EncoderWeights, probabilities
from training_jobs.fit import Epoch, FitSettings, fit
from training_jobs.knn import KnnIndex, KnnScorer, KnnSettings, build_index
from training_jobs.measure import Measured, measure
from training_jobs.model import Encoder, EncoderSettings
from training_jobs.pipeline import encoder_weights
from training_jobs.recommend import LENGTH_BUCKETS, BlendSettings, Recommender
from training_jobs.warm_start import place_new_items, warm_start

# VMIS-kNN as published has these to choose; ours has more (tune.py).
VMIS_GRID: dict[str, tuple[float, ...]] = {
    "last_items": (9, 2, 3, 5),
    "neighbours": (200, 100, 500, 1500),
    "recent_sessions": (1000, 500, 5000),
}
_REPEATS = 0.01  # with fewer consecutive repeats than this, the item being looked at is not a candidate


def excludes_current(sessions: Sessions) -> bool:
    """Whether sessions hardly ever show the same item twice in a row, so that models need not rank it."""
    inner = np.ones(len(sessions.items), bool)
    inner[sessions.offsets[:-1]] = False
    again = sessions.items[1:] == sessions.items[:-1]
    return float(again[inner[1:]].mean()) < _REPEATS if inner.any() else True


def train_encoder(
    bench: Bench, options: argparse.Namespace, exclude: bool, on_epoch: Callable[[Epoch], None] | None = None
) -> tuple[EncoderWeights, EncoderWeights]:
    """The encoder as settings are chosen with it, and carried on over the validation tail."""
    on_epoch = on_epoch or _say
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    content = no_content(bench.items)
    encoder = Encoder(bench.items, EncoderSettings(), content)
    warm_start(encoder, bench.learn, content, options.seed)
    encoder.to(device)
    plan = FitSettings(
        epochs=options.epochs,
        batch_sessions=options.batch_sessions,
        learning_rate=options.learning_rate,
        negatives=options.negatives,
        exclude_current=exclude,
    )
    fit(
        encoder,
        bench.learn,
        plan,
        options.seed,
        "learn",
        deadline_s=options.budget_s * 0.6,
        on_epoch=on_epoch,
    )
    chosen_with = encoder_weights(encoder)
    if bench.train is bench.learn:
        return chosen_with, chosen_with
    place_new_items(encoder, bench.learn, bench.train, content, options.seed)
    refit = replace(plan, epochs=1, learning_rate=options.learning_rate / 4)
    fit(encoder, bench.train, refit, options.seed, "refit", on_epoch=on_epoch)
    return chosen_with, encoder_weights(encoder)


def _say(epoch: Epoch) -> None:
    rate = epoch.events / max(epoch.seconds, 1e-9)
    print(
        f"epoch={epoch.epoch}/{epoch.epochs} loss={epoch.loss:.4f} seconds={epoch.seconds:.1f} events_per_s={rate:.0f}",
        file=sys.stderr,
        flush=True,
    )


def run(bench: Bench, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every model's row."""
    share = baselines.popularity(bench.train, bench.items)
    learnt = baselines.popularity(bench.learn, bench.items)
    exclude = excludes_current(bench.learn)
    valid = tune.sample(bench.valid, options.seed)
    rows: list[dict[str, Any]] = []

    def row(name: str, seconds: float, measured: Callable[[], Measured], settings: Any) -> None:
        began = time.perf_counter()
        result = measured()
        rows.append(
            describe(bench, result, share, options.bootstrap)
            | {
                "train_seconds": round(seconds, 1),
                "test_seconds": round(time.perf_counter() - began, 1),
                "seed": options.seed,
                "settings": settings,
            }
        )
        print(json.dumps(rows[-1]), flush=True)

    plain: dict[str, baselines.Scorer] = {
        "popularity": baselines.popularity_scorer(share),
        "session_popularity": baselines.session_popularity_scorer(share),
        "item_to_item": baselines.item_to_item_scorer(bench.train, share),
    }
    for name, score in plain.items():
        row(
            name,
            0.0,
            lambda name=name, score=score: measure(name, score, bench.test, exclude_current=False),
            {},
        )  # type: ignore[misc]

    began = time.perf_counter()
    index = build_index(bench.learn, bench.items)
    full = index if bench.train is bench.learn else build_index(bench.train, bench.items)
    vmis, _ = tune.tune_knn(index, valid, learnt, grid=VMIS_GRID, exclude_current=False)
    vmis_seconds = time.perf_counter() - began
    row("vmis_knn", vmis_seconds, lambda: _knn(full, vmis, share, bench, "vmis_knn", False), asdict(vmis))

    began = time.perf_counter()
    knn, _ = tune.tune_knn(index, valid, learnt, exclude_current=exclude, deadline_s=options.tune_seconds)
    knn_seconds = time.perf_counter() - began
    row(
        "session_knn", knn_seconds, lambda: _knn(full, knn, share, bench, "session_knn", exclude), asdict(knn)
    )

    began = time.perf_counter()
    first, last = train_encoder(bench, options, exclude)
    fit_seconds = time.perf_counter() - began
    described = {
        name: getattr(options, name) for name in ("epochs", "learning_rate", "negatives", "batch_sessions")
    }
    described["exclude_current"] = exclude
    row(
        "neural",
        fit_seconds,
        lambda: measure("neural", lambda p: probabilities(last, p), bench.test, exclude_current=exclude),
        described,
    )
    began = time.perf_counter()
    blend, _ = tune.tune_blend(first, index, knn, valid, exclude_current=exclude)
    blend_seconds = fit_seconds + knn_seconds + time.perf_counter() - began
    recommender = _recommender(bench, last, full, share, blend)
    row(
        "blend",
        blend_seconds,
        lambda: measure("blend", recommender.scores, bench.test, exclude_current=exclude),
        described | asdict(blend),
    )
    return rows


def _knn(
    index: KnnIndex, settings: KnnSettings, share: Float64, bench: Bench, name: str, exclude: bool
) -> Measured:
    scorer = baselines.knn_scorer(KnnScorer(index, settings), share)
    return measure(name, scorer, bench.test, exclude_current=exclude)


def _recommender(
    bench: Bench, weights: EncoderWeights, index: KnnIndex, share: Float64, blend: BlendSettings
) -> Recommender:
    return Recommender([str(row) for row in range(bench.items)], weights, index, share, blend)


def describe(bench: Bench, measured: Measured, popularity: Float64, draws: int) -> dict[str, Any]:
    """Metrics, intervals and slices of one model."""
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


def _slices(bench: Bench, rank: np.ndarray, popularity: Float64) -> dict[str, dict[str, float]]:
    lengths, target = bench.test.lengths, popularity[bench.test.targets]
    head, middle = np.quantile(popularity[popularity > 0], [0.9, 0.5])
    masks = {
        f"length_{begin}_up_to_{end - 1 if end < math.inf else 'any'}": (lengths >= begin) & (lengths < end)
        for begin, end in zip(LENGTH_BUCKETS, [*LENGTH_BUCKETS[1:], math.inf], strict=True)
    }
    masks |= {
        "target_head_tenth": target >= head,
        "target_middle": (target < head) & (target >= middle),
        "target_tail_half": target < middle,
    }
    return {
        name: {
            "cases": int(mask.sum()),
            "hr_at_20": round(metrics.hit_rate(rank[mask], 20), 4),
            "mrr_at_20": round(metrics.mrr(rank[mask], 20), 4),
        }
        for name, mask in masks.items()
    }


def arguments() -> argparse.ArgumentParser:
    """The command line; its defaults are the settings of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m benchmarks.next_item --data ../shared/data/bench/diginetica --seed 0",
    )
    add, default = parser.add_argument, FitSettings()
    add("--data", type=Path, required=True, help="a directory in one of the layouts of next_item_layouts.py")
    add("--seed", type=int, default=0)
    add(
        "--budget-s",
        type=float,
        default=math.inf,
        help="wall clock for choosing and training; epochs are cut to fit",
    )
    add("--tune-seconds", type=float, default=60.0, help="at most this long on kNN settings")
    add("--epochs", type=int, default=default.epochs)
    add("--batch-sessions", type=int, default=default.batch_sessions)
    add("--learning-rate", type=float, default=default.learning_rate)
    add("--negatives", type=int, default=default.negatives)
    add("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
    add("--bootstrap", type=int, default=500, help="draws for the intervals")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        bench = load(options.data)
    except (LayoutError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    run(bench, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
