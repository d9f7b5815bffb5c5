"""Deploys a stage: the CloudFormation stack, the training code, the serving image, the layers, then Chalice's Lambdas and API.

Everything can be repeated: what is there already is left as it is.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from functions.platform.contract import CHAMPION_PREFIX
from statemachine import (
    chalice_config,
    gateway_responses,
    layer_versions,
    layers,
    serving_image,
    stack,
    template,
    warehouse,
)
from statemachine.stages import Stage, StageError, read_stage, require_keys, training_image

REPOSITORY = Path(__file__).resolve().parent.parent
DEPLOYED = REPOSITORY / ".chalice" / "deployed"


class DeployError(Exception):
    """A prerequisite is missing or a step failed; the message ends with the next step to take."""


# What is told as it is; anything else is a bug and shows its traceback.
FAILURES = (
    DeployError,
    StageError,
    layers.LayerError,
    serving_image.ImageError,
    stack.StackError,
    template.TemplateError,
    warehouse.SetUpError,
)


class Progress:
    """Prints what is done, with the seconds since the start."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def __call__(self, message: str) -> None:
        print(f"[{time.monotonic() - self.started:6.1f} s] {message}", flush=True)


def account_of(stage: Stage, sts: Any) -> str:
    """The account that the credentials belong to.

    Raises:
        DeployError: there are no usable credentials, or they are of another account than the stage's.
    """
    try:
        account_id = str(sts.get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise DeployError(
            f"AWS does not know who is deploying: {error}. Sign in (aws sso login, or AWS_PROFILE), "
            "or for the local stage start it and take its environment: python -m local up"
        ) from error
    if stage.account_id and stage.account_id != account_id:
        raise DeployError(
            f"stage {stage.name} belongs to account {stage.account_id}, the credentials to {account_id}: "
            "change AWS_PROFILE, or account_id in statemachine/stages.toml"
        )
    return account_id


def require_secret(stage: Stage, secrets: Any) -> None:
    """Checks that the stage's Snowflake login is stored.

    Raises:
        DeployError: it is not.
    """
    try:
        secrets.describe_secret(SecretId=stage.secret_name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise DeployError(
            f"there is no secret {stage.secret_name} with the Snowflake login. Create it:\n"
            f"  aws secretsmanager create-secret --region {stage.region} --name {stage.secret_name} "
            "--secret-string file://snowflake.json\n"
            'where snowflake.json holds {"account", "user", "private_key_pem", "role", "warehouse", "database"}; '
            "docs/deploy.md tells where each comes from"
        ) from None


def stack_parameters(stage: Stage, account_id: str, code_digest: str) -> dict[str, str]:
    """The template's parameters."""
    code = f"s3://{stage.models_bucket(account_id)}/code/{code_digest}"
    return {
        "Stage": stage.name,
        "EventsBufferSeconds": str(stage.events_buffer_seconds),
        "EventsBufferMegabytes": str(stage.events_buffer_megabytes),
        "RejectedExpireDays": str(stage.rejected_expire_days),
        "ExportsExpireDays": str(stage.exports_expire_days),
        "LogRetentionDays": str(stage.log_retention_days),
        "NotificationEmail": stage.notification_email,
        "SnowflakeUserArn": stage.snowflake_user_arn,
        "SnowflakeExternalId": stage.snowflake_external_id,
        "ScheduleExpression": stage.schedule,
        "ScheduleState": "ENABLED" if stage.schedule_enabled else "DISABLED",
        "LoadOnArrivalState": "ENABLED" if stage.load_on_arrival else "DISABLED",
        "TrainingImage": training_image(stage),
        "TrainingInstanceType": stage.training_instance_type,
        "ProcessingInstanceType": stage.processing_instance_type,
        "EndpointPollSeconds": str(stage.endpoint_poll_seconds),
        "UseSpot": str(stage.use_spot).lower(),
        "CodeUri": f"{code}.tar.gz",
        "CodePrefix": f"{code}/",
        "ServingImage": serving_image.address(stage, account_id),
        "ServingImageSource": f"{stage.models_bucket(account_id)}/{serving_image.source_key()}",
        "ApiStage": stage.api_stage,
        "NoEventsHours": str(stage.no_events_hours),
        "ApiLatencyMs": str(stage.api_latency_ms),
    }


def upload_code(archive: bytes, digest: str, bucket: str, s3: Any) -> bool:
    """Puts the training code below code/, as an archive for training jobs and as files for processing jobs.

    The archive goes last: where it is, all is.
    """
    if _exists(s3, bucket, f"code/{digest}.tar.gz"):
        return False
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                s3.put_object(
                    Bucket=bucket, Key=f"code/{digest}/{member.name.removeprefix('./')}", Body=content.read()
                )
    s3.put_object(Bucket=bucket, Key=f"code/{digest}.tar.gz", Body=archive)
    return True


def keep_place_of_champion(bucket: str, s3: Any) -> None:
    """Puts a file where the champion's archive will be: SageMaker refuses a job whose input is an empty prefix."""
    note = "The archive of the model that serves is kept here, for the next one to be compared with.\n"
    s3.put_object(Bucket=bucket, Key=f"{CHAMPION_PREFIX}README.txt", Body=note.encode())


def _exists(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return False
        raise
    return True


def run_chalice(arguments: list[str], stage: Stage, say: Callable[[str], None]) -> str:
    """Runs Chalice's command line with this interpreter and shows its lines.

    Raises:
        DeployError: it failed.
    """
    command = [
        sys.executable,
        "-c",
        "from chalice.cli import main; main()",
        "--project-dir",
        str(REPOSITORY),
        *arguments,
        "--stage",
        stage.name,
    ]
    # Chalice zips all that lies in the vendored folders: bytecode of this machine would make every zip another.
    for cache in [*REPOSITORY.glob("functions/**/__pycache__"), *REPOSITORY.glob("sql/**/__pycache__")]:
        shutil.rmtree(cache, ignore_errors=True)
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip())
        say(f"chalice: {lines[-1]}")
    if process.wait() != 0:
        raise DeployError(
            f"chalice {' '.join(arguments)} failed with exit code {process.returncode} (its words are above). "
            "Mend the cause and deploy again: what was done is kept"
        )
    return "\n".join(lines)


def let_arrivals_invoke_load(stage: Stage, account_id: str, lambda_: Any) -> None:
    """Lets the rule LoadOnArrival invoke load. The template cannot: the Lambda comes after the stack."""
    rule = f"arn:aws:events:{stage.region}:{account_id}:rule/{stage.prefix}-load-on-arrival"
    try:
        lambda_.add_permission(
            FunctionName=chalice_config.lambda_name(stage, "load"),
            StatementId="load-on-arrival",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceConflictException":  # it may already
            raise


def deployed_api(stage: Stage) -> dict[str, str] | None:
    """What Chalice recorded of the stage's API: `rest_api_id`, `rest_api_url`."""
    record = DEPLOYED / f"{stage.name}.json"
    if not record.exists():
        return None
    resources = json.loads(record.read_text())["resources"]
    return next((resource for resource in resources if "rest_api_id" in resource), None)


def api_url(stage: Stage) -> str | None:
    """The address that Chalice recorded for the stage's API."""
    api = deployed_api(stage)
    return None if api is None else api["rest_api_url"]


def deploy(stage: Stage, session: Any, say: Callable[[str], None], dry_run: bool = False) -> None:
    """Brings the account to what the repository says."""
    from training_jobs.package import build_source_archive

    account_id = account_of(stage, session.client("sts"))
    require_secret(stage, session.client("secretsmanager"))
    say(f"stage {stage.name}, account {account_id}, {stage.region}")
    cloudformation, s3, lambda_ = (session.client(name) for name in ("cloudformation", "s3", "lambda"))
    archive, code_digest = build_source_archive()
    parameters = stack_parameters(stage, account_id, code_digest)
    bucket = stage.models_bucket(account_id)
    body = template.render()

    if not stack.is_deployed(cloudformation, stage.prefix):
        # CloudFormation reads a template of this size from a bucket only, and the bucket is in the template.
        first = stack.Template(body=template.render_without_pipeline())
        stack.apply(cloudformation, stage.prefix, first, parameters, say, dry_run)
        if dry_run:
            say(
                "nothing was changed; after these would come the pipeline, the serving image, the layers, and chalice deploy"
            )
            return
        say("created the buckets, streams, roles and alarms")
    if not dry_run:
        warehouse.set_up(stage, account_id, session.client("secretsmanager"), say)
    parameters |= warehouse.trust_parameters(stage, session, say)
    template_key = f"code/template-{_digest(body)}.json"
    if not _exists(s3, bucket, template_key):
        s3.put_object(Bucket=bucket, Key=template_key, Body=body.encode())
    whole = stack.Template(url=f"https://{bucket}.s3.{stage.region}.amazonaws.com/{template_key}")
    changed = stack.apply(cloudformation, stage.prefix, whole, parameters, say, dry_run)
    say(
        f"stack {stage.prefix}: {'updated' if changed and not dry_run else 'would change' if changed else 'unchanged'}"
    )
    if dry_run:
        return
    keep_place_of_champion(bucket, s3)
    uploaded = upload_code(archive, code_digest, bucket, s3)
    say(f"training code {code_digest[:12]}: {'uploaded' if uploaded else 'there already'}")
    built = serving_image.ensure(stage, bucket, session, say)
    say(f"serving image {serving_image.tag()}: {'built' if built else 'there already'}")

    arns = chalice_config.layer_arns(stage, account_id)
    for name in layers.NAMES:
        if arns[name] != stage.pandas_layer_arn:
            arns[name] = layer_versions.publish(name, stage, bucket, lambda_, s3, say)
    for path in chalice_config.write(stage, account_id, arns):
        say(f"wrote {path.relative_to(REPOSITORY)}: commit it")
    run_chalice(["deploy"], stage, say)
    api = deployed_api(stage)
    if api is None:
        raise DeployError("chalice deployed no API: app.py must hold a route")
    gateway_responses.apply(api["rest_api_id"], stage.api_stage, session.client("apigateway"))
    let_arrivals_invoke_load(stage, account_id, lambda_)
    for name in layer_versions.remove(
        stage, lambda_, keep={chalice_config.layer_name(stage, name) for name in layers.NAMES}
    ):
        say(f"removed layer {name}, which nothing uses any more")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m statemachine.deploy",
        description=__doc__,
        epilog="example: python -m statemachine.deploy --stage dev --dry-run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--stage", required=True, help="a stage of statemachine/stages.toml: local, dev, prod"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what the stack would change, and change nothing"
    )
    args = parser.parse_args(arguments)
    say = Progress()
    try:
        stage = read_stage(args.stage)
        require_keys(stage)
        deploy(stage, boto3.Session(region_name=stage.region), say, args.dry_run)
    except FAILURES as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"\nAWS refused: {error}. Mend it and deploy again: what was done is kept.", file=sys.stderr)
        return 1
    if not args.dry_run:
        url = api_url(stage)
        say(f"done: {url}")
        print(
            f"\nNext: make replay STAGE={stage.name}, make run STAGE={stage.name}, make status STAGE={stage.name}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
