"""Trace a recommendation back to its session, events, model, run and snapshot, and explain each of its items.

The request id of /recommend's answer is the recommendation's id. It is in the answer, in the page's events and in the API's log.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3

from deploy.command import exit_status, stage_parser
from deploy.explain import page, text
from deploy.explain.explanation import explain
from deploy.explain.model import Clients
from deploy.explain.trace import ExplainError, Trace, from_raw_files, from_warehouse
from deploy.stages import Stage, account_of, read_stage
from deploy.warehouse_setup import connection, setup_parameters
from functions.platform import warehouse

PAGE = Path("build/explain.html")


def find(stage: Stage, account_id: str, session: Any, recommendation_id: str, days: int, hours: int) -> Trace:
    """Return the recommendation from the warehouse, else from the raw files of the last hours.

    Raises:
        ExplainError: neither has it, or the role that reads does not exist yet.
    """
    from snowflake.connector.errors import Error

    login = warehouse.read_credentials(session.client("secretsmanager"), stage.secret_name)
    values = setup_parameters(stage, account_id, login)
    # A role that can only read, on the warehouse of people.
    reader = replace(login, role=f"{values['prefix']}_EXPLAINER", warehouse=values["reader_warehouse"])
    try:
        with connection(reader) as connected:
            trace = from_warehouse(connected, recommendation_id, days)
    except Error as error:
        raise ExplainError(
            f"user {reader.user} cannot read recommendations as {reader.role}: {error.msg}\n"
            f"Before the first run there are no marts: make run STAGE={stage.name}. Without the role, deploy once with an "
            f"administrator's login in the secret {stage.admin_secret_name} (docs/deploy.md)"
        ) from error
    bucket = stage.events_bucket(account_id)
    trace = trace or from_raw_files(session.client("s3"), bucket, recommendation_id, hours)
    if trace is None:
        raise ExplainError(
            f"no event names the recommendation {recommendation_id}: not in RAW.EVENTS (loads of {days} days), not in "
            f"the raw files of the last {hours} hours. Events name it once its carousel was seen, so compare the id "
            "with request_id in the answer; wait a few minutes for Firehose; search further with --days or --hours. "
            "Erased and expired events cannot be traced"
        )
    return trace


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser(
        "deploy.explain", __doc__, "--stage dev --request 3f0d5c7e-1111-4222-8333-944455556666"
    )
    parser.add_argument(
        "--request", required=True, metavar="ID", help="the request_id of /recommend's answer"
    )
    parser.add_argument(
        "--days", type=int, default=7, help="days of loads to search in the warehouse (default %(default)s)"
    )
    parser.add_argument(
        "--hours", type=int, default=3, help="hours of raw files to search besides (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help=f"the HTML page (default {PAGE}; with --json, none)"
    )
    args = parser.parse_args(arguments)

    def run() -> int:
        if not args.request:
            raise ExplainError(
                "name a recommendation: make explain REQUEST=<request_id of /recommend's answer>"
            )
        stage = read_stage(args.stage)
        session = boto3.Session(region_name=stage.region)
        account_id = account_of(stage, session.client("sts"))
        trace = find(stage, account_id, session, args.request, args.days, args.hours)
        clients = Clients(*(session.client(name) for name in ("s3", "sagemaker", "stepfunctions")))
        buckets = (stage.events_bucket(account_id), stage.models_bucket(account_id))
        machine = f"arn:aws:states:{stage.region}:{account_id}:stateMachine:{stage.prefix}-pipeline"
        explanation = explain(stage.name, trace, clients, buckets, machine)
        print(json.dumps(explanation.to_json(), default=str) if args.json else text.render(explanation))
        file = args.page or (None if args.json else PAGE)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(page.render(explanation), "utf-8")
            if not args.json:
                print(f"\npage: {file}")
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
