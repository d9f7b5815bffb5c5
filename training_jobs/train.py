"""SageMaker training job: read the channels, train, and write the model archive into SM_MODEL_DIR.

It also runs on a laptop: `python -m training_jobs.train --interactions DIR --items DIR --model-dir OUT`.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from training_jobs.serving.contract import ARCHIVE_OUT_OF_STOCK
from training_jobs.serving.model_files import read_out_of_stock
from training_jobs.snapshot.dataset import DataError
from training_jobs.snapshot.embeddings import with_embeddings
from training_jobs.snapshot.parquet import read_dataset
from training_jobs.training.device import DeviceError, choose_device
from training_jobs.training.distributed import dismiss, follow, is_launched, joined, launch
from training_jobs.training.encoder_torch import EncoderSettings
from training_jobs.training.fit_encoder import FitSettings
from training_jobs.training.job import JobSettings, run
from training_jobs.training.workers import Workers

# SageMaker reads these metrics from the log, by one regex per metric. The state machine names the same metrics (a test
# compares them), and a tuning job has one of them as its objective. Epochs print the encoder's valid_* figures. The last
# valid_* figures are the blend's, after its settings are chosen, so those are a job's final values.
METRIC_DEFINITIONS = [
    {"Name": name, "Regex": rf"\b{name}=([0-9.eE+-]+)"}
    for name in (
        "epoch",
        "loss",
        "events_per_s",
        "valid_hr_at_20",
        "valid_mrr_at_20",
        "holdout_hr_at_20",
        "holdout_mrr_at_20",
    )
]

CHECKPOINT_DIR = Path("/opt/ml/checkpoints")


class SettingsError(ValueError):
    """A hyperparameter cannot be used. The message names it."""


class _Parser(argparse.ArgumentParser):
    """Raise instead of leaving the process, so that the failure file contains the reason for SageMaker."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message} (see python -m training_jobs.train --help)")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the hyperparameters (SageMaker passes each as --name value) and of the container's paths."""
    env = os.environ
    fit, encoder, job = FitSettings(), EncoderSettings(), JobSettings()
    parse = _Parser(
        prog="training_jobs.train",
        description=__doc__,
        allow_abbrev=False,
        epilog="example: python -m training_jobs.train --interactions interactions/ --model-dir out/ --epochs 3",
    )
    add = parse.add_argument
    add(
        "--epochs",
        type=int,
        default=fit.epochs,
        help="passes over the sessions for the served model; settings are chosen after about six tenths",
    )
    add("--batch-events", type=int, default=fit.batch_events, help="clicks that a step predicts, about")
    add("--learning-rate", type=float, default=fit.learning_rate, help="peak learning rate")
    add("--negatives", type=int, default=fit.negatives, help="items drawn for each step, besides its targets")
    add("--weight-decay", type=float, default=fit.weight_decay, help="AdamW's weight decay")
    add(
        "--recency-days",
        type=float,
        default=fit.recency_days,
        help="0, or older sessions weigh exp(-age / this)",
    )
    add(
        "--cart-weight",
        type=float,
        default=fit.cart_weight,
        help="weight of a target that was put into the cart; a viewed one weighs 1",
    )
    add(
        "--purchase-weight",
        type=float,
        default=fit.purchase_weight,
        help="weight of a target that was bought; a viewed one weighs 1",
    )
    add(
        "--price-weight",
        type=float,
        default=fit.price_weight,
        help="0, or a target's weight is also (price / median price) to the power of this; 1 is revenue",
    )
    add("--dim", type=int, default=encoder.dim, help="width of item vectors")
    add("--layers", type=int, default=encoder.layers, help="attention layers")
    add("--heads", type=int, default=encoder.heads, help="attention heads; divides --dim")
    add("--max-length", type=int, default=encoder.max_length, help="clicks of a session the encoder looks at")
    add("--dropout", type=float, default=encoder.dropout, help="dropout inside the layers")
    add("--embedding-dropout", type=float, default=encoder.embedding_dropout, help="dropout on item vectors")
    add("--temperature", type=float, default=encoder.temperature, help="divides cosines in the softmax")
    add(
        "--id-dropout",
        type=float,
        default=encoder.id_dropout,
        help="share of ids hidden so that content learns",
    )
    add(
        "--holdout-hours",
        type=float,
        default=job.holdout_hours,
        help="how much of the end is held out for the gate",
    )
    add("--seed", type=int, default=job.seed, help="the same seed on a CPU gives the same model")
    add(
        "--max-train-seconds",
        type=float,
        default=0.0,
        help="wall clock to stay within, 0 for none; a run that it cuts depends on the machine",
    )
    add(
        "--tune-cases",
        type=int,
        default=job.tune_cases,
        help="cases that kNN settings are compared on; 0 keeps the defaults",
    )
    add(
        "--processes",
        type=int,
        default=0,
        help="processes that train together, each on its own shards; 0 for one per GPU",
    )
    add("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
    add("--model-version", default=env.get("TRAINING_JOB_NAME") or "local", help="default: the job's name")
    add("--snapshot-id", default="unknown", help="the export this is trained on")
    add(
        "--interactions",
        type=Path,
        default=_path("SM_CHANNEL_INTERACTIONS", "/opt/ml/input/data/interactions"),
    )
    add("--items", type=Path, default=_path("SM_CHANNEL_ITEMS", "/opt/ml/input/data/items"))
    add("--model-dir", type=Path, default=_path("SM_MODEL_DIR", "/opt/ml/model"))
    add("--checkpoint-dir", type=Path, default=_path("SM_CHECKPOINT_DIR", str(CHECKPOINT_DIR)))
    add(
        "--failure-file",
        type=Path,
        default=_failure_file(),
        help="where SageMaker looks for why a job failed",
    )
    for action in list(parse._actions):
        # SageMaker users write hyperparameters either way.
        for name in [name for name in action.option_strings if "-" in name[2:]]:
            parse._option_string_actions["--" + name[2:].replace("-", "_")] = action
    return parse


def _check(options: argparse.Namespace) -> None:
    """Refuse values that would fail late, or silently train nothing, with one sentence."""
    for name, low, high in (
        ("epochs", 1, 10_000),
        ("batch_events", 1, 2**24),
        ("learning_rate", 1e-8, 10.0),
        ("negatives", 1, 2**24),
        ("weight_decay", 0.0, 10.0),
        ("recency_days", 0.0, 1e6),
        ("cart_weight", 0.01, 100.0),
        ("purchase_weight", 0.01, 100.0),
        ("price_weight", 0.0, 1.0),
        ("dim", 2, 8192),
        ("layers", 0, 64),
        ("heads", 1, 64),
        ("max_length", 1, 4096),
        ("dropout", 0.0, 0.95),
        ("embedding_dropout", 0.0, 0.95),
        ("temperature", 1e-3, 100.0),
        ("id_dropout", 0.0, 0.95),
        ("holdout_hours", 0.01, 1e5),
        ("seed", 0, 2**32 - 1),
        ("tune_cases", 0, 10**7),
        ("processes", 0, 64),
    ):
        value = getattr(options, name)
        if not low <= value <= high:  # NaN, too
            raise SettingsError(f"{name} is {value}, must be from {low:g} to {high:g}")
    if options.dim % options.heads:
        raise SettingsError(f"dim {options.dim} is no multiple of heads {options.heads}: change one of them")


def settings_of(options: argparse.Namespace) -> JobSettings:
    """Return the settings of the job from parsed options."""
    _check(options)
    encoder = EncoderSettings(
        options.dim,
        options.layers,
        options.heads,
        options.max_length,
        options.dropout,
        options.embedding_dropout,
        options.temperature,
        options.id_dropout,
    )
    fit = FitSettings(
        epochs=options.epochs,
        batch_events=options.batch_events,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        negatives=options.negatives,
        recency_days=options.recency_days,
        cart_weight=options.cart_weight,
        purchase_weight=options.purchase_weight,
        price_weight=options.price_weight,
    )
    return JobSettings(
        encoder,
        fit,
        holdout_hours=options.holdout_hours,
        seed=options.seed,
        tune_cases=options.tune_cases,
        max_train_seconds=options.max_train_seconds if options.max_train_seconds > 0 else math.inf,
    )


def log_metrics(values: dict[str, float | int | str]) -> None:
    """Print one line of name=value pairs, which METRIC_DEFINITIONS parse."""
    shown = (f"{k}={round(v, 5) if isinstance(v, float) else v}" for k, v in values.items())
    print(*shown, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the training job, and return its exit code."""
    failure_file = _failure_file()
    try:
        options = parser().parse_args(argv)
        failure_file = options.failure_file
        settings = settings_of(options)
        if options.threads > 0:
            torch.set_num_threads(options.threads)
        processes = options.processes or torch.cuda.device_count()
        if processes > 1 and not is_launched():
            launch(processes, "training_jobs.train", sys.argv[1:] if argv is None else argv)
        with joined() as workers:
            # Before the data is read: a job on the wrong device fails in seconds.
            device = choose_device()
            if workers.rank > 0:
                follow(workers)
                return 0
            log_metrics({"stage": "device", "device": str(device), "processes": workers.size})
            _train(options, settings, workers)
            dismiss(workers)
    except Exception as error:
        # SageMaker shows this file as the job's FailureReason. An unexpected error includes its traceback.
        foreseen = isinstance(error, DataError | DeviceError | SettingsError)
        reason = str(error) if foreseen else f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        _write_failure(failure_file, reason)
        print(reason, file=sys.stderr)
        return 1
    return 0


def _train(options: argparse.Namespace, settings: JobSettings, workers: Workers) -> None:
    items = options.items if options.items.is_dir() else None
    data = read_dataset(options.interactions, items)
    if items:
        data = with_embeddings(data, items)
    networks = data.sessions.networks
    log_metrics(
        {
            "stage": "data",
            "sessions": len(data.sessions),
            "items": len(data.vocabulary),
            "items_with_embedding": int(data.content.embeddings.any(axis=1).sum()),
            "networks": "none in this snapshot" if networks is None else int(networks.max(initial=0)),
        }
    )
    if items:
        take_stock(items, options.model_dir, data.vocabulary)
    run(
        data,
        settings,
        options.model_dir,
        _writable(options.checkpoint_dir),
        version=options.model_version,
        snapshot=options.snapshot_id,
        log=log_metrics,
        workers=workers,
    )


def take_stock(items: Path, model_dir: Path, vocabulary: Sequence[str]) -> None:
    """Copy the out-of-stock list to the model, so that its golden answers and its fallback respect the list.

    Raises:
        DataError: fewer than two items are in stock, so the model would have an empty answer for some sessions.
    """
    if (items / ARCHIVE_OUT_OF_STOCK).exists():
        model_dir.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(items / ARCHIVE_OUT_OF_STOCK, model_dir / ARCHIVE_OUT_OF_STOCK)
        in_stock = len({*vocabulary} - {*read_out_of_stock(model_dir)})
        if in_stock < 2:
            raise DataError(
                f"{in_stock} of {len(vocabulary)} items are in stock, and answers need two: correct the shop's catalogue feed "
                f"or its out-of-stock file, and export again"
            )


def _failure_file() -> Path:
    return _path("SM_OUTPUT_DIR", "/opt/ml/output") / "failure"


def _path(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or default)


def _writable(directory: Path) -> Path | None:
    """Return the checkpoint directory if it can be written; a laptop without /opt/ml trains without checkpoints."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return directory if os.access(directory, os.W_OK) else None


def _write_failure(path: Path, reason: str) -> None:
    # Of processes that train together, the first to fail has the cause. The others then lose their connection to it.
    if is_launched() and path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(reason[:1024], "utf-8")
    except OSError as error:
        print(f"cannot write {path}: {error}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
