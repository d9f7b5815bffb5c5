"""Objects of S3 on disk: one data file and one small description per object. kill -9 loses no acknowledged object.

    <root>/<bucket>/bucket.json
    <root>/<bucket>/objects/<sha256 of the key>.json     {"key", "data", "etag", "size", ...}
    <root>/<bucket>/data/<random>                        the bytes

A data file is complete before a description refers to it, and descriptions are replaced atomically.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A reader that just found the old object may still open its file.
_KEEP_REPLACED_S = 2


class ObjectStore:
    """The files of all buckets, independent of moto. Callers must serialize writes of the same key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add_bucket(self, bucket: str, description: dict[str, Any]) -> None:
        """Create the folders of a bucket."""
        folder = self.root / bucket
        for name in ("objects", "data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        _replace(folder / "bucket.json", description)

    def remove_bucket(self, bucket: str) -> None:
        """Delete a bucket with all its files."""
        shutil.rmtree(self.root / bucket, ignore_errors=True)

    def buckets(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the name and the description of every bucket."""
        for path in sorted(self.root.glob("*/bucket.json")):
            yield path.parent.name, json.loads(path.read_text())

    def write_data(self, bucket: str, value: bytes) -> Path:
        """Write a new data file; return its path."""
        path = self.root / bucket / "data" / uuid.uuid4().hex
        path.write_bytes(value)
        return path

    def describe(self, bucket: str, description: dict[str, Any]) -> None:
        """Make this the current object of its key."""
        _replace(self._description_path(bucket, description["key"]), description)

    def remove(self, bucket: str, key: str) -> None:
        """Delete the description of an object; a missing one is not an error."""
        self._description_path(bucket, key).unlink(missing_ok=True)

    def discard(self, data: Path) -> None:
        """Delete a data file without a description, after a delay for readers that are about to open it."""
        timer = threading.Timer(_KEEP_REPLACED_S, data.unlink, kwargs={"missing_ok": True})
        timer.daemon = True
        timer.start()

    def objects(self, bucket: str) -> Iterator[dict[str, Any]]:
        """Yield the description of every object; delete data files without a description."""
        data = self.root / bucket / "data"
        unreferenced = {path.name for path in data.iterdir()}
        for path in (self.root / bucket / "objects").glob("*.json"):
            description: dict[str, Any] = json.loads(path.read_text())
            if description["data"] in unreferenced:
                unreferenced.discard(description["data"])
                yield description
        for name in unreferenced:
            (data / name).unlink()

    def data_path(self, bucket: str, description: dict[str, Any]) -> Path:
        """Return the path of the data file of an object."""
        return self.root / bucket / "data" / str(description["data"])

    def _description_path(self, bucket: str, key: str) -> Path:
        return self.root / bucket / "objects" / (hashlib.sha256(key.encode()).hexdigest() + ".json")


def _replace(path: Path, description: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    part.write_text(json.dumps(description))
    part.replace(path)
