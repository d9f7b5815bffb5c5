"""Training snapshots of generated shops and of public clicks, as training reads them, without a warehouse.

Sessions are cut by `demo.sessions`; crawlers are excluded.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.next_item_layouts import load
from demo.generator import BOT_PREFIX, History, generate
from demo.sessions import Event, EventLog, cut, interactions
from training_jobs.serving.contract import EVENT_STRENGTHS, Column

# The strongest event of training is an order.
PURCHASE = max(EVENT_STRENGTHS, key=EVENT_STRENGTHS.__getitem__)


def write_snapshot(history: History, directory: Path) -> tuple[Path, Path]:
    """Write a generated shop's snapshot and return its two channels, `interactions/` and `items/`."""
    tables = snapshot(generate(history))
    paths = directory / "interactions", directory / "items"
    for path, table in zip(paths, tables, strict=True):
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
            Column.SHOP_ID: ["public"] * len(sessions.items),
            Column.SESSION_ID: np.repeat(np.arange(len(sessions)), lengths),
            Column.POSITION: np.arange(len(sessions.items)) - np.repeat(sessions.offsets[:-1], lengths),
            Column.ITEM_ID: sessions.items.astype(str),
            Column.EVENT_TIME_MS: sessions.times_ms,
        }
    )
    path = directory / "interactions"
    path.mkdir(parents=True)
    pq.write_table(table, path / "part-0.parquet")
    return path


def session_ends_ms(table: pa.Table) -> NDArray[np.int64]:
    """Return, for each interaction of a snapshot, when its session ended."""
    sessions, rows = np.unique(table[Column.SESSION_ID].to_numpy(), return_inverse=True)
    ends = np.zeros(len(sessions), np.int64)
    np.maximum.at(ends, rows, table[Column.EVENT_TIME_MS].to_numpy())
    return np.asarray(ends[rows], np.int64)


def snapshot(events: Iterable[Event]) -> tuple[pa.Table, pa.Table]:
    """Return the training tables (interactions, items) of the events of one shop."""
    log, shop_id = EventLog(), ""
    catalogue: dict[str, tuple[tuple[int, str], dict[str, Any]]] = {}
    for event in events:
        shop_id = event["shop_id"]
        if not event["client_id"].startswith(BOT_PREFIX):
            log.add(event)
        moment = event["client_time_ms"], event["event_id"]
        for block in event.get("items", ()):
            if block["item_id"] not in catalogue or moment >= catalogue[block["item_id"]][0]:
                catalogue[block["item_id"]] = moment, block
    owners, positions, names, kinds, times, networks, clients = (list[Any]() for _ in range(7))
    number = 0
    for of_client, client in enumerate(sorted(log.moments)):
        for session in cut(log.moments[client]):
            found = list(interactions(session))
            # Of an item's visits, the last one is its order, as the strongest event of a visit counts.
            order = {item for _, kind, item, _ in session if kind == PURCHASE}
            last = {item: position for position, (_, _, item, _) in enumerate(found)}
            for position, (time_ms, kind, item, _) in enumerate(found if len(found) > 1 else ()):
                owners.append(number)
                positions.append(position)
                names.append(item)
                times.append(time_ms)
                kinds.append(PURCHASE if item in order and last[item] == position else kind)
                networks.append(_network(client))
                clients.append(of_client)
            number += 1
    clicks = pa.table(
        {
            Column.SHOP_ID: [shop_id] * len(owners),
            Column.SESSION_ID: pa.array(owners, pa.int64()),
            Column.POSITION: pa.array(positions, pa.int32()),
            Column.ITEM_ID: names,
            Column.EVENT_TIME_MS: pa.array(times, pa.int64()),
            Column.EVENT_NAME: kinds,
            Column.NETWORK: pa.array(networks, pa.int32()),
            Column.CLIENT: pa.array(clients, pa.int32()),
        }
    )
    blocks = [catalogue[item][1] for item in sorted(catalogue)]
    items = pa.table(
        {
            Column.ITEM_ID: [block["item_id"] for block in blocks],
            Column.ITEM_NAME: [block.get("item_name") for block in blocks],
            Column.ITEM_CATEGORY: [block.get("item_category") for block in blocks],
            Column.ITEM_BRAND: [block.get("item_brand") for block in blocks],
            Column.PRICE: pa.array([block.get("price") for block in blocks], pa.float64()),
        }
    )
    return clicks, items


def _network(client_id: str) -> int:
    """Return the network of a generated client: one of ten carriers' for a tenth of the clients, else one of many small ones."""
    number = zlib.crc32(client_id.encode())
    return 1 + number // 10 % 10 if number % 10 == 0 else 11 + number // 10 % 3000
