"""Read the interactions of a snapshot in batches into packed sessions, so that memory holds numbers and never all text.

A batch becomes an int32 item code, an int64 time and a byte for the event per interaction, and a few numbers per run. A run is
a stretch of rows with one session and consecutive positions. The export writes a session as one run, but any order of rows
gives the same sessions. The columns of interactions are mapped from files, so memory holds the runs alone.
docs/recommender.md states it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.contract import EVENT_STRENGTHS, Column
from training_jobs.serving.sessions import Int32, Int64, Sessions, ragged_rows, slices
from training_jobs.snapshot import columns, mapped
from training_jobs.snapshot.dataset import DataError
from training_jobs.snapshot.memory import memory_limit, require_memory

COLUMNS = (Column.SHOP_ID, Column.SESSION_ID, Column.POSITION, Column.ITEM_ID, Column.EVENT_TIME_MS)
BATCH_ROWS = 2**20
_GATHERED_ROWS = 2**22
_YEAR_1973_MS = 10**11


@dataclass
class _Runs:
    """Runs of interactions: session, shop, first position, first row, number of rows, network and client."""

    session: Int64
    shop: Int32
    position: Int64
    row: Int64
    length: Int32
    network: Int32
    client: Int32


class _Names:
    """The codes of a text column, in order of appearance."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def codes(self, column: Any, name: str) -> Int32:
        """Return the code per row of one batch."""
        known = self._codes
        names, indices = columns.dictionary(column, name)
        of_batch = np.array([known.setdefault(text, len(known)) for text in names], np.int32)
        return of_batch[indices]

    def sorted(self, used: NDArray[np.bool_]) -> tuple[Int32, list[str]]:
        """Return the rank per code among the used names, and these names. A sorted vocabulary ignores the order of files."""
        names = list(self._codes)
        order = sorted(np.flatnonzero(used).tolist(), key=names.__getitem__)
        rank = np.full(len(names), -1, np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return rank, [names[at] for at in order]


def read_interactions(directory: Path) -> tuple[Sessions, list[str]]:
    """Return the sessions, ordered by their last event, and the sorted vocabulary.

    A snapshot that was exported before the columns NETWORK, CLIENT or EVENT_NAME existed gives sessions without networks, clients
    or kinds.

    Raises:
        DataError: the files cannot be used, or training on them needs more memory than this machine has.
    """
    files = columns.parquet_files(directory)
    rows = columns.row_count(files)
    if rows == 0:
        raise DataError(
            f"no interactions in {directory}: check TRAINING.TRAINING_INTERACTIONS and the export"
        )
    require_memory(rows, memory_limit())
    per_session = [
        name
        for name in (Column.NETWORK, Column.CLIENT)
        if all(columns.has_column(file, name) for file in files)
    ]
    has_kinds = all(columns.has_column(file, Column.EVENT_NAME) for file in files)
    wanted = (*COLUMNS, *per_session, *((Column.EVENT_NAME,) if has_kinds else ()))
    items, times = mapped.empty(rows, np.int32), mapped.empty(rows, np.int64)
    kinds = mapped.empty(rows if has_kinds else 0, np.uint8)
    shop_names, item_names, runs, at = _Names(), _Names(), list[_Runs](), 0
    for file in files:
        encoded = (Column.SHOP_ID, Column.ITEM_ID, *((Column.EVENT_NAME,) if has_kinds else ()))
        for batch in columns.batches(file, wanted, BATCH_ROWS, encoded=encoded):
            end = at + len(batch[Column.ITEM_ID])
            numbers = {name: columns.integers(batch[name], name) for name in per_session}
            if has_kinds:
                events, indices = columns.dictionary(batch[Column.EVENT_NAME], Column.EVENT_NAME)
                kinds[at:end] = np.array([EVENT_STRENGTHS.get(event, 0) for event in events], np.uint8)[
                    indices
                ]
            items[at:end] = item_names.codes(batch[Column.ITEM_ID], Column.ITEM_ID)
            times[at:end] = columns.integers(batch[Column.EVENT_TIME_MS], Column.EVENT_TIME_MS)
            runs.append(
                _runs(
                    columns.integers(batch[Column.SESSION_ID], Column.SESSION_ID),
                    shop_names.codes(batch[Column.SHOP_ID], Column.SHOP_ID),
                    columns.integers(batch[Column.POSITION], Column.POSITION),
                    numbers.get(Column.NETWORK),
                    numbers.get(Column.CLIENT),
                    at,
                )
            )
            at = end
    _check_times(times)
    vocabulary = _recode(items, item_names)
    row, length, offsets, networks, clients = _by_session(_joined(runs, shop_names), times)
    items = _gather(items, row, length)  # one column after the other: the rows as read are freed between them
    times = _gather(times, row, length)
    sessions = Sessions(
        items,
        offsets,
        times,
        networks if Column.NETWORK in per_session else None,
        clients if Column.CLIENT in per_session else None,
        _gather(kinds, row, length) if has_kinds else None,
    )
    _check_order(sessions)
    return sessions, vocabulary


def _runs(
    session: Int64,
    shop: Int32,
    position: Int64,
    networks: Int64 | None,
    clients: Int64 | None,
    at: int,
) -> _Runs:
    same = (session[1:] == session[:-1]) & (shop[1:] == shop[:-1]) & (position[1:] == position[:-1] + 1)
    first = np.flatnonzero(np.r_[True, ~same]) if len(session) else np.zeros(0, np.int64)
    length = np.diff(np.r_[first, len(session)])
    network, client = (
        np.zeros(len(first), np.int32) if of is None else of[first].astype(np.int32)
        for of in (networks, clients)
    )
    return _Runs(
        session[first], shop[first], position[first], first + at, length.astype(np.int32), network, client
    )


def _joined(parts: list[_Runs], shops: _Names) -> _Runs:
    """Return all runs, ordered by session, shop and position. Empty `parts`, so that the runs are not in memory twice."""
    columns_of = {name: [getattr(part, name) for part in parts] for name in _Runs.__dataclass_fields__}
    parts.clear()
    runs = _Runs(**{name: np.concatenate(columns_of.pop(name)) for name in list(columns_of)})
    if (runs.session[1:] > runs.session[:-1]).all():  # the export's own order
        return runs
    used = np.zeros(int(runs.shop.max()) + 1, bool)
    used[runs.shop] = True
    rank, _ = shops.sorted(used)
    order = np.lexsort((runs.position, rank[runs.shop], runs.session))
    for name in _Runs.__dataclass_fields__:
        setattr(runs, name, getattr(runs, name)[order])
    return runs


def _recode(items: Int32, names: _Names) -> list[str]:
    """Replace codes by rows of the sorted vocabulary, in place, and return the vocabulary."""
    used = np.zeros(int(items.max()) + 1, bool)
    for part in slices(len(items)):
        used[items[part]] = True
    rank, vocabulary = names.sorted(used)
    for part in slices(len(items)):
        items[part] = rank[items[part]]
    return vocabulary


def _check_times(times: Int64) -> None:
    first, last = int(times.min()), int(times.max())
    if not _YEAR_1973_MS <= first <= last <= 1000 * _YEAR_1973_MS:
        raise DataError(
            f"EVENT_TIME_MS goes from {first} to {last}: it must be in milliseconds since 1970, "
            "not in seconds or microseconds"
        )


def _by_session(runs: _Runs, times: Int64) -> tuple[Int64, Int32, Int64, Int32, Int32]:
    """Order the runs of sorted sessions by the time of each session's last event.

    Returns:
        The first row and the length of each run, the offsets of the sessions, their networks and their clients.

    Raises:
        DataError: two runs of a session overlap.
    """
    row, length, network, client = runs.row, runs.length, runs.network, runs.client
    same = (runs.session[1:] == runs.session[:-1]) & (runs.shop[1:] == runs.shop[:-1])
    overlaps = int((same & (runs.position[1:] < runs.position[:-1] + length[:-1])).sum())
    if overlaps:
        raise DataError(
            f"{overlaps} runs of interactions repeat a POSITION of their session: "
            "two exports may share the prefix, so export again under a new one"
        )
    del runs  # of the runs, only row, length, network and client stay in memory
    first = np.flatnonzero(np.r_[True, ~same])
    run_offsets = np.r_[first, len(row)]
    last = run_offsets[1:] - 1
    order = np.argsort(times[row[last] + length[last] - 1], kind="stable")
    offsets = np.zeros(len(order) + 1, np.int64)
    np.cumsum(np.add.reduceat(length, first)[order], out=offsets[1:])
    network, client = network[first][order], client[first][order]
    if len(first) < len(row):
        order = ragged_rows(run_offsets, order)[0]
    return row[order], length[order], offsets, network, client


def _gather(values: NDArray[Any], row: Int64, length: Int32) -> NDArray[Any]:
    """Return the values in the order of the runs.

    Works part by part, because the index of a value takes 8 bytes. A part reads its runs in the order of the file. A mapped file
    is then read from begin to end, and not page by page in random order.
    """
    out, done = mapped.empty(len(values), values.dtype), 0
    ends = np.cumsum(length, dtype=np.int64)
    begin = 0
    while begin < len(row):
        end = max(int(np.searchsorted(ends, done + _GATHERED_ROWS, side="right")), begin + 1)
        part = slice(begin, end)
        order = np.argsort(row[part])
        sizes = length[part][order].astype(np.int64)
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        target = np.repeat((ends[part] - length[part])[order], sizes)
        out[target + within] = values[np.repeat(row[part][order], sizes) + within]
        begin, done = end, int(ends[end - 1])
    return out


def _check_order(sessions: Sessions) -> None:
    times, begins = sessions.times_ms, sessions.offsets[1:-1]
    back = -np.count_nonzero(times[begins] < times[begins - 1])
    for part in slices(len(times) - 1):
        back += np.count_nonzero(times[1:][part] < times[:-1][part])
    if back:
        raise DataError(
            f"{back} interactions are earlier than the one before them in their session, so the snapshot cannot "
            "be cut by time: order POSITION by EVENT_TIME_MS in sql/models/training/training_interactions.sql"
        )
