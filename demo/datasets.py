"""Read events from a file or a directory; the header of a file identifies its layout.

docs/datasets.md describes the layouts. Every reader yields contract events and adds bad rows to a Rejects.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, Any, cast

from demo.rejects import Rejects
from demo.rows import OWN_COLUMNS, BadRow, Event, from_columns, from_contract, row_id, short_id, time_ms

ACCEPTED = """accepted layouts:
  a directory with train.tsv(.gz) and optionally test.tsv(.gz), columns SessionId ItemId Time (Serenade's layout)
  a .csv(.gz) with REES46's columns: event_time event_type product_id category_code brand price user_id user_session
  a .csv(.gz) of your own data: event_time event_name item_id client_id, and optional columns
  a .jsonl(.gz) with contract events, or with the same columns as the .csv
  UCI's e-shop clothing 2008 .csv(.gz)
or a directory of such files. docs/datasets.md describes each layout."""
SERENADE_PUBLISHED = {"VMIS-kNN, published": (0.6402, 0.3277)}  # HitRate@20, MRR@20: Serenade, SIGMOD 2022
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz")


class UnknownLayout(Exception):
    """The path has no readable events; the message lists the accepted layouts."""


@dataclass(frozen=True)
class Dataset:
    """Events to send, and how to test a model trained on them."""

    name: str
    read: Callable[[Rejects], Iterator[Event]]
    shop_id: str = "demo"
    cutoff_ms: int | None = None  # later events are held out; None if the data has its own test sessions
    test: list[list[str]] = field(default_factory=list)
    published: dict[str, tuple[float, float]] = field(default_factory=dict)
    user_agent_of: Callable[[str], str] | None = None
    is_bot: Callable[[str], bool] = lambda client_id: False
    expected: int | None = None
    catalogue: Callable[[], list[dict[str, Any]]] | None = None  # the items, if the shop has a feed


def open_dataset(path: Path, shop_id: str | None = None) -> Dataset:
    """Identify the layout at the path. Each data set gets its own shop, so that two never mix.

    Raises:
        UnknownLayout: no file has a known layout; the message lists the accepted ones.
    """
    if not path.exists():
        raise UnknownLayout(f"{path} does not exist. Set EVENTS= to a file or a directory; {ACCEPTED}")
    if path.is_file():
        return _of_files(path.name, [path], shop_id)
    for name in ("train.tsv.gz", "train.tsv"):
        if (path / name).is_file():
            return _of_serenade(path, path / name, shop_id or "serenade")
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith(SUFFIXES))
    if not files:
        raise UnknownLayout(f"{path} contains no event files; {ACCEPTED}")
    return _of_files(path.name, files, shop_id)


def _of_serenade(directory: Path, train: Path, shop_id: str) -> Dataset:
    test: list[list[str]] = []
    for name in ("test.tsv.gz", "test.tsv"):
        if (directory / name).is_file():
            test = test_sessions(directory / name)
            break
    published = SERENADE_PUBLISHED if _is_serenade_sample(test) else {}
    return Dataset(
        directory.name, lambda rejects: _tsv(train, shop_id, rejects), shop_id, test=test, published=published
    )


def _is_serenade_sample(test: list[list[str]]) -> bool:
    """Return True for the test file behind the published figures: 931 evaluations in 302 sessions."""
    return len(test) == 302 and sum(len(items) - 1 for items in test) == 931


def _of_files(name: str, files: list[Path], shop_id: str | None) -> Dataset:
    readers = [(file, reader_for(file)) for file in files]
    shop = shop_id or _usual_shop(*readers[0])

    def read(rejects: Rejects) -> Iterator[Event]:
        for file, reader in readers:
            yield from reader(file, shop, rejects)

    return Dataset(name, read, shop)


def _usual_shop(file: Path, reader: Callable[..., Iterator[Event]]) -> str:
    if reader is _jsonl:
        first = next(_jsonl(file, "own", Rejects()), None)
        return str(first["shop_id"]) if first else "own"
    return {_tsv: "serenade", _rees46: "rees46", _eshop_clothing: "eshop"}.get(reader, "own")


def reader_for(file: Path) -> Callable[[Path, str, Rejects], Iterator[Event]]:
    """Choose the reader for a file by its first line."""
    try:
        with open_text(file) as lines:
            first = lines.readline(65536).strip().lstrip("\ufeff")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnknownLayout(
            f"{file} cannot be decompressed: {error}. Check that it is a gzip file."
        ) from error
    if first.startswith("{"):
        return _jsonl
    columns = {column.strip().strip('"') for column in first.replace("\t", ",").replace(";", ",").split(",")}
    if "\t" in first and {"SessionId", "ItemId", "Time"} <= columns:
        return _tsv
    if {"event_time", "event_type", "product_id", "user_id"} <= columns:
        return _rees46
    if set(OWN_COLUMNS) <= columns:
        return _own_csv
    if {"session ID", "page 2 (clothing model)"} <= columns:
        return _eshop_clothing
    missing = [column for column in OWN_COLUMNS if column not in columns]
    raise UnknownLayout(
        f"{file} has a layout that is not known: its first line is {first[:120]!r}"
        f" (to be a CSV of your own data, it lacks {', '.join(missing)}); {ACCEPTED}"
    )


def open_text(file: Path) -> IO[str]:
    """Open a text file, gzipped or not. Bytes that are not UTF-8 are replaced."""
    if file.name.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return file.open(encoding="utf-8-sig", errors="replace", newline="")


def _table(file: Path, delimiter: str, rejects: Rejects) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows that have as many cells as the header; reject the others, and the end of a truncated file."""
    line = 0
    with open_text(file) as text:
        reader = csv.reader(text, delimiter=delimiter)
        header: list[str] | None = None
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                rejects.add(file.name, reader.line_num, f"not CSV: {error}", "")
                continue
            except (EOFError, zlib.error) as error:
                rejects.add(file.name, line + 1, f"the file ends early: {error}", "")
                return
            line = reader.line_num
            if header is None:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                if cells:
                    reason = f"wrong number of columns: {len(cells)} instead of {len(header)}"
                    rejects.add(file.name, line, reason, delimiter.join(cells))
            else:
                yield line, dict(zip(header, cells, strict=True))


def _tsv(file: Path, shop_id: str, rejects: Rejects) -> Iterator[Event]:
    """Read SessionId, ItemId, Time. The rows are unordered and few, so sort them here. A session is one client."""
    rows: list[tuple[int, str, str]] = []
    for line, row in _table(file, "\t", rejects):
        try:
            if not row["SessionId"].strip() or not row["ItemId"].strip():
                raise BadRow("SessionId or ItemId is empty")
            rows.append((time_ms(row["Time"]), short_id(row["SessionId"]), short_id(row["ItemId"])))
        except BadRow as bad:
            rejects.add(file.name, line, str(bad), "\t".join(row.values()))
    rows.sort(key=lambda row: row[0])
    for happened_ms, session, item in rows:
        yield {
            "schema_version": 1,
            "event_id": row_id(f"sessions/{shop_id}", session, item, happened_ms),
            "event_name": "view_item",
            "shop_id": shop_id,
            "client_id": session,
            "session_id": session,
            "client_time_ms": happened_ms,
            "items": [{"item_id": item}],
        }


def test_sessions(file: Path) -> list[list[str]]:
    """Read the sessions of a test file, each in time order, as Serenade's evaluation does."""
    rows = []
    for _, row in _table(file, "\t", Rejects()):
        rows.append((short_id(row["SessionId"]), time_ms(row["Time"]), short_id(row["ItemId"])))
    rows.sort(key=lambda row: row[:2])
    return [[row[2] for row in group] for _, group in groupby(rows, key=lambda row: row[0])]


test_sessions.__test__ = False  # type: ignore[attr-defined]  # its name begins like a test


def _convert(
    file: Path,
    rows: Iterator[tuple[int, dict[str, str]]],
    convert: Callable[[dict[str, str]], Event],
    rejects: Rejects,
) -> Iterator[Event]:
    for line, row in rows:
        try:
            yield convert(row)
        except BadRow as bad:
            rejects.add(file.name, line, str(bad), ",".join(row.values()))


def _own_csv(file: Path, shop_id: str, rejects: Rejects) -> Iterator[Event]:
    return _convert(file, _table(file, ",", rejects), lambda row: from_columns(row, "own", shop_id), rejects)


def _rees46(file: Path, shop_id: str, rejects: Rejects) -> Iterator[Event]:
    def convert(row: dict[str, str]) -> Event:
        columns = {
            "event_time": row["event_time"],
            "event_name": row["event_type"],
            "item_id": row["product_id"],
            "client_id": row["user_id"],
            "user_id": row["user_id"],
            "session_id": row.get("user_session", ""),
            "price": row.get("price", ""),
            "brand": row.get("brand", ""),
            "category": row.get("category_code", "").replace(".", "/"),
        }
        return from_columns(columns, "rees46", shop_id)

    return _convert(file, _table(file, ",", rejects), convert, rejects)


def _eshop_clothing(file: Path, shop_id: str, rejects: Rejects) -> Iterator[Event]:
    """Read the file's days and click order. It has no clock: sessions start at noon, with 30 seconds per click."""
    departments = {"1": "trousers", "2": "skirts", "3": "blouses", "4": "sale"}

    def convert(row: dict[str, str]) -> Event:
        try:
            day = f"{int(row['year']):04d}-{int(row['month']):02d}-{int(row['day']):02d}T12:00:00Z"
            offset_ms = int(row["order"]) * 30_000
        except ValueError:
            raise BadRow("year, month, day or order is no number") from None
        columns = {
            "event_time": str(time_ms(day) + offset_ms),
            "event_name": "view_item",
            "item_id": row["page 2 (clothing model)"],
            "client_id": row["session ID"],
            "price": row.get("price", ""),
            "category": departments.get(row.get("page 1 (main category)", ""), ""),
        }
        return from_columns(columns, "eshop", shop_id)

    return _convert(file, _table(file, ";", rejects), convert, rejects)


def _jsonl(file: Path, shop_id: str, rejects: Rejects) -> Iterator[Event]:
    with open_text(file) as lines:
        number = 0
        while True:
            try:
                text = lines.readline()
            except (EOFError, zlib.error) as error:
                rejects.add(file.name, number + 1, f"the file ends early: {error}", "")
                return
            if not text:
                return
            number += 1
            if not text.strip():
                continue
            try:
                yield _json_row(text, shop_id)
            except BadRow as bad:
                rejects.add(file.name, number, str(bad), text.rstrip("\n"))


def _json_row(text: str, shop_id: str) -> Event:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadRow("not a JSON object")
    if "client_time_ms" in record:
        return from_contract(cast(Mapping[str, Any], record), "jsonl", shop_id)
    flat = {key: "" if value is None else str(value) for key, value in record.items()}
    return from_columns(flat, "own", str(record.get("shop_id") or shop_id))
