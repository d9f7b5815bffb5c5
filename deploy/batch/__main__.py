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

from deploy.batch.lists import NoBatch, about, lists, reader, write_csv
from deploy.command import DeployError, Progress, Say, exit_status, stage_parser
from deploy.shop_option import add_shop, chosen_shop
from deploy.stages import Stage, account_of, read_stage
from functions.batch.histories import DAYS_MAX
from functions.platform.contract import PLACEMENTS, RECOMMEND_K_MAX
from functions.platform.run_history import readable_failure

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

    If the shop has no model yet, `skipped` in the output has the reason.

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
        failure = readable_failure(
            described.get("error", described["status"]), described.get("cause", "no cause was given")
        )
        raise BatchFailed(
            f"{failure}\nThe lists of the "
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
    add_shop(parser)
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
    for name, most in (("days", DAYS_MAX), ("items", RECOMMEND_K_MAX)):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= most:
            parser.error(f"argument --{name}: use 1 to {most}")
    if args.users_only and not args.export:
        parser.error("argument --users-only: a batch has a list for every client; use it with --export FILE")

    def run() -> int:
        stage = read_stage(args.stage)
        shop = chosen_shop(stage, args.shop)
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
        if "skipped" in made:
            raise NoBatch(f"{made['skipped']} make run STAGE={stage.name} SHOP={shop} trains one")
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
