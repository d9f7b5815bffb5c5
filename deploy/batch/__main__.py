"""Make the lists of recommendations of all clients of a shop, for mail, and follow the execution until they are loaded.

With --export it makes nothing, and writes the newest lists as CSV: one row per client, the best item first.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from deploy.batch.lists import about, lists, reader, write_csv
from deploy.command import DeployError, Progress, Say, exit_status, stage_parser
from deploy.stages import Stage, account_of, read_stage, shop_of
from functions.platform.contract import PLACEMENTS

POLL_S = 2.0
ENTERED = ("TaskStateEntered",)


class BatchFailed(DeployError):
    """The batch ended without new lists. The message has the reason and the next step."""


def start(stage: Stage, account_id: str, states: Any, given: dict[str, Any]) -> str:
    """Start a batch, and return the ARN of its execution."""
    arn = stage.batch_arn(account_id)
    return str(states.start_execution(stateMachineArn=arn, input=json.dumps(given))["executionArn"])


def follow(execution: str, stage: Stage, states: Any, say: Say, poll_s: float = POLL_S) -> dict[str, Any]:
    """Print each state that begins, until the execution ends; return its output.

    Raises:
        BatchFailed: the execution did not succeed.
    """
    printed = 0
    while True:
        described = states.describe_execution(executionArn=execution)
        entered = list(_entered(states, execution))
        for name in entered[printed:]:
            say(name)
        printed = len(entered)
        if described["status"] != "RUNNING":
            break
        time.sleep(poll_s)
    if described["status"] != "SUCCEEDED":
        raise BatchFailed(
            f"{described.get('error', described['status'])}: {described.get('cause', 'no cause was given')}\nThe lists of the "
            f"batch before are kept. Correct the cause, then run make batch STAGE={stage.name} again"
        )
    output: dict[str, Any] = json.loads(described["output"])
    return output


def _entered(states: Any, execution: str) -> Iterator[str]:
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    for page in pages:
        for event in page["events"]:
            if event["type"] in ENTERED:
                yield event["stateEnteredEventDetails"]["name"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.batch", __doc__, "--stage dev --shop demo --export lists.csv --users-only")
    parser.add_argument("--shop", help="a shop of the stage (default: its first)")
    parser.add_argument(
        "--days", type=int, help="clients with an event in so many days, instead of batch_days"
    )
    parser.add_argument("--items", type=int, help="items per list, instead of batch_items")
    parser.add_argument(
        "--placement",
        choices=PLACEMENTS,
        default="home",
        help="rules can depend on it (default: %(default)s)",
    )
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the newest lists to this CSV file")
    parser.add_argument(
        "--users-only", action="store_true", help="export one list per user id, and no client without one"
    )
    args = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        shop = shop_of(stage, args.shop)
        session = boto3.Session(region_name=stage.region)
        account_id = account_of(stage, session.client("sts"))
        if args.export:
            with reader(stage, account_id, session.client("secretsmanager")) as connected:
                newest = about(connected, shop, stage)
                rows = lists(connected, shop, args.users_only)
                count = write_csv(args.export, ("user_id", "client_id", "items_best_first"), rows)
            print(f"{newest}\nwrote {count:,} lists to {args.export}")
            return 0
        given = {"shop_id": shop, "placement": args.placement}
        given |= {name: getattr(args, name) for name in ("days", "items") if getattr(args, name)}
        states, say = session.client("stepfunctions"), Progress()
        execution = start(stage, account_id, states, given)
        say(f"started {execution.rpartition(':')[2]}")
        made = follow(execution, stage, states, say)
        say(
            f"{made['clients']:,} clients of {made['shop_id']} have {made['rows']:,} recommendations by model "
            f"{made['model_version']}, and {made['affinities']:,} affinities"
        )
        print(
            f"Export them: make batch STAGE={stage.name} SHOP={shop} ARGS='--export lists.csv --users-only'"
        )
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
