"""Snowpipe loads each file on arrival. A run asks it to catch up, and keeps its results in the load log.

Snowpipe and COPY have a record of loaded files each. COPY therefore never lists files that the pipe loads: it would load them
again. REFRESH consults both records. COPY only retries, by name, files that the pipe failed to load, which the pipe never
tries again. https://docs.snowflake.com/en/user-guide/data-load-snowpipe-manage
"""

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from functions.load.files import CopiedFile
from functions.platform import warehouse
from functions.platform.contract import RAW_PREFIX
from functions.platform.log import get_logger

log = get_logger(__name__)

PIPE = "RAW.EVENT_PIPE"
# The files of a night's last minutes. A file that takes longer is in the next run.
WAIT_S = 300.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
# COPY_HISTORY reaches back 14 days. A run that did not take place for longer leaves the log incomplete, and no event out.
HISTORY = timedelta(days=13)
RESULTS = f"""
select STAGE_LOCATION, FILE_NAME, STATUS, ROW_PARSED, ROW_COUNT, FIRST_ERROR_MESSAGE
from table(INFORMATION_SCHEMA.COPY_HISTORY(
    table_name => 'RAW.EVENTS', start_time => dateadd('hour', -{HISTORY // timedelta(hours=1)}, current_timestamp())
))
where PIPE_NAME is not null
"""
STATUSES = {"Loaded": "LOADED", "Load failed": "LOAD_FAILED"}
LOGGED = "select FILE, STATUS from RAW.LOAD_LOG where LOADED_AT > dateadd('day', -15, sysdate())"
# A file is retried for as long as Validate reports it.
UNLOADED = """
select FILE
from RAW.LOAD_LOG
group by FILE
having count_if(STATUS = 'LOADED') = 0 and max(iff(STATUS = 'LOAD_FAILED', LOADED_AT, null)) > dateadd('day', -8, sysdate())
order by FILE
limit 50
"""
# The key below raw/ in the address of a file. It becomes part of a statement.
ADDRESS = re.compile(rf"s3://[a-z0-9.-]+/{RAW_PREFIX}([A-Za-z0-9/_.=+-]+)")


class PipeStopped(Exception):
    """Snowpipe does not run, so events stay in raw/. The message contains the state of the pipe."""


def catch_up(
    connection: Any,
    paths: list[str],
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Queue files whose notification was lost, and wait until the pipe has loaded what is queued.

    Raises:
        PipeStopped: the pipe does not run.
    """
    for path in paths:
        prefix = f" prefix = '{path.lstrip('/')}'" if path else ""
        warehouse.rows(connection, f"alter pipe {PIPE} refresh{prefix}")
    deadline, pause_s = now() + WAIT_S, FIRST_PAUSE_S
    while waiting := _waiting(connection):
        if now() > deadline:
            log.warning("the pipe still loads", files=waiting)
            return
        sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _waiting(connection: Any) -> int:
    """Return the number of files and notifications that wait for the pipe."""
    status = json.loads(warehouse.one(connection, "select SYSTEM$PIPE_STATUS(%s)", (PIPE,))[0])
    if status["executionState"] != "RUNNING":
        raise PipeStopped(
            f"{PIPE} is {status['executionState']}, so no event is loaded. Ask an administrator of Snowflake to read "
            f"select SYSTEM$PIPE_STATUS('{PIPE}'), to correct the reason, and to run alter pipe {PIPE} set "
            "pipe_execution_paused = false; then run the pipeline again. raw/ keeps every event"
        )
    return int(status.get("pendingFileCount", 0)) + int(status.get("numOutstandingMessagesOnChannel", 0))


def loaded_files(connection: Any) -> list[CopiedFile]:
    """Return the pipe's results that the load log lacks."""
    logged = {tuple(row) for row in warehouse.rows(connection, LOGGED)}
    results = [
        CopiedFile(
            f"{location.rstrip('/')}/{name.lstrip('/')}",
            STATUSES[status],
            int(parsed or 0),
            int(loaded or 0),
            error,
        )
        for location, name, status, parsed, loaded, error in warehouse.rows(connection, RESULTS)
        if status in STATUSES
    ]
    return [file for file in results if (file.file, file.status) not in logged]


def failed_keys(connection: Any, files: list[CopiedFile]) -> list[str]:
    """Return the keys below raw/ of files that the pipe failed to load, now or in an earlier run."""
    failed = {file.file for file in files if file.status == "LOAD_FAILED"}
    failed |= {file for (file,) in warehouse.rows(connection, UNLOADED)}
    return sorted(found[1] for file in failed if (found := ADDRESS.fullmatch(file)))
