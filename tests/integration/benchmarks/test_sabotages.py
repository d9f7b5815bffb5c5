"""Each sabotage of benchmarks/sabotages.py gives an archive that the gate can read, so a refusal is a verdict and no accident."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sabotages import SABOTAGES, Sabotage, Shop
from tests.unit.training_jobs import shop
from tests.unit.training_jobs.conftest import Trained
from training_jobs.gate.checks_snapshot import network_check, surge_check
from training_jobs.gate.evaluation import read_candidate
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.model_files import ArchiveError
from training_jobs.snapshot.parquet import read_dataset


@pytest.fixture(scope="module")
def spoilable(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Return the small shop with networks. Retraining only copies its model, because the archive is what is read here."""
    rows = [row | {"NETWORK": 1 + row["SESSION_ID"] % 200} for row in shop.interactions()]
    interactions = shop.write(tmp_path_factory.mktemp("spoilable") / "interactions", rows)
    data = read_dataset(interactions, trained.items)

    def train(_: Path, into: Path) -> None:
        shutil.copytree(trained.model_dir, into)

    return Shop(interactions, trained.items, data, trained.model_dir, train)


# Loading refuses NaN, and a slow answer changes no file.
READABLE = [one for one in SABOTAGES if one.name not in ("not numbers", "too slow")]


@pytest.mark.parametrize("sabotage", READABLE, ids=lambda sabotage: sabotage.name)
def test_a_spoilt_archive_is_read(sabotage: Sabotage, spoilable: Shop, tmp_path: Path) -> None:
    spoilt = sabotage.spoil(spoilable, tmp_path)
    with spoilt.answering:
        candidate = read_candidate(spoilt.candidate)
    assert len(candidate.golden) > 0
    data = read_dataset(spoilt.interactions, spoilable.items)
    assert data.sessions.networks is not None


def test_vectors_that_are_not_numbers_are_refused_as_an_archive(spoilable: Shop, tmp_path: Path) -> None:
    sabotage = next(one for one in SABOTAGES if one.name == "not numbers")
    with pytest.raises(ArchiveError, match="vectors with a number that is not finite"):
        read_candidate(sabotage.spoil(spoilable, tmp_path).candidate)


@pytest.mark.parametrize(
    ("name", "surge", "networks"),
    [("poisoned sessions", "failed", "failed"), ("patient poison", "passed", "failed")],
)
def test_the_snapshot_of_a_poisoned_shop_is_refused(
    name: str, surge: str, networks: str, spoilable: Shop, tmp_path: Path
) -> None:
    sabotage = next(one for one in SABOTAGES if one.name == name)
    poisoned = read_dataset(sabotage.spoil(spoilable, tmp_path).interactions, None)
    sessions, names = poisoned.sessions, poisoned.vocabulary
    limits = read_thresholds()
    assert surge_check(sessions, limits).verdict == surge
    assert network_check(sessions, names, limits).verdict == networks
    honest = replace(
        spoilable.data.sessions, networks=np.arange(len(spoilable.data.sessions), dtype=np.int32)
    )
    assert network_check(honest, names, limits).verdict == "passed"
