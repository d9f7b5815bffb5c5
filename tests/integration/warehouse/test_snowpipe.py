"""Load with Snowpipe on the local Snowflake: the same tables as with COPY, and every file once."""

import gzip
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from snowflake.connector.errors import ProgrammingError

from deploy.stages import read_stage
from deploy.warehouse_setup import pipe_parameters, setup_parameters
from functions.load import snowpipe
from functions.load.load import load
from functions.platform import warehouse
from local import environment
from local.clients import aws_client
from sql.setup.apply import apply
from testing.warehouse_stack import ACCOUNT, Stack, connected, connected_as_sysadmin
from tests.integration.warehouse.events import deliver, raw_event
from tests.integration.warehouse.test_pipeline import golden_events, golden_tables, run_to_tables

pytestmark = pytest.mark.local_stack

STAGE = replace(read_stage("local"), name="piped", load_by="snowpipe")


def notify(stack: Stack, local_stack: environment.Stack) -> None:
    """Let S3 notify the queue of the pipe, as the stack does."""
    secrets = aws_client("secretsmanager", local_stack.aws_url)
    queue = pipe_parameters(STAGE, secrets)["SnowpipeQueueArn"]
    rules = [{"Name": "prefix", "Value": "raw/"}]
    configuration = {
        "QueueArn": queue,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": rules}},
    }
    stack.s3.put_bucket_notification_configuration(
        Bucket=stack.settings.events_bucket,
        NotificationConfiguration={"QueueConfigurations": [configuration], "EventBridgeConfiguration": {}},
    )


@pytest.fixture(scope="module")
def stack(new_stack: Any, local_stack: environment.Stack) -> Stack:
    made: Stack = new_stack("piped", load_by="snowpipe")
    # A file from before the notification, as in a bucket that a stage already has.
    deliver(made.s3, made.settings.events_bucket, "1", golden_events(1))
    notify(made, local_stack)
    return made


def log_of(stack: Stack) -> list[tuple[str, str]]:
    sql = "select FILE, STATUS from RAW.LOAD_LOG where STATUS != 'SWEPT' order by LOADED_AT, FILE"
    with connected(stack) as connection:
        return [(file.rpartition("/")[2], status) for file, status in warehouse.rows(connection, sql)]


def run(stack: Stack, run_id: str) -> Any:
    with connected(stack) as connection:
        return load({"run_id": run_id}, stack.settings, connection)


def test_snowpipe_gives_the_golden_tables_and_loads_every_line_once(stack: Stack) -> None:
    bucket = stack.settings.events_bucket
    first = run(stack, "p1")
    assert first["files_loaded"] == 1, "REFRESH finds the file whose notification S3 never sent"
    run_to_tables(stack, "p1")
    for number in (2, 3):
        deliver(stack.s3, bucket, str(number), golden_events(number))
    for number in (1, 2):  # all events again, in other files
        deliver(stack.s3, bucket, f"again-{number}", golden_events(number))
    corrupt = "raw/2026/01/02/00/corrupt.gz"
    stack.s3.put_object(Bucket=bucket, Key=corrupt, Body=gzip.compress(b'{"a": 1}\n{oops\n'))
    assert run_to_tables(stack, "p2") == golden_tables()
    with connected(stack) as connection:
        counts = warehouse.one(
            connection,
            "select count(*), count(distinct FILENAME || ':' || ROW_NUMBER), "
            "max(abs(datediff('minute', LOADED_AT, sysdate()))) from RAW.EVENTS",
        )
    assert counts[0] == counts[1] > 0
    assert counts[2] < 10, "LOADED_AT is the time of the load in UTC, for Transform reads new rows by it"
    logged = log_of(stack)
    assert sorted(status for file, status in logged if file == "corrupt.gz") == ["LOAD_FAILED"] * 2
    assert len([file for file, status in logged if status == "LOADED"]) == 5
    assert run(stack, "p3")["rows_loaded"] == 0

    repaired = gzip.compress((json.dumps(raw_event("repaired")) + "\n").encode())
    stack.s3.put_object(Bucket=bucket, Key=corrupt, Body=repaired)
    result = run(stack, "p4")
    assert (result["files_loaded"], result["rows_loaded"], result["files_failed"]) == (1, 1, [])
    assert ("corrupt.gz", "LOADED") in log_of(stack)
    assert run(stack, "p5")["files_loaded"] == 0


def test_a_pipe_that_stands_still_fails_the_run_with_the_next_step(stack: Stack) -> None:
    with connected_as_sysadmin(stack) as connection:
        warehouse.rows(connection, f"alter pipe {snowpipe.PIPE} set pipe_execution_paused = true")
        with pytest.raises(snowpipe.PipeStopped, match=r"is PAUSED.*run the pipeline again"):
            run(stack, "paused")
        warehouse.rows(connection, f"alter pipe {snowpipe.PIPE} set pipe_execution_paused = false")


@pytest.mark.parametrize("privilege", ["monitor", "operate"])
def test_load_needs_both_privileges_on_the_pipe(stack: Stack, privilege: str) -> None:
    values = setup_parameters(STAGE, ACCOUNT, stack.credentials)
    right = f"on pipe {values['database']}.RAW.{values['pipe']}"
    with warehouse.connect(stack.admin) as connection:
        warehouse.rows(connection, f"revoke {privilege} {right} from role {values['prefix']}_LOADER")
        with pytest.raises(ProgrammingError, match=r"not authorized|Insufficient privileges"):
            run(stack, "without")
        warehouse.rows(connection, f"grant {privilege} {right} to role {values['prefix']}_LOADER")
    run(stack, "with")


def test_files_that_copy_loaded_are_not_loaded_again_by_the_pipe_and_going_back_drops_it(
    new_stack: Any, local_stack: environment.Stack
) -> None:
    stack: Stack = new_stack("topipe")
    deliver(stack.s3, stack.settings.events_bucket, "copied", [raw_event("copied")])
    assert run(stack, "copy")["rows_loaded"] == 1
    stage = replace(STAGE, name="topipe")
    with warehouse.connect(stack.admin) as connection:
        apply(connection, setup_parameters(stage, ACCOUNT, stack.credentials))
    piped = replace_settings(stack)
    assert run(piped, "pipe")["rows_loaded"] == 0
    with warehouse.connect(stack.admin) as connection:
        apply(connection, setup_parameters(replace(stage, load_by="copy"), ACCOUNT, stack.credentials))
        with pytest.raises(ProgrammingError, match="does not exist"):
            warehouse.rows(connection, f"desc pipe {snowpipe.PIPE}")


def replace_settings(stack: Stack) -> Stack:
    return replace(stack, settings=msgspec.structs.replace(stack.settings, load_by="snowpipe"))
