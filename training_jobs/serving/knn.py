"""VMIS-kNN: the most similar sessions vote for the next item.

The index keeps a sample of each item's sessions. A query adds up its overlap with each of them, with more weight on
late clicks. It keeps the `neighbours` most similar ones, and each votes for its items.
VMIS-kNN keeps the newest sessions instead, so whoever sends last determines every answer. The sample prefers recent days, but
a few invented sessions stay a few among all sessions of their day (`sampling_order`).
Two weights are not in the publication. A vote fades with the distance from the item to the last common item, as in
STAN, and with the neighbour's age. Numpy only, because the endpoint runs this code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.sessions import (
    DAY_MS,
    Float32,
    Float64,
    Int32,
    Int64,
    Sessions,
    ragged_rows,
    slices,
)

# Similarities are compared in millionths, so that a tie is a tie on every machine and the session's number breaks it.
QUANTUM = 1e6
_MAX_NEIGHBOUR_LENGTH = 100
# The index has at most this many sessions, the newest. With five items each they have 520 MB in the archive and in the
# endpoint's memory. A serverless endpoint has at most 6 GB. A query reads at most the newest 5,000 sessions of an item, so only
# items with fewer than that among these sessions lose neighbors.
INDEX_SESSIONS = 10_000_000
# The age that marks a catalogue session (training/catalogue_sessions.py). No shopper's session is as old.
CATALOGUE_AGE_DAYS = 1e6
# The sample takes a session this many days old with 1/e of the chance of a new one.
_RECENCY_DAYS = 4.0


@dataclass(frozen=True)
class KnnSettings:
    """`recent_sessions` is VMIS-kNN's m, the sampled sessions per item. `neighbours` is its k.

    `last_items` is the number of last clicks that make the query.
    """

    recent_sessions: int = 1000
    neighbours: int = 200
    last_items: int = 9
    position_decay: float = (
        0.1  # how fast a neighbour's vote falls with the age (in clicks) of the last match
    )
    query_decay: float = (
        0.0  # 0: a click's weight grows linearly with its position; else exp(-age / query_decay)
    )
    near_decay: float = 0.0  # 0: off; else votes are weighted exp(-distance from the match / near_decay)
    backward_weight: float = (
        1.0  # a vote for an item the neighbour saw before the match, against one after it
    )
    age_decay_days: float = 0.0  # 0: off; else a neighbour's vote is weighted exp(-age / age_decay_days)
    idf_power: float = 1.0
    catalogue_weight: float = 0.0  # of the votes of catalogue sessions; 0: the index has none


@dataclass(frozen=True)
class KnnIndex:
    """Postings per item (highest session number first) and the sessions themselves, in the order of the sample.

    Catalogue sessions have the lowest numbers and the age CATALOGUE_AGE_DAYS.
    """

    posting_sessions: Int32
    posting_offsets: Int64
    session_items: Int32
    session_offsets: Int64
    session_age_days: Float32
    idf: Float32

    @property
    def sessions(self) -> int:
        """Return the number of sessions."""
        return len(self.session_offsets) - 1

    @property
    def catalogue_sessions(self) -> int:
        """Return the number of catalogue sessions. A session with a lower number is one of them."""
        return int((self.session_age_days >= CATALOGUE_AGE_DAYS).sum())

    @property
    def items(self) -> int:
        """Return the number of items."""
        return len(self.posting_offsets) - 1

    @property
    def clicked_items(self) -> NDArray[np.bool_]:
        """Return a mask of the items with a shopper's session, which comes first among their postings."""
        out = np.diff(self.posting_offsets) > 0
        first = self.posting_sessions[self.posting_offsets[:-1][out]]
        out[out] = first >= self.catalogue_sessions
        return np.asarray(out, np.bool_)


def build_index(
    sessions: Sessions, items: int, recent_sessions: int = 5000, catalogue: Sessions | None = None
) -> KnnIndex:
    """Index the newest INDEX_SESSIONS of sessions ordered by time. A session's items are kept once each, at their last place.

    Works block by block: beyond the index itself, memory does not grow with the number of clicks.

    The sessions of `catalogue` get lower numbers than all others. So they are the first that an item loses beyond
    `recent_sessions`, and a query beyond `neighbours`. They do not count in idf.
    """
    sessions = sessions.between(max(0, len(sessions) - INDEX_SESSIONS), len(sessions))
    newest_ms = int(sessions.ends_ms.max()) if len(sessions) else 0
    age_days = ((newest_ms - sessions.ends_ms) / DAY_MS).astype(np.float32)
    order = sampling_order(age_days, sessions.networks)
    session_items, session_offsets = _different_items(sessions, order, items)
    frequency = np.zeros(items, np.int64)
    for part in slices(len(session_items)):
        frequency += np.bincount(session_items[part], minlength=items)
    idf = np.log(max(len(sessions), 1) / np.maximum(frequency, 1)).astype(np.float32)
    age_days = age_days[order]
    if catalogue is not None:
        added, offsets = _different_items(catalogue, np.arange(len(catalogue)), items)
        frequency += np.bincount(added, minlength=items)
        session_items = np.concatenate([added, session_items])
        session_offsets = np.concatenate([offsets, session_offsets[1:] + offsets[-1]])
        age_days = np.concatenate([np.full(len(catalogue), CATALOGUE_AGE_DAYS, np.float32), age_days])
    posting_offsets = np.zeros(items + 1, np.int64)
    np.cumsum(np.minimum(frequency, recent_sessions), out=posting_offsets[1:])
    return KnnIndex(
        _postings(session_items, session_offsets, posting_offsets),
        posting_offsets,
        session_items,
        session_offsets,
        age_days,
        idf,
    )


def sampling_order(age_days: Float32, networks: Int32 | None) -> Int64:
    """Return the rows of the sessions by their number in the index. The highest numbers are a sample of all sessions.

    This is a weighted sample without replacement (the Gumbel-top-k trick). The last n rows are a sample of n sessions, for
    every n and for every item. A session's weight falls with its age. All sessions of one network on one day weigh as much
    as the square root of their number, so one sender cannot fill the sample. The chance depends on the row alone, and no
    sender knows its rows.
    """
    weight = age_days / -_RECENCY_DAYS
    if networks is not None:
        weight -= 0.5 * np.log(_crowd(age_days, networks))
    chance = np.random.default_rng(0).gumbel(size=len(age_days)).astype(np.float32)
    return np.argsort(weight + chance, kind="stable")


def _crowd(age_days: Float32, networks: Int32) -> Int64:
    """Return the number of sessions of each session's network on its day, and 1 where the network is unknown."""
    day = age_days.astype(np.int64)
    _, group, count = np.unique(
        networks.astype(np.int64) * (day.max(initial=0) + 1) + day, return_inverse=True, return_counts=True
    )
    return np.where(networks > 0, count[group], 1)


def _different_items(sessions: Sessions, order: Int64, items: int) -> tuple[Int32, Int64]:
    """Return the items of each session, once each in the order of their last clicks, and the offsets of the sessions."""
    kept = np.empty(len(sessions.items), np.int32)
    offsets, filled = np.zeros(len(sessions) + 1, np.int64), 0
    lengths = np.minimum(sessions.lengths, _MAX_NEIGHBOUR_LENGTH)[order]
    packed = Sessions(kept[:0], np.r_[0, np.cumsum(lengths)], np.zeros(0, np.int64))
    # From the place of a click here to its place in `sessions`, where only the last clicks of each session are read.
    shift = sessions.offsets[1:][order] - packed.offsets[1:]
    for first, last in packed.blocks():
        owner = np.repeat(np.arange(first, last), lengths[first:last])
        clicked = sessions.items[np.arange(packed.offsets[first], packed.offsets[last]) + shift[owner]]
        key = (owner - first) * items + clicked
        # The last occurrence of each item in each session, found by looking at the array from its end.
        _, from_end = np.unique(key[::-1], return_index=True)
        keep = np.sort(len(key) - 1 - from_end)
        kept[filled : filled + len(keep)] = clicked[keep]
        filled += len(keep)
        offsets[first + 1 : last + 1] = np.bincount(owner[keep] - first, minlength=last - first)
    np.cumsum(offsets, out=offsets)
    return kept[:filled], offsets


def _postings(session_items: Int32, session_offsets: Int64, posting_offsets: Int64) -> Int32:
    """Return the sessions of each item, the highest number first. Blocks of sessions are sorted by item, from the last on."""
    postings = np.empty(int(posting_offsets[-1]), np.int32)
    items = len(posting_offsets) - 1
    free = np.diff(posting_offsets)
    packed = Sessions(session_items, session_offsets, np.zeros(0, np.int64))
    for first, last in reversed(list(packed.blocks())):
        begin, end = session_offsets[first], session_offsets[last]
        owner = np.repeat(np.arange(first, last, dtype=np.int32), np.diff(session_offsets[first : last + 1]))
        last_first = session_items[begin:end][::-1]
        by_item = np.argsort(last_first, kind="stable")
        item = last_first[by_item]
        count = np.bincount(last_first, minlength=items)
        rank = np.arange(len(item)) - np.repeat(np.cumsum(count) - count, count)
        fits = rank < free[item]
        item, rank = item[fits], rank[fits]
        postings[posting_offsets[item + 1] - free[item] + rank] = owner[::-1][by_item[fits]]
        free -= np.minimum(count, free)
    return postings


def weighted_idf(index: KnnIndex, settings: KnnSettings) -> Float32:
    """Return the weight of a vote for each item."""
    return (index.idf**settings.idf_power).astype(np.float32)


def freshness(index: KnnIndex, settings: KnnSettings) -> Float64 | None:
    """Return the factor of each session's votes, by its age or as a catalogue session; None if all are 1."""
    decay, catalogue = settings.age_decay_days, index.catalogue_sessions
    if decay <= 0 and (catalogue == 0 or settings.catalogue_weight == 1.0):
        return None
    age_days = index.session_age_days.astype(np.float64)
    factor = np.exp(-age_days / decay) if decay > 0 else np.ones(len(age_days))
    factor[:catalogue] = settings.catalogue_weight
    return factor


def faded(steps: int, decay: float) -> Float64 | None:
    """Return exp(-step / decay) of 0, 1, ... `steps` - 1; None if `decay` is 0, which means off."""
    return np.exp(-np.arange(steps) / decay) if decay > 0 else None


class Ballots(NamedTuple):
    """The votes of a query's neighbors: `sizes` has the number of each one's votes, which are adjacent in the other arrays."""

    neighbours: Int64
    items: Int32
    weights: Float64
    sizes: Int64


class KnnScorer:
    """Answers queries against an index. Holds scratch memory, so one scorer serves one thread."""

    def __init__(self, index: KnnIndex, settings: KnnSettings) -> None:
        self.index = index
        self.settings = settings
        self._similarity: Float64 = np.zeros(index.sessions, np.float64)
        self._match: Int32 = np.zeros(index.sessions, np.int32)
        self._slot: Int32 = np.zeros(index.items, np.int32)
        self._idf = weighted_idf(index, settings)
        self._freshness = freshness(index, settings)

    def score(self, prefix: Int32) -> tuple[Int64, Float64]:
        """Return the items with a vote, and their scores, with a sum of 1. Both are empty where no neighbor was found."""
        ballots = self.ballots(prefix)
        if len(ballots.neighbours) == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float64)
        found, scores = self._totals(ballots.items, ballots.weights)
        total = scores.sum()
        return found.astype(np.int64), np.asarray(scores / total if total > 0 else scores, np.float64)

    def ballots(self, prefix: Int32) -> Ballots:
        """Return every vote of every neighbor, before they are added up."""
        query = prefix[-self.settings.last_items :]
        neighbours, similarity, match = self._neighbours(query)
        settings, index = self.settings, self.index
        steps_back = len(query) - 1 - match
        vote = similarity * np.maximum(1.0 - settings.position_decay * steps_back, 0.0)
        flat, offsets = ragged_rows(index.session_offsets, neighbours)
        items = index.session_items[flat]
        sizes = np.diff(offsets)
        weights = np.repeat(vote, sizes) * self._idf[items]
        if settings.near_decay > 0 or settings.backward_weight != 1.0:
            place = np.arange(len(items)) - np.repeat(offsets[:-1], sizes)
            met = items == np.repeat(query[match], sizes)
            distance = place - np.repeat(place[met], sizes)
            if settings.near_decay > 0:
                weights = weights * np.exp(-np.abs(distance) / settings.near_decay)
            weights = np.where(distance < 0, weights * settings.backward_weight, weights)
        return Ballots(neighbours, items, np.asarray(weights, np.float64), sizes)

    def _totals(self, items: Int32, weights: Float32 | Float64) -> tuple[Int32, Float64]:
        """Each item once, and the sum of its weights: np.unique without its sort. Votes run to tens of thousands."""
        place = np.arange(len(items), dtype=np.int32)
        self._slot[items] = place
        found = items[self._slot[items] == place]
        self._slot[found] = place[: len(found)]
        totals = np.bincount(self._slot[items], weights=weights, minlength=len(found))
        return found, np.asarray(totals, np.float64)

    def _neighbours(self, query: Int32) -> tuple[Int64, Float64, Int32]:
        """Return the most similar sessions, their similarities, and the last place of the query that each shares."""
        settings, index = self.settings, self.index
        touched: list[Any] = [np.zeros(0, np.int32)]
        similarity = self._similarity
        last_place = {item: place for place, item in enumerate(query.tolist())}
        for item, place in sorted(last_place.items(), key=lambda pair: pair[1]):
            begin = int(index.posting_offsets[item])
            end = min(int(index.posting_offsets[item + 1]), begin + settings.recent_sessions)
            posting = index.posting_sessions[begin:end]
            before = similarity[posting]
            touched.append(posting[before == 0.0])
            similarity[posting] = before + self.click_weight(place, len(query))
            self._match[posting] = place
        candidates = np.concatenate(touched).astype(np.int64)
        alike = similarity[candidates]
        similarity[candidates] = 0.0
        if len(candidates) > settings.neighbours:
            # Among equals the sample of the index decides. Age does not: the newest sessions would be all neighbours.
            order = np.rint(alike * QUANTUM).astype(np.int64) * (index.sessions + 1) + candidates
            best = np.argpartition(-order, settings.neighbours - 1)[: settings.neighbours]
            candidates, alike = candidates[best], alike[best]
        if self._freshness is not None:
            alike = alike * self._freshness[candidates]
        return candidates, alike, self._match[candidates]

    def click_weight(self, place: int, length: int) -> float:
        """Return what the click at `place` of a query adds to the similarity of a session that contains its item."""
        if self.settings.query_decay > 0:
            return float(np.exp(-(length - 1 - place) / self.settings.query_decay))
        return (place + 1) / length
