"""Puts the release before the current one back behind the endpoint, and waits until it serves."""

import argparse
import json
import sys
import time
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.deployment import Progress
from deploy.stages import Stage, StageError, read_stage

TIMEOUT_S = 1200


class RollbackError(Exception):
    """The endpoint did not move; the message ends with the next step to take."""


def rollback(stage: Stage, lambda_: Any, sagemaker: Any) -> dict[str, Any]:
    """Invokes the stage's rollback Lambda and waits for the endpoint; what the Lambda answered.

    Raises:
        RollbackError: the Lambda failed, or the endpoint did not get into service.
    """
    name = f"{stage.prefix}-rollback"
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps({"to": "previous"}).encode())
    body: dict[str, Any] = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise RollbackError(
            f"{body.get('errorType')}: {body.get('errorMessage')}. Read the log group /aws/lambda/{name}"
        )
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        endpoint = sagemaker.describe_endpoint(EndpointName=stage.prefix)
        if endpoint["EndpointStatus"] == "InService":
            if endpoint["EndpointConfigName"] == body["endpoint_config_name"]:
                return body
            raise RollbackError(
                f"endpoint {stage.prefix} serves {endpoint['EndpointConfigName']} instead of "
                f"{body['endpoint_config_name']}: somebody else moved it; look at its events in SageMaker"
            )
        if endpoint["EndpointStatus"] == "Failed" or time.monotonic() > deadline:
            raise RollbackError(
                f"endpoint {stage.prefix} is {endpoint['EndpointStatus']}: {endpoint.get('FailureReason', '')} "
                f"Read the log group /aws/sagemaker/Endpoints/{stage.prefix}"
            )
        time.sleep(stage.endpoint_poll_seconds)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.rollback",
        description=__doc__,
        epilog="example: python -m deploy.rollback --stage dev",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", required=True, help="a stage of deploy/stages.toml")
    args = parser.parse_args(arguments)
    say = Progress()
    try:
        stage = read_stage(args.stage)
        session = boto3.Session(region_name=stage.region)
        moved = rollback(stage, session.client("lambda"), session.client("sagemaker"))
    except (RollbackError, StageError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"\nAWS refused: {error}. Mend it and run the same command again.", file=sys.stderr)
        return 1
    say(f"endpoint {moved['endpoint_name']} serves model {moved['model_version']} again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
