"""The job of a batch: every client gets what the endpoint answers to its history, in any number of processes."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.training_jobs.conftest import Trained
from tests.unit.training_jobs.failing_process import fail_or_sleep
from training_jobs import batch
from training_jobs.serving import inference
from training_jobs.serving.contract import BATCH_MANIFEST, ENDPOINT_K_MAX

HISTORIES = [
    ["sku-020", "sku-021"],
    ["sku-003"],
    ["gone"],
    [],
    ["sku-040", "sku-003", "sku-040"],
    ["sku-cold"],
]


def history(number: int) -> dict[str, Any]:
    return {
        "CLIENT_KEY": f"key-{number:04}",
        "CLIENT_ID": f"client-{number}",
        "USER_ID": f"user-{number}" if number % 2 else None,
        "LAST_EVENT_TIME_MS": 1_700_000_000_000 + number,
        "ITEMS": json.dumps(HISTORIES[number % len(HISTORIES)]),
    }


def write(folder: Path, clients: int) -> Path:
    folder.mkdir()
    rows = [history(number) for number in range(clients)]
    for at, part in enumerate((rows[: clients // 3], rows[clients // 3 :])):
        pq.write_table(
            pa.Table.from_pylist(part, pa.schema(list(batch.SCHEMA)[:5])), folder / f"data_{at}.parquet"
        )
    return folder


def answers(output: Path) -> list[dict[str, Any]]:
    rows = [row for path in sorted(output.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: str(row["CLIENT_KEY"]))


def test_each_client_gets_the_endpoint_s_answer_in_any_number_of_processes(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = write(tmp_path / "histories", 20)
    made = batch.score(trained.model_dir, histories, tmp_path / "two", processes=2)
    assert (made["clients"], made["model_version"]) == (20, "m1")
    assert json.loads((tmp_path / "two" / BATCH_MANIFEST).read_text()) == made
    model = inference.model_fn(str(trained.model_dir))
    found = answers(tmp_path / "two")
    assert len(found) == 20
    for number, row in enumerate(found):
        assert {name: row[name] for name in history(number)} == history(number)
        asked = {"items": json.loads(row["ITEMS"]), "k": ENDPOINT_K_MAX, "because": True}
        query = inference.input_fn(json.dumps(asked))
        answer = json.loads(inference.output_fn(inference.predict_fn(query, model))[0])
        assert row["CANDIDATES"] == [item["item_id"] for item in answer["items"]]
        assert row["SCORES"] == [item["score"] for item in answer["items"]]
        assert row["BECAUSE"] == [item["because"]["kind"] for item in answer["items"]]
        assert row["BECAUSE_ITEMS"] == [item["because"].get("item_id") for item in answer["items"]]
        assert row["REASON"] == answer["reason"]


def test_fewer_items_are_the_beginning_of_more(trained: Trained) -> None:
    model = inference.model_fn(str(trained.model_dir))
    for items in HISTORIES:
        whole = inference.predict_fn(inference.Query(items, ENDPOINT_K_MAX, [], True), model)["items"]
        for k in (1, 5, 30):
            assert inference.predict_fn(inference.Query(items, k, [], True), model)["items"] == whole[:k]


def test_a_broken_file_ends_the_job_and_names_the_file(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data_0.parquet").write_bytes(b"no parquet")
    arguments = [
        "--model",
        str(trained.model_dir),
        "--histories",
        str(tmp_path),
        "--output",
        str(tmp_path / "out"),
    ]
    assert batch.main(arguments) == 1
    assert "data_0.parquet is no parquet file" in capsys.readouterr().err


def test_without_a_model_the_job_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch.main(["--model", str(tmp_path), "--histories", str(tmp_path)]) == 1
    assert "publish a model, then make batch again" in capsys.readouterr().err


def test_a_process_that_fails_fails_the_job(trained: Trained, tmp_path: Path) -> None:
    histories = write(tmp_path / "histories", 4)
    broken = {**history(0), "ITEMS": "{not json"}
    pq.write_table(
        pa.Table.from_pylist([broken], pa.schema(list(batch.SCHEMA)[:5])), histories / "data_9.parquet"
    )
    with pytest.raises(batch.BatchError, match="4 of 5 clients have candidates, and 1 of 1 processes failed"):
        batch.score(trained.model_dir, histories, tmp_path / "out", processes=1)


def test_a_process_that_fails_stops_the_others_at_once(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_work", fail_or_sleep)
    histories = write(tmp_path / "histories", 6)
    began_s = time.monotonic()
    with pytest.raises(
        batch.BatchError, match=r"0 of 6 clients .* 1 of 2 processes failed \(exit codes \[1\]\)"
    ):
        batch.score(trained.model_dir, histories, tmp_path / "out", processes=2)
    assert time.monotonic() - began_s < 45
