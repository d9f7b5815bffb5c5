"""From files to stored lines: read, check, join the lines of orders, and account for every line."""

import hashlib
import json
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from functions.platform.contract import COLLECT_CLOCK_AHEAD_MAX_MS, COLLECT_EVENT_MAX_BYTES
from functions.platform.errors import Reason
from functions.platform.events.contract import encode
from functions.platform.events.masking import keyed_pseudonym
from imports import contract_lines, google, own_rows, values
from imports.csv_rows import CsvReader
from imports.google import ITEMS_MAX
from imports.layouts import OWN_COLUMNS, Layout, Opened, identify
from imports.lines import BLOCK_BYTES, Block, Lines, NotUtf8
from imports.refused import ACCEPTED, FileRefused
from imports.rejects import Reject, Rejects

SUFFIXES = tuple(
    f".{kind}{packed}"
    for kind in ("csv", "tsv", "txt", "jsonl", "ndjson", "json", "parquet", "avro")
    for packed in ("", ".gz")
)
SHOWN_UNREAD = 5
# DuckDB writes what exceeds this to the temporary folder.
MEMORY_LIMIT = "2GB"
LEGACY_ENCODING = "cp1252"
FETCHED_ROWS = 50_000
JSON_ROWS = 20_000
MALFORMED_JSON = "not a JSON object"
ORDER_TOO_LONG = f"the order has more than {ITEMS_MAX} lines"
EVENT_TOO_LARGE = f"the event has more than {COLLECT_EVENT_MAX_BYTES} bytes"


class UnaccountedRows(Exception):
    """Rows are neither events nor rejects. The message has the numbers."""


class Batch(NamedTuple):
    """Stored lines in the order of their days, as Arrow columns; each line ends with a line break."""

    days: pa.Array
    lines: pa.Array


@dataclass
class Account:
    """The numbers of all lines that were read."""

    files: int = 0
    bytes: int = 0
    lines: int = 0
    # Lines that hold no row of their own: headers, blank lines, and line breaks within quoted fields.
    headers: int = 0
    blank: int = 0
    continued: int = 0
    rows: int = 0
    rejected: int = 0
    events: int = 0
    # Rows that became items of an order's event, beyond the first row of each order.
    joined: int = 0
    # Lines of orders that another file of the import has too.
    repeated: int = 0
    returns: int = 0
    # Compressed files that end before their data does.
    cut: list[str] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)

    def check(self) -> None:
        """Compare the numbers.

        Raises:
            UnaccountedRows: they do not add up.
        """
        if self.lines != self.headers + self.blank + self.continued + self.rows:
            raise UnaccountedRows(
                f"{self.lines} lines, but {self.headers} headers, {self.blank} blank lines, {self.continued} continued "
                f"lines and {self.rows} rows"
            )
        if self.rows != self.events + self.joined + self.repeated + self.rejected:
            raise UnaccountedRows(
                f"{self.rows} rows, but {self.events} events, {self.joined} more lines of orders, "
                f"{self.repeated} lines of orders in another file and {self.rejected} rejects"
            )

    def summary(self) -> str:
        """Format the account, and what was left out of events."""
        rows = f"{self.lines:,} lines read = {self.rows:,} rows + {self.headers:,} headers"
        rows += f" + {self.blank:,} blank" if self.blank else ""
        rows += f" + {self.continued:,} line breaks within fields" if self.continued else ""
        events = f"{self.rows:,} rows = {self.events:,} events"
        events += f" + {self.joined:,} more lines of the same orders" if self.joined else ""
        events += f" + {self.repeated:,} lines of orders that another file has too" if self.repeated else ""
        lines = [rows, f"{events} + {self.rejected:,} rejected"]
        if self.returns:
            lines.append(f"{self.returns:,} rows with a negative quantity were read as refunds")
        lines += [
            f"{count:,} events lost {name}, which is unreadable or out of range"
            for name, count in self.lost.most_common()
            if count
        ]
        return "\n".join(lines)


def find_files(path: Path) -> list[Path]:
    """Return the event files of a file, a directory or a pattern such as data/events_*.parquet, in order.

    Raises:
        FileRefused: there is none.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        # BigQuery's exports often have names without an ending.
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        known = [
            file for file in files if file.name.lower().endswith(SUFFIXES) or file.name.startswith("events_")
        ]
        if not known:
            others = ", ".join(unread(path, [])[:SHOWN_UNREAD])
            raise FileRefused(
                f"{path} contains no event files{', only ' * bool(others)}{others}. Name files of folders, and files without "
                f"a usual ending, by a pattern such as '{path}/**/part-*'; {ACCEPTED}"
            )
        return known
    root = Path(path.anchor) if path.is_absolute() else Path()
    pattern = str(path.relative_to(root)) if path.is_absolute() else str(path)
    found = (
        sorted(file for file in root.glob(pattern) if file.is_file())
        if any(c in pattern for c in "*?[")
        else []
    )
    if not found:
        raise FileRefused(f"{path} does not exist. Name a file, a directory or a pattern; {ACCEPTED}")
    return found


def unread(path: Path, files: list[Path]) -> list[str]:
    """Return what else a directory contains: files whose names are none of event files, and folders."""
    if not path.is_dir():
        return []
    others = (one for one in path.iterdir() if one not in files and not one.name.startswith("."))
    return sorted(f"{one.name}/" if one.is_dir() else one.name for one in others)


def identify_all(files: list[Path]) -> list[Opened]:
    """Identify every file before the first one is read.

    Raises:
        FileRefused: the layout of one of them is not known.
    """
    return [identify(file) for file in files]


class History:
    """One import. Use it as a context: it keeps rows in a temporary folder, about as large as the files."""

    def __init__(
        self,
        shop: str,
        rejects: Rejects,
        *,
        keep_shops: bool = False,
        now_ms: int | None = None,
        import_id: str = "import",
        encoding: str | None = None,
        pseudonym_key: bytes = b"",
        on_reject: Callable[[Reject], None] | None = None,
        progress: Callable[[int, str], None] = lambda lines, label: None,
    ) -> None:
        self.account = Account()
        self._shop, self._rejects, self._keep_shops = shop, rejects, keep_shops
        # Without a key, an id has the same pseudonym within this import only.
        key = pseudonym_key or secrets.token_bytes(32)
        self._pseudonym = lambda text: keyed_pseudonym(key, text)
        self._latest_ms = None if now_ms is None else now_ms + COLLECT_CLOCK_AHEAD_MAX_MS
        self._now_ms = now_ms if now_ms is not None else values.LATEST_MS
        self._encoding, self._on_reject, self._progress = encoding, on_reject, progress
        self._files: list[str] = []
        self._rejected = 0
        self._server = (
            ',"server":{"received_at_ms":TIME,"event_time_ms":TIME,'
            + encode(
                {
                    "source": "import",
                    "ip_prefix": None,
                    "device": "other",
                    "is_bot": False,
                    "trusted": True,
                    "request_id": import_id,
                }
            ).decode()[1:]
            + "}"
        )
        self._folder = tempfile.TemporaryDirectory(prefix="tugboat-import-")
        self._db = duckdb.connect(
            config={
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": self._folder.name,
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "preserve_insertion_order": "false",
            },
        )
        self._db.execute("set TimeZone = 'UTC'")
        self._db.execute("set enable_progress_bar = false")
        text = duckdb.type("VARCHAR")
        for name, function in values.masking_functions(self._pseudonym).items():
            self._db.create_function(name, function, [text], text)
        self._db.execute(
            """create table ordered (
                file int, line bigint, event_id varchar, has_id boolean, event_name varchar, client_id varchar,
                session_id varchar, client_time_ms bigint, items varchar, fields varchar, value double, order_id varchar
            )"""
        )
        self._db.execute(
            """create table rendered (
                file int, line bigint, lines int, event_id varchar, client_time_ms bigint, text varchar
            )"""
        )

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._folder.cleanup()

    def add(self, opened: Opened) -> None:
        """Read one file: its rows are accepted or rejected.

        Raises:
            FileRefused: the file cannot be read as a whole. Nothing of it counts.
        """
        self._files.append(opened.file.name)
        self.account.files += 1
        before = self.account.lines
        match opened.kind:
            case "csv" | "json" | "google-json":
                self._add_text(opened)
            case "parquet" | "google-parquet":
                self._add_parquet(opened)
        self._progress(self.account.lines, opened.file.name)
        if self.account.lines == before:
            raise FileRefused(f"{opened.file} is empty. Name a file with events; {ACCEPTED}")

    def _add_text(self, opened: Opened) -> None:
        lines = Lines(opened.file, self._encoding)
        staged = self._stage_csv if opened.kind == "csv" else self._stage_json
        try:
            part = staged(opened, lines)
        except NotUtf8:
            lines = Lines(opened.file, LEGACY_ENCODING)
            part = staged(opened, lines)
        if lines.ends_early:
            self.account.cut.append(str(opened.file))
            # The cut costs a line that does not count as read, so it is neither a row nor in the equation.
            part.rejected.append((lines.count + 1, f"the file ends early: {lines.ends_early}", ""))
            part.lines += 1
            part.rows += 1
        self.account.lines += part.lines
        self.account.headers += part.headers
        self.account.blank += part.blank
        self.account.continued += part.continued
        self.account.rows += part.rows
        self.account.bytes += lines.bytes
        for line, reason, text in part.rejected:
            self._reject(opened.file.name, line, Reason.FIELD_INVALID, reason, text)
        if opened.kind == "google-json":
            self._convert_google(google.of_json("staged"))
        else:
            self._convert_own(opened, typed=opened.kind == "json")

    def _stage_csv(self, opened: Opened, lines: Lines) -> "_Part":
        part = _Part(headers=opened.header_lines)
        reader = CsvReader(opened.delimiter, opened.names, opened.header_lines)
        layout = _layout(opened)
        kept = [
            name
            for name in dict.fromkeys(opened.names)
            if any(f'"{name}"' in sql for sql in layout.columns.values())
        ]
        self._db.execute(f"create or replace table staged (line bigint, {_varchars(kept)})")
        for rows in reader.rows(lines.blocks()):
            part.rejected += rows.rejected
            part.blank += rows.blank
            part.continued += rows.continued
            part.rows += rows.table.num_rows + len(rows.rejected)
            self._insert("staged", rows.table.select(["line", *kept]))
            self._progress(self.account.lines + lines.count, opened.file.name)
        part.lines = lines.count
        return part

    def _stage_json(self, opened: Opened, lines: Lines) -> "_Part":
        part = _Part()
        self._db.execute("create or replace table staged (line bigint, text varchar)")
        for block in lines.blocks():
            part.rows += self._stage_json_block(block, part)
            self._progress(self.account.lines + lines.count, opened.file.name)
        part.lines = lines.count
        return part

    def _stage_json_block(self, block: Block, part: "_Part") -> int:
        numbers = pa.array(range(block.first_line, block.first_line + len(block.lines)), pa.int64())
        texts = pc.utf8_trim_whitespace(block.lines)
        self._db.register("block", pa.table({"line": numbers, "text": texts}))
        broken = {block.first_line + index for index in block.invalid}
        bad = self._db.execute(
            """select line, text from block
            where text <> '' and (not json_valid(text) or json_type(case when json_valid(text) then text end) <> 'OBJECT'
                or list_contains(?, line)) order by line""",
            [sorted(broken)],
        ).fetchall()
        part.rejected += [
            (line, "the line is not UTF-8" if line in broken else MALFORMED_JSON, text) for line, text in bad
        ]
        part.blank += int(self._db.execute("select count(*) from block where text = ''").fetchall()[0][0])
        rows = len(texts) - int(
            self._db.execute("select count(*) from block where text = ''").fetchall()[0][0]
        )
        self._db.execute(
            "insert into staged select line, text from block where text <> '' and not list_contains(?, line)",
            [[line for line, _ in bad]],
        )
        self._db.unregister("block")
        return rows

    def _add_parquet(self, opened: Opened) -> None:
        source = f"read_parquet({values.literal(_escaped(opened.file))}, file_row_number = true)"
        try:
            rows = pyarrow.parquet.read_metadata(opened.file).num_rows
            if opened.kind == "google-parquet":
                query = google.of_parquet(source, opened.names)
            else:
                query = self._parquet_texts(opened, source)
            self._db.execute(f"create or replace table staged as {query}")
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise FileRefused(
                f"{opened.file} is not a readable parquet file: {str(error)[:300]}. Export it again, and run the "
                "command again."
            ) from None
        self.account.lines += rows
        self.account.rows += rows
        self.account.bytes += opened.file.stat().st_size
        if opened.kind == "google-parquet":
            self._convert_google("select * from staged")
        else:
            self._convert_own(opened, typed=True)

    def _parquet_texts(self, opened: Opened, source: str) -> str:
        """Return a query of a parquet file's columns as text, written in the way that CSV has them."""
        kinds = {
            str(name): str(kind)
            for name, kind, *_ in self._db.execute(f"describe select * from {source}").fetchall()
        }
        columns = ["file_row_number + 1 as line"]
        for name in dict.fromkeys(opened.names):
            key = name.strip().lower()
            if not any(f'"{key}"' in sql for sql in _layout(opened).columns.values()):
                continue
            kind, column = kinds.get(name, "VARCHAR"), '"' + name.replace('"', '""') + '"'
            if kind.startswith(("TIMESTAMP", "DATE")):
                text = (
                    f"epoch_us({column}::timestamp)::varchar"
                    if kind == "DATE"
                    else f"epoch_us({column})::varchar"
                )
            elif kind in ("DOUBLE", "FLOAT"):
                text = f"""case when isnan({column}) then null
                    when {column} = trunc({column}) and abs({column}) < 1e15 then {column}::bigint::varchar
                    else {column}::varchar end"""
            elif kind == "BLOB":
                text = f"try(decode({column}))"
            else:
                text = f"{column}::varchar"
            columns.append(f'{text} as "{key}"')
        return f"select {', '.join(columns)} from {source}"

    def _convert_own(self, opened: Opened, typed: bool) -> None:
        layout = _layout(opened)
        if opened.kind == "json":
            self._convert_contract_lines(opened)
            extracted = ", ".join(f"text->>'$.{column}' as {column}" for column in OWN_COLUMNS)
            names = list(OWN_COLUMNS)
            source = f"(select line, {extracted} from staged)"
        else:
            names = [str(row[0]) for row in self._db.execute("describe staged").fetchall()]
            source = "staged"
        self._db.execute(f"create or replace view cells as {own_rows.cells(layout, source, names)}")
        marks = self._marks(opened, source, names, typed)
        self._db.execute(
            f"""create or replace table parsed as
            {own_rows.parsed("cells", marks, self._shop, layout.name, self._latest_ms)}"""
        )
        rows, bad, returned, timeless, *lost = self._one(own_rows.counts("parsed"))
        if rows and timeless == rows:
            example = self._one("select event_time from cells where event_time is not null limit 1")[0]
            raise FileRefused(
                f"{opened.file} has no time that can be read; the first one is {str(example)[:60]!r}. "
                "Write times as 2026-03-01T10:00:00Z, and run the command again."
            )
        self.account.returns += returned
        self._count_lost(own_rows.READ_COLUMNS, lost)
        self._take(own_rows.accepted("parsed"), own_rows.rejected("parsed"), rows, bad)

    def _marks(self, opened: Opened, source: str, names: list[str], typed: bool) -> values.Marks:
        """Return how the file writes dates and numbers.

        Raises:
            FileRefused: it writes them in two ways, or in one that can be read in two.
        """
        layout = _layout(opened)
        dates = own_rows.distinct_texts(layout, "event_time", "/", source, names)
        shown = self._one(f"select {values.slash_evidence('text')} from ({dates})")
        day_first = values.decide_day_first(opened.file, shown)
        # Both columns of a file are written alike, and only what has a mark can show which.
        amounts = " union ".join(
            own_rows.distinct_texts(layout, column, ".,", source, names) for column in ("price", "quantity")
        )
        shown = self._one(f"select {values.decimal_evidence('text')} from ({amounts})")
        return values.Marks(values.decide_decimal(opened.file, shown, typed), day_first)

    def _convert_google(self, query: str) -> None:
        self._db.execute(
            f"create or replace table parsed as {google.parsed(f'({query})', self._shop, self._latest_ms)}"
        )
        rows, bad, *lost = self._one(google.counts("parsed"))
        self._count_lost(google.LOST, lost)
        self._take(google.accepted("parsed"), google.rejected("parsed"), rows, bad)

    def _take(self, accepted: str, rejected: str, rows: int, bad: int) -> None:
        number = len(self._files) - 1
        accepted = f"select {number} as file, * from ({accepted})"
        self._db.execute(f"insert into ordered from ({accepted}) where order_id is not null")
        self._db.execute(
            f"insert into rendered {self._rendered(f'({accepted}) where order_id is null', '1')}"
        )
        found = 0
        for line, code, sentence, text in self._fetch(f"{rejected} order by line"):
            found += 1
            self._reject(self._files[number], line, Reason(code), sentence, text)
        if found != bad:
            raise UnaccountedRows(f"{self._files[number]}: {bad} bad rows of {rows}, but {found} rejects")

    def _convert_contract_lines(self, opened: Opened) -> None:
        """Move the staged lines that are events of the contract through the collector's check."""
        contract = "json_exists(text, '$.client_time_ms')"
        number = len(self._files) - 1
        reader = self._db.cursor()
        found = reader.execute(f"select line, text from staged where {contract} order by line")
        while batch := found.fetchmany(JSON_ROWS):
            stored = []
            for line, text in batch:
                checked = contract_lines.check(
                    text, self._shop, self._keep_shops, self._now_ms, self._pseudonym
                )
                if checked.event is None:
                    self._reject(opened.file.name, line, Reason(checked.code), checked.sentence, text)
                    continue
                self.account.lost.update(checked.lost)
                event = checked.event
                body = encode(event).decode()[:-1]
                stored.append((number, line, 1, event.event_id, event.client_time_ms, body))
            self._insert("rendered", pa.Table.from_batches([_batch(stored)]))
        reader.close()
        self._db.execute(f"delete from staged where {contract}")

    def batches(self) -> Iterator[Batch]:
        """Yield the stored lines by day and time; the account is complete after the last one.

        Raises:
            UnaccountedRows: a row is neither an event nor a reject.
        """
        self._join_orders()
        self._reject_too_large()
        self.account.joined = int(self._one("select coalesce(sum(lines - 1), 0) from rendered")[0])
        before, between, after = (values.literal(part) for part in self._server.split("TIME"))
        reader = self._db.sql(
            f"""select
                strftime(make_timestamp(client_time_ms * 1000), '%Y-%m-%d') as day,
                concat(text, {before}, client_time_ms, {between}, client_time_ms, {after}, chr(10)) as stored
            from rendered order by client_time_ms, file, line"""
        ).to_arrow_reader(FETCHED_ROWS)
        for batch in reader:
            if batch.num_rows:
                self.account.events += batch.num_rows
                yield Batch(batch.column(0), batch.column(1))
        self.account.rejected = self._rejected
        self.account.check()

    def _join_orders(self) -> None:
        """Make one event of the lines of each order, and reject the lines beyond the contract's limit."""
        order = "order_id, client_id, event_name"
        self._db.execute(
            """create or replace table numbered as
            select *, row_number() over (
                partition by order_id, client_id, event_name, file, event_id order by line) as repeat
            from ordered"""
        )
        # Exports of overlapping months have an order in two files. Equal lines of one file are two lines of the order.
        self._db.execute(
            f"""create or replace table positioned as
            select *, row_number() over (partition by {order} order by file, line) as position
            from (select * from numbered
                qualify row_number() over (partition by {order}, event_id, repeat order by file) = 1)"""
        )
        self.account.repeated = int(
            self._one("select (select count(*) from numbered) - (select count(*) from positioned)")[0]
        )
        beyond = f"select file, line, items from positioned where position > {ITEMS_MAX} order by file, line"
        for number, line, text in self._fetch(beyond):
            self._reject(self._files[number], line, Reason.FIELD_INVALID, ORDER_TOO_LONG, text)
        identity = (
            f"concat_ws(chr(31), 'order', {values.literal(self._shop)}, event_name, client_id, order_id)"
        )
        # Lines beyond the limit still count in the order's value: revenue is what was paid.
        orders = f"""(
            select
                min(file) as file, min(line) as line, event_name, client_id,
                case when count(distinct event_id) = 1 and bool_and(has_id) then min(event_id)
                    else left(sha1({identity}), 32) end as event_id,
                arg_min(session_id, position) as session_id,
                min(client_time_ms) as client_time_ms,
                coalesce(string_agg(nullif(items, ''), ',' order by position) filter (where position <= {ITEMS_MAX}), '')
                    as items,
                arg_min(fields, position) as fields,
                sum(value order by position) as value,
                least(count(*), {ITEMS_MAX})::int as lines
            from positioned group by event_name, client_id, order_id
        )"""
        self._db.execute(f"insert into rendered {self._rendered(orders, 'lines')}")

    def _rendered(self, source: str, lines: str) -> str:
        """Return a query of the events' JSON without its closing bracket.

        A sum that is larger than the contract's amounts is left out: the warehouse adds up the items.
        """
        name, shop = "event_name", values.literal(json.dumps(self._shop, ensure_ascii=False))
        text = f"""concat(
            '{{"schema_version":1,"event_id":', to_json(event_id),
            ',"event_name":"', {name}, '","shop_id":', {shop},
            ',"client_id":', to_json(client_id),
            ',"session_id":', to_json(session_id),
            ',"client_time_ms":', client_time_ms,
            case when items <> '' then ',"items":[' end, items, case when items <> '' then ']' end,
            fields,
            case when value between {values.AMOUNT_MIN} and {values.AMOUNT_MAX}
                then ',"value":' || round(value, 2)::varchar end)"""
        return f"select file, line, {lines} as lines, event_id, client_time_ms, {text} as text from {source}"

    def _reject_too_large(self) -> None:
        too_large = f"strlen(text) + 1 > {COLLECT_EVENT_MAX_BYTES}"
        query = f"select file, line, lines, text from rendered where {too_large} order by file, line"
        for number, line, lines, text in self._fetch(query):
            # Each line of an order is a row, so each is a reject.
            for _ in range(lines):
                self._reject(self._files[number], line, Reason.EVENT_TOO_LARGE, EVENT_TOO_LARGE, text)
        self._db.execute(f"delete from rendered where {too_large}")

    def _reject(self, file: str, line: int, code: Reason, reason: str, text: str) -> None:
        self._rejected += 1
        reject = Reject(file, line, code.value, reason, text)
        self._rejects.add(reject)
        if self._on_reject:
            self._on_reject(reject)

    def _count_lost(self, names: tuple[str, ...], counts: list[int]) -> None:
        self.account.lost.update({name: count for name, count in zip(names, counts, strict=True) if count})

    def _insert(self, table: str, rows: pa.Table) -> None:
        if rows.num_rows:
            self._db.register("arrived", rows)
            self._db.execute(f"insert into {table} select * from arrived")
            self._db.unregister("arrived")

    def _one(self, query: str) -> tuple[Any, ...]:
        return tuple(self._db.execute(query).fetchall()[0])

    def _fetch(self, query: str) -> Iterator[tuple[Any, ...]]:
        cursor = self._db.cursor()
        found = cursor.execute(query)
        while rows := found.fetchmany(FETCHED_ROWS):
            yield from rows
        cursor.close()


@dataclass
class _Part:
    """The numbers of one file's lines."""

    lines: int = 0
    headers: int = 0
    blank: int = 0
    continued: int = 0
    rows: int = 0
    rejected: list[tuple[int, str, str]] = field(default_factory=list)


def _batch(stored: list[tuple[int, int, int, str, int, str]]) -> pa.RecordBatch:
    names = ("file", "line", "lines", "event_id", "client_time_ms", "text")
    kinds = (pa.int32(), pa.int64(), pa.int32(), pa.string(), pa.int64(), pa.string())
    columns = list(zip(*stored, strict=True)) or [()] * len(names)
    return pa.record_batch(
        [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)], names
    )


def _layout(opened: Opened) -> Layout:
    if opened.layout is None:
        raise AssertionError(f"{opened.file} has no layout of columns")
    return opened.layout


def _varchars(names: list[str]) -> str:
    return ", ".join('"' + name.replace('"', '""') + '" varchar' for name in names)


def _escaped(file: Path) -> str:
    """Return a path in which DuckDB finds no pattern."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(file))


def events(
    opened: list[Opened], shop: str, rejects: Rejects, *, keep_shops: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the events of files by time, as a storefront would send them.

    Raises:
        FileRefused: a file cannot be read as a whole.
    """
    with History(shop, rejects, keep_shops=keep_shops) as history:
        for one in opened:
            history.add(one)
        for batch in history.batches():
            for line in batch.lines.to_pylist():
                event: dict[str, Any] = json.loads(line)
                del event["server"]
                yield event


def digest(files: list[Path], shop: str) -> str:
    """Return a digest of the content of files, whatever their names and order: 64 hexadecimal digits."""
    each = []
    for file in files:
        sha256 = hashlib.sha256()
        with file.open("rb") as content:
            while part := content.read(BLOCK_BYTES):
                sha256.update(part)
        each.append(sha256.hexdigest())
    return hashlib.sha256("\n".join([shop, *sorted(each)]).encode()).hexdigest()
