"""CodeBuild runs the commands of a buildspec, and Step Functions waits for a build."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from local.testing import wait_for
from local.tests.integration.aws.clients import ROLE, Aws, make_zip

pytestmark = pytest.mark.local_stack


@pytest.fixture(scope="module")
def bucket(aws: Aws) -> str:
    return aws.make_bucket()


def make_project(aws: Aws, bucket: str, *commands: str, role: str = ROLE) -> str:
    """Create a project from a template, whose second source holds one word."""
    name = f"project-{uuid.uuid4().hex[:8]}"
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key=f"{name}/main.zip", Body=make_zip({"word.txt": "first\n"}))
    s3.put_object(Bucket=bucket, Key=f"{name}/more.zip", Body=make_zip({"word.txt": "second\n"}))
    spec = {"version": 0.2, "phases": {"build": {"commands": list(commands)}}}
    properties = {
        "Name": name,
        "ServiceRole": role,
        "Source": {"Type": "S3", "Location": f"{bucket}/{name}/main.zip", "BuildSpec": json.dumps(spec)},
        "SecondarySources": [
            {"Type": "S3", "Location": f"{bucket}/{name}/more.zip", "SourceIdentifier": "more"}
        ],
        "Artifacts": {"Type": "NO_ARTIFACTS"},
        "Environment": {
            "Type": "LINUX_CONTAINER",
            "ComputeType": "BUILD_GENERAL1_SMALL",
            "Image": "aws/codebuild/amazonlinux-x86_64-standard:5.0",
            "EnvironmentVariables": [
                {"Name": "KEPT", "Value": "of the project"},
                {"Name": "REPLACED", "Value": "of the project"},
            ],
        },
        "TimeoutInMinutes": 15,
    }
    resource = {"Type": "AWS::CodeBuild::Project", "Properties": properties}
    aws.client("cloudformation").create_stack(
        StackName=name, TemplateBody=json.dumps({"Resources": {"Project": resource}})
    )
    return name


def make_machine(aws: Aws, project: str, *, role: str = ROLE, timeout_s: int = 60) -> str:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::codebuild:startBuild.sync",
        "Arguments": {
            "ProjectName": project,
            "EnvironmentVariablesOverride": [
                {"Name": "REPLACED", "Type": "PLAINTEXT", "Value": "{% $states.input.word %}"}
            ],
        },
        "TimeoutSeconds": timeout_s,
        "End": True,
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Build", "States": {"Build": state}}
    made = aws.client("stepfunctions").create_state_machine(
        name=f"machine-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=role
    )
    return str(made["stateMachineArn"])


def run(aws: Aws, machine: str) -> dict[str, Any]:
    states = aws.client("stepfunctions")
    started = states.start_execution(stateMachineArn=machine, input='{"word": "of the execution"}')

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = states.describe_execution(executionArn=started["executionArn"])
        return found if found["status"] != "RUNNING" else None

    return dict(wait_for(ended, 30, 0.05))


def log_of(aws: Aws, build: dict[str, Any]) -> list[str]:
    events = aws.client("logs").get_log_events(
        logGroupName=build["Logs"]["GroupName"], logStreamName=build["Logs"]["StreamName"]
    )["events"]
    return [event["message"] for event in events]


def test_commands_run_beside_their_sources_and_the_task_returns_the_build(aws: Aws, bucket: str) -> None:
    project = make_project(
        aws,
        bucket,
        'echo "$KEPT, $REPLACED"',
        "cat word.txt $CODEBUILD_SRC_DIR_more/word.txt",
        "echo $AWS_ACCESS_KEY_ID",
    )
    ended = run(aws, make_machine(aws, project))
    assert ended["status"] == "SUCCEEDED", ended
    build = json.loads(ended["output"])["Build"]
    assert (build["BuildStatus"], build["ProjectName"], build["BuildComplete"]) == (
        "SUCCEEDED",
        project,
        True,
    )
    log = log_of(aws, build)
    assert log[:3] == ["of the project, of the execution", "first", "second"]
    assert log[3].startswith("ASIA"), "the commands act under a session of the project's role"


def test_a_command_that_fails_fails_the_task_with_the_build_as_its_cause(aws: Aws, bucket: str) -> None:
    project = make_project(aws, bucket, "echo went wrong", "exit 3", "echo never")
    ended = run(aws, make_machine(aws, project))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    build = json.loads(ended["cause"])["Build"]
    assert build["BuildStatus"] == "FAILED"
    (phase,) = (one for one in build["Phases"] if one.get("PhaseStatus") == "FAILED")
    assert "exit status 3" in phase["Contexts"][0]["Message"]
    assert "never" not in log_of(aws, build)


def test_a_task_that_times_out_stops_its_build(aws: Aws, bucket: str) -> None:
    project = make_project(aws, bucket, "sleep 60")
    ended = run(aws, make_machine(aws, project, timeout_s=1))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    client = aws.client("codebuild")
    (build_id,) = client.list_builds_for_project(projectName=project)["ids"]
    found = wait_for(
        lambda: (
            next(one for one in client.batch_get_builds(ids=[build_id])["builds"])["buildStatus"]
            != "IN_PROGRESS"
        )
    )
    assert found
    assert client.batch_get_builds(ids=[build_id])["builds"][0]["buildStatus"] == "STOPPED"


def test_a_project_that_does_not_exist_has_the_error_of_step_functions(aws: Aws) -> None:
    ended = run(aws, make_machine(aws, "missing-project"))
    assert ended["error"] == "CodeBuild.ResourceNotFoundException"


def test_a_role_without_the_rule_of_builds_cannot_own_the_state_machine(aws: Aws) -> None:
    allowed = {"Effect": "Allow", "Action": "codebuild:StartBuild", "Resource": "*"}
    role = aws.make_role(f"no-rule-{uuid.uuid4().hex[:6]}", allowed)
    with pytest.raises(Exception, match="StepFunctionsGetEventForCodeBuildStartBuildRule"):
        make_machine(aws, "any", role=role)


def test_a_role_that_may_not_start_the_build_fails_the_task(aws: Aws, bucket: str) -> None:
    rule = {"Effect": "Allow", "Action": "events:*", "Resource": "*"}
    role = aws.make_role(f"no-start-{uuid.uuid4().hex[:6]}", rule)
    project = make_project(aws, bucket, "true")
    ended = run(aws, make_machine(aws, project, role=role))
    assert ended["status"] == "FAILED"
    assert "codebuild:StartBuild" in ended["cause"]
