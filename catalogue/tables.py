"""The bytes of a feed: compression, encoding, and delimited tables row by row."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, TextIO, cast

from catalogue.rows import BadRow, FeedUnreadable, Reject, Row
from functions.platform.contract import CATALOGUE_CELL_MAX_CHARACTERS

GZIP = b"\x1f\x8b"
# Longest first: the mark of UTF-32 begins with that of UTF-16.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SNIFFED_BYTES = 4096


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, also a gzipped one.

    Raises:
        FeedUnreadable: the file does not exist, or its compression is damaged.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FeedUnreadable(f"{path} is a damaged gzip file ({error}): export the feed again") from error
    except OSError as error:
        raise FeedUnreadable(f"{path} cannot be read ({error.strerror or error}): check the path") from error


@contextmanager
def open_text(path: Path, encoding: str | None) -> Iterator[TextIO]:
    """Open a file as text: UTF-8, UTF-16 with its byte order mark, or the given encoding.

    Raises:
        FeedUnreadable: the bytes are not in this encoding, or there is none of this name.
    """
    with open_bytes(path) as file:
        start = file.read(SNIFFED_BYTES)
        file.seek(0)
        marked = next((name for mark, name in BYTE_ORDER_MARKS if start.startswith(mark)), None)
        name = encoding or marked or "utf-8"
        try:
            # newline="": the csv module keeps line breaks within quotes.
            text = io.TextIOWrapper(file, encoding=name, newline="")
        except LookupError as error:
            raise FeedUnreadable(
                f"--encoding {name}: {error}. Use a name such as cp1252 or iso8859-2"
            ) from error
        try:
            yield text
        except UnicodeError as error:
            raise FeedUnreadable(
                f"{path} is not {name} ({error}): export it as UTF-8, or pass --encoding, such as --encoding cp1252"
            ) from error


def first_row(path: Path, encoding: str | None) -> list[str]:
    """Return the header of a table."""
    with open_text(path, encoding) as file:
        line = file.readline(CATALOGUE_CELL_MAX_CHARACTERS)
    return next(csv.reader([line], delimiter=_delimiter(line)), [])


def rows(path: Path, encoding: str | None) -> Iterator[Row | Reject]:
    """Yield the rows of a table with a header. A row with more cells than the header is rejected.

    Raises:
        FeedUnreadable: the text cannot be split into rows.
    """
    csv.field_size_limit(CATALOGUE_CELL_MAX_CHARACTERS)
    with open_text(path, encoding) as file:
        header_line = file.readline(CATALOGUE_CELL_MAX_CHARACTERS)
        delimiter = _delimiter(header_line)
        header = next(csv.reader([header_line], delimiter=delimiter), [])
        repeated = {name for name in header if name and header.count(name) > 1}
        if repeated:
            raise FeedUnreadable(f"{path} has the column {min(repeated)!r} twice: export the feed again")
        # strict: without it, a quote that is never closed takes the rest of the feed into one cell.
        quoted = delimiter == "," or _has_sound_quotes(path, encoding)
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        reader = csv.reader(file, delimiter=delimiter, strict=True, quoting=quoting)
        line = 1
        try:
            for cells in reader:
                first_line, line = line + 1, 1 + reader.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if not quoted:
                    cells = [_unquoted(cell) for cell in cells]
                row = Row(first_line, dict(zip(header, cells, strict=False)))
                if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                    detail = f"{len(cells)} cells for {len(header)} columns: quote cells that contain the delimiter"
                    yield row.reject(BadRow("columns_differ", detail))
                else:
                    yield row
        except csv.Error as error:
            raise FeedUnreadable(
                f"{path}, line {line + 1}: {error}. Repair the row or export the feed again"
            ) from error


def _has_sound_quotes(path: Path, encoding: str | None) -> bool:
    """Return False if quotes are part of the texts, as in `"Best" mug`: Merchant Center's text feeds need no quoting."""
    with open_text(path, encoding) as file:
        try:
            for _ in csv.reader(file, delimiter="\t", strict=True):
                pass
        except csv.Error:
            return False
    return True


def _unquoted(cell: str) -> str:
    """Return the content of a cell that is quoted as a whole."""
    if len(cell) > 1 and cell.startswith('"') and cell.endswith('"'):
        return cell[1:-1].replace('""', '"')
    return cell


def _delimiter(header: str) -> str:
    return "\t" if "\t" in header else ","
