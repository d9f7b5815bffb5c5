"""Replay a log day by day, and measure what a shop loses that trains less often than every night.

LOG is `steady` or `moving` (generated shops, drift_logs.py), or a directory of a public log with times.
After --first days, a model is trained each night on the last --window days, and measured on the day after.
The other schedules use the same models later: what differs is only their age.
A model has two parts. The encoder, the settings and the ranker are trained. The index of session-kNN, the popularity and
the vectors of new items are counted in seconds. So a schedule may renew the index each night and train rarely.

The training is the job's (training_jobs/training/job.py), but for one saving. The settings of a night are chosen with
the encoder of the night before, which has not learnt the last day either.
The result is one line per day, and a summary with a line per schedule. Ratios are to `nightly`, on the same cases.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import conditions, parser
from benchmarks.drift_logs import SHOPS, Log, public_log, shop_log
from training_jobs.gate import baselines, metrics
from training_jobs.gate.measure import Measured, measure
from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.kernels.compile import compiled_kernels
from training_jobs.serving.knn import KnnScorer, KnnSettings, build_index
from training_jobs.serving.ranker import Network
from training_jobs.serving.returns import return_floor
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Float32, Int32, Sessions
from training_jobs.snapshot.dataset import Cases, sampled_cases
from training_jobs.training import fit_ranker, tune
from training_jobs.training.choose_blend import POPULARITY_HALF_LIFE_DAYS
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_encoder import FitSettings, Job, fit
from training_jobs.training.job import assemble, encoder_weights, new_encoder
from training_jobs.training.warm_start import place_new_items

# Nights between two trainings, and between two renewals of the index; 0: only the first night.
SCHEDULES = {
    "nightly": (1, 1),
    "encoder weekly, index nightly": (7, 1),
    "weekly": (7, 7),
    "encoder once, index nightly": (0, 1),
    "never again": (0, 0),
}
TUNE_CASES, DAY_CASES = 1000, 2000
KERNELS_DIM = EncoderSettings().dim

Row = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """The trained part of a night's model. `past` are the sessions that it has learnt, `seconds` the processor's."""

    night: int
    past: Sessions
    encoder: Encoder
    blend: BlendSettings
    network: Network | None
    seconds: float
    events: int


@dataclass(frozen=True)
class Recipe:
    """The settings that all nights share."""

    window_days: int
    epochs: int
    seed: int


def train(log: Log, night: int, before: Encoder, recipe: Recipe) -> Trained:
    """Choose settings on the last day with the encoder of the night before, and train an encoder on all days."""
    began, items = time.process_time(), log.items
    past, learn = log.past(night, recipe.window_days), log.past(night - 1, recipe.window_days)
    tail = log.day(night - 1)
    index, floor = build_index(learn, items), baselines.popularity(learn, items, POPULARITY_HALF_LIFE_DAYS)
    cases = sampled_cases(tail, recipe.seed, TUNE_CASES)
    kernels = compiled_kernels(KERNELS_DIM)
    knn, _ = tune.tune_knn(index, cases, floor, kernels=kernels)
    blend = BlendSettings(knn=knn, return_floor=return_floor(learn))
    learnt = weights_of(before, log.known(night - 1, learn))
    unranked = Recommender(names(items), learnt, index, floor, blend, kernels=kernels)
    cases = sampled_cases(tail, recipe.seed, fit_ranker.CASES)
    choice = fit_ranker.choose(unranked, learn, cases, recipe.seed)
    encoder, events = fitted(log, past, recipe)
    return Trained(
        night,
        past,
        encoder,
        replace(blend, floor_ranked=choice.floor_ranked),
        choice.network,
        time.process_time() - began,
        events,
    )


def fitted(log: Log, past: Sessions, recipe: Recipe) -> tuple[Encoder, int]:
    """Train an encoder from the start, and return it with the number of events that its epochs predicted."""
    encoder = new_encoder(past, log.content, EncoderSettings(), recipe.seed)
    events: list[int] = []
    fit(
        encoder,
        past,
        FitSettings(epochs=recipe.epochs),
        Job(recipe.seed),
        "served",
        on_epoch=lambda epoch: events.append(epoch.events),
    )
    return encoder, sum(events)


def weights_of(encoder: Encoder, known: NDArray[np.bool_]) -> EncoderWeights:
    """Return the encoder for numpy; items that the model does not know have a zero vector, even with content."""
    weights = encoder_weights(encoder, known)
    weights.vectors[~known] = 0
    return weights


def served(
    log: Log, trained: Trained, night: int, recipe: Recipe
) -> tuple[Recommender, NDArray[np.bool_], float]:
    """Return the trained part with the index of `night`, the items that it knows, and the processor seconds of the index."""
    began = time.process_time()
    past, encoder = log.past(night, recipe.window_days), trained.encoder
    if night > trained.night:
        encoder = copy.deepcopy(encoder)
        place_new_items(encoder, trained.past, past, log.content, recipe.seed)
    known = log.known(night, past)
    weights, kernels = weights_of(encoder, known), compiled_kernels(KERNELS_DIM)
    model = assemble(names(log.items), past, weights, trained.blend, trained.network, kernels=kernels)
    return model, known, time.process_time() - began


@cache
def names(items: int) -> list[str]:
    """Return the vocabulary: rows as texts."""
    return [str(row) for row in range(items)]


def of_known(model: Recommender, known: NDArray[np.bool_]) -> Callable[[Sequence[Int32]], Float32]:
    """Return a scorer that leaves out unknown clicks, as a request to the endpoint does, and never finds an unknown item."""

    def score(prefixes: Sequence[Int32]) -> Float32:
        scores = np.array(model.scores([prefix[known[prefix]] for prefix in prefixes]))
        scores[:, ~known] = -np.inf
        return scores

    return score


def replay(log: Log, first: int, recipe: Recipe, emit: Callable[[Row], None]) -> list[Row]:
    """Emit one row per day, and return the summary's rows."""
    nights = range(first, log.days)
    before, _ = fitted(log, log.past(first - 1, recipe.window_days), recipe)
    kept: dict[int, Trained] = {}
    spent = {name: [0.0, 0.0, 0] for name in SCHEDULES}  # seconds of training and of the index, events
    found: dict[str, list[Measured]] = {name: [] for name in (*SCHEDULES, "session_knn")}
    cases_of: list[Cases] = []
    unknown: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in SCHEDULES}
    for night in nights:
        trained = kept[night] = train(log, night, before, recipe)
        before = trained.encoder
        cases = sampled_cases(log.day(night), recipe.seed, DAY_CASES)
        cases_of.append(cases)
        made: dict[tuple[int, int], tuple[Measured, NDArray[np.bool_], float]] = {}
        for name, (encoder_every, index_every) in SCHEDULES.items():
            of_encoder, of_index = latest(night, first, encoder_every), latest(night, first, index_every)
            if (of_encoder, of_index) not in made:
                model, known, seconds = served(log, kept[of_encoder], of_index, recipe)
                measured = measure(name, of_known(model, known), cases)
                made[of_encoder, of_index] = measured, ~known[cases.targets], seconds
            measured, missing, seconds = made[of_encoder, of_index]
            found[name].append(measured)
            unknown[name].append(missing)
            if of_encoder == night:
                spent[name][0] += trained.seconds
                spent[name][2] += trained.events
            if of_index == night:
                spent[name][1] += seconds
        found["session_knn"].append(of_gate_baseline(log, night, recipe, cases))
        kept = {
            at: kept[at]
            for at in {latest(night + 1, first, every) for every, _ in SCHEDULES.values()} & kept.keys()
        }
        emit(
            {
                "row": "day",
                "day": night,
                "cases": len(cases),
                "train_seconds": round(trained.seconds, 1),
                "train_events": trained.events,
                "unknown_targets": {name: round(float(unknown[name][-1].mean()), 4) for name in SCHEDULES},
                "hr_at_20": {name: round(float(of[-1].hits.mean()), 4) for name, of in found.items()},
                "mrr_at_20": {name: round(float(of[-1].reciprocals.mean()), 4) for name, of in found.items()},
                "lead_error": {
                    metric: round(lead_error(found, cases, metric), 5) for metric in ("hits", "reciprocals")
                },
            }
        )
    session = np.concatenate([cases.session + at * 2**32 for at, cases in enumerate(cases_of)])
    resampler = metrics.Resampler(session)
    lengths = [len(cases) for cases in cases_of]
    rows = []
    for name, (encoder_every, _) in SCHEDULES.items():
        ages = np.repeat([night - latest(night, first, encoder_every) for night in nights], lengths)
        missing = np.concatenate(unknown[name])
        rows.append(summary(name, found, resampler, ages, spent[name], missing, len(nights)))
    return rows


def latest(night: int, first: int, every: int) -> int:
    """Return the last night at which something was made that is made every so many nights."""
    return first if every == 0 else night - (night - first) % every


def of_gate_baseline(log: Log, night: int, recipe: Recipe, cases: Cases) -> Measured:
    """Measure the gate's session-kNN, which has learnt the same past as the nightly model."""
    past = log.past(night, recipe.window_days)
    floor = baselines.popularity(past, log.items, POPULARITY_HALF_LIFE_DAYS)
    knn = KnnScorer(build_index(past, log.items), KnnSettings())
    return measure("session_knn", baselines.knn_scorer(knn, floor), cases)


def lead_error(found: dict[str, list[Measured]], cases: Cases, metric: str) -> float:
    """Return the standard error of the nightly model's lead over session-kNN on the last day."""
    lead = getattr(found["nightly"][-1], metric) - getattr(found["session_knn"][-1], metric)
    mean, (low, _) = lead.mean(), metrics.Resampler(cases.session).family_interval(lead, 0.8413447)
    return float(mean - low)


def summary(
    name: str,
    found: dict[str, list[Measured]],
    resampler: metrics.Resampler,
    age: NDArray[np.int64],
    spent: Sequence[float],
    unknown: NDArray[np.bool_],
    nights: int,
) -> Row:
    """Return a schedule's figures over all days, its loss against `nightly`, and the processor time that it takes.

    `age` is the age of the trained part in days, per case.
    """
    row: Row = {"row": "schedule", "schedule": name, "nights": nights, "cases": len(age)}
    for metric, short in (("hits", "hr_at_20"), ("reciprocals", "mrr_at_20")):
        own, best = (np.concatenate([getattr(one, metric) for one in found[of]]) for of in (name, "nightly"))
        low, high = resampler.interval(own - best)
        row |= {
            short: round(float(own.mean()), 4),
            f"{short}_over_nightly": round(float(own.mean() / max(best.mean(), 1e-9)), 4),
            f"{short}_loss_interval": [round(-high, 4), round(-low, 4)],
            f"{short}_over_nightly_by_age": {
                label: round(float(own[old].mean() / max(best[old].mean(), 1e-9)), 4)
                for label, old in of_age(age).items()
            },
        }
    knn = np.concatenate([one.hits for one in found["session_knn"]])
    return row | {
        "hr_at_20_of_session_knn": round(float(knn.mean()), 4),
        "unknown_targets": round(float(unknown.mean()), 4),
        "train_seconds": round(spent[0], 1),
        "index_seconds": round(spent[1], 2),
        "train_events": int(spent[2]),
        "events_per_s": round(spent[2] / max(spent[0], 1e-9)),
    }


def of_age(age: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Return masks of the cases by the age of the trained part in days; ages without a case are left out."""
    ends = (1, 2, 4, 7, 14, 21, 10_000)
    masks = {
        f"{begin}" if end == begin + 1 else f"{begin}-{end - 1}" if end < ends[-1] else f"{begin} or more": (
            (age >= begin) & (age < end)
        )
        for begin, end in zip((0, *ends), ends, strict=False)
    }
    return {label: mask for label, mask in masks.items() if mask.any()}


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    command = parser("drift", __doc__ or "", "moving --threads 1")
    add = command.add_argument
    add("log", help=f"{', '.join(SHOPS)}, or a directory of a public log")
    add("--days", type=int, default=56, help="days of a generated shop (default %(default)s)")
    add("--views", type=int, default=800, help="views per day of a generated shop (default %(default)s)")
    add("--items", type=int, default=800, help="items of a generated shop (default %(default)s)")
    add("--first", type=int, default=28, help="days before the first training (default %(default)s)")
    add("--window", type=int, default=60, help="days that a model learns from (default %(default)s)")
    add("--epochs", type=int, default=FitSettings.epochs, help="of the encoder (default %(default)s)")
    add("--seed", type=int, default=0, help="of the shop and of training (default %(default)s)")
    add("--threads", type=int, default=0, help="threads of torch; 0 for torch's default")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Replay one log, and print its rows."""
    options = arguments().parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.log in SHOPS:
        log = shop_log(
            options.log, SHOPS[options.log], options.days, options.views, options.items, options.seed
        )
    else:
        log = public_log(Path(options.log))
    if log.days <= options.first or options.first < 2:
        print(
            f"drift: the log has {log.days} days: choose --first between 2 and {log.days - 1}",
            file=sys.stderr,
        )
        return 1
    recipe = Recipe(options.window, options.epochs, options.seed)
    about = conditions("drift", data=log.name, seed=options.seed, threads=torch.get_num_threads())
    about |= {"settings_chosen_with": "the encoder of the night before", "epochs": options.epochs}
    for row in replay(
        log, options.first, recipe, lambda row: print(json.dumps({"data": log.name} | row), flush=True)
    ):
        print(json.dumps(about | row), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
