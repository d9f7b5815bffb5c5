"""Read a snapshot from the two channels of a SageMaker job: parquet files of interactions and of items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.serving.contract import Column
from training_jobs.snapshot.columns import floats, has_column, parquet_files, read_columns, text
from training_jobs.snapshot.dataset import Catalogue, Dataset, ItemContent, content_tokens, no_content
from training_jobs.snapshot.interactions import read_interactions


def read_dataset(interactions_dir: Path, items_dir: Path | None) -> Dataset:
    """Read the two channels. The vocabulary includes items of the catalogue without interactions.

    A snapshot that was exported before the column ATTRIBUTES existed gives items without attributes.
    """
    sessions, vocabulary = read_interactions(interactions_dir)
    if items_dir is None or not any(items_dir.rglob("*.parquet")):
        return Dataset(sessions, vocabulary, no_content(len(vocabulary)))
    vocabulary, content, catalogue = _read_catalogue(items_dir, vocabulary)
    return Dataset(sessions, vocabulary, content, catalogue)


def _read_catalogue(items_dir: Path, vocabulary: list[str]) -> tuple[list[str], ItemContent, Catalogue]:
    texts = [Column.ITEM_ID, Column.ITEM_NAME, Column.ITEM_CATEGORY, Column.ITEM_BRAND]
    if all(has_column(file, Column.ATTRIBUTES) for file in parquet_files(items_dir)):
        texts.append(Column.ATTRIBUTES)
    columns = read_columns(items_dir, (*texts, Column.PRICE))
    for name in texts:
        columns[name] = text(columns[name], name)
    known = {item: row for row, item in enumerate(vocabulary)}
    listed = columns[Column.ITEM_ID].to_pylist()
    new = sorted({item for item in listed if item is not None and item not in known})
    vocabulary = vocabulary + new
    known.update({item: row for row, item in enumerate(vocabulary)})
    rows = [known[item] if item is not None else -1 for item in listed]
    prices = floats(columns[Column.PRICE], Column.PRICE)
    categories = columns[Column.ITEM_CATEGORY].to_pylist()
    content = content_tokens(
        rows,
        columns[Column.ITEM_NAME].to_pylist(),
        categories,
        columns[Column.ITEM_BRAND].to_pylist(),
        prices,
        len(vocabulary),
        attributes=_attributes(columns[Column.ATTRIBUTES]) if Column.ATTRIBUTES in texts else None,
    )
    price_of, category_of = np.full(len(vocabulary), np.nan), np.full(len(vocabulary), -1, np.int64)
    codes: dict[str, int] = {}
    for at, row in enumerate(rows):
        if row >= 0:
            price_of[row] = prices[at]
            if categories[at]:
                category_of[row] = codes.setdefault(categories[at], len(codes))
    return vocabulary, content, Catalogue(price_of, category_of, list(codes))


def _attributes(column: Any) -> list[dict[str, str]]:
    """Return the attributes of each item, whose JSON the catalogue's contract has checked."""
    read: dict[str | None, dict[str, str]] = {None: {}}
    for one in column.unique().to_pylist():
        read.setdefault(one, json.loads(one or "{}") or {})
    return [read[one] for one in column.to_pylist()]
