"""Measure `make import`: events per second of a generated history, against DuckDB on the same file.

    python -m benchmarks.import_history
    python -m benchmarks.import_history --events 5000000 --seed 2

The file has ten columns, of which item names contain commas and are quoted. It is read as CSV and as parquet. A third
file is the BigQuery export of Google Analytics, with a session id, a page and one item per event. S3 is a folder on this disk.
DuckDB reads the same file without any rule, and writes gzipped JSON lines.
Each case runs in a process of its own, and its memory is the peak of that process. It prints one JSON line.
"""

import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from botocore.exceptions import ClientError

from benchmarks.conditions import conditions, parser
from imports.history import History, find_files, identify_all
from imports.rejects import Rejects
from imports.upload import Upload

ROWS = """
    select
        i, make_timestamp(1735689600000000 + i * 15000000 + (hash(i + $seed) % 15000000)::bigint) as happened,
        case when hash(i + 2 * $seed) % 100 < 90 then 'view_item' when hash(i + 2 * $seed) % 100 < 96 then 'add_to_cart'
            else 'purchase' end as name,
        (hash(i + 3 * $seed) % 20000)::int as item,
        (hash(i + 4 * $seed) % 200000)::int as client
    from range($events) r(i)
"""
CSV = """
    select
        strftime(happened, '%Y-%m-%dT%H:%M:%SZ') as event_time, name as event_name, 'sku-' || item as item_id,
        'c-' || client as client_id, printf('%.2f', item % 97 + 0.95) as price, 1 as quantity,
        'cat' || (item % 9) || '/sub' || (item % 70) as category, 'brand' || (item % 50) as brand,
        'Product ' || item || ', ' || case when item % 2 = 0 then 'small' else 'large' end as item_name,
        case when name = 'purchase' then 'T' || (i // 20) end as transaction_id
    from rows
"""
GOOGLE = """
    select
        strftime(happened, '%Y%m%d') as event_date, epoch_us(happened) as event_timestamp, name as event_name,
        client || '.' || (client + 7) as user_pseudo_id, null::varchar as user_id, i as event_bundle_sequence_id,
        [
            {'key': 'ga_session_id', 'value': {'string_value': null::varchar, 'int_value': i // 40,
                'float_value': null::double, 'double_value': null::double}},
            {'key': 'page_location', 'value': {'string_value': 'https://shop.example/p/' || item || '?x=1',
                'int_value': null, 'float_value': null, 'double_value': null}},
            {'key': 'currency', 'value': {'string_value': 'EUR', 'int_value': null, 'float_value': null,
                'double_value': null}}
        ] as event_params,
        {'transaction_id': case when name = 'purchase' then 'T' || i end,
            'purchase_revenue': case when name = 'purchase' then item % 97 + 0.95 end} as ecommerce,
        [{'item_id': 'sku-' || item, 'item_name': 'Product ' || item, 'item_brand': 'brand' || (item % 50),
            'item_category': 'cat' || (item % 9), 'price': item % 97 + 0.95, 'quantity': 1}] as items
    from rows
"""


class FolderS3:
    """An S3 whose objects are files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def head_object(self, Key: str, **_: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "404", "Message": Key}}, "HeadObject")

    def put_object(self, Key: str, Body: bytes, **_: Any) -> None:
        path = self._folder / Key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body)


def write_files(folder: Path, events: int, seed: int) -> dict[str, Path]:
    """Write the history in its three forms."""
    files = {name: folder / name for name in ("own.csv", "own.parquet", "google.parquet")}
    database = duckdb.connect()
    database.execute("set enable_progress_bar = false")
    database.execute("set preserve_insertion_order = true")
    database.execute(f"create table rows as {ROWS}", {"events": events, "seed": seed})
    database.execute(f"copy ({CSV}) to '{files['own.csv']}' (header, delimiter ',')")
    database.execute(f"copy ({CSV}) to '{files['own.parquet']}' (format parquet)")
    database.execute(f"copy ({GOOGLE}) to '{files['google.parquet']}' (format parquet)")
    return files


def import_file(file: Path, folder: Path) -> int:
    """Import a file into a folder, and return the number of stored events."""
    with History("demo", Rejects(), now_ms=time.time_ns() // 1_000_000) as history:
        for opened in identify_all(find_files(file)):
            history.add(opened)
        upload = Upload(FolderS3(folder), "bucket", "import-benchmark")
        for _ in upload.store(history.batches()):
            pass
        if upload.result.lines != history.account.events:
            raise SystemExit(f"{history.account.events} events, but {upload.result.lines} lines in files")
    return history.account.rows - history.account.rejected


def copy_by_duckdb(file: Path, folder: Path) -> int:
    """Read a file and write it as gzipped JSON lines, without any rule."""
    reader = "read_parquet" if file.suffix == ".parquet" else "read_csv"
    target = folder / "copy.json.gz"
    database = duckdb.connect()
    database.execute("set enable_progress_bar = false")
    database.execute(f"copy (from {reader}('{file}')) to '{target}' (format json, compression gzip)")
    return int(database.execute(f"select count(*) from {reader}('{file}')").fetchall()[0][0])


def measured(work: Callable[[Path, Path], int], file: Path) -> dict[str, Any]:
    """Run a piece of work in a process of its own."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    process = context.Process(target=_work, args=(work, file, results))
    process.start()
    result: dict[str, Any] = results.get()
    process.join()
    return result


def _work(work: Callable[[Path, Path], int], file: Path, results: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        started_s, started_cpu = time.monotonic(), os.times()
        events = work(file, Path(folder))
        seconds, cpu = time.monotonic() - started_s, os.times()
        cpu_s = cpu.user + cpu.system - started_cpu.user - started_cpu.system
        stored = sum(path.stat().st_size for path in Path(folder).rglob("*.gz"))
    results.put(
        {
            "events": events,
            "seconds": round(seconds, 2),
            "cpu_s": round(cpu_s, 2),
            "events_per_second": round(events / seconds),
            "events_per_cpu_second": round(events / cpu_s),
            "stored_mb": round(stored / 1e6, 1),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    )


def main() -> int:
    """Measure, and print the result."""
    options_of = parser("import_history", __doc__, "--events 1000000 --seed 1")
    options_of.add_argument("--events", type=int, default=1_000_000, help="default %(default)s")
    options_of.add_argument("--seed", type=int, default=1, help="default %(default)s")
    options = options_of.parse_args()
    result: dict[str, Any] = conditions("import_history")
    result |= {"data": f"generated, {options.events} events", "seed": options.seed}
    with tempfile.TemporaryDirectory() as folder:
        for name, file in write_files(Path(folder), options.events, options.seed).items():
            ours, plain = measured(import_file, file), measured(copy_by_duckdb, file)
            result[name] = {
                "file_mb": round(file.stat().st_size / 1e6, 1),
                "import": ours,
                "duckdb": plain,
                "seconds_ratio": round(ours["seconds"] / plain["seconds"], 2),
                "cpu_ratio": round(ours["cpu_s"] / plain["cpu_s"], 2),
            }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
