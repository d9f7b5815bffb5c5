"""A small shop made by a seed: people walk along a ring of items, mostly within a category; some items are best-sellers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training_jobs.serving.sessions import DAY_MS, Sessions
from training_jobs.snapshot.dataset import ItemContent, pack

START_MS = 1_700_000_000_000
ITEMS = 80
PER_CATEGORY = 10
DAYS = 6
COLD_ITEM = "sku-cold"
Row = dict[str, Any]


def interactions(sessions: int = 600, seed: int = 0) -> list[Row]:
    """Rows as functions/export writes them, evenly spread over six days."""
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.integers(0, DAYS * DAY_MS, sessions)) + START_MS
    rows = []
    for number, start_ms in enumerate(starts):
        item = int(ITEMS * rng.random() ** 1.5)
        time_ms = int(start_ms)
        for position in range(int(rng.integers(2, 8))):
            rows.append(row(number, position, f"sku-{item:03}", time_ms))
            step = int(rng.choice([1, 1, 1, 2, 3, -1]))
            jump = rng.random() < 0.1
            item = int(rng.integers(ITEMS)) if jump else (item + step) % ITEMS
            time_ms += int(rng.integers(5_000, 60_000))
    return rows


def row(session: int, position: int, item: str, time_ms: int) -> Row:
    return {
        "SHOP_ID": "shop",
        "SESSION_ID": session,
        "POSITION": position,
        "ITEM_ID": item,
        "EVENT_NAME": "view_item",
        "EVENT_TIME_MS": time_ms,
    }


def catalogue() -> list[Row]:
    """Return every item, and one without interactions that differs from similar items only by its id."""
    rows = [_item(f"sku-{at:03}", at // PER_CATEGORY) for at in range(ITEMS)]
    return [*rows, _item(COLD_ITEM, 3)]


def _item(name: str, category: int) -> Row:
    return {
        "SHOP_ID": "shop",
        "ITEM_ID": name,
        "ITEM_NAME": f"thing kind{category}",
        "ITEM_CATEGORY": f"all/kind{category}",
        "ITEM_BRAND": f"brand{category}",
        "PRICE": 10.0 * (category + 1),
    }


def write(directory: Path, rows: Sequence[Row], name: str = "part-0.parquet") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), directory / name)
    return directory


def write_shop(directory: Path, sessions: int = 600, seed: int = 0) -> tuple[Path, Path]:
    """The two channels of a training job."""
    items = write(directory / "items", catalogue())
    return write(directory / "interactions", interactions(sessions, seed)), items


def packed(lists: Sequence[Sequence[int]], gap_ms: int = 60_000) -> Sessions:
    """Sessions of item rows, one after the other in time."""
    owner = np.concatenate([np.full(len(items), at) for at, items in enumerate(lists)])
    items = np.concatenate([np.asarray(items, np.int32) for items in lists])
    place = np.concatenate([np.arange(len(items)) for items in lists])
    times = START_MS + (owner * gap_ms + place * 1000).astype(np.int64)
    return pack(owner, items, times, place)


def walks(sessions: int = 200, items: int = ITEMS, seed: int = 0) -> Sessions:
    """Sessions on the ring, as item rows."""
    rng = np.random.default_rng(seed)
    lists = []
    for _ in range(sessions):
        steps = rng.choice([1, 1, 2, -1], int(rng.integers(2, 8)))
        lists.append((np.cumsum(steps) + int(items * rng.random() ** 1.5)) % items)
    return packed([walk.tolist() for walk in lists])


def content_of(groups: Sequence[int]) -> ItemContent:
    """Content where item i has the one token groups[i]; -1 for none."""
    told = np.array(groups)
    offsets = np.zeros(len(told) + 1, np.int64)
    np.cumsum(told >= 0, out=offsets[1:])
    names = [f"category:{at}" for at in range(int(told.max()) + 1)]
    return ItemContent(names, told[told >= 0].astype(np.int32), offsets)
