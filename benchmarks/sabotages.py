"""Models spoilt on purpose: the gate must refuse each.

A sabotage changes the files of an archive, or the data that a model is trained on, or the code that answers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager as Context
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shops import session_ends_ms
from training_jobs.serving.contract import ARCHIVE_FALLBACK, ARCHIVE_GOLDEN, ARCHIVE_OUT_OF_STOCK, Column
from training_jobs.serving.knn import build_index
from training_jobs.serving.model_files import load_card, load_golden, load_recommender
from training_jobs.serving.ranker import Network, Ranker
from training_jobs.serving.recommendation import Recommendation
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import DAY_MS, Sessions
from training_jobs.snapshot.dataset import Dataset, pack
from training_jobs.training import model_writer
from training_jobs.training.model_writer import save_recommender, write_checksums, write_json

Change = Callable[[Recommender], Recommender]
Recommend = Callable[..., Recommendation]
Train = Callable[[Path, Path], None]
"""Trains a sound model on the interactions in a directory, into another directory."""


@dataclass(frozen=True)
class Shop:
    """A snapshot's channels, what is in them, and the sound model trained on them."""

    interactions: Path
    items: Path | None
    data: Dataset
    model: Path
    train: Train


@dataclass(frozen=True)
class Spoilt:
    """A spoilt candidate for the gate: its archive, its interactions, and the code that answers meanwhile."""

    candidate: Path
    interactions: Path
    answering: Context[Any]


@dataclass(frozen=True)
class Sabotage:
    name: str
    story: str
    spoil: Callable[[Shop, Path], Spoilt]


def spoilt(model: Path, into: Path, change: Change, variants: Sequence[str] = ("holdout", "")) -> Path:
    """Copy an archive and change its recommenders; golden sessions and fallback agree with what they answer then."""
    shutil.copytree(model, into)
    for variant in variants:
        recommender, card = load_recommender(into / variant)
        changed = change(recommender)
        save_recommender(into / variant, changed, replace(card, items=len(changed.vocabulary)))
        write_checksums(into)
    rewrite_answers(into)
    return into


def rewrite_answers(model: Path) -> None:
    """Make the golden sessions and the fallback agree with what the model answers now."""
    write_checksums(model)
    served, _ = load_recommender(model)
    asked = [session["items"] for session in load_golden(model)]
    write_json(model / ARCHIVE_GOLDEN, model_writer.golden_sessions(served, asked))
    write_json(
        model / ARCHIVE_FALLBACK, model_writer.fallback_answers(served, range(len(served.vocabulary))[:2000])
    )
    write_checksums(model)


def shuffled_labels(good: Recommender) -> Recommender:
    """Every item has another's name, as after an export that mixed up its join."""
    order = np.random.default_rng(0).permutation(len(good.vocabulary))
    return _renamed(good, [good.vocabulary[at] for at in order])


def shifted_labels(good: Recommender) -> Recommender:
    """Every item has its neighbor's name, as after an off-by-one in the vocabulary."""
    return _renamed(good, good.vocabulary[1:] + good.vocabulary[:1])


def _renamed(good: Recommender, names: list[str]) -> Recommender:
    return Recommender(names, good.weights, good.index, good.popularity, good.settings, ranker=good.ranker)


def popularity_only(good: Recommender) -> Recommender:
    """Ignore the session."""
    silent = replace(good.weights, vectors=np.zeros_like(good.weights.vectors))
    mute = BlendSettings(0.0, good.settings.knn)
    return Recommender(good.vocabulary, silent, good.index, good.popularity, mute)


def truncated_vocabulary(sessions: Sessions, kept: int) -> Change:
    """Only the first items are known, as after a catalogue that was read by half."""

    def change(good: Recommender) -> Recommender:
        index = build_index(_only(sessions, sessions.items < kept), kept)
        weights = replace(good.weights, vectors=good.weights.vectors[:kept])
        ranker = Ranker(good.ranker.network, good.ranker.facts[:kept]) if good.ranker else None
        names, popularity = good.vocabulary[:kept], good.popularity[:kept]
        return Recommender(names, weights, index, popularity, good.settings, ranker=ranker)

    return change


def blurred(amount: float) -> Change:
    """Noise on every item vector, and no neighbors to make up for it: a model that has learnt less."""

    def change(good: Recommender) -> Recommender:
        noise = np.random.default_rng(1).normal(size=good.weights.vectors.shape)
        vectors = good.weights.vectors + amount * noise.astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        weights = replace(good.weights, vectors=vectors.astype(np.float32))
        mute = BlendSettings(0.0, good.settings.knn)
        return Recommender(good.vocabulary, weights, good.index, good.popularity, mute)

    return change


def inverted_ranker(good: Recommender) -> Recommender:
    """Invert the ranker's sign, so that the best item of the shortlist comes last."""
    names, weights, index = good.vocabulary, good.weights, good.index
    network = good.ranker.network if good.ranker else None
    if network is None or good.ranker is None:
        return blurred(0.5)(good)
    turned = Network(**{**vars(network), "out": -3.0 * network.out})
    ranker = Ranker(turned, good.ranker.facts)
    return Recommender(names, weights, index, good.popularity, good.settings, ranker=ranker)


def without_category(data: Dataset) -> Change:
    """Never show the largest category, as after a wrong filter."""
    assert data.catalogue is not None
    categories = data.catalogue.categories
    counts = np.bincount(categories[data.sessions.items][categories[data.sessions.items] >= 0])
    gone = categories == int(counts.argmax())

    def change(good: Recommender) -> Recommender:
        vectors = good.weights.vectors.copy()
        vectors[gone] = 0.0
        index = replace(good.index, idf=np.where(gone, np.float32(0.0), good.index.idf).astype(np.float32))
        popularity = np.where(gone, 0.0, good.popularity)
        weights = replace(good.weights, vectors=vectors)
        return Recommender(good.vocabulary, weights, index, popularity, good.settings, ranker=good.ranker)

    return change


def _only(sessions: Sessions, inside: np.ndarray) -> Sessions:
    owner = np.repeat(np.arange(len(sessions)), sessions.lengths)
    return pack(owner[inside], sessions.items[inside], sessions.times_ms[inside], np.flatnonzero(inside))


def _archive_change(make: Callable[[Shop], Change], variants: Sequence[str] = ("holdout", "")) -> Any:
    def spoil(shop: Shop, scratch: Path) -> Spoilt:
        candidate = spoilt(shop.model, scratch / "model", make(shop), variants)
        return Spoilt(candidate, shop.interactions, nullcontext())

    return spoil


def _not_numbers(shop: Shop, scratch: Path) -> Spoilt:
    """Set some vectors to NaN, as after a training that diverged. Loading refuses them, so there are no answers to rewrite."""
    candidate = Path(shutil.copytree(shop.model, scratch / "model"))
    vectors = np.load(candidate / "vectors.npy")
    vectors[::50] = np.nan
    np.save(candidate / "vectors.npy", vectors)
    write_checksums(candidate)
    return Spoilt(candidate, shop.interactions, nullcontext())


def _broken_codes(shop: Shop, scratch: Path) -> Spoilt:
    """Replace the int8 codes that the endpoint scans by another model's."""
    candidate = Path(shutil.copytree(shop.model, scratch / "model"))
    codes = np.load(candidate / "codes.npy")
    np.save(candidate / "codes.npy", np.roll(codes, 1, axis=0))
    rewrite_answers(candidate)
    return Spoilt(candidate, shop.interactions, nullcontext())


def _leaked(shop: Shop, scratch: Path) -> Spoilt:
    """Let the measured variant learn the held-out day, against its card."""
    candidate = Path(shutil.copytree(shop.model, scratch / "model"))
    honest = load_card(candidate / "holdout")
    shutil.rmtree(candidate / "holdout")
    shutil.copytree(shop.model, candidate / "holdout", ignore=shutil.ignore_patterns("holdout", "code"))
    write_checksums(candidate / "holdout")
    recommender, card = load_recommender(candidate / "holdout")
    save_recommender(
        candidate / "holdout", recommender, replace(card, trained_until_ms=honest.trained_until_ms)
    )
    write_checksums(candidate)
    return Spoilt(candidate, shop.interactions, nullcontext())


def _other_golden(shop: Shop, scratch: Path) -> Spoilt:
    """Replace the golden sessions by another model's, as if the files were not those that training measured."""
    candidate = Path(shutil.copytree(shop.model, scratch / "model"))
    golden = load_golden(candidate)
    for row, other in zip(golden, golden[1:] + golden[:1], strict=True):
        row["expected"] = other["expected"]
    write_json(candidate / ARCHIVE_GOLDEN, golden)
    write_checksums(candidate)
    return Spoilt(candidate, shop.interactions, nullcontext())


def _retrained(change: Callable[[pa.Table, Shop], tuple[pa.Table, pa.Table]]) -> Any:
    """Train on one table and judge on another."""

    def spoil(shop: Shop, scratch: Path) -> Spoilt:
        learnt, judged = change(pq.read_table(shop.interactions), shop)
        for name, table in (("learnt", learnt), ("judged", judged)):
            (scratch / name).mkdir(parents=True)
            pq.write_table(table, scratch / name / "part-0.parquet")
        shop.train(scratch / "learnt", scratch / "model")
        return Spoilt(scratch / "model", scratch / "judged", nullcontext())

    return spoil


def _shuffled_sessions(table: pa.Table, _: Shop) -> tuple[pa.Table, pa.Table]:
    """Training saw every click at another session's place: the join of events and sessions was wrong."""
    items = np.random.default_rng(0).permutation(table[Column.ITEM_ID].to_numpy(zero_copy_only=False))
    at = table.schema.get_field_index(Column.ITEM_ID)
    return table.set_column(at, Column.ITEM_ID, pa.array(items)), table


def _stale(table: pa.Table, _: Shop) -> tuple[pa.Table, pa.Table]:
    """Training read the export of three days ago."""
    ends = session_ends_ms(table)
    return table.filter(pa.array(ends < ends.max() - 3 * DAY_MS)), table


def _poisoned(table: pa.Table, shop: Shop) -> tuple[pa.Table, pa.Table]:
    """Somebody sent invented sessions in the last hour: the best seller, then an item that few people want."""
    extra = max(50, len(shop.data.sessions) // 100)
    return _with_invented(table, shop, -3_000_000 + 7 * np.arange(extra))


def _patiently_poisoned(table: pa.Table, shop: Shop) -> tuple[pa.Table, pa.Table]:
    """Somebody sends such sessions on every day, from one network. No day is new."""
    extra, times = max(50, len(shop.data.sessions) // 50), table[Column.EVENT_TIME_MS].to_numpy()
    return _with_invented(
        table, shop, np.linspace(times.min() - times.max(), -60_000, extra).astype(np.int64)
    )


def _with_invented(table: pa.Table, shop: Shop, begins_ms: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """Add invented sessions that begin at these times, relative to the end of the table, and come from one network."""
    names, counts = shop.data.vocabulary, np.bincount(shop.data.sessions.items)
    seller = names[int(counts.argmax())]
    quiet = np.flatnonzero((counts >= 5) & (counts <= np.quantile(counts[counts > 0], 0.4)))
    stranger = names[int(quiet[0])]
    newest = int(table[Column.EVENT_TIME_MS].to_numpy().max())
    rows = [
        (at, place, name) for at in range(len(begins_ms)) for place, name in enumerate((seller, stranger))
    ]
    first = int(table[Column.SESSION_ID].to_numpy().max()) + 1
    columns = {
        Column.SHOP_ID: [table[Column.SHOP_ID][0].as_py()] * len(rows),
        Column.SESSION_ID: [first + at for at, _, _ in rows],
        Column.POSITION: [place for _, place, _ in rows],
        Column.ITEM_ID: [name for _, _, name in rows],
        Column.EVENT_TIME_MS: [newest + int(begins_ms[at]) + place for at, place, _ in rows],
    }
    if Column.NETWORK in table.column_names:
        columns[Column.NETWORK] = [int(table[Column.NETWORK].to_numpy().max()) + 1] * len(rows)
    wanted = [name for name in table.column_names if name in columns]
    more = pa.table({name: pa.array(columns[name], table.schema.field(name).type) for name in wanted})
    both = pa.concat_tables([table.select(wanted), more])
    return both, both


def _answering(change: Callable[[Recommend], Recommend]) -> Any:
    """Keep the files sound, and spoil the code that answers."""

    def spoil(shop: Shop, scratch: Path) -> Spoilt:
        candidate = Path(shutil.copytree(shop.model, scratch / "model"))
        with _recommending(change):
            rewrite_answers(candidate)
        return Spoilt(candidate, shop.interactions, _recommending(change))

    return spoil


@contextmanager
def _recommending(change: Callable[[Recommend], Recommend]) -> Iterator[None]:
    with patch.object(Recommender, "recommend", change(Recommender.recommend)):
        yield


def _filter_forgotten(recommend: Recommend) -> Recommend:
    return lambda self, items, k, exclude=(): recommend(self, items, k)


def _current_item_shown(recommend: Recommend) -> Recommend:
    def wrong(self: Recommender, items: Sequence[str], k: int, exclude: Sequence[str] = ()) -> Recommendation:
        answer = recommend(self, items, k, exclude)
        if not items or items[-1] not in self.rows:
            return answer
        return replace(answer, items=[items[-1], *answer.items[: k - 1]])

    return wrong


def _worst_first(recommend: Recommend) -> Recommend:
    """Sort ascending, the defect of the paper's own Lambda."""

    def wrong(self: Recommender, items: Sequence[str], k: int, exclude: Sequence[str] = ()) -> Recommendation:
        answer = recommend(self, items, len(self.vocabulary), exclude)
        return replace(answer, items=answer.items[::-1][:k], scores=answer.scores[::-1][:k])

    return wrong


def _repeated(recommend: Recommend) -> Recommend:
    def wrong(self: Recommender, items: Sequence[str], k: int, exclude: Sequence[str] = ()) -> Recommendation:
        answer = recommend(self, items, k, exclude)
        return replace(answer, items=(answer.items[: (k + 1) // 2] * 2)[:k])

    return wrong


def _slow(recommend: Recommend) -> Recommend:
    def wrong(self: Recommender, items: Sequence[str], k: int, exclude: Sequence[str] = ()) -> Recommendation:
        until = time.process_time() + 0.04
        while time.process_time() < until:
            pass
        return recommend(self, items, k, exclude)

    return wrong


def _sold_out_shown(shop: Shop, scratch: Path) -> Spoilt:
    """Ignore the shop's out-of-stock list."""
    candidate = Path(shutil.copytree(shop.model, scratch / "model"))
    served, _ = load_recommender(candidate)
    write_json(candidate / ARCHIVE_OUT_OF_STOCK, served.recommend([], 30).items)
    write_checksums(candidate)

    def blind(recommend: Recommend) -> Recommend:
        whole, _ = load_recommender(shop.model)
        return lambda self, items, k, exclude=(): recommend(whole, items, k, exclude)

    with _recommending(blind):
        rewrite_answers(candidate)
    return Spoilt(candidate, shop.interactions, _recommending(blind))


def _ruined_slice(shop: Shop, scratch: Path) -> Spoilt:
    """Sessions of two and three clicks are answered by popularity, offline and online."""
    scores = Recommender.scores

    def wrong(self: Recommender, prefixes: Sequence[Any], exclude: Sequence[Any] | None = None) -> Any:
        out = scores(self, prefixes, exclude)
        for row, prefix in enumerate(prefixes):
            if 2 <= len(prefix) <= 3:
                out[row] = np.where(np.isfinite(out[row]), self.popularity, out[row])
        return out

    def short(recommend: Recommend) -> Recommend:
        def answer(
            self: Recommender, items: Sequence[str], k: int, exclude: Sequence[str] = ()
        ) -> Recommendation:
            if not 2 <= len(items) <= 3:
                return recommend(self, items, k, exclude)
            found = recommend(self, [], k, {*exclude, items[-1]})
            return replace(found, source="session")

        return answer

    @contextmanager
    def both() -> Iterator[None]:
        with patch.object(Recommender, "scores", wrong), _recommending(short):
            yield

    candidate = Path(shutil.copytree(shop.model, scratch / "model"))
    with both():
        rewrite_answers(candidate)
    return Spoilt(candidate, shop.interactions, both())


def _half(shop: Shop) -> Change:
    return truncated_vocabulary(shop.data.sessions, len(shop.data.vocabulary) // 2)


def _largest_gone(shop: Shop) -> Change:
    return without_category(shop.data)


SABOTAGES: tuple[Sabotage, ...] = (
    Sabotage("shuffled labels", "every item has another's name", _archive_change(lambda _: shuffled_labels)),
    Sabotage("wrong item mapping", "every item has its neighbor's name", _archive_change(lambda _: shifted_labels)),
    Sabotage("served labels", "only the served model is mislabeled", _archive_change(lambda _: shuffled_labels, ("",))),
    Sabotage("shuffled sessions", "training saw each click in another session", _retrained(_shuffled_sessions)),
    Sabotage("popularity only", "the session is ignored", _archive_change(lambda _: popularity_only)),
    Sabotage("truncated vocabulary", "half the items are unknown", _archive_change(_half)),
    Sabotage("stale model", "trained on the export of three days ago", _retrained(_stale)),
    Sabotage("leaked future", "the measured variant has learnt the held-out day", _leaked),
    Sabotage("ranker inverted", "the ranker's sign is wrong", _archive_change(lambda _: inverted_ranker)),
    Sabotage("category dropped", "the largest category is never shown", _archive_change(_largest_gone)),
    Sabotage("less learnt", "noisy vectors, no neighbors", _archive_change(lambda _: blurred(0.3))),
    Sabotage("not numbers", "some vectors are NaN", _not_numbers),
    Sabotage("quantisation broken", "the int8 codes are shifted by one item", _broken_codes),
    Sabotage("slice ruined", "sessions of two or three clicks get popularity", _ruined_slice),
    Sabotage("poisoned sessions", "invented sessions behind the best seller", _retrained(_poisoned)),
    Sabotage("patient poison", "one network sends such sessions every day", _retrained(_patiently_poisoned)),
    Sabotage("other golden answers", "the files are not those that training wrote", _other_golden),
    Sabotage("filtered items shown", "the request's exclude list is ignored", _answering(_filter_forgotten)),
    Sabotage("sold-out items shown", "the out-of-stock list is ignored", _sold_out_shown),
    Sabotage("current item shown", "the item being looked at comes first", _answering(_current_item_shown)),
    Sabotage("worst first", "the list is sorted ascending", _answering(_worst_first)),
    Sabotage("repeated items", "ten items, each shown twice", _answering(_repeated)),
    Sabotage("too slow", "an answer takes 40 ms of processor time", _answering(_slow)),
)  # fmt: skip
