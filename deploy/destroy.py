"""Removes a stage: Lambdas and API, the endpoint with its models, layers and stack. Data stays unless told otherwise.

Events and models lie in two buckets, which are kept, and which a later deployment of the stage takes up again.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy import layer_versions, stack
from deploy.deployment import DEPLOYED, DeployError, Progress, account_of, run_chalice
from deploy.stages import Stage, StageError, read_stage


def remove_endpoint(stage: Stage, sagemaker: Any) -> list[str]:
    """Deletes what publish made: the endpoint, its configurations and models; what was deleted."""
    removed = []
    for page in sagemaker.get_paginator("list_endpoints").paginate(NameContains=stage.prefix):
        for endpoint in page["Endpoints"]:
            if endpoint["EndpointName"] == stage.prefix:
                sagemaker.delete_endpoint(EndpointName=stage.prefix)
                removed.append(f"endpoint {stage.prefix}")
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


def stop_runs(pipeline_arn: str, stepfunctions: Any) -> int:
    """Stops the executions that go on; how many."""
    stopped = 0
    for page in stepfunctions.get_paginator("list_executions").paginate(
        stateMachineArn=pipeline_arn, statusFilter="RUNNING"
    ):
        for execution in page["executions"]:
            stepfunctions.stop_execution(
                executionArn=execution["executionArn"], cause="the stage is being destroyed"
            )
            stopped += 1
    return stopped


def empty_and_delete_bucket(bucket: str, s3: Any) -> int | None:
    """Deletes a bucket with every version in it; how many versions there were, None when there is no such bucket."""
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


def leftovers(stage: Stage, account_id: str, session: Any, delete_data: bool) -> list[str]:
    """What of the stage is still in the account, as far as its name tells."""

    def names(service: str, operation: str, items: str, key: str, **arguments: str) -> Iterator[str]:
        client = session.client(service)
        pages = (
            client.get_paginator(operation).paginate(**arguments)
            if client.can_paginate(operation)
            else [getattr(client, operation)(**arguments)]
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
        "image build": names("codebuild", "list_projects", "projects", ""),
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
    """Whether a name, ARN or address is this stage's: its last part is `tugboat-<stage>` or begins with it and a hyphen."""
    last = re.split("[/:]", name)[-1]
    return last == stage.prefix or last.startswith(f"{stage.prefix}-")


def destroy(stage: Stage, session: Any, say: Callable[[str], None], delete_data: bool = False) -> list[str]:
    """Removes the stage; what is still there afterwards and should not be."""
    account_id = account_of(stage, session.client("sts"))
    say(f"destroying stage {stage.name}, account {account_id}, {stage.region}")
    cloudformation = session.client("cloudformation")
    pipeline_arn = f"arn:aws:states:{stage.region}:{account_id}:stateMachine:{stage.prefix}-pipeline"
    if stack.is_deployed(cloudformation, stage.prefix):
        stopped = stop_runs(pipeline_arn, session.client("stepfunctions"))
        say(f"stopped {stopped} running executions")
    record = DEPLOYED / f"{stage.name}.json"
    if record.exists():
        run_chalice(["delete"], stage, say)
        record.unlink(missing_ok=True)
    for removed in remove_endpoint(stage, session.client("sagemaker")):
        say(f"deleted {removed}")
    for name in layer_versions.remove(stage, session.client("lambda"), keep=set()):
        say(f"deleted layer {name}")
    if stack.delete(cloudformation, stage.prefix):
        say(f"deleted stack {stage.prefix}")
    # A Lambda that was still answering may have made its log group again after the stack removed it.
    logs = session.client("logs")
    # Nobody but SageMaker made the endpoint's.
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/aws/"):
        for group in filter(lambda group: belongs(stage, group["logGroupName"]), page["logGroups"]):
            logs.delete_log_group(logGroupName=group["logGroupName"])
    for bucket in (stage.events_bucket(account_id), stage.models_bucket(account_id)):
        if delete_data:
            versions = empty_and_delete_bucket(bucket, session.client("s3"))
            if versions is not None:
                say(f"deleted bucket {bucket} with {versions:,} object versions")
        else:
            say(f"kept bucket {bucket}; --delete-data deletes it")
    say(f"kept secret {stage.secret_name} and everything in Snowflake")
    return leftovers(stage, account_id, session, delete_data)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.destroy",
        description=__doc__,
        epilog="example: python -m deploy.destroy --stage dev --delete-data",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", required=True, help="a stage of deploy/stages.toml")
    parser.add_argument(
        "--delete-data", action="store_true", help="delete the buckets too: events, exports, models"
    )
    args = parser.parse_args(arguments)
    say = Progress()
    try:
        stage = read_stage(args.stage)
        left = destroy(stage, boto3.Session(region_name=stage.region), say, args.delete_data)
    except (DeployError, StageError, stack.StackError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"\nAWS refused: {error}. Mend it and run the same command again.", file=sys.stderr)
        return 1
    for item in left:
        print(f"still there: {item}", file=sys.stderr)
    say(
        "nothing else is left"
        if not left
        else "run the same command again, then delete what is still there by hand"
    )
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
