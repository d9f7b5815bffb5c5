"""Step Functions: executed state machines with JSONata, SageMaker .sync, retries, catches and waits."""

from __future__ import annotations

import json
import time
import uuid
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import traces
from local.testing import wait_for
from local.tests.integration.aws.clients import IMAGE, ROLE, Aws
from local.tests.integration.aws.sagemaker import invoke, make_model, prepare, training_request

pytestmark = pytest.mark.local_stack

LAMBDA = "arn:aws:states:::lambda:invoke"
TRAIN = "arn:aws:states:::sagemaker:createTrainingJob.sync"


def machine(aws: Aws, states: dict[str, Any], **top_level: Any) -> str:
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **top_level}
    arn: str = aws.client("stepfunctions").create_state_machine(
        name=f"machine-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=ROLE
    )["stateMachineArn"]
    return arn


def run(aws: Aws, states: dict[str, Any], given: Any = None, **top_level: Any) -> dict[str, Any]:
    """Execute a state machine to its end; return its description with parsed output."""
    client = aws.client("stepfunctions")
    arn = client.start_execution(
        stateMachineArn=machine(aws, states, **top_level), input=json.dumps(given or {})
    )
    ended: dict[str, Any] = wait_for(lambda: _ended(client, arn["executionArn"]), timeout_s=30)
    if "output" in ended:
        ended["output"] = json.loads(ended["output"])
    print(ended)  # pytest shows this if the test fails
    return ended


def _ended(client: Any, arn: str) -> dict[str, Any] | None:
    execution: dict[str, Any] = client.describe_execution(executionArn=arn)
    return execution if execution["status"] != "RUNNING" else None


def output(aws: Aws, expression: Any, given: Any = None) -> Any:
    ended = run(aws, {"P": {"Type": "Pass", "Output": expression, "End": True}}, given)
    assert ended["status"] == "SUCCEEDED", ended
    return ended["output"]


def test_jsonata_reads_the_input_and_step_functions_own_functions_exist(aws: Aws) -> None:
    given: dict[str, Any] = {"xs": [1, 2, 3], "q": 'a "quoted" \\ \n ☃ 😀', "one": [7], "none": None}
    assert output(
        aws,
        {
            "sum": "{% $sum($states.input.xs) %}",
            "big": "{% $states.input.xs[$ > 1] %}",
            "text": "{% $states.input.q & '!' %}",
            "one": "{% $states.input.one %}",
            "none": "{% $states.input.none %}",
            "all": "{% $merge([$states.input, {'more': true}]).more %}",
            "parsed": "{% $parse('{\"a\": [1]}').a %}",
            "hash": "{% $hash('x', 'SHA-256') %}",
            "uuid": "{% $length($uuid()) %}",
            "parts": "{% $partition([1, 2, 3], 2) %}",
            "range": "{% $range(0, 4, 2) %}",
            "count": "{% $count($states.input.xs) %}",
            "literal": "plain",
        },
        given,
    ) == {
        "sum": 6,
        "big": [2, 3],
        "text": given["q"] + "!",
        "one": [7],
        "none": None,
        "all": True,
        "parsed": [1],
        "hash": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        "uuid": 36,
        "parts": [[1, 2], [3]],
        "range": [0, 2, 4],
        "count": 3,
        "literal": "plain",
    }


def test_an_undefined_expression_fails_the_state_with_a_query_evaluation_error(aws: Aws) -> None:
    ended = run(aws, {"P": {"Type": "Pass", "Output": "{% $states.input.missing %}", "End": True}})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.QueryEvaluationError")


def test_assigned_variables_reach_later_states_and_choices(aws: Aws) -> None:
    states = {
        "A": {
            "Type": "Pass",
            "Assign": {"n": "{% $states.input.n * 2 %}", "run": "{% $states.context.Execution.Name %}"},
            "Next": "C",
        },
        "C": {"Type": "Choice", "Choices": [{"Condition": "{% $n > 5 %}", "Next": "Y"}], "Default": "N"},
        "Y": {"Type": "Pass", "Output": {"n": "{% $n %}", "named": "{% $length($run) %}"}, "End": True},
        "N": {"Type": "Fail", "Error": "TooSmall", "Cause": "{% 'n is ' & $string($n) %}"},
    }
    assert run(aws, states, {"n": 3})["output"] == {"n": 6, "named": 36}
    small = run(aws, states, {"n": 1})
    assert (small["status"], small["error"], small["cause"]) == ("FAILED", "TooSmall", "n is 2")


def test_a_typed_lambda_error_is_retried_and_another_is_caught(aws: Aws) -> None:
    flaky = aws.make_function(
        "import os\n"
        "class WarehouseUnavailable(Exception): pass\n"
        "class NotWorthIt(Exception): pass\n"
        "def handler(event, context):\n"
        "    if event.get('never'): raise NotWorthIt('no')\n"
        "    if not os.path.exists(event['mark']):\n"
        "        open(event['mark'], 'w').close()\n"
        "        raise WarehouseUnavailable('asleep')\n"
        "    return {'rows': 5}"
    )

    def states(payload: dict[str, Any]) -> dict[str, Any]:
        retry = {"ErrorEquals": ["WarehouseUnavailable"], "IntervalSeconds": 1, "MaxAttempts": 2}
        catch = {"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}
        return {
            "L": {
                "Type": "Task",
                "Resource": LAMBDA,
                "Arguments": {"FunctionName": flaky, "Payload": payload},
                "Output": "{% $states.result.Payload %}",
                "Retry": [retry],
                "Catch": [catch],
                "End": True,
            },
            "Caught": {"Type": "Pass", "End": True},
        }

    mark = aws.stack.state / uuid.uuid4().hex
    assert run(aws, states({"mark": str(mark)}))["output"] == {"rows": 5}
    caught = run(aws, states({"never": True}))["output"]
    assert caught["Error"] == "NotWorthIt"
    assert json.loads(caught["Cause"])["errorMessage"] == "no"


def test_a_training_job_is_waited_for_and_its_failure_is_caught_with_its_description(aws: Aws) -> None:
    bucket = prepare(aws)

    def states(do: str) -> dict[str, Any]:
        request = training_request(bucket, f"sync-{uuid.uuid4().hex[:8]}", do=do)
        catch = {
            "ErrorEquals": ["States.TaskFailed"],
            "Output": "{% $states.errorOutput %}",
            "Next": "Caught",
        }
        return {
            "T": {
                "Type": "Task",
                "Resource": TRAIN,
                "TimeoutSeconds": 60,
                "Arguments": request,
                "Output": "{% $states.result %}",
                "Catch": [catch],
                "End": True,
            },
            "Caught": {"Type": "Pass", "End": True},
        }

    trained = run(aws, states("train"))["output"]
    assert trained["TrainingJobStatus"] == "Completed"
    assert trained["ModelArtifacts"]["S3ModelArtifacts"].endswith("/output/model.tar.gz")
    assert trained["FinalMetricDataList"][0]["Value"] == 0.25
    assert isinstance(trained["TrainingEndTime"], int)
    failed = run(aws, states("fail"))["output"]
    assert failed["Error"] == "States.TaskFailed"
    assert json.loads(failed["Cause"])["FailureReason"] == "AlgorithmError: no sessions to train on"


def test_a_timed_out_task_stops_its_job(aws: Aws) -> None:
    bucket, name = prepare(aws), f"slow-{uuid.uuid4().hex[:8]}"
    request = training_request(bucket, name, do="wait")
    task = {"Type": "Task", "Resource": TRAIN, "Arguments": request, "TimeoutSeconds": 3, "End": True}
    ended = run(aws, {"T": task})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    client = aws.client("sagemaker")
    wait_for(lambda: client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Stopped")


def test_a_timeout_is_caught_without_a_cause(aws: Aws) -> None:
    slow = aws.make_function("import time\ndef handler(event, context): time.sleep(3)")
    catch = {
        "ErrorEquals": ["States.Timeout"],
        "Output": "{% {'error': $states.errorOutput.Error, 'caused': $exists($states.errorOutput.Cause)} %}",
        "Next": "Caught",
    }
    states = {
        "L": {
            "Type": "Task",
            "Resource": LAMBDA,
            "Arguments": {"FunctionName": slow},
            "TimeoutSeconds": 1,
            "Catch": [catch],
            "End": True,
        },
        "Caught": {"Type": "Pass", "End": True},
    }
    assert run(aws, states)["output"] == {"error": "States.Timeout", "caused": False}
    text = {**catch, "Output": "{% $string($states.errorOutput.Cause) %}"}
    ended = run(aws, {**states, "L": {**states["L"], "Catch": [text]}})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.QueryEvaluationError")


def test_a_processing_job_and_a_bad_request_of_sagemaker(aws: Aws) -> None:
    def states(name: str) -> dict[str, Any]:
        cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        application = {"ImageUri": IMAGE, "ContainerEntrypoint": ["bash", "-c", "exit 0"]}
        return {
            "P": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
                "Arguments": {
                    "ProcessingJobName": name,
                    "RoleArn": ROLE,
                    "ProcessingResources": {"ClusterConfig": cluster},
                    "AppSpecification": application,
                },
                "Output": "{% $states.result.ProcessingJobStatus %}",
                "End": True,
            }
        }

    name = f"evaluate-{uuid.uuid4().hex[:8]}"
    assert run(aws, states(name))["output"] == "Completed"
    assert run(aws, states(name))["error"] == "SageMaker.ResourceInUseException"
    assert run(aws, states("a_b"))["error"] == "SageMaker.AmazonSageMakerException"


def test_a_model_is_published_and_updated_by_the_state_machine(aws: Aws) -> None:
    bucket, name = prepare(aws), f"published-{uuid.uuid4().hex[:8]}"
    make_model(aws, bucket, name)
    make_model(aws, bucket, f"{name}-2")

    def publish(action: str, config: str) -> dict[str, Any]:
        endpoint = {"EndpointName": name}
        return {
            "Publish": {
                "Type": "Task",
                "Resource": f"arn:aws:states:::sagemaker:{action}",
                "Arguments": {**endpoint, "EndpointConfigName": config},
                "Next": "Wait",
            },
            "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Describe"},
            "Describe": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint",
                "Arguments": endpoint,
                "Output": "{% $states.result.EndpointStatus %}",
                "Next": "Ready?",
            },
            "Ready?": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input in ['Creating', 'Updating'] %}", "Next": "Wait"}],
                "Default": "Done",
            },
            "Done": {"Type": "Pass", "End": True},
        }

    assert run(aws, publish("createEndpoint", name))["output"] == "InService"
    assert run(aws, publish("updateEndpoint", f"{name}-2"))["output"] == "InService"
    assert invoke(aws, name, {"k": 1})["version"] == f"{name}-2"
    aws.client("sagemaker").delete_endpoint(EndpointName=name)


def test_other_services_are_called_directly(aws: Aws) -> None:
    bucket = aws.make_bucket()
    aws.client("s3").put_object(Bucket=bucket, Key="evaluation.json", Body=b'{"passed": true}')
    topic = aws.client("sns").create_topic(Name="from-machine")["TopicArn"]
    states = {
        "Read": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
            "Arguments": {"Bucket": bucket, "Key": "evaluation.json"},
            "Assign": {"evaluation": "{% $parse($states.result.Body) %}"},
            "Next": "Tell",
        },
        "Tell": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sns:publish",
            "Arguments": {"TopicArn": topic, "Message": "{% $string($evaluation) %}"},
            "Output": "{% $evaluation.passed %}",
            "End": True,
        },
    }
    assert run(aws, states)["output"] is True
    last = json.loads((aws.stack.logs / "notifications.jsonl").read_text().splitlines()[-1])
    assert json.loads(last["message"]) == {"passed": True}


def test_branches_and_maps_run_and_a_jsonpath_machine_still_works(aws: Aws) -> None:
    branch = {
        "StartAt": "B",
        "States": {"B": {"Type": "Pass", "Output": "{% $states.input.n %}", "End": True}},
    }
    item = {
        "StartAt": "I",
        "States": {"I": {"Type": "Pass", "Output": "{% $states.input + 1 %}", "End": True}},
    }
    states = {
        "Both": {"Type": "Parallel", "Branches": [branch, branch], "Next": "Each"},
        "Each": {"Type": "Map", "Items": "{% $states.input %}", "ItemProcessor": item, "End": True},
    }
    assert run(aws, states, {"n": 1})["output"] == [2, 2]
    path = {"P": {"Type": "Pass", "Parameters": {"v.$": "$.a[0].b"}, "End": True}}
    assert run(aws, path, {"a": [{"b": 1}]}, QueryLanguage="JSONPath")["output"] == {"v": 1}


def test_execution_names_are_checked_and_unique(aws: Aws) -> None:
    client = aws.client("stepfunctions")
    arn = machine(aws, {"P": {"Type": "Pass", "End": True}})
    names = [client.start_execution(stateMachineArn=arn)["executionArn"] for _ in range(2)]
    assert len(set(names)) == 2
    assert client.start_execution(stateMachineArn=arn, name="nightly")["executionArn"].endswith(":nightly")
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=arn, name="nightly", input='{"other": 1}')
    with pytest.raises(ClientError, match="InvalidName"):
        client.start_execution(stateMachineArn=arn, name="with space")


def test_a_stopped_execution_is_aborted(aws: Aws) -> None:
    client = aws.client("stepfunctions")
    arn = machine(aws, {"W": {"Type": "Wait", "Seconds": 60, "End": True}})
    execution = client.start_execution(stateMachineArn=arn)["executionArn"]
    time.sleep(0.2)
    client.stop_execution(executionArn=execution, error="ByHand", cause="test")
    assert wait_for(lambda: _ended(client, execution))["status"] == "ABORTED"


def test_nothing_follows_the_stop_in_the_history_of_a_stopped_execution(aws: Aws) -> None:
    name = aws.make_function("import time\ndef handler(event, context): time.sleep(2)")
    call = {"Type": "Task", "Resource": LAMBDA, "Arguments": {"FunctionName": name}}
    arn = machine(aws, {"Call": {**call, "Next": "Again"}, "Again": {**call, "End": True}})
    client = aws.client("stepfunctions")
    execution = client.start_execution(stateMachineArn=arn)["executionArn"]
    wait_for(lambda: _types(client, execution)[-1:] == ["TaskStarted"])
    client.stop_execution(executionArn=execution)
    assert wait_for(lambda: _ended(client, execution))["status"] == "ABORTED"
    assert _types(client, execution) == [
        *("ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskStarted", "ExecutionAborted")
    ]


def test_a_failure_after_the_stop_of_an_execution_does_not_hide_the_stop(aws: Aws) -> None:
    name = aws.make_function("import time\ndef handler(event, context): time.sleep(2); raise OSError")
    call = {"Type": "Task", "Resource": LAMBDA, "Arguments": {"FunctionName": name}, "End": True}
    client = aws.client("stepfunctions")
    execution = client.start_execution(stateMachineArn=machine(aws, {"Call": call}))["executionArn"]
    wait_for(lambda: _types(client, execution)[-1:] == ["TaskStarted"])
    client.stop_execution(executionArn=execution)
    assert wait_for(lambda: _ended(client, execution))["status"] == "ABORTED"
    assert _types(client, execution)[-2:] == ["TaskStarted", "ExecutionAborted"]


def test_an_execution_that_is_stopped_at_its_start_is_aborted_before_its_first_task(aws: Aws) -> None:
    call = {"Type": "Task", "Resource": LAMBDA, "Arguments": {"FunctionName": "none"}, "End": True}
    waits = {"Type": "Wait", "Seconds": 1, "Next": "Call"}
    definition = machine(aws, {"Wait": waits, "Call": call})
    client = aws.client("stepfunctions")
    for _ in range(30):
        execution = client.start_execution(stateMachineArn=definition)["executionArn"]
        client.stop_execution(executionArn=execution)
        assert wait_for(partial(_ended, client, execution))["status"] == "ABORTED"
        assert "TaskStateEntered" not in _types(client, execution)


def test_an_execution_that_is_stopped_in_a_map_is_aborted(aws: Aws) -> None:
    states = {"W": {"Type": "Wait", "Seconds": 1, "Next": "P"}, "P": {"Type": "Pass", "End": True}}
    each = {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "W", "States": states}
    items = {"Type": "Map", "Items": "{% [1..40] %}", "ItemProcessor": each, "MaxConcurrency": 2, "End": True}
    definition = machine(aws, {"Each": items})
    client = aws.client("stepfunctions")
    for _ in range(10):
        execution = client.start_execution(stateMachineArn=definition)["executionArn"]
        wait_for(partial(_is_in_map, client, execution))
        client.stop_execution(executionArn=execution)
        assert wait_for(partial(_ended, client, execution))["status"] == "ABORTED"
        assert _types(client, execution)[-1] == "ExecutionAborted"


def _is_in_map(client: Any, execution: str) -> bool:
    return "MapStateStarted" in _types(client, execution)


def _types(client: Any, execution: str) -> list[str]:
    return [event["type"] for event in client.get_execution_history(executionArn=execution)["events"]]


def test_a_traced_execution_is_one_trace_down_to_its_lambdas(aws: Aws) -> None:
    name = aws.make_function(
        "import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']",
        TracingConfig={"Mode": "Active"},
    )
    definition = {
        "QueryLanguage": "JSONata",
        "StartAt": "First",
        "States": {
            "First": {"Type": "Pass", "Next": "Call"},
            "Call": {
                "Type": "Task",
                "Resource": LAMBDA,
                "Arguments": {"FunctionName": name},
                "Output": "{% $states.result.Payload %}",
                "End": True,
            },
        },
    }
    client = aws.client("stepfunctions")
    traced: str = client.create_state_machine(
        name=f"traced-{name}",
        definition=json.dumps(definition),
        roleArn=ROLE,
        tracingConfiguration={"enabled": True},
    )["stateMachineArn"]
    arn = client.start_execution(stateMachineArn=traced)["executionArn"]
    header = json.loads(wait_for(lambda: _ended(client, arn))["output"])
    assert header.endswith("Sampled=1")
    [root] = wait_for(
        lambda: [one for one in traces.read(aws.stack.logs / "xray.jsonl") if one.name == f"traced-{name}"]
    )
    assert [state.name for state in root.below] == ["First", "Call"]
    assert [one.name for one in root.below[1].below] == [name]


def test_cloudformation_fills_in_the_definition_and_does_so_again_when_a_parameter_changes(aws: Aws) -> None:
    name = f"machine-{uuid.uuid4().hex[:8]}"
    arn = f"arn:aws:states:us-east-1:123456789012:stateMachine:{name}"
    states = {"P": {"Type": "Pass", "Output": {"is": "${Topic}, ${Account}, ${Other}"}, "End": True}}
    properties = {
        "StateMachineName": name,
        "RoleArn": ROLE,
        "DefinitionString": json.dumps({"QueryLanguage": "JSONata", "StartAt": "P", "States": states}),
        "DefinitionSubstitutions": {
            "Topic": {"Ref": "Wanted"},
            "Account": {"Fn::Sub": "<${AWS::AccountId}>"},
        },
    }
    template = {
        "Parameters": {"Wanted": {"Type": "String"}},
        "Resources": {"Pipeline": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}},
    }

    def given(wanted: str) -> dict[str, Any]:
        parameter = {"ParameterKey": "Wanted", "ParameterValue": wanted}
        return {"StackName": name, "TemplateBody": json.dumps(template), "Parameters": [parameter]}

    def output_of_p() -> Any:
        found = aws.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
        return json.loads(found["definition"])["States"]["P"]["Output"]

    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(**given("a"))
    assert output_of_p() == {"is": "a, <123456789012>, ${Other}"}
    cloudformation.update_stack(**given("b"))
    assert output_of_p() == {"is": "b, <123456789012>, ${Other}"}


def test_a_fresh_execution_is_listed_after_a_delay(aws: Aws) -> None:
    client = aws.client("stepfunctions")
    arn = machine(aws, {"P": {"Type": "Pass", "End": True}})
    started = client.start_execution(stateMachineArn=arn)["executionArn"]
    assert client.list_executions(stateMachineArn=arn)["executions"] == []
    assert client.describe_execution(executionArn=started)["name"]
    listed = wait_for(lambda: client.list_executions(stateMachineArn=arn)["executions"])
    assert [one["executionArn"] for one in listed] == [started]
