"""The stage that the commands talk to: names and clients, from environment variables."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from deploy.stages import StageError, read_stage

LOCAL_ACCOUNT = "123456789012"


class NotDeployed(Exception):
    """The address of the stage is not known."""


@dataclass(frozen=True)
class Environment:
    """One deployed stage, as a command line sees it. `shop_keys` has one sending key per shop."""

    stage: str
    api_url: str
    region: str
    logs_dir: str | None
    shop_keys: Mapping[str, str]

    @property
    def is_local(self) -> bool:
        """Return True for the local stage. It only changes defaults of this command line: credentials, log hints."""
        return self.stage == "local"

    def client(self, service: str) -> Any:
        """Make a boto3 client that retries, and gives up on a dead endpoint within seconds."""
        config = Config(retries={"max_attempts": 4, "mode": "standard"}, connect_timeout=5, read_timeout=60)
        return boto3.client(service, region_name=self.region, config=config)

    def account(self) -> str:
        """Return the AWS account of the credentials."""
        if self.is_local:
            return LOCAL_ACCOUNT
        return str(self.client("sts").get_caller_identity()["Account"])

    def events_bucket(self) -> str:
        """Return the name of the bucket with raw/ and rejected/."""
        return f"tugboat-{self.stage}-events-{self.account()}"

    def state_machine_arn(self) -> str:
        """Return the ARN of the pipeline's state machine."""
        return f"arn:aws:states:{self.region}:{self.account()}:stateMachine:tugboat-{self.stage}-pipeline"


def from_variables() -> Environment:
    """Read TUGBOAT_STAGE, TUGBOAT_API_URL, TUGBOAT_LOGS_DIR, and AWS's own variables.

    Raises:
        NotDeployed: stages.toml does not list the stage, or the stage is not local and its API has no known address.
    """
    stage = os.environ.get("TUGBOAT_STAGE", "local")
    if stage == "local":
        os.environ.setdefault("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
        os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
    try:
        shop_keys = read_stage(stage).sending_keys
    except StageError as error:
        raise NotDeployed(str(error)) from error
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return Environment(
        stage=stage,
        api_url=(os.environ.get("TUGBOAT_API_URL") or _api_url(stage)).rstrip("/"),
        region=region,
        logs_dir=os.environ.get("TUGBOAT_LOGS_DIR") or _local_logs(),
        shop_keys=shop_keys,
    )


def _api_url(stage: str) -> str:
    """Return the local gateway's address, or the address that `chalice deploy` wrote for the stage."""
    if stage == "local":
        return os.environ.get("TUGBOAT_LOCAL_GATEWAY_URL", "http://127.0.0.1:4567") + f"/{stage}"
    noted = Path(".chalice") / "deployed" / f"{stage}.json"
    try:
        resources = json.loads(noted.read_text())["resources"]
        return str(next(one["rest_api_url"] for one in resources if one.get("resource_type") == "rest_api"))
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise NotDeployed(
            f"the address of stage {stage}'s API is not known: {noted} does not contain it."
            f" Deploy with `make deploy STAGE={stage}`, or set TUGBOAT_API_URL."
        ) from error


def _local_logs() -> str | None:
    state = os.environ.get("TUGBOAT_LOCAL_STATE")
    return str(Path(state) / "logs") if state else None
