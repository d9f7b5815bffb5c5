"""Run Transform, Validate and Export as jobs, in a stage whose `runner` is not Lambda.

A Lambda ends after 15 minutes. A job runs the package of the step's Lambda, under the Lambda's policy, with the same event.
It hands its result over through S3, because a `.sync` task returns the description of the job only.
docs/decisions/0045-steps-as-jobs.md gives the reasons.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from deploy import layer_versions, serving_image
from deploy.chalice_cli import REPOSITORY
from deploy.command import DeployError
from deploy.error_handling import (
    RETRY_BUILD,
    RETRY_CALL,
    RETRY_JOB,
    RETRY_LAMBDA,
    TRANSIENT_ERRORS,
    catch,
)
from deploy.lambdas import LAMBDAS, Lambda, common_environment
from deploy.policies import Json, Statement, document, list_bucket, objects, own_log
from deploy.stages import Stage
from functions.platform.contract import CODE_PREFIX, JOBS_PREFIX

STEPS = tuple(one for one in LAMBDAS if one.as_job)
# Chalice makes the package after the template is applied, so its key cannot contain its hash.
PACKAGE_KEY = f"{CODE_PREFIX}steps/functions.zip"
PACKAGES = REPOSITORY / ".chalice" / "deployments"
# Time before a job starts: for a free machine and the container. CodeBuild refuses less than 5 minutes in its queue.
QUEUE_MINUTES = 30
STATE_MARGIN_S = 60
JOB_VOLUME_GB = 30
SAGEMAKER_LOGS = "/aws/sagemaker/ProcessingJobs"
INPUT = "/opt/ml/processing/input"

BUILD_RULE = "arn:aws:events:{region}:{account}:rule/StepFunctionsGetEventForCodeBuildStartBuildRule"
SERVING_IMAGES = "arn:aws:ecr:{region}:{account}:repository/{prefix}-serving"
PULL_IMAGE = (
    Statement(
        "PullImage",
        ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        (SERVING_IMAGES,),
    ),
    Statement("SignInToImages", ("ecr:GetAuthorizationToken",), ("*",)),
)
# An expression that differs between the tries of a step, also after a redrive.
TRY = "$string($redrives) & '-' & $string($step_failures)"
READ_OUTCOMES = (
    Statement("ReadOutcomes", ("s3:GetObject",), (objects("models", f"{JOBS_PREFIX}*"),)),
    # Without it, S3 answers 403 for an outcome that does not exist.
    list_bucket("FindOutcomes", "models", f"{JOBS_PREFIX}*"),
)


class PackageMissing(DeployError):
    """No package on this machine is the one that the Lambda runs."""


def runs_as_job(stage: Stage, step: str) -> bool:
    """Return True if the stage runs this step as a job."""
    return stage.runner != "lambda" and any(one.name == step for one in STEPS)


def step_timeout_s(stage: Stage) -> int:
    """Return the time limit of the longest step."""
    if stage.runner == "lambda":
        return max(one.timeout_s for one in STEPS)
    return stage.job_timeout_minutes * 60


def upload(stage: Stage, bucket: str, lambda_: Any, s3: Any, packages: Path = PACKAGES) -> bool:
    """Upload what the jobs run: the deployed package of their Lambdas, and its layers.

    Returns:
        False if the stage's runner is Lambda.

    Raises:
        PackageMissing: Chalice's package on this machine differs from the deployed one.
    """
    if stage.runner == "lambda":
        return False
    deployed = lambda_.get_function_configuration(FunctionName=STEPS[0].deployed_name(stage))["CodeSha256"]
    s3.put_object(Bucket=bucket, Key=PACKAGE_KEY, Body=_package(packages, deployed))
    for layer in sorted({str(one.layer) for one in STEPS}):
        layer_versions.store(layer, stage, bucket, s3)
    return True


def _package(packages: Path, sha256: str) -> bytes:
    for path in packages.glob("*.zip"):
        content = path.read_bytes()
        if base64.b64encode(hashlib.sha256(content).digest()).decode() == sha256:
            return content
    raise PackageMissing(
        f"none of the packages in {packages} has the hash {sha256} of the deployed Lambda, so its jobs would run other "
        "code. Delete that folder, then deploy again"
    )


def with_jobs(definition: Json, stage: Stage, account_id: str) -> Json:
    """Return the definition with a job in place of each Lambda that the stage's runner replaces.

    A job state is followed by one that reads the step's result. After a failure, two states that all steps share
    read the step's own error, and start the job again if the error may pass.
    """
    if stage.runner == "lambda":
        return definition
    states: Json = {}
    jobs = []
    for name, state in definition["States"].items():
        one = _step_of(state)
        if one is None:
            states[name] = state
        else:
            jobs.append(name)
            states |= {
                name: _job(name, one, state, stage, account_id),
                f"Read{name}": _read(name, state),
            }
    if not jobs:
        return definition
    states |= {"ReadFailure": _read_failure(), "TransientFailure?": _transient_failure(jobs)}
    lock = states["Lock"]
    states["Lock"] = lock | {"Assign": lock["Assign"] | {"step_failures": 0}}
    return definition | {"States": states}


def _step_of(state: Json) -> Lambda | None:
    function = state.get("Arguments", {}).get("FunctionName")
    return next((one for one in STEPS if function == f"${{{one.title}Function}}"), None)


def _job(name: str, one: Lambda, state: Json, stage: Stage, account_id: str) -> Json:
    event = ", ".join(
        f"'{key}': {_expression(value)}" for key, value in state["Arguments"]["Payload"].items()
    )
    key = f"'{JOBS_PREFIX}' & $run_id & '/{one.name}/' & {TRY} & '.json'"
    outcome = {"outcome_key": f"{{% {key} %}}"}
    failed = catch(name, "ReadFailure", resume=name)
    given = {
        "TUGBOAT_EVENT": f"{{% $string({{{event}}}) %}}",
        "TUGBOAT_OUTCOME": f"{{% 's3://${{ModelsBucket}}/' & {key} %}}",
    }
    call = (
        {
            "Resource": "arn:aws:states:::codebuild:startBuild.sync",
            "Arguments": {
                "ProjectName": one.deployed_name(stage),
                "EnvironmentVariablesOverride": [
                    {"Name": key, "Type": "PLAINTEXT", "Value": value} for key, value in given.items()
                ],
            },
            "Retry": [RETRY_BUILD],
        }
        if stage.runner == "codebuild"
        else {
            "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
            "Arguments": _processing_job(one, stage, account_id, given),
            "Retry": [RETRY_JOB],
        }
    )
    limit_s = step_timeout_s(stage) + QUEUE_MINUTES * 60 + STATE_MARGIN_S
    return {
        "Type": "Task",
        **call,
        "TimeoutSeconds": limit_s,
        "Assign": outcome,
        "Catch": [failed | {"Assign": failed["Assign"] | outcome}],
        "Next": f"Read{name}",
    }


def _environment(one: Lambda, stage: Stage, account_id: str) -> dict[str, str]:
    return common_environment(stage) | one.environment(stage, account_id)


def _expression(value: Any) -> str:
    """Return a value of a payload as JSONata."""
    found = re.fullmatch(r"\{%(.*)%\}", value) if isinstance(value, str) else None
    if found is None:
        raise DeployError(
            f"the payload {value!r} of a step that runs as a job is no expression: write {{% ... %}}"
        )
    return found[1].strip()


def _processing_job(one: Lambda, stage: Stage, account_id: str, given: dict[str, str]) -> Json:
    # SageMaker copies inputs and unpacks none. An argument has at most 256 characters, and so has a variable.
    script = (
        f"set -e; cd {INPUT}; python3 -m zipfile -e functions/functions.zip code; "
        f"python3 -m zipfile -e layer/*.zip layer; exec python3 -m functions.job {one.name}"
    )
    bucket = stage.models_bucket(account_id)
    inputs = {"functions": PACKAGE_KEY, "layer": layer_versions.stored_key(str(one.layer), stage)}
    return {
        "ProcessingJobName": f"{{% '${{Prefix}}-' & $run_id & '-{one.name}-' & {TRY} & '-' & "
        "$string($states.context.State.RetryCount) %}",
        "RoleArn": f"arn:aws:iam::{account_id}:role/{job_role(one, stage)}",
        "AppSpecification": {
            "ImageUri": serving_image.address(stage, account_id),
            "ContainerEntrypoint": ["/bin/sh", "-c", script],
        },
        "Environment": _environment(one, stage, account_id)
        | given
        | {"PYTHONPATH": f"{INPUT}/code:{INPUT}/layer/python"},
        "ProcessingInputs": [
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": f"s3://{bucket}/{key}",
                    "LocalPath": f"{INPUT}/{name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for name, key in inputs.items()
        ],
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "${ProcessingInstanceType}",
                "VolumeSizeInGB": JOB_VOLUME_GB,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": step_timeout_s(stage)},
    }


def _read(name: str, state: Json) -> Json:
    """Return the state that reads the result of a job, as the Lambda's state has it in `$states.result.Payload`."""

    def parsed(value: Any) -> Any:
        return value.replace("$states.result.Payload", "$parse($states.result.Body)")

    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
        "Arguments": {"Bucket": "${ModelsBucket}", "Key": "{% $outcome_key %}"},
        "TimeoutSeconds": 60,
        "Assign": {key: parsed(value) for key, value in state["Assign"].items()} | {"step_failures": 0},
        "Output": parsed(state["Output"]),
        "Retry": [RETRY_CALL],
        "Catch": [catch(f"Read{name}", state["Catch"][-1]["Next"], resume=name)],
        "Next": state["Next"],
    }


def _read_failure() -> Json:
    error = "$parse($states.result.Body).errorType"
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
        "Arguments": {"Bucket": "${ModelsBucket}", "Key": "{% $outcome_key %}"},
        "TimeoutSeconds": 60,
        # A step that succeeded wrote no errorType: its job was then stopped, and $failure has the reason already.
        "Assign": {
            "failure": f"{{% $exists({error}) ? {{'state': $failure.state, 'error': {error}, "
            "'cause': $states.result.Body} : $failure %}"
        },
        # A job that was stopped, or never started, wrote no outcome.
        "Retry": [{"ErrorEquals": ["S3.NoSuchKeyException"], "MaxAttempts": 0}, RETRY_CALL],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "LockHeld?"}],
        "Next": "TransientFailure?",
    }


def _transient_failure(jobs: list[str]) -> Json:
    transient = ", ".join(f"'{error}'" for error in TRANSIENT_ERRORS)
    again = f"$failure.error in [{transient}] and $step_failures < {RETRY_LAMBDA['MaxAttempts']}"
    return {
        "Type": "Choice",
        "Choices": [
            {
                "Condition": f"{{% $failure.state = '{name}' and {again} %}}",
                "Assign": {"step_failures": "{% $step_failures + 1 %}"},
                "Next": name,
            }
            for name in jobs
        ],
        "Default": "LockHeld?",
    }


def job_role(one: Lambda, stage: Stage) -> str:
    """Return the name of the role of a step's job."""
    return f"{one.deployed_name(stage)}-job"


def add_resources(resources: Json, stage: Stage, account_id: str) -> None:
    """Add what the stage's runner needs to the resources of a template: roles, build projects, log groups, permissions."""
    if stage.runner == "lambda":
        return
    for one in STEPS:
        resources[f"{one.title}JobRole"] = _role(one, stage, account_id)
        if stage.runner == "codebuild":
            resources[f"{one.title}JobLogs"] = {
                "Type": "AWS::Logs::LogGroup",
                "Properties": {
                    "LogGroupName": _build_logs(one, stage),
                    "RetentionInDays": {"Ref": "LogRetentionDays"},
                },
            }
            resources[f"{one.title}Job"] = _project(one, stage, account_id)
    resources["PipelineRole"]["Properties"]["Policies"].append(
        {
            "PolicyName": "run-steps-as-jobs",
            "PolicyDocument": document(_pipeline_statements(stage), stage, account_id),
        }
    )


def _pipeline_statements(stage: Stage) -> tuple[Statement, ...]:
    if stage.runner == "codebuild":
        projects = tuple(
            f"arn:aws:codebuild:{{region}}:{{account}}:project/{{prefix}}-{one.name}" for one in STEPS
        )
        # https://docs.aws.amazon.com/step-functions/latest/dg/connect-codebuild.html
        builds = ("codebuild:BatchGetBuilds", "codebuild:StartBuild", "codebuild:StopBuild")
        rule = ("events:DescribeRule", "events:PutRule", "events:PutTargets")
        return (
            *READ_OUTCOMES,
            Statement("Builds", builds, projects),
            Statement("BuildEnds", rule, (BUILD_RULE,)),
        )
    roles = tuple(f"arn:aws:iam::{{account}}:role/{{prefix}}-{one.name}-job" for one in STEPS)
    to_sagemaker = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    return (*READ_OUTCOMES, Statement("StepRoles", ("iam:PassRole",), roles, to_sagemaker))


def _role(one: Lambda, stage: Stage, account_id: str) -> Json:
    """Return the role of a step's job: the policy of its Lambda, and what the runner needs to start it."""
    package = (
        objects("models", PACKAGE_KEY),
        objects("models", layer_versions.stored_key(str(one.layer), stage)),
    )
    handed_over = objects("models", f"{JOBS_PREFIX}*/{one.name}/*")
    statements = (
        *one.policy,
        Statement("HandOver", ("s3:PutObject",), (handed_over,)),
        *PULL_IMAGE,
        *(
            _for_codebuild(one, stage, package)
            if stage.runner == "codebuild"
            else _for_sagemaker(stage, package)
        ),
    )
    service = "codebuild" if stage.runner == "codebuild" else "sagemaker"
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": account_id}},
    }
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": job_role(one, stage),
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
            "Policies": [
                {"PolicyName": f"run-{one.name}", "PolicyDocument": document(statements, stage, account_id)}
            ],
        },
    }


def _for_codebuild(one: Lambda, stage: Stage, package: tuple[str, ...]) -> tuple[Statement, ...]:
    """https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html ."""
    bucket = "arn:aws:s3:::{prefix}-models-{account}"
    return (
        Statement("ReadPackage", ("s3:GetObject", "s3:GetObjectVersion"), package),
        Statement("FindPackage", ("s3:GetBucketAcl", "s3:GetBucketLocation"), (bucket,)),
        own_log(_build_logs(one, stage)),
    )


def _for_sagemaker(stage: Stage, package: tuple[str, ...]) -> tuple[Statement, ...]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html ."""
    prefixes = sorted({resource.partition("/")[2] for resource in package})
    logs = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
    group = f"arn:aws:logs:{{region}}:{{account}}:log-group:{SAGEMAKER_LOGS}:*"
    in_namespace = {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
    return (
        Statement("ReadPackage", ("s3:GetObject",), package),
        list_bucket("FindPackage", "models", *prefixes),
        Statement("OwnLog", logs, (group,)),
        Statement("Metrics", ("cloudwatch:PutMetricData",), ("*",), in_namespace),
    )


def _build_logs(one: Lambda, stage: Stage) -> str:
    return f"/aws/codebuild/{one.deployed_name(stage)}"


def _project(one: Lambda, stage: Stage, account_id: str) -> Json:
    """Return the CodeBuild project of a step. CodeBuild unpacks both zips, and runs the command beside the package."""
    bucket = stage.models_bucket(account_id)
    layer = layer_versions.stored_key(str(one.layer), stage)
    command = (
        f'PYTHONPATH="$CODEBUILD_SRC_DIR:$CODEBUILD_SRC_DIR_layer/python" python3 -m functions.job {one.name}'
    )
    return {
        "Type": "AWS::CodeBuild::Project",
        "Properties": {
            "Name": one.deployed_name(stage),
            "Description": f"Runs {one.title} as a job, because the setting runner is codebuild.",
            "ServiceRole": {"Fn::GetAtt": [f"{one.title}JobRole", "Arn"]},
            "Source": {
                "Type": "S3",
                "Location": f"{bucket}/{PACKAGE_KEY}",
                "BuildSpec": f"version: 0.2\nphases:\n  build:\n    commands:\n      - {command}\n",
            },
            "SecondarySources": [
                {"Type": "S3", "Location": f"{bucket}/{layer}", "SourceIdentifier": "layer"}
            ],
            "Artifacts": {"Type": "NO_ARTIFACTS"},
            # The serving image has the Python of the Lambdas, for which the package was made.
            "Environment": {
                "Type": "LINUX_CONTAINER",
                "ComputeType": "BUILD_GENERAL1_SMALL",
                "Image": {"Ref": "ServingImage"},
                "ImagePullCredentialsType": "SERVICE_ROLE",
                "EnvironmentVariables": [
                    {"Name": name, "Value": value}
                    for name, value in _environment(one, stage, account_id).items()
                ],
            },
            "TimeoutInMinutes": stage.job_timeout_minutes,
            "QueuedTimeoutInMinutes": QUEUE_MINUTES,
            "LogsConfig": {
                "CloudWatchLogs": {"Status": "ENABLED", "GroupName": {"Ref": f"{one.title}JobLogs"}}
            },
        },
    }
