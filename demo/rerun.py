"""Continue a failed run at the step that failed, and follow it.

Step Functions redrives the execution: the same input, run id and snapshot, and the results of the steps that succeeded.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from demo import environment
from demo.environment import Environment
from demo.follow import explain, follow, stage_argument
from functions.platform.run_history import HistoryEvent, read_history, readable
from functions.platform.run_names import run_id_of

# DescribeExecution is eventually consistent: it may show the failed try for a moment.
COUNTED_AFTER_S = 30.0
# Refused because another run held the lock. In its first try such a run has done nothing, so no step of it is to repair.
REFUSED = "AlreadyRunning"


class NotRerun(Exception):
    """The run cannot continue. The message contains the reason and the next step."""


@dataclass(frozen=True)
class Failed:
    """A run that failed, and where it continues."""

    arn: str
    run_id: str
    status: str
    error: str
    cause: str
    step: str
    redrives: int
    is_outdated: bool

    def __str__(self) -> str:
        """Say what failed and why, and what happens now."""
        how = {"ABORTED": "was stopped", "TIMED_OUT": "ran out of time"}.get(self.status, "failed")
        why = f" with {self.error}: {self.cause[:1000]}" if self.error else ""
        lines = [
            f"run {self.run_id} {how} in {self.step}{why}",
            f"try {self.redrives + 2} continues at {self.step}",
        ]
        if self.is_outdated:
            lines.append(
                "note: the state machine was deployed again since. This run keeps its own definition; the code of the Lambdas "
                "is today's"
            )
        return "\n".join(lines)


def choose(
    client: Any, machine: str, named: str | None, stage: str, shop: str | None = None, default_shop: str = ""
) -> Failed:
    """Find the run to continue: the one with this run id, name or ARN, otherwise the latest, of one shop if that is given.

    A later run matters only if it is of the same shop. `default_shop` is that of an execution whose input names none.

    Raises:
        NotRerun: no such run, it runs or has succeeded, a later run matters more, or Step Functions refuses a redrive.
    """
    new_run = f"`make run{stage}` starts a new run"
    later: list[tuple[str, str, dict[str, Any]]] = []
    pages = client.get_paginator("list_executions").paginate(stateMachineArn=machine)
    for listed in (one for page in pages for one in page["executions"]):
        arn, status = str(listed["executionArn"]), listed["status"]
        run_id = run_id_of(arn, listed["startDate"])
        described = client.describe_execution(executionArn=arn)
        of_shop = shop_of(described, default_shop)
        if named is None and shop not in (None, of_shop):
            continue
        if named not in (None, arn, listed["name"], run_id):
            later.append((run_id, status, described))
            continue
        for one in later:
            # A run of another shop cannot replace its model, but while it runs it holds the lock.
            if one[1] == "RUNNING" or shop_of(one[2], default_shop) == of_shop:
                _require_no_later(*one, str(named), stage)
        if named is None and described.get("error") == REFUSED and not described["redriveCount"]:
            continue
        if status == "RUNNING":
            raise NotRerun(f"run {run_id} still runs: follow it with `make status{stage}`")
        if status == "SUCCEEDED":
            raise NotRerun(f"run {run_id} succeeded, so no step is left to repair. {new_run}")
        if described["redriveStatus"] != "REDRIVABLE":
            reason = described.get("redriveStatusReason", "Step Functions gives no reason")
            raise NotRerun(f"Step Functions refuses to redrive run {run_id}: {reason}. {new_run}")
        own = client.describe_state_machine_for_execution(executionArn=arn)["definition"]
        if status == "FAILED" and any(one["Type"] == "Fail" for one in json.loads(own)["States"].values()):
            raise NotRerun(
                f"run {run_id} has a definition in which every failure ends in a Fail state, where a redrive fails again. "
                f"{new_run}"
            )
        return Failed(
            arn=arn,
            run_id=run_id,
            status=status,
            error=str(described.get("error", "")),
            cause=readable(str(described.get("cause", ""))),
            step=continues_at(read_history(client, arn)),
            redrives=int(described["redriveCount"]),
            is_outdated=own != client.describe_state_machine(stateMachineArn=machine)["definition"],
        )
    if named is None:
        raise NotRerun(f"the stage has no run that failed. {new_run}")
    raise NotRerun(
        f"no execution of {machine.rsplit(':', 1)[1]} is the run {named}. The notification of the failure names the run id; "
        f"without RUN the command takes the latest run"
    )


def shop_of(described: dict[str, Any], default_shop: str) -> str:
    """Return the shop of an execution; an empty text for one that only makes the tables of all shops."""
    wanted = json.loads(described.get("input") or "{}")
    return "" if wanted.get("only_tables") else str(wanted.get("shop_id") or default_shop)


def _require_no_later(
    run_id: str, status: str, described: dict[str, Any], named: str | None, stage: str
) -> None:
    """Refuse a run if a later one runs or has published.

    Raises:
        NotRerun: the later run holds the lock, or its model would be replaced by an older one.
    """
    if status == "RUNNING":
        raise NotRerun(
            f"run {run_id} runs and holds the lock, so {named} cannot run. Wait for it, or stop it, then repeat the command"
        )
    if status == "SUCCEEDED" and json.loads(described.get("output") or "{}").get("outcome") == "published":
        raise NotRerun(
            f"run {run_id} started after {named} and published its model, which {named} would replace by an older one. "
            f"`make run{stage}` starts a new run"
        )


def continues_at(events: list[HistoryEvent]) -> str:
    """Return the step at which a redrive continues, from an execution's history."""
    resume, inside = "Load", "Prepare"
    for event in events:
        if entered := event.get("stateEnteredEventDetails"):
            inside = entered["name"]
        assigned = event.get("stateExitedEventDetails", {}).get("assignedVariables", {})
        if "resume" in assigned:
            resume = json.loads(assigned["resume"])
    # A run that failed ended in Failed. Any other state is one in which the run was stopped or ran out of time.
    return resume if inside == "Failed" else inside


def redrive(client: Any, failed: Failed) -> None:
    """Redrive the execution, and wait until Step Functions counts it.

    Raises:
        NotRerun: Step Functions refused the redrive, or does not show it.
    """
    try:
        client.redrive_execution(executionArn=failed.arn)
    except ClientError as error:
        refused = error.response["Error"]
        advice = {
            "ExecutionNotRedrivable": "Somebody else may have redriven it: look with `make status`",
            "ExecutionLimitExceeded": "Wait until other executions of the account have ended, then repeat the command",
            "AccessDeniedException": f"Allow your role states:RedriveExecution on {failed.arn}, then repeat the command",
        }
        if refused["Code"] not in advice:
            raise
        raise NotRerun(
            f"Step Functions refused to redrive run {failed.run_id}: {refused['Code']}: {refused.get('Message', '')}. "
            f"{advice[refused['Code']]}"
        ) from error
    deadline = time.monotonic() + COUNTED_AFTER_S
    while client.describe_execution(executionArn=failed.arn).get("redriveCount", 0) <= failed.redrives:
        if time.monotonic() > deadline:
            raise NotRerun(
                f"run {failed.run_id} was redriven, but Step Functions does not show it yet. Follow it with `make status`"
            )
        time.sleep(0.2)


def rerun(where: Environment, named: str | None, shop: str | None = None) -> int:
    """Continue a run and follow it; return 0 only if it succeeded."""
    if shop or (named is None and len(where.trained_shops) > 1):
        shop = where.chosen_shop(shop)
    client, stage = where.client("stepfunctions"), stage_argument(where)
    failed = choose(client, where.state_machine_arn(), named, stage, shop, where.trained_shops[0])
    print(failed, f"execution {failed.arn}", sep="\n", flush=True)
    redrive(client, failed)
    story = follow(client, failed.arn, sys.stdout)
    if story.status != "SUCCEEDED":
        print(explain(story, failed.arn, where), file=sys.stderr)
    return 0 if story.status == "SUCCEEDED" else 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.rerun",
        description=__doc__,
        epilog="example: python -m demo.rerun --run 20261129-1a2b3c4d5e6f",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run",
        metavar="ID",
        help="the run to continue: its run id, the name of its execution, or the ARN; default: the latest",
    )
    parser.add_argument("--shop", metavar="SHOP", help="without --run: the latest run of this shop")
    options = parser.parse_args(arguments)
    try:
        return rerun(environment.from_variables(), options.run, options.shop)
    except (NotRerun, environment.NotDeployed) as refused:
        print(f"rerun: {refused}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(f"rerun: {environment.unanswered(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nrerun: stopped following; the run continues. Follow it with `make status`.", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
