"""Training snapshots of generated shops and of public clicks, as the export writes them, without a warehouse.

The rules are those of sql/models/training: crawlers out, one copy per event, sessions end after 30 minutes of silence,
nothing after the first purchase, repeated touches of one item are one interaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.next_item_layouts import load
from demo.generator import BOT_PREFIX, History, generate

_STRENGTH = {"view_item": 1, "add_to_cart": 2, "purchase": 3}
_SESSION_GAP_MS = 30 * 60_000


def write_snapshot(history: History, directory: Path) -> tuple[Path, Path]:
    """Write a generated shop's snapshot and return its two channels, `interactions/` and `items/`."""
    interactions, items = snapshot(generate(history))
    paths = directory / "interactions", directory / "items"
    for path, table in zip(paths, (interactions, items), strict=True):
        path.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path / "part-0.parquet")
    return paths


def write_bootstrap(source: Path, seed: int, directory: Path) -> Path:
    """Write a bootstrap sample of a public click log's training sessions, drawn whole and with replacement."""
    bench = load(source)
    drawn = np.sort(np.random.default_rng(seed).integers(0, len(bench.train), len(bench.train)))
    sessions = bench.train.take(drawn)
    lengths = sessions.lengths
    table = pa.table(
        {
            "SHOP_ID": ["public"] * len(sessions.items),
            "SESSION_KEY": np.repeat(np.arange(len(sessions)), lengths).astype(str),
            "POSITION": np.arange(len(sessions.items)) - np.repeat(sessions.offsets[:-1], lengths),
            "ITEM_ID": sessions.items.astype(str),
            "EVENT_NAME": ["view_item"] * len(sessions.items),
            "EVENT_TIME_MS": sessions.times_ms,
        }
    )
    path = directory / "interactions"
    path.mkdir(parents=True)
    pq.write_table(table, path / "part-0.parquet")
    return path


def session_ends_ms(table: pa.Table) -> NDArray[np.int64]:
    """Return, for each interaction of a snapshot, when its session ended."""
    codes = pa.chunked_array([table["SESSION_KEY"].combine_chunks()]).dictionary_encode().combine_chunks()
    rows = codes.indices.to_numpy()
    ends = np.zeros(len(codes.dictionary), np.int64)
    np.maximum.at(ends, rows, table["EVENT_TIME_MS"].to_numpy())
    return np.asarray(ends[rows], np.int64)


def snapshot(events: Iterable[dict[str, Any]]) -> tuple[pa.Table, pa.Table]:
    """Return the training tables (interactions, items) of a shop's events."""
    distinct = {event["event_id"]: event for event in events}.values()
    people = (event for event in distinct if not event["client_id"].startswith(BOT_PREFIX))
    ordered = sorted(people, key=lambda e: (e["client_id"], e["client_time_ms"], e["event_id"]))
    shops, sessions, positions, names, times, kinds = (list[Any]() for _ in range(6))
    catalogue: dict[str, dict[str, Any]] = {}
    for client, history in groupby(ordered, key=lambda e: e["client_id"]):
        for session in _sessions(history):
            touches = list(_touches(session))
            key = f"{client}-{session[0]['client_time_ms']}"
            for position, (item, kind, time_ms) in enumerate(touches if len(touches) > 1 else ()):
                shops.append(session[0]["shop_id"])
                sessions.append(key)
                positions.append(position)
                names.append(item)
                times.append(time_ms)
                kinds.append(kind)
    for event in sorted(distinct, key=lambda e: (e["client_time_ms"], e["event_id"])):
        for block in event.get("items", ()):
            catalogue[block["item_id"]] = block
    interactions = pa.table(
        {
            "SHOP_ID": shops,
            "SESSION_KEY": sessions,
            "POSITION": pa.array(positions, pa.int32()),
            "ITEM_ID": names,
            "EVENT_NAME": kinds,
            "EVENT_TIME_MS": pa.array(times, pa.int64()),
        }
    )
    blocks = [catalogue[item] for item in sorted(catalogue)]
    items = pa.table(
        {
            "ITEM_ID": [block["item_id"] for block in blocks],
            "ITEM_NAME": [block.get("item_name") for block in blocks],
            "ITEM_CATEGORY": [block.get("item_category") for block in blocks],
            "ITEM_BRAND": [block.get("item_brand") for block in blocks],
            "PRICE": pa.array([block.get("price") for block in blocks], pa.float64()),
        }
    )
    return interactions, items


def _sessions(history: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    for event in history:
        if not found or event["client_time_ms"] - found[-1][-1]["client_time_ms"] > _SESSION_GAP_MS:
            found.append([])
        found[-1].append(event)
    return found


def _touches(session: list[dict[str, Any]]) -> Iterable[tuple[str, str, int]]:
    """Yield (item, strongest event, time in ms) of each run of touches of one item, up to the first purchase."""
    touched: list[tuple[str, str, int]] = []
    for event in session:
        name = event["event_name"]
        if name in _STRENGTH:
            touched += [(block["item_id"], name, event["client_time_ms"]) for block in event["items"]]
        if name == "purchase":
            break
    for item, run in groupby(touched, key=lambda touch: touch[0]):
        rows = list(run)
        yield item, max((name for _, name, _ in rows), key=_STRENGTH.__getitem__), rows[0][2]
