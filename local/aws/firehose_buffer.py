"""Buffers of Firehose on disk: every acknowledged record survives kill -9.

A buffer file is a sequence of frames (length, bytes), one per request. A frame that a crash cut off was never acknowledged,
so readers drop it. The name of the file contains the arrival time of its first record: <milliseconds>-<random>.buffer
"""

from __future__ import annotations

import gzip
import io
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_LENGTH = struct.Struct(">Q")


class Buffer:
    """One open buffer file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.began = time.time()
        self.size_bytes = 0
        self.path = folder / f"{int(self.began * 1000)}-{uuid.uuid4().hex[:8]}.buffer"
        self._file = self.path.open("ab", buffering=0)

    def append(self, data: bytes) -> None:
        """Append one frame; the operating system has the bytes when this returns."""
        frame = memoryview(_LENGTH.pack(len(data)) + data)
        while frame:
            frame = frame[self._file.write(frame) or 0 :]
        self.size_bytes += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def began(path: Path) -> float:
    """Return the arrival time of the first record, in seconds since the epoch."""
    return int(path.name.partition("-")[0]) / 1000


def frames(path: Path) -> Iterator[bytes]:
    """Yield the complete frames in order."""
    with path.open("rb") as file:
        while len(header := file.read(_LENGTH.size)) == _LENGTH.size:
            (length,) = _LENGTH.unpack(header)
            data = file.read(length)
            if len(data) < length:
                return
            yield data


def content(path: Path, compress: bool) -> bytes:
    """Return the content of the S3 object for this buffer."""
    if not compress:
        return b"".join(frames(path))
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as archive:
        for data in frames(path):
            archive.write(data)
    return out.getvalue()
