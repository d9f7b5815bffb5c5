"""A snapshot in memory: the sessions, the catalogue, test cases, and the cuts in time between learning and measuring."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.contract import ENDPOINT_ITEMS_MAX
from training_jobs.serving.sessions import (
    HOUR_MS,
    Float32,
    Float64,
    Int32,
    Int64,
    Sessions,
    UInt8,
    ragged_rows,
)

_WORD = re.compile(r"\w{3,}")

# Of the validation tail: a ranker that is fitted to fewer cases orders worse (docs/decisions/0086). A small shop has fewer,
# because the rest has to be learnt.
TAIL_CASES = 20_000
_TAIL_SHARE = 0.25


class DataError(ValueError):
    """The training data cannot be used. The message contains the reason and the next step."""


@dataclass(frozen=True)
class Cases:
    """Test cases: the prefix `items[offsets[i]:offsets[i + 1]]` must predict `targets[i]`.

    `session` is the session of each case, so that intervals resample whole sessions. `kinds` holds the kind of each target, as
    Sessions does.
    """

    items: Int32
    offsets: Int64
    targets: Int64
    session: Int64
    kinds: UInt8 | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> Int64:
        """Return the number of clicks per prefix."""
        return np.diff(self.offsets)

    def prefix(self, row: int) -> Int32:
        """Return the prefix of one case."""
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: NDArray[Any]) -> Cases:
        """Return the cases at `rows` (indices or a mask)."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        flat, offsets = ragged_rows(self.offsets, rows)
        kinds = None if self.kinds is None else self.kinds[rows]
        return Cases(self.items[flat], offsets, self.targets[rows], self.session[rows], kinds)


def pack(
    session_codes: NDArray[Any],
    items: NDArray[Any],
    times_ms: Int64,
    position: NDArray[Any],
) -> Sessions:
    """Group events by session, order them by `position`, and order sessions by their last event."""
    order = np.lexsort((position, session_codes))
    codes, items, times_ms = session_codes[order], items[order], times_ms[order]
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, np.int64)
    offsets = np.r_[starts, len(codes)].astype(np.int64)
    packed = Sessions(items.astype(np.int32), offsets, times_ms.astype(np.int64))
    return packed.take(np.argsort(packed.ends_ms, kind="stable"))


def prefix_cases(sessions: Sessions) -> Cases:
    """Return a test case per position after the first of every session, with all items before it as prefix."""
    return _cases(sessions, sessions.lengths, None, None)


def sampled_cases(sessions: Sessions, seed: int | None, limit: int | None) -> Cases:
    """Return at most `limit` of the `prefix_cases`, drawn evenly. The other cases never take memory."""
    return _cases(sessions, _bounded_lengths(sessions), seed, limit)


def _bounded_lengths(sessions: Sessions) -> Int64:
    """Return how many items of each session are in cases: a prefix is at most as long as a request to the endpoint.

    So a client that never stops neither fills the memory, whose need grows with the square of a session, nor becomes most of
    the cases.
    """
    return np.minimum(sessions.lengths, ENDPOINT_ITEMS_MAX + 1)


def _cases(sessions: Sessions, lengths: Int64, seed: int | None, limit: int | None) -> Cases:
    """Return cases of the first `lengths` items of each session."""
    first = np.zeros(len(sessions) + 1, np.int64)
    np.cumsum(np.maximum(lengths - 1, 0), out=first[1:])
    rows = sampled_rows(int(first[-1]), seed, limit)
    session = np.searchsorted(first, rows, side="right") - 1
    position = rows - first[session] + 1
    begin = sessions.offsets[session]
    offsets = np.zeros(len(session) + 1, np.int64)
    np.cumsum(position, out=offsets[1:])
    flat = np.arange(offsets[-1], dtype=np.int64) + np.repeat(begin - offsets[:-1], position)
    target = begin + position
    kinds = None if sessions.kinds is None else sessions.kinds[target]
    return Cases(sessions.items[flat], offsets, sessions.items[target].astype(np.int64), session, kinds)


def sampled_rows(rows: int, seed: int | None, limit: int | None) -> Int64:
    """Return the sorted numbers of at most `limit` of `rows` cases, drawn evenly."""
    if limit is None or rows <= limit:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


@dataclass(frozen=True)
class ItemContent:
    """The catalogue's attributes of each item as tokens. Item i has `tokens[offsets[i]:offsets[i + 1]]`.

    `by_price` has lists of items in order of price, packed as sessions are (price_lists). `embeddings` [items, size] are the
    shop's own, of pictures or texts, of length 1. An item without one has zeros, and without any the size is 0.
    """

    names: list[str]
    tokens: Int32
    offsets: Int64
    by_price: Sessions = field(default_factory=lambda: _packed_lists([]))
    embeddings: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    @property
    def size(self) -> int:
        """Return the number of different tokens."""
        return len(self.names)


@dataclass(frozen=True)
class Catalogue:
    """The price (NaN if unknown) and category (an index of `names`, -1 if unknown) of each row of the vocabulary."""

    prices: Float64
    categories: Int64
    names: list[str]


@dataclass(frozen=True)
class Dataset:
    """A snapshot as training reads it. `vocabulary[row]` is the shop's item id."""

    sessions: Sessions
    vocabulary: list[str]
    content: ItemContent
    catalogue: Catalogue | None = None


def no_content(items: int) -> ItemContent:
    """Return the content of items without a catalogue."""
    return ItemContent([], np.zeros(0, np.int32), np.zeros(items + 1, np.int64))


def content_tokens(
    rows: Sequence[int],
    names: Sequence[str | None],
    categories: Sequence[str | None],
    brands: Sequence[str | None],
    prices: Float64,
    items: int,
    price_bands: int = 10,
    attributes: Sequence[Mapping[str, str]] | None = None,
) -> ItemContent:
    """Return the tokens of each item: every level of its category, its brand, a price band, words of its name, its attributes.

    A token of only one item is dropped, because it carries no information about other items.
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
        found.update("word:" + word for word in _WORD.findall((names[at] or "").lower()))
        if attributes:
            found.update(
                f"attribute:{name}={value}".strip().lower()
                for name, value in attributes[at].items()
                if value.strip()
            )
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
    return ItemContent(token_names, flat, offsets, price_lists(rows, categories, brands, prices))


def price_lists(
    rows: Sequence[int], categories: Sequence[str | None], brands: Sequence[str | None], prices: Float64
) -> Sessions:
    """Return lists of items in order of price: those of one category, and those of one brand in it.

    Items without a category are in a list of their brand. So neighbors in a list are products that stand in for each other.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for at, row in enumerate(rows):
        if row < 0:
            continue
        category, brand = (str(text or "").strip().lower() for text in (categories[at], brands[at]))
        # In a fixed order, because the name of a job's checkpoints is a hash of the lists.
        for key in dict.fromkeys(((category, ""), (category, brand))):
            if key != ("", ""):
                groups.setdefault(key, []).append(at)
    known = np.where(prices > 0, prices, np.inf)
    return _packed_lists(
        [[rows[at] for at in sorted(of_key, key=known.__getitem__)] for of_key in groups.values()]
    )


def _packed_lists(lists: Sequence[Sequence[int]]) -> Sessions:
    flat = np.array([row for one in lists for row in one], np.int32)
    offsets = np.cumsum([0, *(len(one) for one in lists)], dtype=np.int64)
    return Sessions(flat, offsets, np.zeros(len(flat), np.int64))


@dataclass(frozen=True)
class Split:
    """Times that cut a snapshot: learn before `valid_start_ms`, choose settings until `holdout_start_ms`, then measure.

    `lengthened` is True if the validation tail is longer than the held-out time for the sake of its cases.
    """

    valid_start_ms: int
    holdout_start_ms: int
    lengthened: bool = False


def choose_split(sessions: Sessions, holdout_hours: float, minimum_share: float = 0.02) -> Split:
    """Hold out the last `holdout_hours`, and cut a validation tail of the same length before them.

    With fewer than TAIL_CASES cases the tail is longer, if a third of the sessions before the held-out time is left to learn.
    If the time has fewer than `minimum_share` of all sessions, the cut moves back until it has. If less than a third of
    the sessions remains to learn from, the last fifth is held out instead.
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
        raise DataError("nearly all sessions are on the last day: export more days before training")
    valid_ms = min(holdout_ms - (last_ms - holdout_ms), int(earlier[-wanted]))
    if int((ends < valid_ms).sum()) < len(earlier) // 2:
        valid_ms = int(earlier[-max(1, len(earlier) // 10)])
    longer_ms = min(valid_ms, _tail_of_cases(sessions, holdout_ms))
    if int((ends < longer_ms).sum()) >= max(1, len(earlier) // 3):
        return Split(longer_ms, holdout_ms, longer_ms < valid_ms)
    return Split(valid_ms, holdout_ms)


def _tail_of_cases(sessions: Sessions, holdout_ms: int) -> int:
    """Return the start of the shortest validation tail with TAIL_CASES cases, or of the longest one allowed."""
    inside = sessions.ends_ms < holdout_ms
    starts = sessions.starts_ms[inside]
    newest = np.argsort(-starts, kind="stable")
    cases = _bounded_lengths(sessions)[inside] - 1
    return int(starts[newest[tail_sessions(cases[newest]) - 1]])


def tail_sessions(cases: Int64) -> int:
    """Return how many sessions a validation tail with TAIL_CASES cases has, at most a quarter of all and at least one.

    `cases` has the number of each session, the newest first.
    """
    longest = max(1, int(_TAIL_SHARE * len(cases)))
    return min(int(np.searchsorted(np.cumsum(cases), TAIL_CASES)) + 1, longest)


def before(sessions: Sessions, cut_ms: int) -> Sessions:
    """Return the sessions that ended before the cut, so that none of their events is after it. They share the memory."""
    return sessions.between(0, sessions.ended_before(cut_ms))


def within(sessions: Sessions, begin_ms: int, end_ms: int | None = None) -> Sessions:
    """Return the sessions that began at or after `begin_ms` and ended before `end_ms`, if that is given."""
    last = len(sessions) if end_ms is None else sessions.ended_before(end_ms)
    first = min(sessions.ended_before(begin_ms), last)
    recent = sessions.between(first, last)
    return recent.take(recent.starts_ms >= begin_ms)
