"""The states and resources of a stage whose long steps run as jobs."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonata
import pytest

from deploy import build_layers, lambdas, step_jobs, template
from deploy.deployment import LAMBDA_RULES
from deploy.error_handling import PIPELINE_FILE, TRANSIENT_ERRORS
from deploy.layer_versions import stored_key
from deploy.stages import read_stage
from deploy.warehouse_setup import setup_parameters
from functions.platform.warehouse import Credentials

DEV, ACCOUNT = read_stage("dev"), "210987654321"
PLAIN: dict[str, Any] = json.loads(PIPELINE_FILE.read_text())
RUNNERS = ("codebuild", "sagemaker-processing")
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AppSpecification.html and API_CreateProcessingJob.html
TEXT_MAX = 256
JOB_NAME_MAX = 63
LOGIN = Credentials("a", "U", "key", "TUGBOAT_DEV", "TUGBOAT_DEV", "TUGBOAT_DEV")


def definition(runner: Any) -> dict[str, Any]:
    return step_jobs.with_jobs(PLAIN, replace(DEV, runner=runner), ACCOUNT)


def resources(runner: Any) -> dict[str, Any]:
    body = json.loads(template.render(replace(DEV, runner=runner), ACCOUNT))
    found: dict[str, Any] = body["Resources"]
    return found


def targets(state: dict[str, Any]) -> Iterator[str]:
    yield from (state[key] for key in ("Next", "Default") if key in state)
    yield from (rule["Next"] for rule in [*state.get("Choices", []), *state.get("Catch", [])])


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for policy in role["Properties"]["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def test_a_stage_with_lambdas_deploys_the_definition_as_it_stands_in_the_file() -> None:
    assert definition("lambda") == PLAIN
    assert not [name for name in resources("lambda") if "Job" in name]


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_transition_of_the_jobs_leads_to_a_state_and_every_state_is_reached(runner: str) -> None:
    states = definition(runner)["States"]
    seen, waiting = set(), [PLAIN["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(targets(states[name]))
    assert seen == set(states)
    added = set(states) - set(PLAIN["States"])
    assert added == {"ReadTransform", "ReadValidate", "ReadExport", "ReadFailure", "TransientFailure?"}


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_states_of_jobs_assign_the_variables_of_the_lambdas_and_go_on_as_they_do(runner: str) -> None:
    states = definition(runner)["States"]
    for name in ("Transform", "Validate", "Export"):
        plain, read = PLAIN["States"][name], states[f"Read{name}"]
        assert states[name]["Next"] == f"Read{name}"
        assert read["Next"] == plain["Next"]
        assert set(read["Assign"]) == set(plain["Assign"]) | {"step_failures"}
        (variable,) = plain["Assign"]
        assert read["Assign"][variable] == "{% $parse($states.result.Body) %}"
        assert read["Catch"][-1]["Next"] == plain["Catch"][-1]["Next"]


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_expression_of_the_jobs_is_jsonata(runner: str) -> None:
    text = json.dumps(definition(runner))
    found = re.findall(r'"\{%(.*?)%\}"', text)
    assert len(found) > 100
    for expression in found:
        jsonata.Jsonata(re.sub(r"\$\{\w+\}", "x", json.loads(f'"{expression}"')))


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_event_of_a_job_is_the_payload_of_the_lambda(runner: str) -> None:
    for name in ("Transform", "Validate", "Export"):
        arguments = definition(runner)["States"][name]["Arguments"]
        given = arguments.get("Environment") or {
            one["Name"]: one["Value"] for one in arguments["EnvironmentVariablesOverride"]
        }
        expression = jsonata.Jsonata(given["TUGBOAT_EVENT"].removeprefix("{%").removesuffix("%}"))
        expression.assign("run_id", "r1")
        expression.assign("redrives", 2)
        expression.assign("states", {"context": {"Execution": {"RedriveCount": 2}}})
        expression.assign("options", {"full_refresh": True, "shop_id": "demo"})
        event = json.loads(expression.evaluate({}))
        assert event.keys() == PLAIN["States"][name]["Arguments"]["Payload"].keys()
        assert event["run_id"] == "r1"


def test_errors_that_may_pass_start_the_job_again_as_often_as_a_lambda_is_tried_again() -> None:
    choices = definition("codebuild")["States"]["TransientFailure?"]["Choices"]
    for choice in choices:
        for error in TRANSIENT_ERRORS:
            condition = choice["Condition"].removeprefix("{%").removesuffix("%}")
            for failures, again in ((0, True), (3, True), (4, False)):
                expression = jsonata.Jsonata(condition)
                expression.assign("failure", {"state": choice["Next"], "error": error})
                expression.assign("step_failures", failures)
                assert expression.evaluate({}) is again
        assert choice["Assign"] == {"step_failures": "{% $step_failures + 1 %}"}
    assert [choice["Next"] for choice in choices] == ["Transform", "Validate", "Export"]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_job_has_the_policy_of_its_lambda_and_no_right_on_another_step_s_outcome(runner: str) -> None:
    for name in ("transform", "validate", "export"):
        one = lambdas.named(name)
        granted = statements(resources(runner)[f"{one.title}JobRole"])
        by_sid = {statement["Sid"]: statement for statement in granted}
        policy = json.loads(one.rendered_policy(DEV, ACCOUNT))["Statement"]
        for statement in policy:
            if statement["Sid"] not in ("OwnLog", "Traces"):
                assert by_sid[statement["Sid"]] == statement
        assert by_sid["HandOver"]["Resource"] == [
            f"arn:aws:s3:::tugboat-dev-models-{ACCOUNT}/jobs/*/{name}/*"
        ]
        for statement in granted:
            assert not [action for action in statement["Action"] if "*" in action]
            if statement["Resource"] == ["*"]:
                assert set(statement["Action"]) <= {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}


@pytest.mark.parametrize(
    ("runner", "service"), [("codebuild", "codebuild"), ("sagemaker-processing", "sagemaker")]
)
def test_only_the_runner_s_service_takes_the_role_of_a_job_and_only_for_this_account(
    runner: str, service: str
) -> None:
    for name in ("Transform", "Validate", "Export"):
        trust = resources(runner)[f"{name}JobRole"]["Properties"]["AssumeRolePolicyDocument"]
        (statement,) = trust["Statement"]
        assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_the_pipeline_starts_the_builds_of_the_steps_only() -> None:
    granted = {one["Sid"]: one for one in statements(resources("codebuild")["PipelineRole"])}
    projects = [
        f"arn:aws:codebuild:us-east-1:{ACCOUNT}:project/tugboat-dev-{one.name}" for one in step_jobs.STEPS
    ]
    assert granted["Builds"]["Resource"] == projects
    named = {
        found["Properties"]["Name"]
        for found in resources("codebuild").values()
        if found["Type"] == "AWS::CodeBuild::Project" and isinstance(found["Properties"]["Name"], str)
    }
    assert named == {project.partition("/")[2] for project in projects}


def test_the_pipeline_passes_the_roles_of_the_steps_to_sagemaker_only() -> None:
    granted = {one["Sid"]: one for one in statements(resources("sagemaker-processing")["PipelineRole"])}
    assert granted["StepRoles"]["Action"] == ["iam:PassRole"]
    assert granted["StepRoles"]["Condition"] == {
        "StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}
    }
    assert all(role.endswith("-job") for role in granted["StepRoles"]["Resource"])


def test_a_processing_job_keeps_to_the_limits_of_sagemaker() -> None:
    longest = replace(DEV, name="a" * 16, runner="sagemaker-processing")
    for name in ("Transform", "Validate", "Export"):
        arguments = step_jobs.with_jobs(PLAIN, longest, ACCOUNT)["States"][name]["Arguments"]
        assert max(map(len, arguments["AppSpecification"]["ContainerEntrypoint"])) <= TEXT_MAX
        plain = [value for value in arguments["Environment"].values() if not value.startswith("{%")]
        assert max(map(len, plain)) <= TEXT_MAX
        expression = jsonata.Jsonata(
            arguments["ProcessingJobName"][2:-2]
            .replace("${Prefix}", longest.prefix)
            .replace("$states.context", "$context")
        )
        expression.assign("run_id", "20261129-0123456789ab")
        expression.assign("step_failures", 4)
        expression.assign("redrives", 9)
        expression.assign("context", {"Execution": {"RedriveCount": 9}, "State": {"RetryCount": 4}})
        assert len(expression.evaluate({})) <= JOB_NAME_MAX


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_time_limits_follow_the_setting_and_a_statement_ends_before_its_step(runner: Any) -> None:
    stage = replace(DEV, runner=runner, job_timeout_minutes=480)
    job = step_jobs.with_jobs(PLAIN, stage, ACCOUNT)["States"]["Transform"]
    assert job["TimeoutSeconds"] > 480 * 60 + step_jobs.QUEUE_MINUTES * 60
    if runner == "codebuild":
        body = json.loads(template.render(stage, ACCOUNT))
        assert body["Resources"]["TransformJob"]["Properties"]["TimeoutInMinutes"] == 480
    else:
        assert job["Arguments"]["StoppingCondition"] == {"MaxRuntimeInSeconds": 480 * 60}
    assert setup_parameters(stage, ACCOUNT, LOGIN)["statement_timeout_seconds"] == str(480 * 60 - 60)
    assert setup_parameters(DEV, ACCOUNT, LOGIN)["statement_timeout_seconds"] == "840"


def test_an_event_rule_starts_no_step_that_can_be_a_job() -> None:
    assert not {name for _, name in LAMBDA_RULES} & {one.name for one in step_jobs.STEPS}


class Deployed:
    """Lambda with one deployed package."""

    def __init__(self, package: bytes) -> None:
        self.sha256 = base64.b64encode(hashlib.sha256(package).digest()).decode()

    def get_function_configuration(self, **_: Any) -> dict[str, str]:
        return {"CodeSha256": self.sha256}


class Bucket:
    """S3 with the layer already stored."""

    def __init__(self) -> None:
        self.put: dict[str, bytes] = {}

    def head_object(self, **_: Any) -> dict[str, Any]:
        return {}

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.put[Key] = Body


def test_the_jobs_get_the_package_that_the_lambdas_run(tmp_path: Path) -> None:
    for name, content in (("old", b"old"), ("new", b"new")):
        (tmp_path / f"{name}-python3.11.zip").write_bytes(content)
    stage, s3 = replace(DEV, runner="codebuild"), Bucket()
    assert step_jobs.upload(stage, "models", Deployed(b"new"), s3, tmp_path)
    assert s3.put == {step_jobs.PACKAGE_KEY: b"new"}
    assert not step_jobs.upload(DEV, "models", Deployed(b"new"), Bucket(), tmp_path)


def test_a_package_that_is_not_the_deployed_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.zip").write_bytes(b"other")
    stage = replace(DEV, runner="codebuild")
    with pytest.raises(step_jobs.PackageMissing, match="then deploy again"):
        step_jobs.upload(stage, "models", Deployed(b"new"), Bucket(), tmp_path)


def test_the_layer_of_the_jobs_is_the_one_of_the_lambdas() -> None:
    assert {one.layer for one in step_jobs.STEPS} == {"warehouse"}
    assert build_layers.digest("warehouse") in stored_key("warehouse", DEV)
