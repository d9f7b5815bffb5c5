"""train.py as SageMaker runs it: a process, hyperparameters as arguments, paths in the environment."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catalogue.embeddings import convert
from tests.unit.training_jobs import shop
from tests.unit.training_jobs.conftest import Trained
from training_jobs import train
from training_jobs.serving.model_files import load_card, load_recommender
from training_jobs.snapshot.dataset import DataError

REPOSITORY = Path(__file__).resolve().parents[3]
# SageMaker passes names as they are written in the state machine, with underscores.
FAST = {
    "epochs": 2,
    "dim": 16,
    "layers": 1,
    "batch_events": 224,
    "learning_rate": 0.004,
    "embedding_dropout": 0.1,
    "tune_cases": 50,
    "threads": 1,
    "snapshot_id": "snap-7",
}


def container(root: Path, trained: Trained, **hyperparameters: object) -> subprocess.CompletedProcess[str]:
    arguments = [
        text
        for name, value in sorted({**FAST, "checkpoint_dir": root / "checkpoints", **hyperparameters}.items())
        for text in (f"--{name}", str(value))
    ]
    return subprocess.run(
        [sys.executable, "-m", "training_jobs.train", *arguments],
        cwd=REPOSITORY,
        env={
            "PATH": os.environ["PATH"],
            "OPENBLAS_NUM_THREADS": "1",
            "TRAINING_JOB_NAME": "tugboat-test-1",
            "SM_MODEL_DIR": str(root / "model"),
            "SM_OUTPUT_DIR": str(root / "output"),
            "SM_CHANNEL_INTERACTIONS": str(trained.interactions),
            "SM_CHANNEL_ITEMS": str(trained.items),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_job_leaves_its_model_and_prints_every_metric(trained: Trained, tmp_path: Path) -> None:
    few = shop.write(tmp_path / "few", shop.interactions(200))
    ran = container(tmp_path, trained, interactions=few)
    assert ran.returncode == 0, ran.stderr
    card = load_card(tmp_path / "model")
    assert (card.model_version, card.snapshot_id) == ("tugboat-test-1", "snap-7")
    assert card.settings["fit"]["learning_rate"] == 0.004
    assert load_recommender(tmp_path / "model")[0].recommend(["sku-020", "sku-021"], 5).items
    found = {m["Name"]: re.findall(m["Regex"], ran.stdout) for m in train.METRIC_DEFINITIONS}
    assert all(found.values()), found
    assert all(math.isfinite(float(value)) for values in found.values() for value in values)
    # The tail was lengthened, so three encoders are trained.
    assert found["epoch"] == ["1", "1", "2", "1", "2"]
    assert float(found["holdout_mrr_at_20"][-1]) == card.metrics["mrr_at_20"]
    tuned = next(line for line in ran.stdout.splitlines() if line.startswith("stage=tune"))
    assert f"valid_mrr_at_20={found['valid_mrr_at_20'][-1]} " in tuned
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert not (tmp_path / "output" / "failure").exists()


def test_two_processes_train_one_model_about_as_well_as_one(trained: Trained, tmp_path: Path) -> None:
    ran = container(tmp_path, trained, processes=2, epochs=8, batch_events=56, tune_cases=0)
    assert ran.returncode == 0, ran.stderr
    assert "processes=2" in ran.stdout
    losses = [float(loss) for loss in re.findall(r"stage=served .* loss=([0-9.]+)", ran.stdout)]
    assert len(losses) == 8  # one process logs
    assert losses[-1] < 0.8 * losses[0]
    card, alone = load_card(tmp_path / "model"), load_card(trained.model_dir)
    assert card.metrics["mrr_at_20"] > 0.85 * alone.metrics["mrr_at_20"]
    assert load_recommender(tmp_path / "model")[0].recommend(["sku-020", "sku-021"], 5).items


def test_the_process_that_fails_first_names_the_cause(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    ran = container(tmp_path, trained, processes=2, interactions=tmp_path / "none")
    assert ran.returncode != 0
    assert "no parquet file under" in (tmp_path / "output" / "failure").read_text()


def test_a_job_reads_embeddings_and_what_is_out_of_stock_is_in_no_answer_of_the_archive(
    trained: Trained, tmp_path: Path
) -> None:
    few = shop.write(tmp_path / "few", shop.interactions(200))
    items = shutil.copytree(trained.items, tmp_path / "items")
    gone = ["sku-020", "sku-021", "sku-022", "never sold"]
    (items / "out_of_stock.json").write_text(json.dumps(gone))
    given = tmp_path / "given.jsonl"
    given.write_text(
        '{"item_id": "sku-020", "embedding": [1, 2]}\n{"item_id": "sku-021", "embedding": [2, 1]}'
    )
    convert(given, items / "embeddings.arrow")
    ran = container(tmp_path, trained, interactions=few, items=items, epochs=1)
    assert ran.returncode == 0, ran.stderr
    assert "items_with_embedding=2" in ran.stdout
    served, _ = load_recommender(tmp_path / "model")
    assert not set(gone) & set(served.recommend(["sku-019"], 50).items)
    golden = json.loads((tmp_path / "model" / "golden.json").read_text())
    fallback = json.loads((tmp_path / "model" / "fallback.json").read_text())
    shown = [one["expected"] for one in golden] + [fallback["popular"], *fallback["related"].values()]
    assert not set(gone) & {item for answer in shown for item in answer}


def test_a_shop_without_two_items_in_stock_fails_before_it_trains(tmp_path: Path) -> None:
    (tmp_path / "out_of_stock.json").write_text(json.dumps(["a", "b", "never sold"]))
    with pytest.raises(
        DataError, match="1 of 3 items are in stock, and answers need two: correct the shop's"
    ):
        train.take_stock(tmp_path, tmp_path / "model", ["a", "b", "c"])
    train.take_stock(tmp_path, tmp_path / "model", ["a", "b", "c", "d"])


def test_bad_data_fails_the_job_with_its_reason_in_the_failure_file(trained: Trained, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = container(tmp_path, trained, interactions=empty)
    assert ran.returncode != 0
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason == f"no parquet file under {empty}: set the channel's S3 prefix to that of the export"
    assert reason in ran.stderr
    assert not (tmp_path / "model" / "model.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["--item_dropout", "0.3"], "unrecognized arguments: --item_dropout"),
        (["--epochs", "0"], "epochs is 0, must be from 1"),
        (["--learning_rate", "nan"], "learning_rate is nan"),
        (["--dim", "30", "--heads", "4"], "dim 30 is no multiple of heads 4"),
        (["--embedding-dropout", "1.5"], "embedding_dropout is 1.5"),
        (["--cart_weight", "0"], "cart_weight is 0.0, must be from 0.01 to 100"),
        (["--purchase_weight", "nan"], "purchase_weight is nan, must be from 0.01 to 100"),
        (["--price_weight", "1.5"], "price_weight is 1.5, must be from 0 to 1"),
    ],
)
def test_a_hyperparameter_that_cannot_be_used_is_named_in_the_failure_file(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    assert train.main(arguments) != 0
    assert says in (tmp_path / "failure").read_text()


def test_a_defect_of_ours_leaves_its_traceback(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(train, "read_dataset", broken)
    arguments = ["--failure-file", str(tmp_path / "why"), "--interactions", str(trained.interactions)]
    assert train.main(arguments) != 0
    reason = (tmp_path / "why").read_text()
    assert reason.startswith("KeyError: 'oops'\nTraceback")
    assert len(reason) <= 1024


def test_too_few_sessions_fail_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path / "output"))
    interactions = shop.write(tmp_path / "interactions", shop.interactions(10))
    arguments = ["--interactions", str(interactions), "--items", str(tmp_path / "none")]
    assert train.main([*arguments, "--checkpoint-dir", str(tmp_path / "c")]) != 0
    assert "only 10 sessions" in (tmp_path / "output" / "failure").read_text()


def test_names_are_taken_with_dashes_and_with_underscores() -> None:
    dashes = train.parser().parse_args(["--learning-rate", "0.5", "--checkpoint-dir", "/x"])
    underscores = train.parser().parse_args(["--learning_rate", "0.5", "--checkpoint_dir", "/x"])
    assert vars(dashes) == vars(underscores)
    assert dashes.learning_rate == 0.5


def test_every_setting_of_the_job_can_be_given(tmp_path: Path) -> None:
    changed = {
        "epochs": 7, "batch_events": 9, "learning_rate": 0.5, "negatives": 11, "weight_decay": 0.25,
        "recency_days": 3.0, "cart_weight": 2.0, "purchase_weight": 4.0, "price_weight": 0.5,
        "dim": 12, "layers": 3, "heads": 4, "max_length": 13, "dropout": 0.15,
        "embedding_dropout": 0.35, "temperature": 0.4, "id_dropout": 0.45,
        "holdout_hours": 6.0, "seed": 8, "max_train_seconds": 99.0, "tune_cases": 12,
    }  # fmt: skip
    arguments = [text for name, value in changed.items() for text in (f"--{name}", str(value))]
    settings = train.settings_of(train.parser().parse_args(arguments))
    flat = {**vars(settings), **vars(settings.encoder), **vars(settings.fit)}
    assert {name: flat[name] for name in changed} == changed


def test_the_state_machine_watches_the_metrics_that_are_printed() -> None:
    text = (REPOSITORY / "statemachine" / "pipeline.asl.json").read_text()
    states = json.loads(text)["States"]
    watched = states["Train"]["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"]
    assert watched == train.METRIC_DEFINITIONS
    tuned = states["Tune"]["Arguments"]["TrainingJobDefinition"]["AlgorithmSpecification"]
    assert tuned["MetricDefinitions"] == train.METRIC_DEFINITIONS
