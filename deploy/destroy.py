"""Remove a stage: Lambdas and API, the endpoint with its models, layers and stack. Data is kept unless --delete-data is given.

Events and models are in two buckets and in Snowflake. A later deployment of the stage adopts what was kept.
Raw events cannot be made again: --delete-data asks for the name of the events bucket, or takes it from --confirm.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError

from deploy import chalice_record, layer_versions, stack, warehouse_setup
from deploy.chalice_cli import run_chalice
from deploy.command import DeployError, Progress, Say, exit_status, stage_parser
from deploy.stages import STAGES_FILE, Stage, account_of, read_stage


class NotDestroyed(DeployError):
    """The stage is protected, or its owner has not confirmed. Nothing was removed."""


def require_unprotected(stage: Stage) -> None:
    """Check that the stage may be destroyed, before anything is asked of AWS.

    Raises:
        NotDestroyed: the stage has no account_id, or has termination_protection.
    """
    if not stage.account_id:
        raise NotDestroyed(
            f"stage {stage.name} has no account_id, so any account that you are signed in to would be cleared. "
            f"Write it under [{stage.name}] in deploy/{STAGES_FILE.name}, then run the same command again"
        )
    if stage.termination_protection:
        raise NotDestroyed(
            f"stage {stage.name} has termination_protection. If it really is to go, set it to false under "
            f"[{stage.name}] in deploy/{STAGES_FILE.name}, run make deploy STAGE={stage.name}, then this command again"
        )


def require_confirmation(bucket: str, given: str | None) -> None:
    """Let the owner type the name of the bucket whose data is to be deleted, unless it was given.

    Raises:
        NotDestroyed: the name is another one, or nobody is there to ask.
    """
    if given is None:
        if not sys.stdin.isatty():
            raise NotDestroyed(
                f"--delete-data deletes all events for good, so it asks first. Without a terminal: --confirm {bucket}"
            )
        print(
            f"This deletes every event, table and model of the stage for good. Type {bucket} to go on: ",
            end="",
            flush=True,
        )
        given = sys.stdin.readline().strip()
    if given != bucket:
        raise NotDestroyed(f"{given!r} is not {bucket}: nothing was removed")


def destroy(stage: Stage, session: Any, say: Say, delete_data: bool = False) -> list[str]:
    """Remove the stage, and return the names of resources that still exist and should not."""
    account_id = account_of(stage, session.client("sts"))
    say(f"destroying stage {stage.name}, account {account_id}, {stage.region}")
    cloudformation = session.client("cloudformation")
    if stack.is_deployed(cloudformation, stage.prefix):
        states = session.client("stepfunctions")
        # The nights first: a night would start more. A run that ends may start a batch.
        machines = (
            stage.night_arn(account_id),
            stage.state_machine_arn(account_id),
            stage.batch_arn(account_id),
        )
        stopped = sum(stop_executions(machine, states) for machine in machines)
        say(f"stopped {stopped} running executions")
    remove_lambdas_and_api(stage, stage.models_bucket(account_id), session.client("s3"), say)
    for removed in remove_endpoint(stage, session.client("sagemaker")):
        say(f"deleted {removed}")
    for name in layer_versions.remove(stage, session.client("lambda"), keep=set()):
        say(f"deleted layer {name}")
    if stack.delete(cloudformation, stage.prefix):
        say(f"deleted stack {stage.prefix}")
    remove_log_groups(stage, session.client("logs"))
    for bucket in (stage.events_bucket(account_id), stage.models_bucket(account_id)):
        if not delete_data:
            say(f"kept bucket {bucket}; --delete-data deletes it")
            continue
        versions = empty_and_delete_bucket(bucket, session.client("s3"))
        if versions is not None:
            say(f"deleted bucket {bucket} with {versions:,} object versions")
    left = leftovers(stage, session, delete_data)
    if not delete_data:
        say("kept everything in Snowflake; --delete-data drops it")
    elif not warehouse_setup.tear_down(stage, account_id, session.client("secretsmanager"), say):
        left.append(f"Snowflake's objects: store the secret {stage.admin_secret_name} to drop them")
    say(f"kept secret {stage.secret_name}")
    return left


def stop_executions(machine_arn: str, stepfunctions: Any) -> int:
    """Stop the running executions of a state machine, and return their number."""
    stopped = 0
    for page in stepfunctions.get_paginator("list_executions").paginate(
        stateMachineArn=machine_arn, statusFilter="RUNNING"
    ):
        for execution in page["executions"]:
            stepfunctions.stop_execution(
                executionArn=execution["executionArn"], cause="the stage is being destroyed"
            )
            stopped += 1
    return stopped


def remove_lambdas_and_api(stage: Stage, models_bucket: str, s3: Any, say: Say) -> None:
    """Run `chalice delete`, if Chalice has a record of the stage."""
    if chalice_record.fetch(stage, models_bucket, s3):
        run_chalice("delete", stage, say)
        chalice_record.remove(stage, models_bucket, s3)


def remove_endpoint(stage: Stage, sagemaker: Any) -> list[str]:
    """Delete the endpoints, their configurations and models, and return the names of the deleted resources."""
    removed, endpoints = [], []
    # Also those of shops that stages.toml does not list any more.
    for page in sagemaker.get_paginator("list_endpoints").paginate(NameContains=stage.prefix):
        for endpoint in page["Endpoints"]:
            name = endpoint["EndpointName"]
            if belongs(stage, name):
                endpoints.append(name)
                if endpoint["EndpointStatus"] != "Deleting":
                    sagemaker.delete_endpoint(EndpointName=name)
                    removed.append(f"endpoint {name}")
    for name in endpoints:
        # AWS deletes for a minute or two, and the next deployment may want the name.
        sagemaker.get_waiter("endpoint_deleted").wait(
            EndpointName=name, WaiterConfig={"Delay": stage.endpoint_poll_seconds, "MaxAttempts": 100}
        )
    for page in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=f"{stage.prefix}-"):
        for config in page["EndpointConfigs"]:
            if config["EndpointConfigName"].startswith(f"{stage.prefix}-"):
                sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
                removed.append(f"endpoint configuration {config['EndpointConfigName']}")
    for page in sagemaker.get_paginator("list_models").paginate(NameContains=f"{stage.prefix}-"):
        for model in page["Models"]:
            if model["ModelName"].startswith(f"{stage.prefix}-"):
                sagemaker.delete_model(ModelName=model["ModelName"])
                removed.append(f"model {model['ModelName']}")
    return removed


def remove_log_groups(stage: Stage, logs: Any) -> None:
    """Delete the log groups that the stack did not create.

    SageMaker creates the endpoint's. A Lambda that was still running may recreate its own after the stack removed it.
    """
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/aws/"):
        for group in page["logGroups"]:
            if belongs(stage, group["logGroupName"]):
                logs.delete_log_group(logGroupName=group["logGroupName"])


def empty_and_delete_bucket(bucket: str, s3: Any) -> int | None:
    """Delete a bucket with every object version, and return the number of versions. None if there is no such bucket."""
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return None
        raise
    deleted = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        keys = [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        ]
        if keys:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            deleted += len(keys)
    s3.delete_bucket(Bucket=bucket)
    return deleted


def leftovers(stage: Stage, session: Any, delete_data: bool) -> list[str]:
    """Return the resources in the account whose name is the stage's."""

    def names(service: str, operation: str, items: str, key: str) -> Iterator[str]:
        client = session.client(service)
        pages = (
            client.get_paginator(operation).paginate()
            if client.can_paginate(operation)
            else [getattr(client, operation)()]
        )
        for page in pages:
            for item in page.get(items, []):
                yield str(item[key] if key else item)

    everything = {
        "Lambda": names("lambda", "list_functions", "Functions", "FunctionName"),
        "layer": names("lambda", "list_layers", "Layers", "LayerName"),
        "role": names("iam", "list_roles", "Roles", "RoleName"),
        "state machine": names("stepfunctions", "list_state_machines", "stateMachines", "name"),
        "endpoint": names("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
        "endpoint configuration": names(
            "sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"
        ),
        "model": names("sagemaker", "list_models", "Models", "ModelName"),
        "image repository": names("ecr", "describe_repositories", "repositories", "repositoryName"),
        "build project": names("codebuild", "list_projects", "projects", ""),
        "stream": names("firehose", "list_delivery_streams", "DeliveryStreamNames", ""),
        "topic": names("sns", "list_topics", "Topics", "TopicArn"),
        "queue": names("sqs", "list_queues", "QueueUrls", ""),
        "log group": names("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "rule": names("events", "list_rules", "Rules", "Name"),
        "alarm": names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "dashboard": names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        "bucket": names("s3", "list_buckets", "Buckets", "Name") if delete_data else (),
    }
    return [f"{kind} {name}" for kind, found in everything.items() for name in found if belongs(stage, name)]


def belongs(stage: Stage, name: str) -> bool:
    """Return True if a name, ARN or address is the stage's.

    Its last part is then `tugboat-<stage>`, or begins with that and a hyphen.
    """
    last = re.split("[/:]", name)[-1]
    return last == stage.prefix or last.startswith(f"{stage.prefix}-")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.destroy", __doc__, "--stage dev --delete-data")
    parser.add_argument(
        "--delete-data", action="store_true", help="delete events, exports, models and tables too"
    )
    parser.add_argument(
        "--confirm", metavar="BUCKET", help="the events bucket's name, where no terminal can ask"
    )
    args = parser.parse_args(arguments)

    def run() -> int:
        say = Progress()
        stage = read_stage(args.stage)
        require_unprotected(stage)
        if args.delete_data:
            require_confirmation(stage.events_bucket(stage.account_id), args.confirm)
        left = destroy(stage, boto3.Session(region_name=stage.region), say, args.delete_data)
        for item in left:
            print(f"still there: {item}", file=sys.stderr)
        say(
            "nothing else is left"
            if not left
            else "run the same command again, then delete what is still there by hand"
        )
        return 1 if left else 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
