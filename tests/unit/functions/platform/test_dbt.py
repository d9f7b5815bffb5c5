import logging
import multiprocessing.synchronize
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

from functions.platform import dbt
from functions.platform.dbt import variables
from functions.platform.warehouse import Credentials
from testing.parsed_once import rename

CREDENTIALS = Credentials("acme", "TUGBOAT", "-----KEY-----", "ROLE", "WH", "DB")


def described(manifest: Any) -> dict[str, Any]:
    """Return all that dbt parsed, without the times of parsing."""
    parts = {**manifest.nodes, **manifest.sources, **manifest.unit_tests, **manifest.macros}
    found = {name: node.to_dict() for name, node in parts.items()}
    for node in found.values():
        node.pop("created_at", None)
    return found


def test_one_parsed_project_serves_every_variable_of_a_step_and_renamed_every_database() -> None:
    changed = variables(training_days=7, tested_until="2026-01-02 03:04:05")
    other = replace(CREDENTIALS, database="OTHER_DB", role="OTHER_ROLE", warehouse="OTHER_WH")
    home = str(dbt._work_dir())
    with dbt._environment(CREDENTIALS, home=home), dbt._thread_locks():
        parsed = dbt._invoke(["parse"], None)
    with dbt._environment(other, home=home), dbt._thread_locks():
        parsed_for_other = dbt._invoke(["parse", *changed], None)
    assert {node.database for node in parsed.nodes.values()} == {"DB"}
    rename(parsed, "DB", "OTHER_DB")
    assert described(parsed) == described(parsed_for_other)


def test_dbt_gets_locks_of_threads_and_other_code_those_of_processes() -> None:
    spawn = multiprocessing.get_context("spawn")
    with dbt._thread_locks():
        assert isinstance(spawn.RLock(), type(threading.RLock()))
        assert isinstance(spawn.Lock(), type(threading.Lock()))
    assert isinstance(spawn.RLock(), multiprocessing.synchronize.RLock)
    assert isinstance(spawn.Lock(), multiprocessing.synchronize.Lock)


def test_making_the_logger_of_the_arrow_reader_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    dbt.make_arrow_logger()
    assert caplog.records == []
    assert not logging.getLogger("snowflake.connector.CArrowIterator").disabled


BLOCKED = """
import threading, time
from snowflake.connector import snow_logging
from snowflake.connector.arrow_context import ArrowConverterContext
from snowflake.connector.errors import OperationalError
from snowflake.connector.nanoarrow_arrow_iterator import PyArrowRowIterator
from functions.platform.dbt import make_arrow_logger

made = snow_logging.getSnowLogger

def slow(*arguments):
    time.sleep(0.2)  # so that the threads certainly meet
    return made(*arguments)

def read():
    try:
        PyArrowRowIterator(None, b"", ArrowConverterContext(), False, False, False, True)
    except OperationalError:
        pass

snow_logging.getSnowLogger = slow
make_arrow_logger()
threads = [threading.Thread(target=read) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_threads_that_read_their_first_results_at_once_do_not_block_each_other() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", BLOCKED], check=True, timeout=120)
