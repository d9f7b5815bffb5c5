"""Transform, Validate and Export as jobs: each runner runs the package of the Lambdas and gives the Lambdas' results."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy import step_jobs, template
from deploy.layer_versions import stored_key
from deploy.stages import Stage as Settings
from deploy.stages import read_stage
from functions.export.export import export
from functions.load.load import load
from functions.transform.transform import transform
from functions.validate.validate import validate
from local import environment
from local.clients import aws_client
from local.testing import wait_for
from testing.warehouse_stack import ACCOUNT, Stack, connected
from tests.integration.warehouse.events import deliver
from tests.integration.warehouse.test_pipeline import golden_events

pytestmark = [pytest.mark.local_stack, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).resolve().parents[3]
# The permissions of the pipeline's role that a job needs beside those that the runner adds.
FOR_JOBS = {"Jobs", "JobEnds", "ActionsWithoutResources"}
LAST = "Export"
LOCAL = read_stage("local")
OWN_WAREHOUSE: Any = {"transform_warehouse_size": "MEDIUM"}


def package() -> bytes:
    """Return the part of Chalice's package that is ours. The Python of this machine has the packages of the layer."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for folder in ("functions", "sql"):
            for path in sorted((REPOSITORY / folder).rglob("*")):
                if path.is_file() and not {"__pycache__", "target", "logs"} & set(path.parts):
                    archive.write(path, path.relative_to(REPOSITORY))
    return out.getvalue()


def empty_layer() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("python/empty.txt", "")
    return out.getvalue()


def definition(stage: Settings) -> str:
    """Return the deployed definition from Prepare to Export, without Lock, Load and the notification."""
    states = json.loads(template.PIPELINE_FILE.read_text())["States"]
    chosen = {name: states[name] for name in ("Prepare", "Transform", "Validate", LAST)}
    held = {"redrives": 0, "failure": {}}
    chosen["Lock"] = {"Type": "Pass", "Assign": held, "Next": "Transform"}
    chosen["Transform"] |= {"Next": "Validate"}
    chosen["Validate"] |= {"Next": LAST}
    chosen[LAST] |= {"Next": "Done"}
    chosen["Done"] = {
        "Type": "Succeed",
        "Output": {
            "transform": "{% $transform %}",
            "validate": "{% $validation %}",
            "export": "{% $snapshot %}",
        },
    }
    chosen["LockHeld?"] = {
        "Type": "Fail",
        "Error": "{% $replace($failure.error, 'States.', '') %}",
        "Cause": "{% $failure.cause %}",
    }
    whole = {"QueryLanguage": "JSONata", "StartAt": "Prepare", "States": chosen}
    text = json.dumps(step_jobs.with_jobs(whole, stage, ACCOUNT))
    for name, value in {
        "ModelsBucket": stage.models_bucket(ACCOUNT),
        "Prefix": stage.prefix,
        "FirstShop": "demo",
        "ProcessingInstanceType": stage.processing_instance_type,
    }.items():
        text = text.replace(f"${{{name}}}", value)
    return text


class Machine:
    """The steps of one stage as a state machine, with the resources that the runner adds to the template."""

    def __init__(self, stage: Settings, aws_url: str) -> None:
        self.stage = stage
        self.cloudformation = aws_client("cloudformation", aws_url)
        self.states = aws_client("stepfunctions", aws_url)
        self.logs = aws_client("logs", aws_url)
        pipeline = template.load_resources()["Resources"]["PipelineRole"]
        (policy,) = pipeline["Properties"]["Policies"]
        statements = policy["PolicyDocument"]["Statement"]
        policy["PolicyDocument"]["Statement"] = [one for one in statements if one.get("Sid") in FOR_JOBS]
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Sid"] == "Jobs":
                # Only the jobs of steps are in this definition.
                statement["Action"] = [action for action in statement["Action"] if "Tuning" not in action]
        resources = {"PipelineRole": pipeline}
        step_jobs.add_resources(resources, stage, ACCOUNT)
        self.cloudformation.create_stack(
            StackName=stage.prefix,
            TemplateBody=json.dumps(
                {
                    "Parameters": {
                        name: {"Type": "String"} for name in ("Stage", "ServingImage", "LogRetentionDays")
                    },
                    "Resources": resources,
                }
            ),
            Parameters=[
                {"ParameterKey": "Stage", "ParameterValue": stage.name},
                {"ParameterKey": "LogRetentionDays", "ParameterValue": "7"},
                {
                    "ParameterKey": "ServingImage",
                    "ParameterValue": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{stage.prefix}-serving:1",
                },
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        self.arn = self.states.create_state_machine(
            name=f"{stage.prefix}-steps",
            definition=definition(stage),
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/{stage.prefix}-pipeline",
        )["stateMachineArn"]

    def run(self, **given: Any) -> dict[str, Any]:
        """Run the steps; return the description of the execution."""
        started = self.states.start_execution(stateMachineArn=self.arn, input=json.dumps(given))

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.states.describe_execution(executionArn=started["executionArn"])
            return found if found["status"] != "RUNNING" else None

        described: dict[str, Any] = wait_for(ended, 200, 0.2)
        print(described)
        return described

    def failures(self, described: dict[str, Any]) -> list[str]:
        """Return the errors of all failed tasks of an execution."""
        history = self.states.get_execution_history(executionArn=described["executionArn"], maxResults=500)
        return [
            event["taskFailedEventDetails"]["error"]
            for event in history["events"]
            if "taskFailedEventDetails" in event
        ]

    def delete(self) -> None:
        """Delete the state machine and its resources, so that the next runner can have their names."""
        self.states.delete_state_machine(stateMachineArn=self.arn)
        self.cloudformation.delete_stack(StackName=self.stage.prefix)


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., Stack]) -> Stack:
    """A loaded database, and the package of the steps in its bucket."""
    made = new_stack("jobs", **OWN_WAREHOUSE)
    for number in (1, 2, 3):
        deliver(made.s3, made.settings.events_bucket, str(number), golden_events(number))
    with connected(made) as connection:
        load({"run_id": "load"}, made.settings, connection)
    stage = replace(LOCAL, name="jobs")
    bucket = made.settings.models_bucket
    made.s3.put_object(Bucket=bucket, Key=step_jobs.PACKAGE_KEY, Body=package())
    made.s3.put_object(Bucket=bucket, Key=stored_key("warehouse", stage), Body=empty_layer())
    return made


def comparable(results: dict[str, Any]) -> dict[str, Any]:
    """Return the results of the steps without their times and without the names of the run."""
    models = results["transform"]["models"]
    return {
        "models": sorted((model["name"], model["status"], model["rows"]) for model in models),
        "passed": results["validate"]["passed"],
        "failures": [text.split(" ")[0] for text in results["validate"]["failures"]],
        "export": {
            name: results["export"][name]
            for name in ("interactions", "sessions", "items", "last_event_time_ms")
        },
    }


@pytest.fixture(scope="module")
def in_lambda(stack: Stack) -> dict[str, Any]:
    """Call the functions as the Lambdas do; return their results."""
    event = {"run_id": "in-lambda", "full_refresh": False, "shop_id": ""}
    transformed = transform(event, stack.settings, stack.credentials)
    with connected(stack) as connection:
        validated = validate(event, stack.settings, stack.credentials, connection, stack.s3)
        exported = export(event, stack.settings, connection, stack.s3)
    return {"transform": transformed, "validate": validated, "export": exported}


@pytest.mark.parametrize("runner", ["codebuild", "sagemaker-processing"])
def test_the_steps_give_as_jobs_what_they_give_as_lambdas(
    stack: Stack, local_stack: environment.Stack, in_lambda: dict[str, Any], runner: Any
) -> None:
    stage = replace(LOCAL, name="jobs", runner=runner, **OWN_WAREHOUSE)
    machine = Machine(stage, local_stack.aws_url)
    try:
        ended = machine.run()
        assert ended["status"] == "SUCCEEDED", ended
        results = json.loads(ended["output"])
        assert comparable(results) == comparable(in_lambda)
        run_id = results["export"]["run_id"]
        found = stack.s3.list_objects_v2(Bucket=stack.settings.models_bucket, Prefix=f"jobs/{run_id}/")
        assert [one["Key"] for one in found["Contents"]] == [
            f"jobs/{run_id}/{step}/0-0.json" for step in ("export", "transform", "validate")
        ]
        if runner == "codebuild":
            refused = machine.run(shop_id="nobody")
            assert (refused["status"], refused["error"]) == ("FAILED", "EmptySnapshot")
            cause = json.loads(refused["cause"])
            assert cause["errorMessage"].startswith("TRAINING.TRAINING_INTERACTIONS holds no session")
            group = f"/aws/codebuild/{stage.prefix}-export"
            streams = machine.logs.describe_log_streams(logGroupName=group)["logStreams"]
            assert len(streams) == 2
    finally:
        machine.delete()


FLAKY = """
import json, os, sys
import boto3
bucket, _, key = os.environ["TUGBOAT_OUTCOME"].removeprefix("s3://").partition("/")
event = json.loads(os.environ["TUGBOAT_EVENT"])
step, number = sys.argv[1], key.rpartition("/")[2]
outcome = {"run_id": event["run_id"], "passed": True, "tried": number}
if step == "transform" and number in ("0-0.json", "0-1.json"):
    outcome = {"errorType": "WarehouseUnavailable", "errorMessage": "Snowflake does not answer"}
if step == "export":
    os._exit(9)
boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(outcome).encode())
sys.exit("errorType" in outcome)
"""


def test_an_error_that_may_pass_starts_the_job_again_and_a_job_that_dies_keeps_its_own_error(
    local_stack: environment.Stack,
) -> None:
    stage = replace(LOCAL, name="flaky", runner="codebuild")
    s3, bucket = aws_client("s3", local_stack.aws_url), stage.models_bucket(ACCOUNT)
    s3.create_bucket(Bucket=bucket)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("functions/__init__.py", "")
        archive.writestr("functions/job.py", FLAKY)
    s3.put_object(Bucket=bucket, Key=step_jobs.PACKAGE_KEY, Body=out.getvalue())
    s3.put_object(Bucket=bucket, Key=stored_key("warehouse", stage), Body=empty_layer())
    machine = Machine(stage, local_stack.aws_url)
    try:
        ended = machine.run()
        assert (ended["status"], ended["error"]) == ("FAILED", "TaskFailed")
        assert json.loads(ended["cause"])["Build"]["ProjectName"] == f"{stage.prefix}-export"
        # Two tries of Transform, the job of Export, and the outcome that it did not write: that is not retried.
        assert machine.failures(ended) == ["States.TaskFailed"] * 3 + ["S3.NoSuchKeyException"]
        keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="jobs/")["Contents"]]
        tries = [key.partition("/")[2].partition("/")[2] for key in keys]
        assert tries == [
            "transform/0-0.json", "transform/0-1.json", "transform/0-2.json", "validate/0-0.json",
        ]  # fmt: skip
    finally:
        machine.delete()
