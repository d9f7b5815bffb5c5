"""The layout of a file, identified by its header, its keys or its schema: which of its columns is which of ours."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from imports.lines import guess_encoding, read_head
from imports.refused import ACCEPTED, FileRefused

REQUIRED_COLUMNS = ("event_time", "event_name", "item_id", "client_id")
OPTIONAL_COLUMNS = (
    "session_id",
    "event_id",
    "price",
    "quantity",
    "currency",
    "category",
    "brand",
    "item_name",
    "user_id",
    "transaction_id",
)
OWN_COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
DELIMITERS = (",", ";", "\t", "|")
GOOGLE_COLUMNS = frozenset({"event_timestamp", "event_name", "user_pseudo_id"})
PARQUET_MAGIC = b"PAR1"
# Formats that somebody may try, each with the way out.
OTHER_FORMATS = {
    b"Obj\x01": "an Avro file: export it again as parquet or as JSON lines",
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"ORC": "an ORC file: export it again as parquet",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it, or compress it by gzip",
    b"BZh": "compressed by bzip2: unpack it, or compress it by gzip",
}


@dataclass(frozen=True)
class Layout:
    """Known columns of a CSV or parquet file: `columns` has SQL for each of ours, `needs` what identifies it."""

    name: str
    needs: frozenset[str]
    columns: Mapping[str, str]
    usual_shop: str = "own"


def _own(*names: str) -> dict[str, str]:
    return {name: f'"{name}"' for name in names}


# The names of columns are in lower case. SQL and names are ours: nothing of a file becomes part of a statement.
LAYOUTS = (
    Layout("own", frozenset(REQUIRED_COLUMNS), _own(*OWN_COLUMNS)),
    Layout(
        "rees46",
        frozenset({"event_time", "event_type", "product_id", "user_id"}),
        {
            "event_time": '"event_time"',
            "event_name": '"event_type"',
            "item_id": '"product_id"',
            "client_id": '"user_id"',
            "user_id": '"user_id"',
            "session_id": '"user_session"',
            "price": '"price"',
            "brand": '"brand"',
            "category": """replace("category_code", '.', '/')""",
        },
        "rees46",
    ),
    # A session is one client.
    Layout(
        "serenade",
        frozenset({"sessionid", "itemid", "time"}),
        {
            "event_time": '"time"',
            "event_name": "'view_item'",
            "item_id": '"itemid"',
            "client_id": '"sessionid"',
        },
        "serenade",
    ),
    # Days and an order of clicks, but no clock: sessions start at noon, with 30 seconds per click.
    Layout(
        "eshop",
        frozenset({"session id", "page 2 (clothing model)"}),
        {
            "event_time": """coalesce(
                (epoch_ms(try_strptime("year" || '-' || "month" || '-' || "day", '%Y-%m-%d')) + 43200000
                    + try_cast("order" as bigint) * 30000)::varchar,
                'day ' || "year" || '-' || "month" || '-' || "day" || ', click ' || "order"
            )""",
            "event_name": "'view_item'",
            "item_id": '"page 2 (clothing model)"',
            "client_id": '"session id"',
            "price": '"price"',
            "category": """case "page 1 (main category)"
                when '1' then 'trousers' when '2' then 'skirts' when '3' then 'blouses' when '4' then 'sale' end""",
        },
        "eshop",
    ),
    # UCI's Online Retail and Online Retail II: one line per product of an order.
    Layout(
        "online-retail",
        frozenset({"stockcode", "invoicedate", "quantity"}),
        {
            "event_time": '"invoicedate"',
            "event_name": "'purchase'",
            "item_id": '"stockcode"',
            "client_id": 'coalesce("customerid", "customer id")',
            "transaction_id": 'coalesce("invoiceno", "invoice")',
            "price": 'coalesce("unitprice", "price")',
            "quantity": '"quantity"',
            "item_name": '"description"',
        },
        "own",
    ),
)


@dataclass(frozen=True)
class Opened:
    """An identified file. Without a layout it has events of the contract or of Google Analytics."""

    file: Path
    kind: str  # csv, json, google-json, parquet, google-parquet
    layout: Layout | None = None
    names: list[str] = field(default_factory=list)
    delimiter: str = ""
    header_lines: int = 0
    first_shop: str = ""


def identify(file: Path) -> Opened:
    """Identify a file by its beginning.

    Raises:
        FileRefused: the layout is not known; the message lists the known ones.
    """
    head = read_head(file)
    for magic, advice in OTHER_FORMATS.items():
        if head.startswith(magic):
            raise FileRefused(f"{file} is {advice}. Then run the command again; {ACCEPTED}")
    if head.startswith(PARQUET_MAGIC):
        return _of_parquet(file)
    encoding, mark_bytes = guess_encoding(head)
    if not head[mark_bytes:].strip():
        raise FileRefused(f"{file} is empty. Export it again, or leave it out; {ACCEPTED}")
    text = head[mark_bytes:].decode(encoding, "replace").lstrip("\ufeff")
    first = text.lstrip()[:1]
    if first == "{":
        return _of_json(file, text)
    if first == "[":
        raise FileRefused(
            f"{file} is one JSON array. Write one object per line (jq -c '.[]' {file.name}), and run the command again."
        )
    return _of_csv(file, text)


def _of_parquet(file: Path) -> Opened:
    try:
        names = [str(name) for name in pyarrow.parquet.read_schema(file).names]
    except (pa.ArrowException, OSError) as error:
        raise FileRefused(
            f"{file} is not a readable parquet file: {str(error)[:200]}. Copy it here again."
        ) from None
    if set(names) >= GOOGLE_COLUMNS:
        return Opened(file, "google-parquet", names=names)
    lower = [name.strip().lower() for name in names]
    layout = _layout_of(lower)
    if layout is None:
        raise _unknown(file, f"its columns are {', '.join(names)[:200]}", lower)
    return Opened(file, "parquet", layout, names)


def _of_csv(file: Path, text: str) -> Opened:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((number for number, line in enumerate(lines) if line.strip()), 0)
    # Excel writes and reads this line.
    if lines[start].strip().strip('"').lower().startswith("sep=") and start + 1 < len(lines):
        start += 1
    header: list[str] = []
    for delimiter in DELIMITERS:
        cells = next(csv.reader(io.StringIO(lines[start]), delimiter=delimiter), [])
        names = [cell.strip().lower() for cell in cells]
        if layout := _layout_of(names):
            return Opened(file, "csv", layout, names, delimiter, start + 1)
        header = max(header, names, key=len)
    raise _unknown(file, f"its first line is {lines[start][:120]!r}", header)


def _layout_of(names: list[str]) -> Layout | None:
    return next((layout for layout in LAYOUTS if layout.needs <= set(names)), None)


def _unknown(file: Path, found: str, names: list[str]) -> FileRefused:
    missing = [column for column in REQUIRED_COLUMNS if column not in names]
    return FileRefused(
        f"{file} has a layout that is not known: {found}"
        f" (to be events of your own, it lacks {', '.join(missing)}); {ACCEPTED}"
    )


def _of_json(file: Path, text: str) -> Opened:
    """Identify JSON lines by the keys of the first ones that are objects."""
    seen: list[str] = []
    for line in text.split("\n")[:50]:
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        if record.keys() >= GOOGLE_COLUMNS:
            return Opened(file, "google-json")
        if {"client_time_ms", "event_name", "client_id"} <= record.keys():
            return Opened(file, "json", LAYOUTS[0], first_shop=str(record.get("shop_id") or ""))
        if set(REQUIRED_COLUMNS) - {"item_id"} <= record.keys():
            return Opened(file, "json", LAYOUTS[0])
        if {"session", "events"} <= record.keys():
            raise FileRefused(
                f"{file} has OTTO's layout, one session per line. Write one event per line, with the keys "
                f"{', '.join(REQUIRED_COLUMNS)}, and run the command again; {ACCEPTED}"
            )
        seen = seen or list(record)
    found = (
        f"its first keys are {', '.join(seen)[:200]}" if seen else "none of its first lines is a JSON object"
    )
    raise _unknown(file, found, seen)
