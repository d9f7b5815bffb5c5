"""Objects of S3 on disk: one data file and one small description each, so that a kill -9 loses nothing acknowledged.

    <root>/<bucket>/bucket.json
    <root>/<bucket>/objects/<sha256 of the key>.json     {"key", "data", "etag", "size", ...}
    <root>/<bucket>/data/<random>                        the bytes

A data file is complete before a description names it, and descriptions are replaced atomically.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A reader that found the old object a moment ago may still open its file.
_KEEP_REPLACED_S = 60


class ObjectStore:
    """The files. Knows nothing of moto; callers serialise writes of the same key."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._replaced: deque[tuple[float, Path]] = deque()

    def add_bucket(self, bucket: str, about: dict[str, Any]) -> None:
        folder = self.root / bucket
        for name in ("objects", "data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        _replace(folder / "bucket.json", about)

    def remove_bucket(self, bucket: str) -> None:
        shutil.rmtree(self.root / bucket, ignore_errors=True)

    def buckets(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted(self.root.glob("*/bucket.json")):
            yield path.parent.name, json.loads(path.read_text())

    def write_data(self, bucket: str, value: bytes) -> Path:
        path = self.root / bucket / "data" / uuid.uuid4().hex
        path.write_bytes(value)
        return path

    def describe(self, bucket: str, about: dict[str, Any]) -> None:
        """Makes this the object of its key."""
        _replace(self._description(bucket, about["key"]), about)

    def remove(self, bucket: str, key: str) -> None:
        self._description(bucket, key).unlink(missing_ok=True)

    def discard(self, data: Path) -> None:
        """Deletes a data file that no description names, once nobody can be about to read it."""
        now = time.monotonic()
        self._replaced.append((now, data))
        while self._replaced and self._replaced[0][0] < now - _KEEP_REPLACED_S:
            self._replaced.popleft()[1].unlink(missing_ok=True)

    def objects(self, bucket: str) -> Iterator[dict[str, Any]]:
        """Every object of the bucket; deletes data files that no description names."""
        data = self.root / bucket / "data"
        unnamed = {path.name for path in data.iterdir()}
        for path in (self.root / bucket / "objects").glob("*.json"):
            about: dict[str, Any] = json.loads(path.read_text())
            if about["data"] in unnamed:
                unnamed.discard(about["data"])
                yield about
        for name in unnamed:
            (data / name).unlink()

    def data_path(self, bucket: str, about: dict[str, Any]) -> Path:
        return self.root / bucket / "data" / str(about["data"])

    def _description(self, bucket: str, key: str) -> Path:
        return self.root / bucket / "objects" / (hashlib.sha256(key.encode()).hexdigest() + ".json")


def _replace(path: Path, about: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    part.write_text(json.dumps(about))
    part.replace(path)
