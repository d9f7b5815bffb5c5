"""Read the shop's own embeddings of its products, of pictures or texts, which `python -m catalogue.embeddings` stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from training_jobs.serving.contract import SNAPSHOT_EMBEDDINGS
from training_jobs.serving.sessions import Float32
from training_jobs.snapshot import mapped
from training_jobs.snapshot.dataset import DataError, Dataset


def with_embeddings(data: Dataset, items_dir: Path) -> Dataset:
    """Return the snapshot with the embeddings of its items channel, if that has any. Only training reads them.

    Raises:
        DataError: the file is not what the command stores.
    """
    file = items_dir / SNAPSHOT_EMBEDDINGS
    if not file.exists():
        return data
    return replace(data, content=replace(data.content, embeddings=read_embeddings(file, data.vocabulary)))


def read_embeddings(file: Path, vocabulary: list[str]) -> Float32:
    """Return the embedding of each item of the vocabulary at length 1, [items, size]; zeros where the file has none.

    Raises:
        DataError: the file is not what the command stores.
    """
    import pyarrow as pa

    rows = {item: row for row, item in enumerate(vocabulary)}
    try:
        with pa.memory_map(str(file)) as source:
            reader = pa.ipc.open_file(source)
            size = reader.schema.field("embedding").type.list_size
            out = mapped.empty(len(vocabulary) * size, np.float32).reshape(len(vocabulary), size)
            out[:] = 0.0
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                found = np.array(
                    [rows.get(item, -1) for item in batch.column("item_id").to_pylist()], np.int64
                )
                flat = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
                given = flat.reshape(-1, size)[found >= 0]
                out[found[found >= 0]] = given / np.linalg.norm(given, axis=1, keepdims=True)
    except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file} has no embeddings that can be read ({error}): store them again with make embeddings"
        ) from error
    return out
