"""Embeddings of a shop are checked row by row, and a file with a fault is refused as a whole."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalogue import embeddings
from catalogue.embeddings import convert, main, store
from catalogue.rows import FeedUnreadable
from testing.fakes import FakeS3

ROWS = {"boot-7": [0.5, -1.0, 2.0], "boot-9": [1.0, 0.0, 0.0], "hat-1": [0.0, 0.25, 0.0]}


def lines(folder: Path, rows: list[Any]) -> Path:
    path = folder / "given.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def parquet(folder: Path, ids: list[Any] | pa.Array, embeddings: pa.Array) -> Path:
    path = folder / "given.parquet"
    pq.write_table(pa.table({"item_id": ids, "embedding": embeddings, "other": [1] * len(ids)}), path)
    return path


def read(arrow: Path) -> dict[str, list[float]]:
    table = pa.ipc.open_file(arrow.read_bytes()).read_all().to_pydict()
    return dict(zip(table["item_id"], table["embedding"], strict=True))


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float64()), pa.list_(pa.float32(), 3), pa.list_(pa.float16()), pa.large_list(pa.float32())],
)
def test_parquet_may_hold_lists_of_any_kind_of_number(tmp_path: Path, kind: pa.DataType) -> None:
    arrow = tmp_path / "stored.arrow"
    convert(
        parquet(
            tmp_path,
            list(ROWS),
            pa.array([np.array(row, kind.value_type.to_pandas_dtype()) for row in ROWS.values()], kind),
        ),
        arrow,
    )
    assert read(arrow) == ROWS


def test_json_lines_may_be_gzipped_and_have_blank_lines(tmp_path: Path) -> None:
    path = lines(tmp_path, [{"item_id": item, "embedding": row} for item, row in ROWS.items()])
    path.write_bytes(gzip.compress(path.read_bytes().replace(b"\n", b"\n\n")))
    arrow = tmp_path / "stored.arrow"
    assert convert(path, arrow).products == 3
    assert read(arrow) == ROWS


def test_a_long_file_is_written_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_ROWS", 2)
    arrow = tmp_path / "stored.arrow"
    convert(lines(tmp_path, [{"item_id": item, "embedding": row} for item, row in ROWS.items()]), arrow)
    assert pa.ipc.open_file(arrow.read_bytes()).num_record_batches == 2
    assert read(arrow) == ROWS


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"item_id": "boot-7", "embedding": [1, 2, 3]}, "row 2, item 'boot-7': the id is there twice"),
        (
            {"item_id": "b", "embedding": [1, 2]},
            "row 2, item 'b': embedding has 2 numbers, and the rows before it have 3",
        ),
        ({"item_id": "b", "embedding": [0, 0, 0]}, "row 2, item 'b': embedding needs finite numbers"),
        (
            {"item_id": "b", "embedding": [1, 2, float("nan")]},
            "row 2, item 'b': embedding needs finite numbers",
        ),
        ({"item_id": "b", "embedding": [1, 2, 1e39]}, "row 2, item 'b': embedding needs finite numbers"),
        ({"item_id": "b", "embedding": [1, 2, 1e30]}, "row 2, item 'b': embedding needs finite numbers"),
        (
            {"item_id": "b", "embedding": [1, 2, 3], "more": "x" * 2**18},
            "line 2: 262,1.. bytes, at most 262,144 are taken",
        ),
        ({"item_id": "", "embedding": [1, 2, 3]}, "item_id must be text of 1 to 64 characters"),
        ({"item_id": 7, "embedding": [1, 2, 3]}, "row 2, item 7: item_id must be text"),
        ({"item_id": "b", "embedding": [1, "x", 3]}, "line 2: it must be like"),
        ({"item_id": "b", "embedding": 3}, "line 2: it must be like"),
        ({"item_id": "b", "embedding": [1, 2, 10**400]}, "line 2: it must be like"),
        ({"item_id": "half \ud800", "embedding": [1, 2, 3]}, "line 2: it must be like"),
        ({"item_id": "b"}, "line 2: it must be like"),
        (["b", [1, 2, 3]], "line 2: it must be like"),
    ],
)
def test_a_row_that_cannot_be_used_refuses_the_file(tmp_path: Path, row: Any, why: str) -> None:
    s3 = FakeS3()
    with pytest.raises(FeedUnreadable, match=why):
        store(
            lines(tmp_path, [{"item_id": "boot-7", "embedding": ROWS["boot-7"]}, row]), "demo", s3, "models"
        )
    assert not s3.objects


def test_a_line_with_too_many_brackets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    path.write_text("[" * 100_000)
    with pytest.raises(FeedUnreadable, match="line 1: it must be like"):
        convert(path, tmp_path / "stored.arrow")


def test_parquet_without_numbers_or_columns_is_refused(tmp_path: Path) -> None:
    arrow = tmp_path / "stored.arrow"
    with pytest.raises(FeedUnreadable, match="lists of numbers in embedding"):
        convert(parquet(tmp_path, ["a"], pa.array([1.5])), arrow)
    with pytest.raises(FeedUnreadable, match="embedding has 0 numbers"):
        convert(parquet(tmp_path, ["a", "b"], pa.array([[1.0, 2.0], None])), arrow)
    with pytest.raises(FeedUnreadable, match="finite numbers"):
        convert(parquet(tmp_path, ["a", "b"], pa.array([[1.0, 2.0], [1.0, None]])), arrow)
    latin = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xfc1"))
    with pytest.raises(FeedUnreadable, match="the text column item_id"):
        convert(parquet(tmp_path, latin, pa.array([[1.0, 2.0]])), arrow)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "given.parquet")
    with pytest.raises(FeedUnreadable, match="no column embedding and no column item_id"):
        convert(tmp_path / "given.parquet", arrow)


def test_an_empty_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeedUnreadable, match="has no rows"):
        convert(lines(tmp_path, []), tmp_path / "stored.arrow")
    with pytest.raises(FeedUnreadable, match=r"missing\.jsonl"):
        convert(tmp_path / "missing.jsonl", tmp_path / "stored.arrow")


def test_the_stored_file_is_named_after_the_shop(tmp_path: Path) -> None:
    s3 = FakeS3()
    path = lines(tmp_path, [{"item_id": item, "embedding": row} for item, row in ROWS.items()])
    assert store(path, "demo", None, "") == [
        f"{path}: embeddings of 3 products, 3 numbers each",
        "dry run: nothing was written",
    ]
    assert store(path, "demo", s3, "models")[-1] == (
        "written: s3://models/embeddings/demo.arrow; the next run trains with them"
    )
    assert list(s3.objects) == [("models", "embeddings/demo.arrow")]


def test_a_shop_that_the_stage_lacks_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lines(tmp_path, [{"item_id": "a", "embedding": [1, 2]}])
    assert main([str(path), "--shop", "dmeo", "--stage", "local", "--dry-run"]) == 1
    assert "stage local has no shop 'dmeo': use SHOP= one of demo, " in capsys.readouterr().err
