"""A shop's embeddings reach training as the command stored them."""

import json
from pathlib import Path

import numpy as np
import pytest

from catalogue.embeddings import convert
from tests.unit.training_jobs import shop
from training_jobs.snapshot.dataset import DataError
from training_jobs.snapshot.embeddings import read_embeddings, with_embeddings
from training_jobs.snapshot.parquet import read_dataset


def stored(folder: Path, rows: dict[str, list[float]]) -> Path:
    given, arrow = folder / "given.jsonl", folder / "embeddings.arrow"
    lines = [json.dumps({"item_id": item, "embedding": row}) for item, row in rows.items()]
    given.write_text("\n".join(lines))
    convert(given, arrow)
    return arrow


def test_each_item_of_the_vocabulary_has_its_embedding_at_length_one_or_zeros(tmp_path: Path) -> None:
    arrow = stored(tmp_path, {"b": [3.0, 4.0], "unknown": [1.0, 1.0], "a": [-2.0, 0.0]})
    found = read_embeddings(arrow, ["a", "b", "c"])
    assert found.dtype == np.float32
    assert np.allclose(found, [[-1.0, 0.0], [0.6, 0.8], [0.0, 0.0]])


@pytest.mark.parametrize("content", [b"", b"no arrow", b"ARROW1\0\0cut"])
def test_a_file_that_was_not_stored_by_the_command_is_an_error_with_the_next_step(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "embeddings.arrow").write_bytes(content)
    with pytest.raises(DataError, match="make embeddings"):
        read_embeddings(tmp_path / "embeddings.arrow", ["a"])


def test_only_training_reads_the_embeddings_because_the_gate_s_job_has_a_smaller_disk(tmp_path: Path) -> None:
    items = shop.write(tmp_path / "items", shop.catalogue())
    stored(items, {shop.catalogue()[0]["ITEM_ID"]: [3.0, 4.0]})
    data = read_dataset(shop.write(tmp_path / "interactions", shop.interactions(30)), items)
    assert data.content.embeddings.size == 0
    assert with_embeddings(data, items).content.embeddings.any(axis=1).sum() == 1
    (items / "embeddings.arrow").unlink()
    assert with_embeddings(data, items) is data
