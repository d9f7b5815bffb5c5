"""Load: COPY the new files below raw/ into RAW.EVENTS, and keep COPY's result as the load log."""

from dataclasses import dataclass
from typing import Any

from functions.platform import warehouse
from functions.platform.contract import LoadResult
from functions.platform.log import get_logger
from functions.platform.settings import WarehouseSettings

log = get_logger(__name__)

# COPY skips an unreadable file as a whole, and the next run tries it again: repairing the file on S3 is enough.
# Snowflake itself remembers which files are loaded, so running twice loads nothing twice.
COPY_EVENTS = """
copy into RAW.EVENTS (PAYLOAD, FILENAME, ROW_NUMBER)
from (select $1, metadata$filename, metadata$file_row_number from @RAW.EVENT_FILES)
file_format = (format_name = 'RAW.EVENT_LINES')
on_error = skip_file
"""
# Step Functions passes at most 256 KiB between steps. RAW.LOAD_LOG holds every failed file.
REPORTED_FILES = 50
LOG_FILES = """
insert into RAW.LOAD_LOG (RUN_ID, FILE, STATUS, ROWS_PARSED, ROWS_LOADED, FIRST_ERROR)
values (%s, %s, %s, %s, %s, %s)
"""


@dataclass(frozen=True)
class CopiedFile:
    """COPY's result for one file."""

    file: str
    status: str
    rows_parsed: int
    rows_loaded: int
    first_error: str | None


def load(event: dict[str, Any], settings: WarehouseSettings, connection: Any) -> LoadResult:
    """Load the new files. An unreadable file is reported and never blocks the others."""
    run_id = event["run_id"]
    files = _copy(connection)
    _write_log(connection, run_id, files)
    failed = [file for file in files if file.status == "LOAD_FAILED"]
    for file in failed:
        log.warning("file not loaded", file=file.file, error=file.first_error)
    result: LoadResult = {
        "run_id": run_id,
        "files_loaded": sum(1 for file in files if file.status == "LOADED"),
        "rows_loaded": sum(file.rows_loaded for file in files),
        "files_skipped": sum(1 for file in files if file.status == "LOAD_SKIPPED"),
        "files_failed": [
            {"file": file.file, "error": (file.first_error or "unknown")[:500]}
            for file in failed[:REPORTED_FILES]
        ],
    }
    log.info("loaded", files=result["files_loaded"], rows=result["rows_loaded"], files_failed=len(failed))
    return result


def _copy(connection: Any) -> list[CopiedFile]:
    rows = warehouse.rows(connection, COPY_EVENTS)
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
