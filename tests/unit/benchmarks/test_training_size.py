import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import training_size
from training_jobs.snapshot.interactions import COLUMNS, read_interactions


def test_a_generated_snapshot_has_the_form_of_an_export(tmp_path: Path) -> None:
    training_size.write(tmp_path, 5000, 300, seed=1)
    (file,) = tmp_path.iterdir()
    table = pq.read_table(file)
    assert set(table.column_names) == set(COLUMNS)
    assert str(table.schema.field("ITEM_ID").type) == "string"
    sessions = table["SESSION_ID"].to_numpy()
    assert (sessions[1:] >= sessions[:-1]).all()


def test_the_same_seed_gives_the_same_snapshot(tmp_path: Path) -> None:
    read = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        training_size.write(tmp_path / name, 3000, 100, seed=7)
        read.append(read_interactions(tmp_path / name)[0])
    assert read[0].items.tolist() == read[1].items.tolist()
    assert read[0].times_ms.tolist() == read[1].times_ms.tolist()


def test_reading_reports_all_interactions_and_their_memory(tmp_path: Path) -> None:
    training_size.write(tmp_path, 4000, 100, seed=2)
    figures = training_size.read(tmp_path)
    assert figures["events"] == 4000
    assert 0 < figures["items"] <= 100
    assert figures["peak_gib"] > 0


def test_private_memory_counts_arrays_but_not_the_pages_of_files(tmp_path: Path) -> None:
    size = 2**26
    with training_size.PrivateMemory() as memory:
        before = training_size.private_bytes()
        mapped = np.memmap(tmp_path / "file", np.uint8, "w+", shape=(2 * size,))
        mapped[:] = 1
        array = np.ones(size, np.uint8)
        time.sleep(0.3)
    assert 0.9 * size < memory.peak - before < 1.5 * size
    assert int(array[-1]) == int(mapped[-1]) == 1
