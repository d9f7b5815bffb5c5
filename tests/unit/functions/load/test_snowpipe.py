"""The statements that a run sends about its pipe, against a connection that answers as Snowflake does."""

import json
from typing import Any

import pytest

from functions.load import snowpipe
from testing.warehouse_fakes import FakeConnection


def status(**fields: Any) -> list[tuple[str]]:
    return [(json.dumps({"executionState": "RUNNING", "pendingFileCount": 0} | fields),)]


def statements(made: FakeConnection) -> list[str]:
    return [statement for statement, _ in made.statements]


def test_a_run_refreshes_the_days_that_it_would_list_and_the_whole_stage_without_days() -> None:
    made = FakeConnection(("alter pipe", []), ("PIPE_STATUS", status()))
    snowpipe.catch_up(made, ["/2026/11/28/", "/2026/11/29/"])
    assert statements(made)[:2] == [
        "alter pipe RAW.EVENT_PIPE refresh prefix = '2026/11/28/'",
        "alter pipe RAW.EVENT_PIPE refresh prefix = '2026/11/29/'",
    ]
    made = FakeConnection(("alter pipe", []), ("PIPE_STATUS", status()))
    snowpipe.catch_up(made, [""])
    assert statements(made)[0] == "alter pipe RAW.EVENT_PIPE refresh"


def test_a_run_waits_for_queued_files_and_notifications_but_not_for_ever() -> None:
    clock, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    made = FakeConnection(("PIPE_STATUS", status(numOutstandingMessagesOnChannel=2)))
    snowpipe.catch_up(made, [], sleep, lambda: clock[0])
    assert snowpipe.WAIT_S < clock[0] < snowpipe.WAIT_S + 2 * snowpipe.LONGEST_PAUSE_S
    assert max(slept) == snowpipe.LONGEST_PAUSE_S


def test_a_pipe_that_does_not_run_stops_the_run() -> None:
    made = FakeConnection(("PIPE_STATUS", status(executionState="STOPPED_STAGE_ALTERED")))
    with pytest.raises(snowpipe.PipeStopped, match="STOPPED_STAGE_ALTERED"):
        snowpipe.catch_up(made, [])


def test_results_are_logged_once_and_files_in_progress_are_left_to_the_next_run() -> None:
    results = [
        ("s3://b/raw/", "a.gz", "Loaded", 3, 3, None),
        ("s3://b/raw/", "b.gz", "Load failed", 0, 0, "Error parsing JSON"),
        ("s3://b/raw/", "c.gz", "Load in progress", None, 0, None),
        ("s3://b/raw/", "d.gz", "Loaded", 1, 1, None),
    ]
    made = FakeConnection(("LOAD_LOG", [("s3://b/raw/d.gz", "LOADED")]), ("COPY_HISTORY", results))
    found = snowpipe.loaded_files(made)
    assert [(file.file, file.status, file.rows_loaded) for file in found] == [
        ("s3://b/raw/a.gz", "LOADED", 3),
        ("s3://b/raw/b.gz", "LOAD_FAILED", 0),
    ]


def test_failed_files_are_retried_by_their_key_and_an_address_that_is_no_key_is_not_part_of_a_statement() -> (
    None
):
    earlier = [("s3://b/raw/2026/01/02/00/old.gz",), ("s3://b/raw/x'; drop table y",), ("",)]
    made = FakeConnection(("LOAD_LOG", earlier))
    new = snowpipe.CopiedFile("s3://b/raw/2026/01/03/00/new.gz", "LOAD_FAILED", 0, 0, "Error")
    assert snowpipe.failed_keys(made, [new]) == ["2026/01/02/00/old.gz", "2026/01/03/00/new.gz"]
