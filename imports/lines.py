"""The lines of a text file: gzipped or not, in any of its encodings, as blocks of UTF-8."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from imports.refused import FileRefused

BLOCK_BYTES = 8 << 20
# The first lines identify the layout. A line of Google Analytics has some kilobytes.
HEAD_BYTES = 1 << 20
LINE_MAX_BYTES = 64 << 20
# So many lines with bytes above 127, of which none is UTF-8, show that the file has another encoding.
INVALID_ENOUGH = 1000
GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Block:
    """Whole lines, each with its line break. `invalid` has the indexes of lines that are not UTF-8."""

    first_line: int
    lines: pa.StringArray
    invalid: list[int]


class NotUtf8(Exception):
    """A file has bytes above 127, and nowhere valid UTF-8."""


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file; one that begins as gzip does is decompressed, whatever its name."""
    with file.open("rb") as raw:
        compressed = raw.read(2) == GZIP_MAGIC
    return gzip.open(file, "rb") if compressed else file.open("rb")  # type: ignore[return-value]


def read_head(file: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        FileRefused: the file cannot be decompressed.
    """
    with open_bytes(file) as stream:
        head, problem = _read(stream, HEAD_BYTES)
    if problem and not head:
        raise FileRefused(f"{file} cannot be decompressed: {problem}. Check that it is a gzip file.")
    return head


def _read(stream: IO[bytes], size: int) -> tuple[bytes, str]:
    """Read some bytes, and why there are no more. `read` would lose the bytes before the end of a cut file."""
    parts: list[bytes] = []
    while size > 0:
        try:
            part = stream.read1(size)  # type: ignore[attr-defined]  # both kinds of file have it
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return b"".join(parts), str(error)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts), ""


def guess_encoding(head: bytes) -> tuple[str, int]:
    """Return the encoding by the byte order mark or by zero bytes, and the length of the mark."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    sample = head[:4096]
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = sample[start::2].count(0)
        if zeros > len(sample) // 4 and not sample[1 - start :: 2].count(0):
            return encoding, 0
    return "utf-8", 0


class Lines:
    """One reading of a file. `ends_early` has the reason if the compressed data is incomplete."""

    def __init__(self, file: Path, encoding: str | None = None) -> None:
        self.file = file
        guessed, self._mark_bytes = guess_encoding(read_head(file))
        self.encoding = encoding or guessed
        self.count = 0
        self.bytes = 0
        self.ends_early = ""

    def blocks(self) -> Iterator[Block]:
        """Yield the file's lines.

        Raises:
            NotUtf8: no line with a byte above 127 is valid UTF-8. Read the file again as Windows-1252.
            FileRefused: a line is too long.
        """
        valid = invalid = 0
        for block in self._texts():
            offsets = _line_offsets(block)
            count = len(offsets) - 1
            broken: list[int] = []
            if not block.isascii():
                try:
                    block.decode()
                    valid += 1
                except UnicodeDecodeError:
                    block, offsets, broken, good = _mark_broken(block, offsets)
                    invalid, valid = invalid + len(broken), valid + good
            if invalid > INVALID_ENOUGH and not valid:
                break
            lines = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(block))
            yield Block(self.count + 1, lines, broken)
            self.count += count
        if invalid and not valid:
            raise NotUtf8(str(self.file))

    def _texts(self) -> Iterator[bytes]:
        """Yield UTF-8 that ends with a line break, except at the end of the file."""
        decoder = None if self.encoding == "utf-8" else codecs.getincrementaldecoder(self.encoding)("replace")
        rest = b""
        line_break: bytes | None = None
        for part in self._parts():
            text = decoder.decode(part).encode("utf-8", "replace") if decoder else part
            if line_break is None:
                line_break = b"\r" if b"\r" in text and b"\n" not in text else b"\n"
            if line_break == b"\r":
                text = text.replace(b"\r", b"\n")
            text = rest + text
            end = text.rfind(b"\n") + 1
            text, rest = text[:end], text[end:]
            if len(rest) > LINE_MAX_BYTES:
                raise FileRefused(
                    f"{self.file} line {self.count + 1} is longer than {LINE_MAX_BYTES >> 20} MB. "
                    "Check that the file is text with line breaks."
                )
            if text:
                yield text
        if decoder:
            rest += decoder.decode(b"", True).encode("utf-8", "replace")
        if rest:
            yield rest

    def _parts(self) -> Iterator[bytes]:
        with open_bytes(self.file) as stream:
            stream.read(self._mark_bytes)
            while True:
                part, self.ends_early = _read(stream, BLOCK_BYTES)
                if part:
                    self.bytes += len(part)
                    yield part
                if self.ends_early or not part:
                    return


def _line_offsets(block: bytes) -> Any:
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10).astype(np.int32) + 1
    last = [] if len(ends) and ends[-1] == len(block) else [len(block)]
    return np.concatenate([np.zeros(1, np.int32), ends, np.array(last, np.int32)])


def _mark_broken(block: bytes, offsets: Any) -> tuple[bytes, Any, list[int], int]:
    """Replace the bytes that are not UTF-8; return the new block, the broken lines, and the number of valid ones."""
    lines = [block[start:end] for start, end in pairwise(offsets)]
    broken, good = [], 0
    for index, line in enumerate(lines):
        if line.isascii():
            continue
        try:
            line.decode()
            good += 1
        except UnicodeDecodeError:
            broken.append(index)
            lines[index] = line.decode("utf-8", "replace").encode()
    block = b"".join(lines)
    ends = np.cumsum([len(line) for line in lines], dtype=np.int32)
    return block, np.concatenate([np.zeros(1, np.int32), ends]), broken, good
