"""From a snapshot to a model archive: learn, choose settings, train again with everything, write the files.

It trains two or three encoders, each from the start. `learn` sees the sessions before the validation tail, and settings are
chosen with it. With the neighbors, popularity and new items of the tail it is the holdout variant, which the gate measures on
the held-out day. Where the tail was lengthened, `measured` is that variant: it sees all sessions before the held-out day, as a
champion has (docs/decisions/0086). `served` sees everything and answers shoppers. An encoder that continues on newer sessions
is worse than one from the start (docs/decisions/0021).
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training_jobs.gate import baselines, metrics
from training_jobs.gate.measure import measure
from training_jobs.serving import model_files
from training_jobs.serving.contract import ARCHIVE_FALLBACK, ARCHIVE_GOLDEN, ARCHIVE_PLACEMENTS
from training_jobs.serving.encoder_numpy import EncoderWeights, probabilities
from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.kernels.reference import REFERENCE
from training_jobs.serving.knn import build_index
from training_jobs.serving.ranker import Network, Ranker, item_facts, load_network, save_network
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import (
    Cases,
    Dataset,
    ItemContent,
    Split,
    before,
    choose_split,
    sampled_cases,
    within,
)
from training_jobs.snapshot.placement_tables import placement_tables
from training_jobs.training import fit_ranker, model_writer, tune
from training_jobs.training.catalogue_sessions import catalogue_sessions
from training_jobs.training.choose_blend import POPULARITY_HALF_LIFE_DAYS, choose_blend
from training_jobs.training.device import choose_device
from training_jobs.training.distributed import shared
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_encoder import Epoch, FitSettings, Job, Log, fit
from training_jobs.training.model_writer import copy_serving_code
from training_jobs.training.target_weights import TargetWeights, target_weights
from training_jobs.training.unclicked import place_unclicked
from training_jobs.training.warm_start import place_new_items, warm_start
from training_jobs.training.workers import ALONE, Workers

RELATED_ITEMS = 20_000
GOLDEN_SESSIONS = 30
_WATCHED_CASES = 500
# The figures of an epoch that do not depend on the speed of the machine.
CURVE_FIELDS = ("epoch", "loss", "valid_hr_at_20", "valid_mrr_at_20")
_LEARN_SHARE = 0.6  # of the epochs: enough to choose the same settings (docs/decisions/0021)


@dataclass(frozen=True)
class JobSettings:
    """The settings of a training job."""

    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    holdout_hours: float = 24.0
    seed: int = 0
    tune_cases: int = 3000
    max_train_seconds: float = math.inf

    @property
    def learn(self) -> FitSettings:
        """The settings of the encoder's training in the phase that chooses settings."""
        return replace(self.fit, epochs=max(1, round(_LEARN_SHARE * self.fit.epochs)))


class Curve:
    """The figures of each epoch, beside the checkpoints: a resumed job continues it."""

    def __init__(self, checkpoint: Path | None) -> None:
        """Read what an interrupted job left."""
        self._path = checkpoint / "curve.json" if checkpoint else None
        kept = self._path.read_text("utf-8") if self._path and self._path.exists() else "[]"
        self.epochs: list[dict[str, float | int | str]] = json.loads(kept)

    def add(self, line: dict[str, float | int | str]) -> None:
        """Add an epoch. It replaces an epoch of the same number, which an interruption undid."""
        before = [one for one in self.epochs if one["epoch"] < line["epoch"]]  # type: ignore[operator]
        self.epochs = [*before, {name: value for name, value in line.items() if name in CURVE_FIELDS}]
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".partial")
            model_writer.write_json(partial, self.epochs)
            partial.replace(self._path)


def encoder_weights(encoder: Encoder, known: np.ndarray | None = None) -> EncoderWeights:
    """Return the encoder for numpy. Items outside `known` and without content get a zero vector, so they rank last."""
    encoder.eval()
    with torch.no_grad():
        vectors = encoder.all_item_vectors().float().cpu().numpy().copy()
        if known is not None:
            sizes = encoder._content_sizes(torch.arange(len(vectors), device=encoder.item.weight.device))
            vectors[~known & (sizes.cpu().numpy() == 0)] = 0
        state = encoder.state_dict()
        tensors = {
            name: value.float().cpu().numpy()
            for name, value in state.items()
            if not name.startswith(("item.", "content."))
        }
    return EncoderWeights(vectors, tensors, encoder.settings.heads, encoder.settings.temperature)


def job_digest(
    data: Dataset, settings: JobSettings, snapshot: str, weights: TargetWeights | None = None
) -> str:
    """Return the name of a job's checkpoints. The jobs of a tuning job share one directory, and none may resume another's."""
    digest = hashlib.sha256(json.dumps([asdict(settings), snapshot], sort_keys=True).encode())
    digest.update("\n".join(data.vocabulary).encode())
    sessions, content = data.sessions, data.content
    lists = content.by_price
    for array in (
        *(sessions.items, sessions.offsets, sessions.times_ms, content.tokens, content.offsets),
        *(lists.items, lists.offsets, content.embeddings),
    ):
        digest.update(np.ascontiguousarray(array).data)
    if sessions.networks is not None:
        digest.update(np.ascontiguousarray(sessions.networks).data)
    for weighed in () if weights is None else (sessions.kinds, weights.of_item):
        if weighed is not None:
            digest.update(np.ascontiguousarray(weighed).data)
    return digest.hexdigest()[:16]


def run(
    data: Dataset,
    settings: JobSettings,
    model_dir: Path,
    checkpoint: Path | None,
    *,
    version: str,
    snapshot: str,
    log: Log,
    workers: Workers = ALONE,
) -> model_files.ModelCard:
    """Train and write the archive. With a checkpoint directory a killed job resumes. The other `workers` must `follow`."""
    weights = target_weights(
        data, settings.fit.cart_weight, settings.fit.purchase_weight, settings.fit.price_weight
    )
    job = Job(
        settings.seed,
        time.monotonic() + settings.max_train_seconds,
        checkpoint / job_digest(data, settings, snapshot, weights) if checkpoint else None,
        log,
        workers=workers,
    )
    items = len(data.vocabulary)
    split = choose_split(data.sessions, settings.holdout_hours)
    learn, measured = (
        before(data.sessions, split.valid_start_ms),
        before(data.sessions, split.holdout_start_ms),
    )
    tail = within(data.sessions, split.valid_start_ms, split.holdout_start_ms)
    watched = sampled_cases(tail, settings.seed, _WATCHED_CASES)
    encoder = new_encoder(learn, data.content, settings.encoder, settings.seed)
    curve = Curve(job.checkpoint)
    pace_s = _fit(encoder, learn, settings.learn, job.within(0.35), "learn", weights, watched, curve)
    # Of one more encoder: an epoch at least, and the files, whose writing takes about as long as half of one.
    needed_s = 1.3 * pace_s
    learnt = _learnt(encoder, learn, data.content, log)
    catalogue = catalogue_sessions(data.content.by_price)
    blend, network = _choose(learnt, learn, tail, catalogue, settings.tune_cases, job, weights)

    # Without time for both, the served encoder comes first.
    if split.lengthened and job.left_s() > 2 * needed_s:
        encoder = new_encoder(measured, data.content, settings.encoder, settings.seed)
        _fit(encoder, measured, settings.fit, job.within(0.5), "measured", weights)
    else:
        place_new_items(encoder, learn, measured, data.content, settings.seed)
        if split.lengthened:
            left_out = "the gate's encoder has not learnt the validation tail, as its champion has"
            log({"stage": "measured", "out_of_time": f"{left_out}: raise max_train_seconds"})
    learnt = _learnt(encoder, measured, data.content, log)
    recommender = assemble(data.vocabulary, measured, learnt, blend, network, catalogue)
    card = model_files.ModelCard(
        version,
        snapshot,
        _described(settings, split) | {"curve": curve.epochs},
        int(measured.ends_ms.max()),
        split.holdout_start_ms,
        _holdout_figures(data, split, recommender, job),
        items,
    )
    model_writer.save_recommender(model_dir / "holdout", recommender, card)

    if job.left_s() > needed_s:
        encoder = new_encoder(data.sessions, data.content, settings.encoder, settings.seed)
        _fit(encoder, data.sessions, settings.fit, job.within(1.0), "served", weights)
    else:
        place_new_items(encoder, measured, data.sessions, data.content, settings.seed)
        log(
            {
                "stage": "served",
                "out_of_time": "the encoder has not learnt the last days: raise max_train_seconds",
            }
        )
    learnt = _learnt(encoder, data.sessions, data.content, log)
    recommender = assemble(data.vocabulary, data.sessions, learnt, blend, network, catalogue)
    card = replace(card, trained_until_ms=int(data.sessions.ends_ms.max()))
    model_writer.save_recommender(model_dir, recommender, card)
    _write_answers(model_dir, data)
    copy_serving_code(model_dir / "code")
    model_writer.write_checksums(model_dir)
    return card


def new_encoder(sessions: Sessions, content: ItemContent, settings: EncoderSettings, seed: int) -> Encoder:
    """Return a new encoder for `sessions`, on the GPU if the machine has one."""
    torch.manual_seed(seed)
    encoder = Encoder(len(content.offsets) - 1, settings, content)
    warm_start(encoder, sessions, content, seed)
    return encoder.to(choose_device())


def _fit(
    encoder: Encoder,
    sessions: Sessions,
    settings: FitSettings,
    job: Job,
    name: str,
    weights: TargetWeights | None,
    watched: Cases | None = None,
    curve: Curve | None = None,
) -> float:
    """Train one encoder until the job's deadline at the latest, and return the seconds of the slowest epoch.

    With `watched` cases, each epoch is measured on them. `curve` keeps the figures of each epoch.
    """
    seconds: list[float] = []

    def report(epoch: Epoch) -> None:
        seconds.append(epoch.seconds)
        line: dict[str, float | int | str] = {
            "stage": name,
            "epoch": epoch.epoch,
            "epochs": epoch.epochs,
            "loss": round(epoch.loss, 5),
            "events_per_s": round(epoch.events / max(epoch.seconds, 1e-6)),
        }
        if watched is not None and len(watched):
            learnt = encoder_weights(encoder)
            rank = measure("encoder", lambda prefixes: probabilities(learnt, prefixes), watched).rank
            line |= {"valid_hr_at_20": metrics.hit_rate(rank, 20), "valid_mrr_at_20": metrics.mrr(rank, 20)}
        if curve is not None:
            curve.add(line)
        job.log(line)

    with shared(encoder, sessions, settings, job, name, weights):
        epochs = fit(encoder, sessions, settings, job, name, weights=weights, on_epoch=report)
    if epochs < settings.epochs:
        job.log(
            {
                "stage": name,
                "out_of_time": f"{epochs:.3g} of {settings.epochs} epochs: raise max_train_seconds",
            }
        )
    return max(seconds, default=0.0)


def _choose(
    learnt: EncoderWeights,
    learn: Sessions,
    tail: Sessions,
    catalogue: Sessions,
    tune_cases: int,
    job: Job,
    weights: TargetWeights | None,
) -> tuple[BlendSettings, Network | None]:
    """Choose the blend, with catalogue sessions or without, and the ranker's network on the validation tail.

    The choice is stored in the checkpoint, so that a resumed job chooses the same.
    """
    kept = job.checkpoint / "chosen" if job.checkpoint else None
    if kept is not None and (kept / "blend.json").exists():
        blend = BlendSettings.from_json(json.loads((kept / "blend.json").read_text("utf-8")))
        return blend, load_network(kept / "ranker.npz") if (kept / "ranker.npz").exists() else None
    began = job.clock()

    def out_of_time() -> bool:
        if job.left_s() > 0:
            return False
        job.log(
            {"stage": "tune", "out_of_time": "the search for kNN settings is cut: raise max_train_seconds"}
        )
        return True

    cases = sampled_cases(tail, job.seed, tune_cases)
    weight = None if weights is None else weights.of(cases.targets, cases.kinds)
    # Without a search, the settings are the defaults, so nothing says that catalogue sessions gain.
    catalogue = catalogue if tune_cases else catalogue.between(0, 0)
    unranked = choose_blend(learnt, learn, catalogue, cases, weight, out_of_time)
    cases = sampled_cases(tail, job.seed, fit_ranker.CASES)
    choice = fit_ranker.choose(unranked, learn, cases, job.seed, weights)
    blend = replace(unranked.settings, floor_ranked=choice.floor_ranked)
    job.log(
        {
            "stage": "tune",
            "valid_hr_at_20": metrics.hit_rate(choice.rank, 20),
            "valid_mrr_at_20": metrics.mrr(choice.rank, 20),
            "cases": len(choice.rank),
            "catalogue_sessions": unranked.index.catalogue_sessions,
            "ranker": "none: the blend was no worse" if choice.network is None else "fitted",
            "seconds": round(job.clock() - began, 1),
        }
    )
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        if choice.network is not None:
            save_network(kept / "ranker.npz", choice.network)
        partial = kept / "blend.partial"
        model_writer.write_json(partial, asdict(blend))
        partial.replace(kept / "blend.json")
    return blend, choice.network


def assemble(
    vocabulary: list[str],
    sessions: Sessions,
    weights: EncoderWeights,
    blend: BlendSettings,
    network: Network | None,
    catalogue: Sessions | None = None,
    kernels: Kernels = REFERENCE,
) -> Recommender:
    """Return the model of what was learnt, with the index, the popularity and the ranker's facts of `sessions`.

    Its index has the sessions of `catalogue` if they have a weight.
    """
    items = len(vocabulary)
    popularity = baselines.popularity(sessions, items, POPULARITY_HALF_LIFE_DAYS)
    index = build_index(
        *(sessions, items, blend.knn.recent_sessions),
        catalogue=catalogue if blend.knn.catalogue_weight else None,
    )
    ranker = Ranker(network, item_facts(sessions, items)) if network else None
    return Recommender(vocabulary, weights, index, popularity, blend, ranker=ranker, kernels=kernels)


def _described(settings: JobSettings, split: Split) -> dict[str, Any]:
    """Return the settings as model.json lists them."""
    return {
        "encoder": asdict(settings.encoder),
        "fit": asdict(settings.fit),
        "holdout_hours": settings.holdout_hours,
        "seed": settings.seed,
        "valid_start_ms": split.valid_start_ms,
    }


def _holdout_figures(data: Dataset, split: Split, recommender: Recommender, job: Job) -> dict[str, float]:
    """Measure on the held-out day, log the figures and return them."""
    cases = sampled_cases(within(data.sessions, split.holdout_start_ms), job.seed, tune.CASES)
    rank = measure("blend", recommender.scores, cases).rank
    figures = metrics.summary(rank) | {"cases": len(cases)}
    job.log({"stage": "holdout"} | {f"holdout_{name}": value for name, value in figures.items()})
    return figures


def _write_answers(model_dir: Path, data: Dataset) -> None:
    """Write golden.json and fallback.json, with the answers of the files just written, and the tables of placements."""
    sessions = data.sessions
    served, _ = model_files.load_recommender(model_dir)
    latest = [sessions.session(row) for row in range(max(0, len(sessions) - GOLDEN_SESSIONS), len(sessions))]
    asked = [[served.vocabulary[item] for item in items[:-1]][-50:] for items in latest]
    model_writer.write_json(
        model_dir / ARCHIVE_GOLDEN, model_writer.golden_sessions(served, [a for a in asked if a])
    )
    counts = sessions.clicks(len(served.vocabulary))
    rows = np.argsort(-counts, kind="stable")[:RELATED_ITEMS]
    answers = model_writer.fallback_answers(served, [int(row) for row in rows if counts[row] > 0])
    model_writer.write_json(model_dir / ARCHIVE_FALLBACK, answers)
    tables = placement_tables(sessions, len(served.vocabulary), data.catalogue)
    out_of_stock = model_files.read_out_of_stock(model_dir)
    model_writer.write_json(model_dir / ARCHIVE_PLACEMENTS, tables.as_json(served.vocabulary, out_of_stock))


def _learnt(encoder: Encoder, sessions: Sessions, content: ItemContent, log: Log) -> EncoderWeights:
    """Return the encoder for numpy after it has learnt the sessions. Items without a click stand near similar ones."""
    clicks = sessions.clicks(len(content.offsets) - 1)
    weights = encoder_weights(encoder, clicks > 0)
    vectors, shares = place_unclicked(encoder, weights.vectors, clicks, content)
    log(
        {
            "stage": "unclicked",
            "items": int((clicks == 0).sum()),
            "neighbors_share": shares.by_price,
            "embeddings_share": shares.by_embedding,
        }
    )
    return replace(weights, vectors=vectors)
