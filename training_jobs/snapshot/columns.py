"""Columns of parquet files as Arrow arrays of the type that a reader needs, or an error with the next step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.serving.sessions import Float64, Int64
from training_jobs.snapshot.dataset import DataError


def parquet_files(directory: Path) -> list[Path]:
    """Return the parquet files below a directory, sorted."""
    files = sorted(directory.rglob("*.parquet"))
    if not files:
        raise DataError(
            f"no parquet file under {directory}: set the channel's S3 prefix to that of the export"
        )
    return files


def row_count(files: Sequence[Path]) -> int:
    """Return the number of rows, from the footers of the files."""
    return sum(_open(file).metadata.num_rows for file in files)


def has_column(file: Path, name: str) -> bool:
    """Return True if the file has the column, from its footer."""
    return name in {column.upper() for column in _open(file).schema_arrow.names}


def batches(
    file: Path, wanted: Sequence[str], rows: int, encoded: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the wanted columns in batches of at most `rows`.

    Columns in `encoded` arrive as dictionaries where the file has text, so that no row holds its own text.
    """
    import pyarrow as pa

    schema = _open(file).schema_arrow
    by_name = {name.upper(): name for name in schema.names}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise DataError(
            f"{file.name} has no column {', '.join(missing)}, only {', '.join(sorted(by_name))}: "
            "export the tables of sql/models/training as they are"
        )
    flat = [by_name[name] for name in encoded if not pa.types.is_nested(schema.field(by_name[name]).type)]
    parquet = _open(file, flat)
    try:
        for batch in parquet.iter_batches(rows, columns=[by_name[name] for name in wanted]):
            yield {name: batch.column(by_name[name]) for name in wanted}
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def read_columns(directory: Path, wanted: Sequence[str]) -> dict[str, Any]:
    """Return whole columns of all files below a directory."""
    chunks: dict[str, list[Any]] = {name: [] for name in wanted}
    for file in parquet_files(directory):
        for batch in batches(file, wanted, 2**16):
            for name in wanted:
                chunks[name].append(batch[name])
    return {name: _join(parts, name) for name, parts in chunks.items()}


def _open(file: Path, encoded: Sequence[str] = ()) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, read_dictionary=list(encoded))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} cannot be read as parquet ({error}): export again")


def _join(parts: list[Any], name: str) -> Any:
    import pyarrow as pa

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


def text(column: Any, name: str) -> Any:
    """Return a column as text."""
    import pyarrow as pa

    return _cast(column, pa.string(), name)


def dictionary(column: Any, name: str) -> tuple[list[str], Int64]:
    """Return the different texts of a column of one batch, and the index of a text per row."""
    import pyarrow as pa

    _refuse_nulls(column, name)
    if not pa.types.is_dictionary(column.type):
        column = text(column, name).dictionary_encode()
    return text(column.dictionary, name).to_pylist(), column.indices.to_numpy(zero_copy_only=False)


def integers(column: Any, name: str) -> Int64:
    """Return a column of whole numbers, which may be decimals without a fraction."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)):
        raise DataError(
            f"column {name} is {kind}, must be a whole number: correct the column types in contracts/snapshot.json"
        )
    _refuse_nulls(column, name)
    return np.asarray(_cast(column, pa.int64(), name).to_numpy(zero_copy_only=False), dtype=np.int64)


def floats(column: Any, name: str) -> Float64:
    """Return a column of numbers, NaN where it is null."""
    import pyarrow as pa

    values = _cast(column, pa.float64(), name).to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float64)


def _refuse_nulls(column: Any, name: str) -> None:
    if column.null_count:
        raise DataError(
            f"{name} is null in the training data: run the not_null tests (python -m sql.run_dbt test --select training)"
        )
