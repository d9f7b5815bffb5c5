"""Lambda: deployed zips run by awslambdaric, with AWS's errors, timeouts, logs and throttling."""

from __future__ import annotations

import concurrent.futures
import json

import pytest

from local.testing import wait_for
from local.tests.integration.aws.clients import Aws, make_zip

pytestmark = pytest.mark.local_stack


def test_a_zip_runs_with_its_event_its_context_and_a_layer(aws: Aws) -> None:
    layer = aws.client("lambda").publish_layer_version(
        LayerName="words", Content={"ZipFile": make_zip({"python/words.py": "HELLO = 'hello'"})}
    )["LayerVersionArn"]
    name = aws.make_function(
        "import os, words\n"
        "def handler(event, context):\n"
        "    return [words.HELLO, event, context.function_name, os.environ['STAGE']]",
        Layers=[layer],
        Environment={"Variables": {"STAGE": "test"}},
    )
    assert aws.invoke(name, {"a": 1}) == (["hello", {"a": 1}, name, "test"], None)


def test_an_exception_gives_its_class_as_error_type(aws: Aws) -> None:
    name = aws.make_function(
        "class WarehouseUnavailable(Exception): pass\n"
        "def handler(event, context): raise WarehouseUnavailable('asleep')"
    )
    answer, error = aws.invoke(name)
    assert error == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("WarehouseUnavailable", "asleep")


def test_a_timeout_has_its_own_error_type_and_the_next_invocation_gets_a_new_worker(aws: Aws) -> None:
    name = aws.make_function(
        "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'done'", Timeout=1
    )
    answer, error = aws.invoke(name, 5)
    assert error == "Unhandled"
    assert answer["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in answer["errorMessage"]
    assert aws.invoke(name, 0) == ("done", None)


def test_a_slow_import_does_not_count_against_the_timeout(aws: Aws) -> None:
    name = aws.make_function("import time\ntime.sleep(1.5)\ndef handler(event, context): return 1", Timeout=1)
    assert aws.invoke(name) == (1, None)


def test_a_missing_import_and_a_crash_have_their_own_error_types(aws: Aws) -> None:
    broken = aws.make_function("import numpy\ndef handler(event, context): return 1")
    answer, _ = aws.invoke(broken)
    assert answer["errorType"] == "Runtime.ImportModuleError"
    crashing = aws.make_function("import os\ndef handler(event, context): os._exit(3)")
    answer, _ = aws.invoke(crashing)
    assert answer["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in answer["errorMessage"]


def test_prints_reach_the_log_group_and_the_log_file(aws: Aws) -> None:
    name = aws.make_function("def handler(event, context):\n    print('seen', event)")
    aws.invoke(name, 7)
    events = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    messages = [event["message"] for event in events]
    assert messages[1] == "seen 7"
    assert messages[0].startswith("START RequestId")
    assert messages[-1].startswith("REPORT RequestId")
    assert "seen 7" in (aws.stack.logs / "lambda" / f"{name}.log").read_text()


def test_an_updated_function_runs_its_new_code_and_configuration(aws: Aws) -> None:
    name = aws.make_function("def handler(event, context): return 'old'")
    assert aws.invoke(name)[0] == "old"
    source = "import os\ndef handler(event, context): return os.environ.get('WORD', 'new')"
    client = aws.client("lambda")
    client.update_function_code(FunctionName=name, ZipFile=make_zip({"app.py": source}))
    assert aws.invoke(name)[0] == "new"
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"WORD": "newer"}})
    assert aws.invoke(name)[0] == "newer"


def test_reserved_concurrency_throttles_and_otherwise_invocations_queue(aws: Aws) -> None:
    name = aws.make_function("import time\ndef handler(event, context): time.sleep(0.3)")
    client = aws.client("lambda", max_pool_connections=12)

    def invoke(_: int) -> str:
        try:
            client.invoke(FunctionName=name)
        except client.exceptions.TooManyRequestsException:
            return "throttled"
        return "ran"

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(invoke, range(8))) == {"ran"}
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        assert set(pool.map(invoke, range(4))) == {"ran", "throttled"}


def test_an_asynchronous_invocation_is_retried_twice_and_then_its_event_reaches_the_dead_letter_queue(
    aws: Aws,
) -> None:
    sqs = aws.client("sqs")
    queue = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    name = aws.make_function(
        "def handler(event, context):\n    print('attempt')\n    raise ValueError('never')",
        DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:123456789012:dead-letters"},
    )
    answer = aws.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=b'{"lost": 1}')
    assert answer["StatusCode"] == 202
    messages = wait_for(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    assert json.loads(messages[0]["Body"]) == {"lost": 1}
    assert (aws.stack.logs / "lambda" / f"{name}.log").read_text().count("attempt\n") == 3
