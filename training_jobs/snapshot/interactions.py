"""Read the interactions of a snapshot in batches into packed sessions, so that memory holds numbers and never all text.

A batch becomes an int32 item code and an int64 time per interaction, and a few numbers per run. A run is a stretch of rows
with one session and consecutive positions. The export writes a session as one run, but any order of rows gives the same
sessions. Memory is stated in docs/recommender.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.contract import Column
from training_jobs.serving.sessions import Int32, Int64, Sessions, ragged_rows
from training_jobs.snapshot import columns
from training_jobs.snapshot.dataset import DataError
from training_jobs.snapshot.memory import memory_limit, require_memory

COLUMNS = (Column.SHOP_ID, Column.SESSION_ID, Column.POSITION, Column.ITEM_ID, Column.EVENT_TIME_MS)
BATCH_ROWS = 2**20
_GATHERED_RUNS = 2**18
_YEAR_1973_MS = 10**11


@dataclass(frozen=True)
class _Runs:
    """Runs of interactions: session, shop, first position, first row and number of rows."""

    session: Int64
    shop: Int32
    position: Int64
    row: Int64
    length: Int32

    def take(self, order: Int64) -> _Runs:
        """Return the runs in this order."""
        return _Runs(
            self.session[order], self.shop[order], self.position[order], self.row[order], self.length[order]
        )


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
    items, times = np.empty(rows, np.int32), np.empty(rows, np.int64)
    shop_names, item_names, runs, at = _Names(), _Names(), list[_Runs](), 0
    for file in files:
        for batch in columns.batches(file, COLUMNS, BATCH_ROWS, encoded=(Column.SHOP_ID, Column.ITEM_ID)):
            end = at + len(batch[Column.ITEM_ID])
            items[at:end] = item_names.codes(batch[Column.ITEM_ID], Column.ITEM_ID)
            times[at:end] = columns.integers(batch[Column.EVENT_TIME_MS], Column.EVENT_TIME_MS)
            runs.append(
                _runs(
                    columns.integers(batch[Column.SESSION_ID], Column.SESSION_ID),
                    shop_names.codes(batch[Column.SHOP_ID], Column.SHOP_ID),
                    columns.integers(batch[Column.POSITION], Column.POSITION),
                    at,
                )
            )
            at = end
    _check_times(times)
    vocabulary = _recode(items, item_names)
    joined = _joined(runs, shop_names)
    joined, offsets = _by_session(joined, times)
    items = _gather(items, joined)  # one column after the other: the rows as read are freed between them
    times = _gather(times, joined)
    sessions = Sessions(items, offsets, times)
    _check_order(sessions)
    return sessions, vocabulary


def _runs(session: Int64, shop: Int32, position: Int64, at: int) -> _Runs:
    same = (session[1:] == session[:-1]) & (shop[1:] == shop[:-1]) & (position[1:] == position[:-1] + 1)
    first = np.flatnonzero(np.r_[True, ~same]) if len(session) else np.zeros(0, np.int64)
    length = np.diff(np.r_[first, len(session)])
    return _Runs(session[first], shop[first], position[first], first + at, length.astype(np.int32))


def _joined(parts: list[_Runs], shops: _Names) -> _Runs:
    """Return all runs, ordered by session, shop and position. Empty `parts`, so that the runs are not in memory twice."""
    fields = {name: [getattr(part, name) for part in parts] for name in _Runs.__dataclass_fields__}
    parts.clear()
    runs = _Runs(**{name: np.concatenate(fields.pop(name)) for name in list(fields)})
    used = np.zeros(int(runs.shop.max()) + 1, bool)
    used[runs.shop] = True
    rank, _ = shops.sorted(used)
    return runs.take(np.lexsort((runs.position, rank[runs.shop], runs.session)))


def _recode(items: Int32, names: _Names) -> list[str]:
    """Replace codes by rows of the sorted vocabulary, in place, and return the vocabulary."""
    used = np.zeros(int(items.max()) + 1, bool)
    for part in _slices(items):
        used[part] = True
    rank, vocabulary = names.sorted(used)
    for part in _slices(items):
        part[:] = rank[part]
    return vocabulary


def _slices(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield views of an array, so that an index of each is small."""
    return (array[at : at + BATCH_ROWS] for at in range(0, len(array), BATCH_ROWS))


def _check_times(times: Int64) -> None:
    first, last = int(times.min()), int(times.max())
    if not _YEAR_1973_MS <= first <= last <= 1000 * _YEAR_1973_MS:
        raise DataError(
            f"EVENT_TIME_MS goes from {first} to {last}: it must be in milliseconds since 1970, "
            "not in seconds or microseconds"
        )


def _by_session(runs: _Runs, times: Int64) -> tuple[_Runs, Int64]:
    """Order the runs of sorted sessions by the time of each session's last event.

    Returns:
        The runs, and the offsets of the sessions' rows.

    Raises:
        DataError: two runs of a session overlap.
    """
    same = (runs.session[1:] == runs.session[:-1]) & (runs.shop[1:] == runs.shop[:-1])
    overlaps = int((same & (runs.position[1:] < runs.position[:-1] + runs.length[:-1])).sum())
    if overlaps:
        raise DataError(
            f"{overlaps} runs of interactions repeat a POSITION of their session: "
            "two exports may share the prefix, so export again under a new one"
        )
    first = np.flatnonzero(np.r_[True, ~same])
    run_offsets = np.r_[first, len(runs.row)]
    last = run_offsets[1:] - 1
    ends = times[runs.row[last] + runs.length[last] - 1]
    order = np.argsort(ends, kind="stable")
    offsets = np.zeros(len(order) + 1, np.int64)
    np.cumsum(np.add.reduceat(runs.length, first)[order], out=offsets[1:])
    return runs.take(ragged_rows(run_offsets, order)[0]), offsets


def _gather(values: NDArray[Any], runs: _Runs) -> NDArray[Any]:
    """Return the values in the order of the runs. Part by part, because the index of a row takes 16 bytes."""
    out, at = np.empty_like(values), 0
    for begin in range(0, len(runs.row), _GATHERED_RUNS):
        part = slice(begin, begin + _GATHERED_RUNS)
        length = runs.length[part]
        size = int(length.sum())
        rows = np.arange(size) + np.repeat(runs.row[part] - (np.cumsum(length) - length), length)
        out[at : at + size] = values[rows]
        at += size
    return out


def _check_order(sessions: Sessions) -> None:
    times, begins = sessions.times_ms, sessions.offsets[1:-1]
    back = np.count_nonzero(times[1:] < times[:-1]) - np.count_nonzero(times[begins] < times[begins - 1])
    if back:
        raise DataError(
            f"{back} interactions are earlier than the one before them in their session, so the snapshot cannot "
            "be cut by time: order POSITION by EVENT_TIME_MS in sql/models/training/training_interactions.sql"
        )
