"""Reading interactions in batches: the same sessions as from all rows at once, in bounded memory."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from tests.unit.training_jobs.conftest import SMALL
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot import columns, interactions, mapped
from training_jobs.snapshot.dataset import DataError, Dataset, no_content, pack
from training_jobs.snapshot.interactions import read_interactions
from training_jobs.snapshot.parquet import read_dataset
from training_jobs.training.job import job_digest

T = shop.START_MS


def all_at_once(rows: list[shop.Row]) -> tuple[Sessions, list[str]]:
    """The rows as text in memory, and sessions ordered by their key among equal times."""
    vocabulary = sorted({row["ITEM_ID"] for row in rows})
    shops = sorted({row["SHOP_ID"] for row in rows})
    code = {item: at for at, item in enumerate(vocabulary)}
    owner = np.array([row["SESSION_ID"] * len(shops) + shops.index(row["SHOP_ID"]) for row in rows])
    items = np.array([code[row["ITEM_ID"]] for row in rows])
    times = np.array([row["EVENT_TIME_MS"] for row in rows])
    return pack(owner, items, times, np.array([row["POSITION"] for row in rows])), vocabulary


def assert_equal(found: Sessions, expected: Sessions) -> None:
    assert (found.networks is None) == (expected.networks is None)
    for name in ("items", "offsets", "times_ms", *(("networks",) if expected.networks is not None else ())):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine.dtype == theirs.dtype
        assert mine.tolist() == theirs.tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=9), min_size=1, max_size=12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3, 7, 1000]),
    st.integers(1, 4),
    st.sampled_from(["exported", "files", "shuffled"]),
)
def test_batches_files_and_the_order_of_rows_do_not_change_the_sessions(
    lists: list[list[int]], seed: int, batch: int, files: int, order: str
) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for items in lists:
        session, who = int(rng.integers(0, 2**40)), str(rng.choice(["a", "b"]))
        times = T + np.sort(rng.integers(0, 5, len(items)))  # many sessions end at the same time
        rows += [
            shop.row(session, at, f"sku-{item}", int(time)) | {"SHOP_ID": who}
            for at, (item, time) in enumerate(zip(items, times, strict=True))
        ]
    if order == "shuffled":
        rows = [rows[at] for at in rng.permutation(len(rows))]
    parts = np.array_split(np.arange(len(rows)), files)
    with TemporaryDirectory() as path:
        for at, part in enumerate(parts[::-1] if order == "files" else parts):
            table = pa.Table.from_pylist([rows[row] for row in part], pa.Table.from_pylist(rows).schema)
            pq.write_table(table, Path(path) / f"{at}.parquet", row_group_size=4)
        with (
            patch.multiple(interactions, BATCH_ROWS=batch, _GATHERED_ROWS=batch),
            patch.object(mapped, "_LEAST_BYTES", 0 if batch == 7 else 2**26),
        ):
            found, vocabulary = read_interactions(Path(path))
    expected, names = all_at_once(rows)
    assert vocabulary == names
    assert_equal(found, expected)


def test_the_training_job_gets_the_same_bytes_as_from_all_rows_at_once(tmp_path: Path) -> None:
    rows = shop.interactions(300)
    sessions, vocabulary = all_at_once(rows)
    with patch.object(interactions, "BATCH_ROWS", 64):
        data = read_dataset(shop.write(tmp_path / "interactions", rows), None)
    # The digest covers every byte that training reads. With one seed on a CPU, equal input gives an equal archive.
    expected = Dataset(sessions, vocabulary, no_content(len(vocabulary)))
    assert job_digest(data, SMALL, "snap") == job_digest(expected, SMALL, "snap")


def test_a_position_repeated_in_another_batch_or_file_is_refused(tmp_path: Path) -> None:
    session = [shop.row(1, at, "ab"[at % 2], T + at) for at in range(6)]
    shop.write(tmp_path, session[:4], "a.parquet")
    shop.write(tmp_path, session[3:], "b.parquet")
    with pytest.raises(DataError, match="two exports may share the prefix"):
        read_interactions(tmp_path)


def test_a_time_that_decreases_from_file_to_file_is_refused(tmp_path: Path) -> None:
    session = [shop.row(1, at, "ab"[at % 2], T - at // 2) for at in range(4)]
    shop.write(tmp_path, session[:2], "a.parquet")
    shop.write(tmp_path, session[2:], "b.parquet")
    with pytest.raises(DataError, match="1 interactions are earlier"):
        read_interactions(tmp_path)


def test_a_dictionary_s_unused_names_are_not_in_the_vocabulary(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([shop.row(1, 0, "a", T), shop.row(1, 1, "b", T + 1)])
    ids = pa.DictionaryArray.from_arrays([0, 2], ["a", "unused", "b"])
    table = table.set_column(table.column_names.index("ITEM_ID"), "ITEM_ID", ids)
    pq.write_table(table, tmp_path / "x.parquet")
    sessions, vocabulary = read_interactions(tmp_path)
    assert vocabulary == ["a", "b"]
    assert sessions.items.tolist() == [0, 1]


def large_text(directory: Path) -> int:
    """Write one id of 1 MB in 2,304 rows. The file stores it once, but as plain text it is 2.25 GiB."""
    ids = pa.DictionaryArray.from_arrays(np.zeros(2304, np.int32), ["x" * 2**20])
    rows = np.arange(len(ids))
    text = {"SHOP_ID": ["shop"] * len(ids), "ITEM_ID": ids}
    table = pa.table(text | {"SESSION_ID": rows // 2, "POSITION": rows % 2, "EVENT_TIME_MS": T + rows})
    pq.write_table(table, directory / "x.parquet", dictionary_pagesize_limit=2**22, store_schema=False)
    return len(ids)


def test_more_text_than_an_arrow_array_addresses_is_read_without_holding_it(tmp_path: Path) -> None:
    rows = large_text(tmp_path)
    usual, counted = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(counted)
    try:
        sessions, vocabulary = read_interactions(tmp_path)
    finally:
        pa.set_memory_pool(usual)
    assert len(sessions.items) == rows
    assert [len(name) for name in vocabulary] == [2**20]
    assert 0 < counted.max_memory() < 50 * 2**20


def test_a_snapshot_beyond_the_container_s_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: Any, **__: Any) -> None:
        raise AssertionError("the files are read")

    shop.write(tmp_path, shop.interactions(20))
    monkeypatch.setattr(interactions, "memory_limit", lambda: 2**20)
    monkeypatch.setattr(columns, "batches", unexpected)
    with pytest.raises(DataError, match=r"GiB of memory.*training_instance_type"):
        read_interactions(tmp_path)


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_each_session_has_its_network_and_an_old_snapshot_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(interactions, "BATCH_ROWS", batch)
    rows = [
        shop.row(session, place, f"sku-{place}", T + (9 - session) * 100 + place)
        for session in range(9)
        for place in range(2 + session % 3)
    ]
    known = [row | {"NETWORK": row["SESSION_ID"] % 4} for row in rows]
    shop.write(tmp_path / "new", known[:7], "part-0.parquet")
    shop.write(tmp_path / "new", known[7:], "part-1.parquet")
    sessions, _ = read_interactions(tmp_path / "new")
    assert sessions.networks is not None
    # Sessions are in the order of time, which is the reverse of their numbers.
    assert sessions.networks.tolist() == [number % 4 for number in reversed(range(9))]
    assert sessions.networks.dtype == np.int32
    kept = sessions.between(2, 6).take(np.array([True, False, True, False])).networks
    assert kept is not None
    assert kept.tolist() == [2, 0]

    shop.write(tmp_path / "old", rows)
    assert read_interactions(tmp_path / "old")[0].networks is None
    # A directory with files of both kinds has networks for a part only, which are not used.
    shop.write(tmp_path / "new", [row | {"SESSION_ID": 99} for row in rows[:2]], "part-2.parquet")
    assert read_interactions(tmp_path / "new")[0].networks is None
