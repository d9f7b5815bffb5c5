"""Logs of shops with the columns of their items, for `benchmarks.cold_start`: REES46, e-shop clothing 2008, a generated shop.

Sessions are made as the warehouse makes them, and the columns of items are those of a snapshot.
"""

import csv
import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from demo.generator import BOT_PREFIX, History, generate
from demo.sessions import EventLog, cut, interactions
from functions.platform.catalogue_editor import CatalogueEditor
from functions.recommend.first_day import FirstDay
from imports.history import events, find_files, identify_all
from imports.rejects import Rejects
from training_jobs.serving.sessions import Float32, Float64, Int64, Sessions
from training_jobs.snapshot.dataset import Catalogue, Dataset, content_tokens, pack
from training_jobs.training.warm_start import spectral_vectors

GENERATED = "demo"
_END = date(2026, 11, 30)
_EMBEDDING_SIZE = 64
_WORDS = ("colour", "location", "model photography", "page")

Event = Mapping[str, Any]


@dataclass(frozen=True)
class ShopLog:
    """Sessions of two clicks or more, ordered by their last one, and the columns of the items by row of `vocabulary`."""

    name: str
    sessions: Sessions
    vocabulary: list[str]
    titles: list[str | None]
    categories: list[str | None]
    brands: list[str | None]
    prices: Float64
    embeddings: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def dataset(self, sessions: Sessions) -> Dataset:
        """Return a snapshot of these sessions with the whole catalogue."""
        items = len(self.vocabulary)
        codes = {name: at for at, name in enumerate(sorted({one for one in self.categories if one}))}
        category = np.array([codes.get(one or "", -1) for one in self.categories], np.int64)
        content = content_tokens(range(items), self.titles, self.categories, self.brands, self.prices, items)
        content = replace(content, embeddings=self.embeddings)
        return Dataset(sessions, self.vocabulary, content, Catalogue(self.prices, category, list(codes)))

    def first_day(self, first_seen_ms: Int64) -> FirstDay:
        """Return the lists of the first day, of a catalogue in which the items have these times."""
        editor = CatalogueEditor()
        for row, item in enumerate(self.vocabulary):
            fields: dict[str, Any] = {
                "availability": "in_stock",
                "category": self.categories[row],
                "brand": self.brands[row],
                "price": float(self.prices[row]),
            }
            editor.add_known(item, fields, True, int(first_seen_ms[row]))
        return FirstDay(editor.state(int(first_seen_ms.max())))


def with_embeddings(log: ShopLog, noise: float, seed: int) -> ShopLog:
    """Return the log with embeddings of its items and half of its sessions, drawn evenly.

    The other half is what the embeddings know: a spectral embedding of its clicks, turned at random. `noise` is the expected
    length of what is added at random to each vector of length 1. They stand in for those of pictures, which no log has.
    """
    rng = np.random.default_rng([seed, 4])
    half = rng.permutation(len(log.sessions)) < len(log.sessions) // 2
    items, width = len(log.vocabulary), _EMBEDDING_SIZE
    vectors = spectral_vectors(log.sessions.take(half), items, width, seed).numpy()
    known = vectors.any(axis=1)
    turn, _ = np.linalg.qr(rng.normal(size=(width, width)))
    noisy = vectors[known] @ turn + noise / np.sqrt(width) * rng.normal(size=(int(known.sum()), width))
    embeddings = np.zeros((items, width), np.float32)
    embeddings[known] = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    return replace(log, sessions=log.sessions.take(~half), embeddings=embeddings)


def load(name: str, generated_events: int, seed: int = 1) -> ShopLog:
    """Read a directory of events, or generate the shop `demo`."""
    if name == GENERATED:
        return of_events(name, generate(History(events=generated_events, end=_END, seed=seed)), {})
    found = find_files(Path(name))
    return of_events(
        Path(name).name, events(identify_all(found), "bench", Rejects()), _clothing_titles(found)
    )


def of_events(name: str, history: Iterable[Event], titles: Mapping[str, str]) -> ShopLog:
    """Return the log of events of the contract, without crawlers. `titles` stand in for those of events."""
    log, columns = EventLog(), dict[str, dict[str, Any]]()
    for event in history:
        if event["client_id"].startswith(BOT_PREFIX):
            continue
        log.add(dict(event))
        for item in event.get("items", ()):
            columns.setdefault(item["item_id"], {}).update(item)
    found = [
        clicks
        for moments in log.moments.values()
        for clicks in (list(interactions(session)) for session in cut(moments))
        if len(clicks) > 1
    ]
    vocabulary = sorted(columns)
    row = {item: at for at, item in enumerate(vocabulary)}
    flat = [click for clicks in found for click in clicks]
    sessions = pack(
        np.repeat(np.arange(len(found)), [len(clicks) for clicks in found]),
        np.array([row[item] for _, _, item, _ in flat], np.int32),
        np.array([time_ms for time_ms, *_ in flat], np.int64),
        np.arange(len(flat)),
    )

    def column(field: str) -> list[str | None]:
        return [columns[item].get(field) for item in vocabulary]

    return ShopLog(
        name,
        sessions,
        vocabulary,
        [titles.get(item) or columns[item].get("item_name") for item in vocabulary],
        column("item_category"),
        column("item_brand"),
        np.array([columns[item].get("price") or np.nan for item in vocabulary], np.float64),
    )


def _clothing_titles(files: Iterable[Path]) -> dict[str, str]:
    """Return a title per product of e-shop clothing 2008, whose file has color, photo and place on the page, but no name."""
    titles: dict[str, str] = {}
    for file in files:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            reader = csv.DictReader(lines, delimiter=";")
            if set(_WORDS) <= set(reader.fieldnames or ()):
                for line in reader:
                    words = (f"{word.split()[0]}{line[word]}" for word in _WORDS)
                    titles[line["page 2 (clothing model)"]] = " ".join(words)
    return titles
