"""From parquet to packed sessions, and the cuts in time."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from training_jobs.serving.sessions import DAY_MS, HOUR_MS
from training_jobs.snapshot import dataset
from training_jobs.snapshot.dataset import (
    DataError,
    before,
    choose_split,
    content_tokens,
    prefix_cases,
    price_lists,
    sampled_cases,
    within,
)
from training_jobs.snapshot.parquet import read_dataset

T = shop.START_MS


def read(tmp_path: Path, rows: list[shop.Row]) -> Any:
    return read_dataset(shop.write(tmp_path / "interactions", rows), None)


def as_ids(found: Any) -> list[list[str]]:
    sessions = found.sessions
    return [[found.vocabulary[item] for item in sessions.session(row)] for row in range(len(sessions))]


def test_sessions_are_packed_in_order_of_their_last_event(tmp_path: Path) -> None:
    rows = [
        shop.row(2, 0, "a", T),
        shop.row(2, 1, "b", T + 9000),
        shop.row(1, 0, "c", T + 1000),
        shop.row(1, 1, "a", T + 2000),
    ]
    data = read(tmp_path, rows)
    assert as_ids(data) == [["c", "a"], ["a", "b"]]
    assert data.sessions.starts_ms.tolist() == [T + 1000, T]
    assert data.sessions.ends_ms.tolist() == [T + 2000, T + 9000]
    assert data.vocabulary == ["a", "b", "c"]


def test_the_order_of_rows_and_files_does_not_matter(tmp_path: Path) -> None:
    rows = shop.interactions(60)
    straight = read(tmp_path / "straight", rows)
    mixed = [rows[at] for at in np.random.default_rng(1).permutation(len(rows))]
    shop.write(tmp_path / "mixed" / "interactions", mixed[:100], "b.parquet")
    shop.write(tmp_path / "mixed" / "interactions" / "deeper", mixed[100:], "a.parquet")
    other = read_dataset(tmp_path / "mixed" / "interactions", None)
    assert other.vocabulary == straight.vocabulary
    for name in ("items", "offsets", "times_ms"):
        assert np.array_equal(getattr(other.sessions, name), getattr(straight.sessions, name))


def test_two_shops_that_share_a_session_id_have_two_sessions(tmp_path: Path) -> None:
    rows = [shop.row(7, 0, "a", T), shop.row(7, 1, "b", T + 1)]
    rows += [{**row, "SHOP_ID": "other", "ITEM_ID": row["ITEM_ID"].upper()} for row in rows]
    assert sorted(as_ids(read(tmp_path, rows))) == [["A", "B"], ["a", "b"]]


def test_columns_may_be_in_lower_case_and_decimals(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([shop.row(7, 0, "a", T), shop.row(7, 1, "b", T + 1)])
    at = table.column_names.index("EVENT_TIME_MS")
    table = table.set_column(at, "EVENT_TIME_MS", table.column(at).cast(pa.decimal128(38, 0)))
    table = table.rename_columns([name.lower() for name in table.column_names])
    (tmp_path / "i").mkdir()
    pq.write_table(table, tmp_path / "i" / "x.parquet")
    assert as_ids(read_dataset(tmp_path / "i", None)) == [["a", "b"]]


GOOD = [shop.row(7, 0, "a", T), shop.row(7, 1, "b", T + 1)]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{k: v for k, v in row.items() if k != "ITEM_ID"} for row in GOOD], "no column ITEM_ID"),
        ([{**GOOD[0], "ITEM_ID": None}, GOOD[1]], "ITEM_ID is null"),
        ([{**GOOD[0], "SESSION_ID": None}, GOOD[1]], "SESSION_ID is null"),
        ([{**row, "SESSION_ID": "0cc175b9"} for row in GOOD], "SESSION_ID is string"),
        ([{**GOOD[0], "EVENT_TIME_MS": None}, GOOD[1]], "EVENT_TIME_MS is null"),
        ([{**row, "EVENT_TIME_MS": "yesterday"} for row in GOOD], "EVENT_TIME_MS is string"),
        ([{**row, "EVENT_TIME_MS": row["EVENT_TIME_MS"] // 1000} for row in GOOD], "milliseconds"),
        ([{**row, "EVENT_TIME_MS": row["EVENT_TIME_MS"] * 1000} for row in GOOD], "milliseconds"),
        ([{**row, "POSITION": row["POSITION"] + 0.5} for row in GOOD], "POSITION"),
        ([{**row, "ITEM_ID": [row["ITEM_ID"]]} for row in GOOD], "ITEM_ID is list"),
        ([*GOOD, GOOD[1]], "two exports may share the prefix"),
        ([GOOD[0], {**GOOD[1], "EVENT_TIME_MS": T - 1}], "earlier than the one before"),
    ],
)
def test_data_that_cannot_be_used_is_refused_with_what_to_do(
    tmp_path: Path, rows: list[shop.Row], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        read(tmp_path, rows)


def test_a_time_stamp_is_not_taken_for_milliseconds(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(GOOD)
    at = table.column_names.index("EVENT_TIME_MS")
    table = table.set_column(at, "EVENT_TIME_MS", table.column(at).cast(pa.timestamp("ms")))
    (tmp_path / "i").mkdir()
    pq.write_table(table, tmp_path / "i" / "x.parquet")
    with pytest.raises(DataError, match="EVENT_TIME_MS is timestamp"):
        read_dataset(tmp_path / "i", None)


def test_an_empty_channel_says_which_export_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no parquet file under"):
        read_dataset(tmp_path / "nothing", None)
    table = pa.Table.from_pylist(GOOD).slice(0, 0)
    pq.write_table(table, tmp_path / "nothing" / "x.parquet")
    with pytest.raises(DataError, match=r"no interactions in .*TRAINING_INTERACTIONS"):
        read_dataset(tmp_path / "nothing", None)


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        read_dataset(tmp_path, None)


def test_items_of_the_catalogue_that_nobody_touched_are_in_the_vocabulary(tmp_path: Path) -> None:
    interactions, items = shop.write_shop(tmp_path, sessions=60)
    data = read_dataset(interactions, items)
    assert shop.COLD_ITEM in data.vocabulary
    assert data.vocabulary.index(shop.COLD_ITEM) >= len(set(data.sessions.items.tolist()))
    assert data.catalogue is not None
    row = data.vocabulary.index("sku-035")
    like = data.vocabulary.index("sku-030")
    assert data.catalogue.prices[row] == 40.0
    assert data.catalogue.categories[row] == data.catalogue.categories[like] >= 0


def test_a_price_that_is_no_number_is_refused(tmp_path: Path) -> None:
    interactions = shop.write(tmp_path / "interactions", GOOD)
    items = shop.write(tmp_path / "items", [{**row, "PRICE": "cheap"} for row in shop.catalogue()])
    with pytest.raises(DataError, match="PRICE is string"):
        read_dataset(interactions, items)


def test_a_token_that_only_one_item_has_is_dropped() -> None:
    content = content_tokens(
        [0, 1], ["red shoe", "blue shoe"], ["a/b", "a/c"], ["x", None], np.array([1.0, np.nan]), 3
    )
    assert content.names == ["category:a", "word:shoe"]
    assert np.diff(content.offsets).tolist() == [2, 2, 0]


def test_punctuation_is_no_part_of_a_word_of_a_name() -> None:
    content = content_tokens(
        [0, 1],
        ["Jacket (blue), Männer-XL", "blue jacket: männer"],
        [None] * 2,
        [None] * 2,
        np.full(2, np.nan),
        2,
    )
    assert content.names == ["word:blue", "word:jacket", "word:männer"]


def test_attributes_are_tokens_and_a_snapshot_without_them_is_read(tmp_path: Path) -> None:
    interactions = shop.write(tmp_path / "interactions", shop.interactions(30))
    plain = read_dataset(interactions, shop.write(tmp_path / "plain", shop.catalogue()))
    assert not any(name.startswith("attribute:") for name in plain.content.names)
    texts = ['{"Color": "Red", "size": "M"}', '{"color": "red"}', '{"color": "blue"}', None, "null"]
    rows = [{**row, "ATTRIBUTES": texts[min(at, 4)]} for at, row in enumerate(shop.catalogue())]
    told = read_dataset(interactions, shop.write(tmp_path / "told", rows)).content
    assert [name for name in told.names if name.startswith("attribute:")] == ["attribute:color=red"]
    red = told.names.index("attribute:color=red")
    assert [red in told.tokens[told.offsets[at] : told.offsets[at + 1]] for at in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_an_attribute_without_a_value_is_no_content() -> None:
    content = content_tokens(
        range(3),
        [None] * 3,
        [None] * 3,
        [None] * 3,
        np.full(3, np.nan),
        3,
        attributes=[{"color": " ", "size": "M"}, {"color": "", "size": "M"}, {"color": ""}],
    )
    assert content.names == ["attribute:size=m"]
    assert np.diff(content.offsets).tolist() == [1, 1, 0]


def test_lists_by_price_are_of_a_category_of_a_brand_in_it_and_of_a_brand_without_category() -> None:
    lists = price_lists(
        [4, 3, 2, 1, 0, -1],
        ["boots", "boots", "Boots", None, None, "boots"],
        ["x", "x", "y", "x", "", "x"],
        np.array([30.0, 10.0, 20.0, 1.0, 2.0, 5.0]),
    )
    assert sorted(lists.session(row).tolist() for row in range(len(lists))) == [[1], [2], [3, 2, 4], [3, 4]]


def test_an_item_without_a_price_ends_its_list() -> None:
    lists = price_lists([0, 1, 2], ["a"] * 3, [None] * 3, np.array([np.nan, 9.0, 3.0]))
    assert lists.session(0).tolist() == [2, 1, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=8))
def test_every_click_after_a_first_is_a_case_with_all_before_it_as_prefix(lists: list[list[int]]) -> None:
    cases = prefix_cases(shop.packed(lists))
    found = [(cases.prefix(at).tolist(), int(cases.targets[at])) for at in range(len(cases))]
    assert found == [(items[:at], items[at]) for items in lists for at in range(1, len(items))]
    assert cases.session.tolist() == [row for row, items in enumerate(lists) for _ in range(1, len(items))]


def test_a_client_that_never_stops_neither_fills_the_memory_nor_becomes_most_of_the_cases() -> None:
    """All prefixes of 100,000 clicks would be 5 billion items, and 3,000 drawn ones 150 million."""
    endless = [click % 7 for click in range(100_000)]
    ordinary = [[1, 2, 3, 4, 5] for _ in range(500)]
    log = shop.packed([*ordinary[:250], endless, *ordinary[250:]])
    cases = sampled_cases(log, 0, 3000)
    assert len(cases) == 500 * 4 + 200
    assert len(cases.items) < 40_000
    assert int(cases.lengths.max()) == 200


@settings(max_examples=30, deadline=None)
@given(st.integers(30, 300), st.floats(1.0, 48.0), st.integers(0, 5))
def test_nothing_learnt_ends_after_anything_measured_begins(sessions: int, hours: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = shop.packed(
        [rng.integers(0, 20, rng.integers(2, 6)).tolist() for _ in range(sessions)], gap_ms=HOUR_MS // 2
    )
    split = choose_split(data, hours)
    learnt, tail, held = (
        before(data, split.valid_start_ms),
        within(data, split.valid_start_ms, split.holdout_start_ms),
        within(data, split.holdout_start_ms),
    )
    assert min(len(learnt), len(tail), len(held)) > 0
    assert learnt.ends_ms.max() < tail.starts_ms.min()
    assert max(learnt.ends_ms.max(), tail.ends_ms.max()) < held.starts_ms.min()
    assert len(learnt) >= len(data) // 6


def test_little_more_than_a_day_of_data_is_not_held_out_nearly_whole() -> None:
    data = shop.packed([[1, 2]] * 60, gap_ms=HOUR_MS // 2)
    split = choose_split(data, 24.0)
    assert len(before(data, split.holdout_start_ms)) == 48


def test_a_session_across_the_cut_is_neither_learnt_nor_measured() -> None:
    data = shop.packed([[1, 2, 3]])
    middle = int(data.times_ms[1])
    assert len(before(data, middle)) == len(within(data, middle)) == 0


def test_the_last_day_is_held_out_where_it_is_long_enough() -> None:
    data = shop.packed([[1, 2]] * 200, gap_ms=HOUR_MS)
    split = choose_split(data, 24.0)
    assert data.ends_ms.max() - split.holdout_start_ms == pytest.approx(DAY_MS, abs=HOUR_MS)


def tail_of(clicks: int) -> int:
    """Return the number of sessions in the validation tail of 400 sessions, one per hour, with so many clicks each."""
    data = shop.packed([list(range(clicks))] * 400, gap_ms=HOUR_MS)
    split = choose_split(data, 24.0)
    return len(within(data, split.valid_start_ms, split.holdout_start_ms))


def test_the_tail_is_longer_than_a_day_until_it_has_enough_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "TAIL_CASES", 1_000)
    assert tail_of(21) == 1_000 // 20
    assert tail_of(60) == 24


def test_a_tail_without_enough_cases_is_a_quarter_of_the_sessions_before_the_held_out_day() -> None:
    assert tail_of(2) == (400 - 24) // 4


def test_too_few_sessions_say_how_many_are_needed() -> None:
    with pytest.raises(DataError, match=r"only 19 sessions .* at least 20"):
        choose_split(shop.packed([[1, 2]] * 19 + [[3]] * 50), 24.0)


def test_sessions_that_all_overlap_cannot_be_cut() -> None:
    with pytest.raises(DataError, match="export more days"):
        choose_split(shop.packed([[1, 2]] * 50, gap_ms=0), 24.0)
