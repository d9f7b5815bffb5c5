"""Put the previous release back behind the endpoint, and wait until it serves."""

import json
import sys
import time
from typing import Any

import boto3

from deploy.command import DeployError, Progress, exit_status, stage_parser
from deploy.lambdas import named
from deploy.stages import Stage, read_stage

TIMEOUT_S = 1200


class RollbackError(DeployError):
    """The endpoint does not serve the previous release. The message ends with the next step."""


def rollback(stage: Stage, lambda_: Any, sagemaker: Any) -> dict[str, Any]:
    """Invoke the stage's rollback Lambda, wait for the endpoint, and return the Lambda's result.

    Raises:
        RollbackError: the Lambda failed, or the endpoint did not get into service.
    """
    name = named("rollback").deployed_name(stage)
    response = lambda_.invoke(FunctionName=name, Payload=json.dumps({"to": "previous"}).encode())
    body: dict[str, Any] = json.loads(response["Payload"].read())
    if response.get("FunctionError"):
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
                f"{body['endpoint_config_name']}: somebody else updated it. Look at its events in SageMaker"
            )
        if endpoint["EndpointStatus"] == "Failed" or time.monotonic() > deadline:
            raise RollbackError(
                f"endpoint {stage.prefix} is {endpoint['EndpointStatus']}: {endpoint.get('FailureReason', '')} "
                f"Read the log group /aws/sagemaker/Endpoints/{stage.prefix}"
            )
        time.sleep(stage.endpoint_poll_seconds)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    args = stage_parser("deploy.rollback", __doc__, "--stage dev").parse_args(arguments)

    def run() -> int:
        say = Progress()
        stage = read_stage(args.stage)
        session = boto3.Session(region_name=stage.region)
        result = rollback(stage, session.client("lambda"), session.client("sagemaker"))
        say(f"endpoint {result['endpoint_name']} serves model {result['model_version']} again")
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
