"""One small shop and one model trained on it. tests/conftest.py trains it once per test process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.unit.training_jobs import shop
from training_jobs.snapshot.dataset import Dataset
from training_jobs.snapshot.parquet import read_dataset
from training_jobs.training.encoder_torch import EncoderSettings
from training_jobs.training.fit_encoder import FitSettings
from training_jobs.training.job import JobSettings, run

SMALL = JobSettings(
    EncoderSettings(dim=24, layers=1, heads=2, max_length=10, dropout=0.1, embedding_dropout=0.1),
    FitSettings(epochs=8, batch_events=112, learning_rate=4e-3),
    tune_cases=1000,
)


@dataclass(frozen=True)
class Trained:
    """A snapshot's channels, what is in them, the model learnt from them, and what the job printed."""

    interactions: Path
    items: Path
    data: Dataset
    model_dir: Path
    log: list[dict[str, float | int | str]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Torch's threads would compete with the other test process."""
    torch.set_num_threads(1)


def train_small_shop(root: Path) -> Trained:
    """Write the shop below this folder and run a whole job on it."""
    interactions, items = shop.write_shop(root)
    data = read_dataset(interactions, items)
    log: list[dict[str, float | int | str]] = []
    run(data, SMALL, root / "model", None, version="m1", snapshot="snap-1", log=log.append)
    return Trained(interactions, items, data, root / "model", log)
