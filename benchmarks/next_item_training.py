"""Train the encoder of `benchmarks.next_item`: choose a recipe on the validation tail, then train it in full.

`standard` is the training job's recipe. `quick` has three epochs and less dropout, `long` ten epochs at a lower rate.
The tail decides between them, as far as the budget has room.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.next_item_layouts import Bench
from training_jobs.gate.measure import measure
from training_jobs.serving.encoder_numpy import EncoderWeights, probabilities
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import no_content
from training_jobs.training import tune
from training_jobs.training.encoder_torch import EncoderSettings
from training_jobs.training.fit_encoder import Epoch, FitSettings, Job, fit
from training_jobs.training.job import JobSettings, encoder_weights, new_encoder

_TRIAL_EVENTS = 100_000  # recipes are compared on this many of the latest events
_TRIAL_CASES = 3000
_REPEATS = 0.01  # with a smaller share of immediate repeats, the current item is excluded


@dataclass(frozen=True)
class Recipe:
    """Settings of the encoder and of its training."""

    name: str
    encoder: EncoderSettings
    fit: FitSettings

    def described(self) -> dict[str, Any]:
        return {"recipe": self.name, **asdict(self.encoder), **asdict(self.fit)}


QUICK = Recipe(
    "quick", EncoderSettings(dropout=0.2, embedding_dropout=0.3), FitSettings(epochs=3, learning_rate=3e-3)
)
STANDARD = Recipe("standard", EncoderSettings(), FitSettings())
LONG = Recipe("long", EncoderSettings(), FitSettings(epochs=10, learning_rate=3e-3))
RECIPES = (QUICK, STANDARD, LONG)


@dataclass(frozen=True)
class Trained:
    """The encoder for choosing settings, and the one that was trained on the validation tail too, with its epochs."""

    chosen_with: EncoderWeights
    final: EncoderWeights
    epochs: list[Epoch]


def excludes_current(sessions: Sessions) -> bool:
    """Return True if sessions hardly ever repeat an item immediately, so that models need not rank it."""
    inner = np.ones(len(sessions.items), bool)
    inner[sessions.offsets[:-1]] = False
    again = sessions.items[1:] == sessions.items[:-1]
    return float(again[inner[1:]].mean()) < _REPEATS if inner.any() else True


def choose_recipe(
    bench: Bench, seed: int, budget_s: float, recipes: Sequence[Recipe] = RECIPES
) -> tuple[Recipe, list[dict[str, Any]]]:
    """Return the recipe that is best on the tail after training on the latest sessions, and all trials' results.

    A recipe is not tried if it needs more time than is left, at the pace of the recipes before it.
    """
    exclude = excludes_current(bench.learn)
    recipes = [replace(r, fit=replace(r.fit, exclude_current=exclude)) for r in recipes]
    sessions, cases = _latest(bench.learn), tune.sample(bench.valid, seed, _TRIAL_CASES)
    until, pace_s, trials = time.monotonic() + budget_s, 0.0, list[dict[str, Any]]()
    for recipe in recipes:
        left_s = until - time.monotonic()
        if trials and left_s < pace_s * recipe.fit.epochs:
            print(f"recipe {recipe.name} is not tried: no time is left", file=sys.stderr)
            continue
        encoder = new_encoder(sessions, no_content(bench.items), recipe.encoder, seed)
        epochs: list[Epoch] = []
        fit(encoder, sessions, recipe.fit, Job(seed, until), "trial", on_epoch=epochs.append)
        scorer = partial(probabilities, encoder_weights(encoder))
        rank = measure(recipe.name, scorer, cases, exclude_current=exclude).rank
        pace_s = max(pace_s, sum(epoch.seconds for epoch in epochs) / len(epochs))
        trials.append(
            {"recipe": recipe.name, "epochs": len(epochs), "objective": round(tune.objective(rank), 5)}
        )
        print(f"trial {trials[-1]}", file=sys.stderr, flush=True)
    best = max(trials, key=lambda trial: trial["objective"])["recipe"]
    return next(recipe for recipe in recipes if recipe.name == best), trials


def train_encoder(
    bench: Bench, recipe: Recipe, seed: int, budget_s: float, on_epoch: Callable[[Epoch], None]
) -> Trained:
    """Train before the validation tail, then on everything from the start as the job does, within `budget_s`."""

    def learnt(
        sessions: Sessions, settings: FitSettings, stage: str, budget_s: float
    ) -> tuple[EncoderWeights, list[Epoch]]:
        epochs: list[Epoch] = []

        def note(epoch: Epoch) -> None:
            epochs.append(epoch)
            on_epoch(epoch)

        encoder = new_encoder(sessions, no_content(bench.items), recipe.encoder, seed)
        fit(encoder, sessions, settings, Job(seed, time.monotonic() + budget_s), stage, on_epoch=note)
        return encoder_weights(encoder, np.bincount(sessions.items, minlength=bench.items) > 0), epochs

    fewer = JobSettings(recipe.encoder, recipe.fit).learn
    chosen_with, _ = learnt(bench.learn, fewer, "learn", 0.4 * budget_s)
    return Trained(chosen_with, *learnt(bench.train, recipe.fit, "final", 0.6 * budget_s))


def _latest(sessions: Sessions) -> Sessions:
    first = int(np.searchsorted(sessions.offsets, len(sessions.items) - _TRIAL_EVENTS))
    return sessions.take(np.arange(first, len(sessions)))
