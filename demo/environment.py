"""The stage that the commands talk to: names and clients, from environment variables."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy import chalice_record
from deploy.command import DeployError
from deploy.stages import Stage, account_of, read_stage

LOCAL_ACCOUNT = "123456789012"
RETRYING = Config(retries={"max_attempts": 4, "mode": "standard"}, connect_timeout=5, read_timeout=60)


class NotDeployed(Exception):
    """The address of the stage is not known."""


class WrongShop(NotDeployed):
    """The stage has no such shop, or a command needs one of several. The message lists them."""


@dataclass(frozen=True)
class Environment:
    """One deployed stage, as a command line sees it. `shop_keys` has one sending key per shop.

    A night trains for each of `trained_shops`.
    """

    stage: str
    api_url: str
    region: str
    logs_dir: str | None
    shop_keys: Mapping[str, str]
    shops: Sequence[str] = ("demo",)
    trained_shops: Sequence[str] = ("demo",)

    @property
    def is_local(self) -> bool:
        """Return True for the local stage. It only changes defaults of this command line: credentials, log hints."""
        return self.stage == "local"

    def client(self, service: str, config: Config = RETRYING) -> Any:
        """Make a boto3 client; by default one that retries, and gives up on a dead endpoint within seconds."""
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

    def night_arn(self) -> str:
        """Return the ARN of the state machine that starts the pipeline for several shops."""
        return f"arn:aws:states:{self.region}:{self.account()}:stateMachine:tugboat-{self.stage}-night"

    def chosen_shops(self, given: str | None) -> list[str]:
        """Return the shops of a text such as `demo,second`; without one, those that the stage trains for.

        Raises:
            WrongShop: the stage has no such shop. The message lists its shops.
        """
        wanted = [shop for shop in (given or "").split(",") if shop]
        unknown = [shop for shop in wanted if shop not in self.shops]
        if unknown:
            raise WrongShop(
                f"stage {self.stage} has no shop {', '.join(unknown)}. Its shops are {', '.join(self.shops)}: correct SHOP, or "
                "add the shop to deploy/stages.toml"
            )
        return wanted or list(self.trained_shops)

    def chosen_shop(self, given: str | None) -> str:
        """Return the one shop that a command is about.

        Raises:
            WrongShop: the stage has no such shop, or trains for several and none is given.
        """
        shops = self.chosen_shops(given)
        if len(shops) > 1:
            raise WrongShop(f"name one shop of stage {self.stage}: SHOP= one of {', '.join(self.shops)}")
        return shops[0]


def from_variables() -> Environment:
    """Read TUGBOAT_STAGE, TUGBOAT_API_URL, TUGBOAT_LOGS_DIR, and AWS's own variables.

    Raises:
        NotDeployed: stages.toml does not list the stage, or the stage is not local and its API has no known address, or AWS
            does not say it to these credentials.
    """
    stage = os.environ.get("TUGBOAT_STAGE", "local")
    if stage == "local":
        os.environ.setdefault("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
        os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
    try:
        described = read_stage(stage)
        api_url = os.environ.get("TUGBOAT_API_URL") or _api_url(described)
    except DeployError as error:
        raise NotDeployed(str(error)) from error
    except (BotoCoreError, ClientError) as error:
        raise NotDeployed(unanswered(error)) from error
    return Environment(
        stage=stage,
        api_url=api_url.rstrip("/"),
        region=described.region,
        logs_dir=os.environ.get("TUGBOAT_LOGS_DIR") or _local_logs(),
        shop_keys=described.sending_keys,
        shops=tuple(described.shops),
        trained_shops=described.served_shops,
    )


def unanswered(error: Exception) -> str:
    """Return the sentence about a request to AWS that failed, with the next step."""
    if os.environ.get("TUGBOAT_STAGE", "local") == "local":
        return f"{error}. Check the stack with `make status`; start it with `make up`."
    return f"{error}. Correct the cause, then run the same command again."


def _api_url(stage: Stage) -> str:
    """Return the local gateway's address, or the address in the record that `chalice deploy` left in the models bucket."""
    if stage.name == "local":
        return os.environ.get("TUGBOAT_LOCAL_GATEWAY_URL", "http://127.0.0.1:4567") + f"/{stage.name}"
    session = boto3.Session(region_name=stage.region)
    bucket = stage.models_bucket(account_of(stage, session.client("sts")))
    record = chalice_record.fetch(stage, bucket, session.client("s3"))
    api = chalice_record.api_of(record) if record else None
    if api is None:
        raise NotDeployed(
            f"the address of stage {stage.name}'s API is not known: s3://{bucket}/{chalice_record.KEY} does not exist."
            f" Deploy with `make deploy STAGE={stage.name}`, or set TUGBOAT_API_URL."
        )
    return api["rest_api_url"]


def _local_logs() -> str | None:
    state = os.environ.get("TUGBOAT_LOCAL_STATE")
    return str(Path(state) / "logs") if state else None
