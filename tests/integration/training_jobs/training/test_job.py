"""A whole job: cold items, checkpoints of its own, resumed where it was killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training_jobs import shop
from tests.unit.training_jobs.conftest import SMALL, Trained
from training_jobs.serving.model_files import load_recommender
from training_jobs.snapshot import dataset
from training_jobs.snapshot.dataset import Dataset, no_content
from training_jobs.training.fit_encoder import FitSettings
from training_jobs.training.job import JobSettings, Log, job_digest, run

FAST = replace(SMALL, fit=FitSettings(epochs=2, batch_events=224, learning_rate=4e-3), tune_cases=0)


class Killed(Exception):
    pass


def little() -> Dataset:
    sessions = shop.walks(80)
    return Dataset(sessions, [f"sku-{at:03}" for at in range(shop.ITEMS)], no_content(shop.ITEMS))


def job(
    model: Path, checkpoint: Path | None, settings: JobSettings = FAST, log: Log = lambda _: None
) -> bytes:
    run(little(), settings, model, checkpoint, version="v", snapshot="s", log=log)
    files = (model / "encoder.npz", model / "golden.json", model / "holdout" / "encoder.npz")
    return b"".join(file.read_bytes() for file in files)


def test_an_item_nobody_has_touched_is_recommended_by_what_the_catalogue_says(trained: Trained) -> None:
    for variant in (trained.model_dir, trained.model_dir / "holdout"):
        served, _ = load_recommender(variant)
        assert shop.COLD_ITEM in served.recommend(["sku-031", "sku-034"], 20).items
        assert shop.COLD_ITEM not in served.recommend(["sku-071", "sku-074"], 20).items


def test_the_job_logs_the_figures_that_a_tuning_job_chooses_by(trained: Trained) -> None:
    epochs = [line for line in trained.log if "epoch" in line and line["stage"] == "learn"]
    assert [line["epoch"] for line in epochs] == list(range(1, 6))
    assert all(0 < float(line["valid_mrr_at_20"]) < 1 for line in epochs)
    last = [line for line in trained.log if "valid_mrr_at_20" in line][-1]
    assert last["stage"] == "tune"
    assert float(last["valid_mrr_at_20"]) >= float(epochs[-1]["valid_mrr_at_20"])
    assert any("holdout_hr_at_20" in line for line in trained.log)


def stages_of(tmp_path: Path) -> list[str]:
    stages: list[str] = []
    job(tmp_path / "model", None, log=lambda line: stages.append(str(line["stage"])))
    return list(dict.fromkeys(stage for stage in stages if stage != "unclicked"))


def test_the_gate_s_encoder_learns_the_tail_only_where_the_tail_was_lengthened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stages_of(tmp_path) == ["learn", "tune", "measured", "holdout", "served"]
    measured = (tmp_path / "model" / "holdout" / "encoder.npz").read_bytes()
    monkeypatch.setattr(dataset, "TAIL_CASES", 1)
    assert stages_of(tmp_path) == ["learn", "tune", "holdout", "served"]
    assert (tmp_path / "model" / "holdout" / "encoder.npz").read_bytes() != measured


def test_the_same_seed_gives_the_same_archive(tmp_path: Path, whole: bytes) -> None:
    assert job(tmp_path / "a", None) == whole
    assert job(tmp_path / "b", None, replace(FAST, seed=1)) != whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return job(tmp_path_factory.mktemp("whole"), None)


def killer(stage: str, epoch: int | None) -> Callable[[dict[str, float | int | str]], None]:
    def log(line: dict[str, float | int | str]) -> None:
        if line["stage"] == stage and line.get("epoch") == epoch:
            raise Killed

    return log


@pytest.mark.parametrize(
    ("stage", "epoch"),
    [("learn", 1), ("tune", None), ("measured", 1), ("holdout", None), ("served", 2)],
)
def test_a_job_killed_anywhere_ends_as_one_that_was_not(
    tmp_path: Path, whole: bytes, stage: str, epoch: int | None
) -> None:
    with pytest.raises(Killed):
        job(tmp_path / "killed", tmp_path / "checkpoints", log=killer(stage, epoch))
    again: list[str] = []
    found = job(
        tmp_path / "resumed",
        tmp_path / "checkpoints",
        log=lambda line: again.append(f"{line['stage']}{line.get('epoch')}"),
    )
    assert found == whole
    assert f"{stage}{epoch}" in again
    assert epoch == 1 or f"{stage}1" not in again


def test_jobs_of_a_tuning_job_share_a_directory_and_no_checkpoint(tmp_path: Path) -> None:
    shared = tmp_path / "checkpoints"
    job(tmp_path / "a", shared)
    other = replace(FAST, encoder=replace(FAST.encoder, temperature=0.1))
    epochs: list[object] = []
    found = job(tmp_path / "b", shared, other, log=lambda line: epochs.append(line.get("epoch")))
    assert found == job(tmp_path / "c", None, other)
    assert 1 in epochs
    assert len(list(shared.iterdir())) == 2


def test_every_setting_and_everything_learnt_from_names_the_checkpoints() -> None:
    data = little()
    names = {job_digest(data, FAST, "s")}
    names.add(job_digest(data, FAST, "another snapshot"))
    names.add(job_digest(data, replace(FAST, seed=1), "s"))
    names.add(job_digest(data, replace(FAST, fit=replace(FAST.fit, negatives=7)), "s"))
    names.add(job_digest(replace(data, vocabulary=[*data.vocabulary[:-1], "new"]), FAST, "s"))
    names.add(job_digest(replace(data, content=shop.content_of([0] * shop.ITEMS)), FAST, "s"))
    sessions = data.sessions
    swapped = replace(sessions, items=np.r_[sessions.items[1], sessions.items[0], sessions.items[2:]])
    names.add(job_digest(replace(data, sessions=swapped), FAST, "s"))
    assert len(names) == 7
    assert job_digest(little(), FAST, "s") in names


def test_what_was_chosen_is_not_chosen_again(tmp_path: Path) -> None:
    job(tmp_path / "a", tmp_path / "checkpoints")
    (kept,) = (tmp_path / "checkpoints").rglob("blend.json")
    raw = json.loads(kept.read_text())
    kept.write_text(json.dumps({**raw, "knn_weight": 0.7}))
    job(tmp_path / "b", tmp_path / "checkpoints")
    assert load_recommender(tmp_path / "b")[0].settings.knn_weight == 0.7


def files_of(directory: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def test_a_busy_machine_makes_the_same_archive_byte_for_byte(tmp_path: Path) -> None:
    """Nothing is bounded by the clock: with every core busy the job takes longer and chooses the same."""
    searching = replace(FAST, tune_cases=2000)
    job(tmp_path / "idle", None, searching)
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * cores())]
    try:
        job(tmp_path / "busy", None, searching)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    idle, busy = files_of(tmp_path / "idle"), files_of(tmp_path / "busy")
    assert idle.keys() == busy.keys()
    assert [name for name in idle if idle[name] != busy[name]] == []


def cores() -> int:
    return os.cpu_count() or 1


def test_a_job_that_runs_out_of_time_says_what_it_left_out(tmp_path: Path) -> None:
    said: list[dict[str, float | int | str]] = []
    hurried = replace(FAST, fit=replace(FAST.fit, epochs=1000), max_train_seconds=1.0, tune_cases=5000)
    job(tmp_path / "a", None, hurried, log=said.append)
    cut = {line["stage"]: str(line["out_of_time"]) for line in said if "out_of_time" in line}
    assert {"learn", "measured", "served"} <= cut.keys()
    assert all("raise max_train_seconds" in line for line in cut.values())
    said.clear()
    job(tmp_path / "b", None, FAST, log=said.append)
    assert not [line for line in said if "out_of_time" in line]


def test_a_bound_on_training_time_is_kept(tmp_path: Path) -> None:
    stages: list[str] = []
    endless = replace(FAST, fit=replace(FAST.fit, epochs=100_000), max_train_seconds=2.0, tune_cases=5000)
    began = time.monotonic()
    job(tmp_path / "a", None, endless, log=lambda line: stages.append(str(line["stage"])))
    assert time.monotonic() - began < 60
    assert stages.count("learn") < 1000
    assert "served" in stages
