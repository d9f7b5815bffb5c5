"""EventBridge, SNS and X-Ray."""

from __future__ import annotations

import json
import re
import time

import pytest

from local.testing import wait_for
from local.tests.integration.aws.clients import ROLE, Aws

pytestmark = pytest.mark.local_stack

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# The event's id and a UUID of the target: 73 characters, more than a SageMaker job's name may have.
EXECUTION_NAME = re.compile(f"{UUID}_{UUID}")
FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function:"


def test_a_rule_starts_lambdas_and_state_machines_and_a_disabled_one_does_not(aws: Aws) -> None:
    events, states = aws.client("events"), aws.client("stepfunctions")
    name = aws.make_function("def handler(event, context): print('got', event['detail']['n'])")
    machine = states.create_state_machine(
        name=f"from-rule-{name[-6:]}",
        definition=json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}),
        roleArn=ROLE,
    )["stateMachineArn"]
    silent = aws.make_function("def handler(event, context): print('got', event['detail']['n'])")
    aws.permit(name, "events", "arn:aws:events:us-east-1:123456789012:rule/on")
    for rule, source, state in (("on", "on", "ENABLED"), ("off", "off", "DISABLED")):
        events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}), State=state)
        targets = [
            {"Id": "f", "Arn": FUNCTION_ARN + name},
            {"Id": "without-permission", "Arn": FUNCTION_ARN + silent},
            {"Id": "m", "Arn": machine, "RoleArn": ROLE},
        ]
        events.put_targets(Rule=rule, Targets=targets)
    for source in ("off", "on", "other"):
        events.put_events(Entries=[{"Source": source, "DetailType": "t", "Detail": '{"n": 1}'}])
    log = aws.stack.logs / "lambda" / f"{name}.log"
    assert wait_for(lambda: log.exists() and log.read_text()).count("got 1") == 1
    ran = wait_for(lambda: states.list_executions(stateMachineArn=machine)["executions"])
    assert len(ran) == 1
    assert EXECUTION_NAME.fullmatch(ran[0]["name"])
    described = states.describe_execution(executionArn=ran[0]["executionArn"])
    assert json.loads(described["input"])["detail"] == {"n": 1}
    assert not (aws.stack.logs / "lambda" / f"{silent}.log").exists()


def test_a_published_message_is_delivered_and_logged(aws: Aws) -> None:
    sns, sqs = aws.client("sns"), aws.client("sqs")
    topic = sns.create_topic(Name="notifications")["TopicArn"]
    queue = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:subscriber")
    sns.publish(TopicArn=topic, Subject="run 1", Message="published")
    lines = (aws.stack.logs / "notifications.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert (last["topic"], last["subject"], last["message"]) == (topic, "run 1", "published")
    assert sqs.receive_message(QueueUrl=queue)["Messages"]


def test_a_traced_function_writes_its_own_segment_and_those_of_its_code(aws: Aws) -> None:
    # The packet and the header are the contract, so this code sends them without aws-xray-sdk.
    source = """
import json, os, socket, time
def handler(event, context):
    root = dict(part.split('=') for part in os.environ['_X_AMZN_TRACE_ID'].split(';'))
    segment = {'name': 'step', 'id': os.urandom(8).hex(), 'trace_id': root['Root'], 'parent_id': root['Parent'],
               'start_time': time.time(), 'end_time': time.time() + 0.1, 'type': 'subsegment'}
    host, port = os.environ['AWS_XRAY_DAEMON_ADDRESS'].split(':')
    packet = b'{"format": "json", "version": 1}\\n' + json.dumps(segment).encode()
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(packet, (host, int(port)))
    return root['Root']
"""
    name = aws.make_function(source, TracingConfig={"Mode": "Active"})
    trace, error = aws.invoke(name)
    assert error is None

    def segments() -> list[str]:
        traces = aws.client("xray").batch_get_traces(TraceIds=[trace])["Traces"]
        found = [json.loads(part["Document"])["name"] for item in traces for part in item["Segments"]]
        return sorted(found) if len(found) == 2 else []

    assert wait_for(segments) == sorted(["step", name])
    now = time.time()
    summaries = aws.client("xray").get_trace_summaries(StartTime=now - 60, EndTime=now + 60)
    assert trace in [summary["Id"] for summary in summaries["TraceSummaries"]]
    assert trace in (aws.stack.logs / "xray.jsonl").read_text()
