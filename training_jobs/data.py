"""Sessions as packed arrays: read from a SageMaker channel (parquet), split by time.

A session's items lie side by side in one int32 array, oldest first; `offsets` says where each session begins.
Nothing here loops over sessions in Python, so that tens of millions of events stay a matter of seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_YEAR_1973_MS = 10**11


class DataError(ValueError):
    """The training data cannot be used; the message says why and what to look at next."""


@dataclass(frozen=True)
class Sessions:
    """Sessions ordered by the time of their last event. `items` holds rows of the vocabulary."""

    items: Int32
    offsets: Int64
    times_ms: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        return np.diff(self.offsets)

    @property
    def starts_ms(self) -> Int64:
        return self.times_ms[self.offsets[:-1]]

    @property
    def ends_ms(self) -> Int64:
        return self.times_ms[self.offsets[1:] - 1]

    def take(self, rows: NDArray[Any]) -> Sessions:
        """The sessions at `rows` (indices or a mask), in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        flat, offsets = ragged_rows(self.offsets, rows)
        return Sessions(self.items[flat], offsets, self.times_ms[flat])

    def session(self, row: int) -> Int32:
        return self.items[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class Cases:
    """Test cases: each prefix `items[offsets[i]:offsets[i + 1]]` is to predict `targets[i]`.

    `session` says which session a case came from, so that intervals resample whole sessions.
    """

    items: Int32
    offsets: Int64
    targets: Int64
    session: Int64

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> Int64:
        return np.diff(self.offsets)

    def prefix(self, row: int) -> Int32:
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: NDArray[Any]) -> Cases:
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        flat, offsets = ragged_rows(self.offsets, rows)
        return Cases(self.items[flat], offsets, self.targets[rows], self.session[rows])


def ragged_rows(offsets: Int64, rows: Int64) -> tuple[Int64, Int64]:
    """Flat indices of the given rows of a packed array, and the offsets of the result."""
    lengths = offsets[rows + 1] - offsets[rows]
    out = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=out[1:])
    flat = np.arange(out[-1], dtype=np.int64) + np.repeat(offsets[rows] - out[:-1], lengths)
    return flat, out


def pack(
    session_codes: NDArray[Any],
    items: NDArray[Any],
    times_ms: Int64,
    position: NDArray[Any],
    *,
    strict: bool = False,
) -> Sessions:
    """Group events by session, order them by `position`, and order sessions by their last event.

    `strict` raises a DataError where a session has a position twice, or where time runs backwards in it.
    """
    order = np.lexsort((position, session_codes))
    codes, items, times_ms = session_codes[order], items[order], times_ms[order]
    if strict:
        same, places = codes[1:] == codes[:-1], position[order]
        twice = int((same & (places[1:] == places[:-1])).sum())
        if twice:
            raise DataError(
                f"{twice} interactions stand at a POSITION that their session has already: "
                "two exports under one prefix? Export again under a new one"
            )
        back = int((same & (times_ms[1:] < times_ms[:-1])).sum())
        if back:
            raise DataError(
                f"{back} interactions are earlier than the one before them in their session, so that no cut in time "
                "holds: POSITION must follow EVENT_TIME_MS, look at training.training_interactions"
            )
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, np.int64)
    offsets = np.r_[starts, len(codes)].astype(np.int64)
    packed = Sessions(items.astype(np.int32), offsets, times_ms.astype(np.int64))
    return packed.take(np.argsort(packed.ends_ms, kind="stable"))


def prefix_cases(sessions: Sessions) -> Cases:
    """Every position after the first of every session, as a test case with everything before it as prefix."""
    lengths = sessions.lengths
    targets_of = np.maximum(lengths - 1, 0)
    session = np.repeat(np.arange(len(sessions), dtype=np.int64), targets_of)
    first = np.cumsum(targets_of) - targets_of
    position = np.arange(len(session), dtype=np.int64) - np.repeat(first, targets_of) + 1
    begin = sessions.offsets[session]
    offsets = np.zeros(len(session) + 1, np.int64)
    np.cumsum(position, out=offsets[1:])
    flat = np.arange(offsets[-1], dtype=np.int64) + np.repeat(begin - offsets[:-1], position)
    return Cases(sessions.items[flat], offsets, sessions.items[begin + position].astype(np.int64), session)


@dataclass(frozen=True)
class ItemContent:
    """What the catalogue says about each item, as tokens: item i has `tokens[offsets[i]:offsets[i + 1]]`."""

    names: list[str]
    tokens: Int32
    offsets: Int64

    @property
    def size(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Catalogue:
    """Price (NaN where unknown) and category (a place in `names`, -1 where unknown) of each row of the vocabulary."""

    prices: Float64
    categories: Int64
    names: list[str]


@dataclass(frozen=True)
class Dataset:
    """A snapshot as training sees it. `vocabulary[row]` is the shop's item id."""

    sessions: Sessions
    vocabulary: list[str]
    content: ItemContent
    catalogue: Catalogue | None = None


def no_content(items: int) -> ItemContent:
    return ItemContent([], np.zeros(0, np.int32), np.zeros(items + 1, np.int64))


def read_dataset(interactions_dir: Path, items_dir: Path | None) -> Dataset:
    """Read the two channels. Items of the catalogue nobody has touched yet are in the vocabulary too."""
    columns = _read_columns(
        interactions_dir, ("SHOP_ID", "SESSION_KEY", "POSITION", "ITEM_ID", "EVENT_TIME_MS")
    )
    if len(columns["ITEM_ID"]) == 0:
        raise DataError(
            f"no interactions in {interactions_dir}: look at training.training_interactions and the export"
        )
    item_codes, vocabulary = _encode(columns["ITEM_ID"], "ITEM_ID")
    session_codes, _ = _encode(columns["SESSION_KEY"], "SESSION_KEY")
    shop_codes, shops = _encode(columns["SHOP_ID"], "SHOP_ID")
    sessions = pack(
        session_codes.astype(np.int64) * len(shops) + shop_codes,
        item_codes,
        _times_ms(columns["EVENT_TIME_MS"]),
        _integers(columns["POSITION"], "POSITION"),
        strict=True,
    )
    if items_dir is None or not any(items_dir.rglob("*.parquet")):
        return Dataset(sessions, vocabulary, no_content(len(vocabulary)))
    vocabulary, content, catalogue = _read_catalogue(items_dir, vocabulary)
    return Dataset(sessions, vocabulary, content, catalogue)


def _read_catalogue(items_dir: Path, vocabulary: list[str]) -> tuple[list[str], ItemContent, Catalogue]:
    columns = _read_columns(items_dir, ("ITEM_ID", "ITEM_NAME", "ITEM_CATEGORY", "ITEM_BRAND", "PRICE"))
    for name in ("ITEM_ID", "ITEM_NAME", "ITEM_CATEGORY", "ITEM_BRAND"):
        columns[name] = _text(columns[name], name)
    known = {item: row for row, item in enumerate(vocabulary)}
    listed = columns["ITEM_ID"].to_pylist()
    new = sorted({item for item in listed if item is not None and item not in known})
    vocabulary = vocabulary + new
    known.update({item: row for row, item in enumerate(vocabulary)})
    rows = [known[item] if item is not None else -1 for item in listed]
    prices = _floats(columns["PRICE"], "PRICE")
    categories = columns["ITEM_CATEGORY"].to_pylist()
    content = content_tokens(
        rows,
        columns["ITEM_NAME"].to_pylist(),
        categories,
        columns["ITEM_BRAND"].to_pylist(),
        prices,
        len(vocabulary),
    )
    price_of, category_of = np.full(len(vocabulary), np.nan), np.full(len(vocabulary), -1, np.int64)
    codes: dict[str, int] = {}
    for at, row in enumerate(rows):
        if row >= 0:
            price_of[row] = prices[at]
            if categories[at]:
                category_of[row] = codes.setdefault(categories[at], len(codes))
    return vocabulary, content, Catalogue(price_of, category_of, list(codes))


def content_tokens(
    rows: Sequence[int],
    names: Sequence[str | None],
    categories: Sequence[str | None],
    brands: Sequence[str | None],
    prices: Float64,
    items: int,
    price_bands: int = 10,
) -> ItemContent:
    """Tokens of each item: every level of its category, its brand, a price band, the words of its name.

    A token that only one item has says nothing about any other, so it is dropped.
    """
    known = np.isfinite(prices) & (prices > 0)
    edges: Any = (
        np.quantile(np.log(prices[known]), np.linspace(0, 1, price_bands + 1)[1:-1]) if known.any() else []
    )
    of_item: list[set[str]] = [set() for _ in range(items)]
    for at, row in enumerate(rows):
        if row < 0:
            continue
        found = of_item[row]
        levels = [part.strip().lower() for part in (categories[at] or "").split("/") if part.strip()]
        found.update("category:" + "/".join(levels[: depth + 1]) for depth in range(len(levels)))
        if brands[at]:
            found.add("brand:" + str(brands[at]).strip().lower())
        found.update("word:" + word for word in (names[at] or "").lower().split() if len(word) > 2)
        if known[at]:
            found.add(f"price:{int(np.searchsorted(edges, np.log(prices[at])))}")
    counts: dict[str, int] = {}
    for found in of_item:
        for token in found:
            counts[token] = counts.get(token, 0) + 1
    token_names = sorted(token for token, count in counts.items() if count > 1)
    code = {token: at for at, token in enumerate(token_names)}
    lists = [sorted(code[token] for token in found if token in code) for found in of_item]
    offsets = np.zeros(items + 1, np.int64)
    np.cumsum([len(tokens) for tokens in lists], out=offsets[1:])
    flat = np.array([token for tokens in lists for token in tokens], np.int32)
    return ItemContent(token_names, flat, offsets)


@dataclass(frozen=True)
class Split:
    """Times that cut a snapshot: learn before `valid_start_ms`, choose settings up to `holdout_start_ms`, measure after."""

    valid_start_ms: int
    holdout_start_ms: int


def choose_split(sessions: Sessions, holdout_hours: float, minimum_share: float = 0.02) -> Split:
    """The last `holdout_hours` are held out, and as much again before them is the validation tail.

    Where so short a time holds fewer than `minimum_share` of all sessions, the cut moves back until it does. Where it
    leaves less than a third of them to learn from, the last fifth is held out instead.
    """
    usable = int((sessions.lengths >= 2).sum())
    if usable < 20:
        raise DataError(
            f"only {usable} sessions with two or more items: at least 20 are needed; export more days"
        )
    ends, starts = sessions.ends_ms, np.sort(sessions.starts_ms)
    last_ms = int(ends.max()) + 1
    wanted = max(5, int(np.ceil(minimum_share * len(sessions))))
    holdout_ms = min(last_ms - int(holdout_hours * HOUR_MS), int(starts[-wanted]))
    earlier = np.sort(sessions.starts_ms[ends < holdout_ms])
    if len(earlier) < max(2 * wanted, len(sessions) // 3):
        holdout_ms = int(starts[-max(1, len(starts) // 5)])
        earlier = np.sort(sessions.starts_ms[ends < holdout_ms])
        wanted = max(1, len(earlier) // 10)
    if len(earlier) < 10:
        raise DataError("nearly all sessions fall on the last day: export more days before training")
    valid_ms = min(holdout_ms - (last_ms - holdout_ms), int(earlier[-wanted]))
    if int((ends < valid_ms).sum()) < len(earlier) // 2:
        valid_ms = int(earlier[-max(1, len(earlier) // 10)])
    return Split(valid_ms, holdout_ms)


def before(sessions: Sessions, cut_ms: int) -> Sessions:
    """Sessions that ended before the cut: none of their events can tell what happened after it."""
    return sessions.take(sessions.ends_ms < cut_ms)


def within(sessions: Sessions, begin_ms: int, end_ms: int | None = None) -> Sessions:
    """Sessions that began at or after `begin_ms` and, where given, ended before `end_ms`."""
    mask = sessions.starts_ms >= begin_ms
    if end_ms is not None:
        mask &= sessions.ends_ms < end_ms
    return sessions.take(mask)


def _read_columns(directory: Path, wanted: Sequence[str]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(directory.rglob("*.parquet"))
    if not files:
        raise DataError(f"no parquet file under {directory}: is the channel's S3 prefix the export's?")
    chunks: dict[str, list[Any]] = {name: [] for name in wanted}
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
            by_name = {name.upper(): name for name in parquet.schema_arrow.names}
            absent = [name for name in wanted if name not in by_name]
            if absent:
                raise DataError(
                    f"{file.name} has no column {', '.join(absent)}, only {', '.join(sorted(by_name))}: "
                    "export the tables of sql/models/training as they are"
                )
            table = parquet.read(columns=[by_name[name] for name in wanted])
        except pa.ArrowException as error:
            raise DataError(f"{file} cannot be read as parquet ({error}): export again") from error
        for name in wanted:
            chunks[name].extend(table.column(by_name[name]).chunks)
    return {name: _join(pa, parts, name) for name, parts in chunks.items()}


def _join(pa: Any, parts: list[Any], name: str) -> Any:
    if not parts:
        return pa.chunked_array([], type=pa.string())
    kind = next((part.type for part in parts if not pa.types.is_null(part.type)), parts[0].type)
    return pa.chunked_array([_cast(part, kind, name) for part in parts], type=kind)


def _cast(column: Any, kind: Any, name: str) -> Any:
    import pyarrow as pa

    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise DataError(
            f"column {name} is {column.type} where {kind} is needed ({error}): "
            "look at the column types of functions/export"
        ) from error


def _text(column: Any, name: str) -> Any:
    import pyarrow as pa

    return _cast(column, pa.string(), name)


def _encode(column: Any, name: str) -> tuple[Int32, list[str]]:
    """Codes and sorted names of a text column: sorted, so that the same data gives the same rows in any file order."""
    import pyarrow as pa

    encoded = _text(column, name).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    names = encoded.dictionary.to_pylist()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    if (codes < 0).any():
        raise DataError(f"{name} is null in the training data: look at the not_null tests of training/")
    order = np.argsort(np.array(names, dtype=object), kind="stable")
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    return rank[codes], [str(names[at]) for at in order]


def _integers(column: Any, name: str) -> Int64:
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)):
        raise DataError(
            f"column {name} is {kind}, must be a whole number: look at the column types of functions/export"
        )
    if column.null_count:
        raise DataError(f"{name} is null in the training data: look at the not_null tests of training/")
    values = _cast(column, pa.int64(), name).combine_chunks().to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.int64)


def _floats(column: Any, name: str) -> Float64:
    import pyarrow as pa

    values = _cast(column, pa.float64(), name).combine_chunks().to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float64)


def _times_ms(column: Any) -> Int64:
    times = _integers(column, "EVENT_TIME_MS")
    if len(times) and not _YEAR_1973_MS <= int(times.min()) <= int(times.max()) <= 1000 * _YEAR_1973_MS:
        raise DataError(
            f"EVENT_TIME_MS goes from {times.min()} to {times.max()}: it must be in milliseconds since 1970, "
            "not in seconds or microseconds"
        )
    return times
