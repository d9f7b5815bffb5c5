"""Read a snapshot from the two channels of a SageMaker job: parquet files of interactions and of items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.serving.contract import Column
from training_jobs.serving.sessions import Float64, Int32, Int64
from training_jobs.snapshot.dataset import (
    Catalogue,
    DataError,
    Dataset,
    ItemContent,
    content_tokens,
    no_content,
    pack,
)

_YEAR_1973_MS = 10**11


def read_dataset(interactions_dir: Path, items_dir: Path | None) -> Dataset:
    """Read the two channels. The vocabulary includes items of the catalogue without interactions."""
    columns = _read_columns(
        interactions_dir,
        (Column.SHOP_ID, Column.SESSION_ID, Column.POSITION, Column.ITEM_ID, Column.EVENT_TIME_MS),
    )
    if len(columns[Column.ITEM_ID]) == 0:
        raise DataError(
            f"no interactions in {interactions_dir}: check TRAINING.TRAINING_INTERACTIONS and the export"
        )
    item_codes, vocabulary = _encode(columns[Column.ITEM_ID], Column.ITEM_ID)
    session_ids = _integers(columns[Column.SESSION_ID], Column.SESSION_ID)
    shop_codes, shops = _encode(columns[Column.SHOP_ID], Column.SHOP_ID)
    sessions = pack(
        session_ids * len(shops) + shop_codes,
        item_codes,
        _times_ms(columns[Column.EVENT_TIME_MS]),
        _integers(columns[Column.POSITION], Column.POSITION),
        strict=True,
    )
    if items_dir is None or not any(items_dir.rglob("*.parquet")):
        return Dataset(sessions, vocabulary, no_content(len(vocabulary)))
    vocabulary, content, catalogue = _read_catalogue(items_dir, vocabulary)
    return Dataset(sessions, vocabulary, content, catalogue)


def _read_catalogue(items_dir: Path, vocabulary: list[str]) -> tuple[list[str], ItemContent, Catalogue]:
    columns = _read_columns(
        items_dir, (Column.ITEM_ID, Column.ITEM_NAME, Column.ITEM_CATEGORY, Column.ITEM_BRAND, Column.PRICE)
    )
    for name in (Column.ITEM_ID, Column.ITEM_NAME, Column.ITEM_CATEGORY, Column.ITEM_BRAND):
        columns[name] = _text(columns[name], name)
    known = {item: row for row, item in enumerate(vocabulary)}
    listed = columns[Column.ITEM_ID].to_pylist()
    new = sorted({item for item in listed if item is not None and item not in known})
    vocabulary = vocabulary + new
    known.update({item: row for row, item in enumerate(vocabulary)})
    rows = [known[item] if item is not None else -1 for item in listed]
    prices = _floats(columns[Column.PRICE], Column.PRICE)
    categories = columns[Column.ITEM_CATEGORY].to_pylist()
    content = content_tokens(
        rows,
        columns[Column.ITEM_NAME].to_pylist(),
        categories,
        columns[Column.ITEM_BRAND].to_pylist(),
        prices,
        len(vocabulary),
    )
    price_of, category_of = np.full(len(vocabulary), np.nan), np.full(len(vocabulary), -1, np.int64)
    codes: dict[str, int] = {}
    for at, row in enumerate(rows):
        if row >= 0:
            price_of[row] = prices[at]
            if categories[at]:
                category_of[row] = codes.setdefault(categories[at], len(codes))
    return vocabulary, content, Catalogue(price_of, category_of, list(codes))


def _read_columns(directory: Path, wanted: Sequence[str]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(directory.rglob("*.parquet"))
    if not files:
        raise DataError(
            f"no parquet file under {directory}: set the channel's S3 prefix to that of the export"
        )
    chunks: dict[str, list[Any]] = {name: [] for name in wanted}
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
            by_name = {name.upper(): name for name in parquet.schema_arrow.names}
            missing = [name for name in wanted if name not in by_name]
            if missing:
                raise DataError(
                    f"{file.name} has no column {', '.join(missing)}, only {', '.join(sorted(by_name))}: "
                    "export the tables of sql/models/training as they are"
                )
            table = parquet.read(columns=[by_name[name] for name in wanted])
        except pa.ArrowException as error:
            raise DataError(f"{file} cannot be read as parquet ({error}): export again") from error
        for name in wanted:
            chunks[name].extend(table.column(by_name[name]).chunks)
    return {name: _join(pa, parts, name) for name, parts in chunks.items()}


def _join(pa: Any, parts: list[Any], name: str) -> Any:
    if not parts:
        return pa.chunked_array([], type=pa.string())
    kind = next((part.type for part in parts if not pa.types.is_null(part.type)), parts[0].type)
    return pa.chunked_array([_cast(part, kind, name) for part in parts], type=kind)


def _cast(column: Any, kind: Any, name: str) -> Any:
    import pyarrow as pa

    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise DataError(
            f"column {name} is {column.type} where {kind} is needed ({error}): "
            "correct the column types in contracts/snapshot.json"
        ) from error


def _text(column: Any, name: str) -> Any:
    import pyarrow as pa

    return _cast(column, pa.string(), name)


def _encode(column: Any, name: str) -> tuple[Int32, list[str]]:
    """Return codes and sorted names of a text column. Sorting gives the same rows for the same data in any file order."""
    # Encode before joining the chunks: the 32-bit offsets of one array of strings end at 2 GiB of text.
    chunks = _text(column, name).dictionary_encode().unify_dictionaries().chunks
    names = chunks[0].dictionary.to_pylist() if chunks else []
    if column.null_count:
        raise DataError(
            f"{name} is null in the training data: run the not_null tests (python -m sql.run_dbt test --select training)"
        )
    codes = np.concatenate(
        [np.zeros(0, np.int32), *(chunk.indices.to_numpy(zero_copy_only=False) for chunk in chunks)]
    )
    order = np.argsort(np.array(names, dtype=object), kind="stable")
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    return rank[codes], [str(names[at]) for at in order]


def _integers(column: Any, name: str) -> Int64:
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)):
        raise DataError(
            f"column {name} is {kind}, must be a whole number: correct the column types in contracts/snapshot.json"
        )
    if column.null_count:
        raise DataError(
            f"{name} is null in the training data: run the not_null tests (python -m sql.run_dbt test --select training)"
        )
    values = _cast(column, pa.int64(), name).combine_chunks().to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.int64)


def _floats(column: Any, name: str) -> Float64:
    import pyarrow as pa

    values = _cast(column, pa.float64(), name).combine_chunks().to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float64)


def _times_ms(column: Any) -> Int64:
    times = _integers(column, Column.EVENT_TIME_MS)
    if len(times) and not _YEAR_1973_MS <= int(times.min()) <= int(times.max()) <= 1000 * _YEAR_1973_MS:
        raise DataError(
            f"EVENT_TIME_MS goes from {times.min()} to {times.max()}: it must be in milliseconds since 1970, "
            "not in seconds or microseconds"
        )
    return times
