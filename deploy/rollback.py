"""Put the previous release of a shop back behind its endpoint, and wait until it serves."""

import json
import sys
import time
from typing import Any

import boto3
from botocore.config import Config

from deploy.command import DeployError, Progress, exit_status, stage_parser
from deploy.lambdas import named
from deploy.shop_option import add_shop, chosen_shop
from deploy.stages import Stage, account_of, read_stage
from functions.platform.releases import read_record

TIMEOUT_S = 1200
# boto3 would give up after a minute, and invoke the Lambda a second time while the first still runs.
PATIENT = Config(read_timeout=named("rollback").timeout_s + 10, retries={"total_max_attempts": 1})


class RollbackError(DeployError):
    """The endpoint does not serve the previous release. The message ends with the next step."""


def rollback(
    stage: Stage, shop: str, lambda_: Any, sagemaker: Any, s3: Any, account_id: str
) -> dict[str, Any]:
    """Invoke the stage's rollback Lambda, wait for the endpoint, and return the Lambda's result.

    Args:
        stage: the stage.
        shop: the shop whose release is undone.
        lambda_: a client that waits as long as the Lambda may run, and does not retry.
        sagemaker: the client that the endpoint is observed with.
        s3: the client that the release of record is read with.
        account_id: the account of the stage.

    Raises:
        RollbackError: the Lambda failed, or the endpoint did not get into service.
    """
    record = read_record(s3, stage.models_bucket(account_id), shop)
    if record.current is None:
        raise RollbackError(
            f"stage {stage.name} has no release of shop {shop} yet: make run STAGE={stage.name} SHOP={shop}"
        )
    deadline = time.monotonic() + TIMEOUT_S
    # During a canary, the release to undo is the candidate.
    undone = record.canary.release if record.canary else record.current
    # A repeated call for the same release does nothing. Without it, a second try would return to the bad release.
    body = _invoke(stage, shop, undone.endpoint_config, lambda_, deadline)
    name = body["endpoint_name"]
    while True:
        endpoint = sagemaker.describe_endpoint(EndpointName=name)
        if endpoint["EndpointStatus"] == "InService":
            if endpoint["EndpointConfigName"] == body["endpoint_config_name"]:
                return body
            raise RollbackError(
                f"endpoint {name} serves {endpoint['EndpointConfigName']} instead of "
                f"{body['endpoint_config_name']}: somebody else updated it. Look at its events in SageMaker"
            )
        if endpoint["EndpointStatus"] == "Failed" or time.monotonic() > deadline:
            raise RollbackError(
                f"endpoint {name} is {endpoint['EndpointStatus']}: {endpoint.get('FailureReason', '')} "
                f"Read the log group /aws/sagemaker/Endpoints/{name}"
            )
        time.sleep(stage.endpoint_poll_seconds)


def _invoke(stage: Stage, shop: str, from_config: str, lambda_: Any, deadline: float) -> dict[str, Any]:
    """Invoke the Lambda until SageMaker is ready to move the endpoint."""
    name = named("rollback").deployed_name(stage)
    event = {"to": "previous", "shop_id": shop, "from_config": from_config}
    while True:
        response = lambda_.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        body: dict[str, Any] = json.loads(response["Payload"].read())
        if not response.get("FunctionError"):
            return body
        if body.get("errorType") != "EndpointBusy" or time.monotonic() > deadline:
            raise RollbackError(
                f"{body.get('errorType')}: {body.get('errorMessage')}. Read the log group /aws/lambda/{name}"
            )
        time.sleep(stage.endpoint_poll_seconds)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.rollback", __doc__, "--stage dev --shop demo")
    add_shop(parser)
    args = parser.parse_args(arguments)

    def run() -> int:
        say = Progress()
        stage = read_stage(args.stage)
        shop = chosen_shop(stage, args.shop)
        session = boto3.Session(region_name=stage.region)
        account_id = account_of(stage, session.client("sts"))
        result = rollback(
            stage,
            shop,
            session.client("lambda", config=PATIENT),
            session.client("sagemaker"),
            session.client("s3"),
            account_id,
        )
        say(f"endpoint {result['endpoint_name']} serves model {result['model_version']} again")
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
