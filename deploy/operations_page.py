"""Build the operations page of a stage now, with the code of the Lambda and your credentials.

It writes the page to a file and to S3, and prints both addresses. Treat both as passwords: who has one of them can read
the page and the reports that it links, until the addresses expire.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.command import exit_status, stage_parser
from deploy.lambdas import common_environment, named
from deploy.stages import Stage, account_of, read_stage
from functions.operations.gather import Clients
from functions.operations.model import Verdict
from functions.operations.operations import build, publish
from functions.operations.reports import LINK_HOURS, SIGNING
from functions.platform.contract import OPERATIONS_PAGE_KEY
from functions.platform.settings import OperationsSettings, read_settings

FOLDER = Path(".local/operations")
# Signature version 4 allows seven days.
HOURS_MAX = 168
CONFIG = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
SIGNED = CONFIG.merge(SIGNING)


class Built(NamedTuple):
    """A built page. `problem` says why S3 has no copy of it, and the signed address is then of an older page."""

    path: Path
    address: str
    hours: int
    verdict: Verdict
    problem: str = ""

    def lines(self) -> list[str]:
        """Return what a command prints."""
        found = [
            f"Is the shop well? {self.verdict.sentence}",
            *(f"  {reason.text} {reason.action}" for reason in self.verdict.reasons),
            f"file:    {self.path}",
            f"address: {self.address}",
            f"         and its links to reports, for {self.hours} hours, or until the credentials that signed it end",
        ]
        return [*found, f"note:    {self.problem}"] if self.problem else found


def settings_of(stage: Stage, account_id: str) -> OperationsSettings:
    """Return the settings of the stage's Lambda."""
    lambda_ = named("operations")
    return read_settings(
        OperationsSettings, common_environment(stage) | lambda_.environment(stage, account_id)
    )


def build_page(
    stage: Stage, account_id: str, session: Any, folder: Path = FOLDER, hours: int = LINK_HOURS
) -> Built:
    """Build the page, write it to a file and to S3, and sign its address."""
    settings = settings_of(stage, account_id)
    services = ("stepfunctions", "cloudwatch", "sagemaker", "events", "s3")
    configs = {"s3": SIGNED}
    clients = Clients(*(session.client(name, config=configs.get(name, CONFIG)) for name in services))
    body, verdict = build(settings, clients, datetime.now(UTC), hours)
    path = folder / f"{stage.name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    problem = ""
    try:
        publish(body, settings, clients.s3)
    except (ClientError, BotoCoreError) as error:
        problem = f"S3 did not take the page, so the address shows an older one: {error}"
    address = clients.s3.generate_presigned_url(
        "get_object",
        Params={"Bucket": settings.models_bucket, "Key": OPERATIONS_PAGE_KEY},
        ExpiresIn=hours * 3600,
    )
    return Built(path, address, hours, verdict, problem)


def _hours(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= HOURS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours from 1 to {HOURS_MAX}")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.operations_page", __doc__, "--stage prod --hours 24")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where the file goes (default %(default)s)"
    )
    parser.add_argument(
        "--hours",
        type=_hours,
        default=LINK_HOURS,
        help="how long the address and the page's links are valid (default %(default)s)",
    )
    options = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(options.stage)
        session = boto3.Session(region_name=stage.region)
        account_id = account_of(stage, session.client("sts"))
        print("\n".join(build_page(stage, account_id, session, options.folder, options.hours).lines()))
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
