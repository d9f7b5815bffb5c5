"""Load: COPY new files below raw/ and catalogue/ into RAW, and keep COPY's result as the load log.

A stage with Snowpipe loads by itself. The run then only makes sure that nothing is missing (functions/load/snowpipe.py).
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from functions.load import snowpipe
from functions.load.files import CopiedFile
from functions.platform import warehouse
from functions.platform.contract import LoadResult
from functions.platform.copy_files import RAW_KEY, copy_statement
from functions.platform.log import get_logger
from functions.platform.settings import WarehouseSettings

log = get_logger(__name__)

# COPY lists every file below its path. Once they fill more than one page of S3's listing, a run lists the recent days.
LISTED_AT_ONCE = 1000
# Firehose repeats a failed delivery for 24 hours, below the prefix of the hour in which it received the events.
DELIVERY_DELAY = timedelta(hours=25)
SWEEP_EVERY = timedelta(days=7)
SWEPT = "SWEPT"
# A load of one arrived file does not show that other files are loaded.
EARLIER_LOADS = f"""
select max(LOADED_AT), max(iff(STATUS = '{SWEPT}', LOADED_AT, null))
from RAW.LOAD_LOG
where LOADED_AT > %s and RUN_ID not like 'arrival-%%'
"""
# Step Functions passes at most 256 KiB between steps. RAW.LOAD_LOG holds every failed file.
REPORTED_FILES = 50
LOG_FILES = """
insert into RAW.LOAD_LOG (RUN_ID, FILE, STATUS, ROWS_PARSED, ROWS_LOADED, FIRST_ERROR)
values (%s, %s, %s, %s, %s, %s)
"""


def load(event: dict[str, Any], settings: WarehouseSettings, connection: Any) -> LoadResult:
    """Load the new files: those of the recent days, all files once a week, or the file `key` of the event.

    Catalogue feeds are few, so each run lists all of them, but a run for one arrived file lists none.

    An unreadable file is reported and never blocks the others.
    """
    run_id = event["run_id"]
    catalogue: list[CopiedFile] = []
    key = RAW_KEY.fullmatch(event.get("key", ""))
    if key:
        files = _copy(connection, files=f"files = ('{key[1]}')\n")
    else:
        days = None if event.get("full") else _days(connection, datetime.now(UTC))
        paths = [""] if days is None else [f"/{day:%Y/%m/%d}/" for day in days]
        if settings.load_by == "snowpipe":
            snowpipe.catch_up(connection, paths)
            files = snowpipe.loaded_files(connection)
            paths = [f"/{key}" for key in snowpipe.failed_keys(connection, files)]
        else:
            files = []
        for path in paths:
            files += _copy(connection, path)
        if days is None:
            _write_log(connection, run_id, [CopiedFile("", SWEPT, 0, 0, None)])
        catalogue = _copy(connection, table="CATALOGUE", stage="CATALOGUE_FILES")
    _write_log(connection, run_id, files + catalogue)
    failed = [file for file in files + catalogue if file.status == "LOAD_FAILED"]
    for file in failed:
        log.warning("file not loaded", file=file.file, error=file.first_error)
    result: LoadResult = {
        "run_id": run_id,
        "files_loaded": sum(1 for file in files if file.status == "LOADED"),
        "rows_loaded": sum(file.rows_loaded for file in files),
        "catalogue_rows_loaded": sum(file.rows_loaded for file in catalogue),
        "files_skipped": sum(1 for file in files if file.status == "LOAD_SKIPPED"),
        "files_failed": [
            {"file": file.file, "error": (file.first_error or "unknown")[:500]}
            for file in failed[:REPORTED_FILES]
        ],
    }
    log.info(
        "loaded",
        files=result["files_loaded"],
        rows=result["rows_loaded"],
        catalogue_rows=result["catalogue_rows_loaded"],
        files_failed=len(failed),
    )
    return result


def days_to_list(
    now: datetime, last_load: datetime | None, last_sweep: datetime | None, known_files: int
) -> list[date] | None:
    """Return the days whose files this run lists, or None for all files.

    A file that comes below an older day waits for the next sweep.
    """
    if known_files < LISTED_AT_ONCE or last_load is None or last_sweep is None:
        return None
    if now - last_sweep >= SWEEP_EVERY:
        return None
    first = (min(last_load, now) - DELIVERY_DELAY).date()
    return [first + timedelta(days=number) for number in range((now.date() - first).days + 1)]


def _days(connection: Any, now: datetime) -> list[date] | None:
    known_files = warehouse.one(connection, "select count(*) from RAW.LOAD_LOG")[0]
    since = (now - 2 * SWEEP_EVERY).replace(tzinfo=None)
    last_load, last_sweep = (
        time.replace(tzinfo=UTC) if time else None
        for time in warehouse.one(connection, EARLIER_LOADS, (since,))
    )
    return days_to_list(now, last_load, last_sweep, int(known_files))


def _copy(
    connection: Any, path: str = "", files: str = "", *, table: str = "EVENTS", stage: str = "EVENT_FILES"
) -> list[CopiedFile]:
    rows = warehouse.rows(connection, copy_statement(path, files, table=table, stage=stage))
    if rows and len(rows[0]) == 1:
        return []  # "Copy executed with 0 files processed."
    # file, status, rows_parsed, rows_loaded, error_limit, errors_seen, first_error, ...
    return [CopiedFile(row[0], row[1], int(row[2] or 0), int(row[3] or 0), row[6]) for row in rows]


def _write_log(connection: Any, run_id: str, files: list[CopiedFile]) -> None:
    if not files:
        return
    rows = [
        (run_id, file.file, file.status, file.rows_parsed, file.rows_loaded, file.first_error)
        for file in files
    ]
    with connection.cursor() as cursor:
        cursor.executemany(LOG_FILES, rows)
