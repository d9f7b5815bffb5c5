"""Start or follow an execution of the pipeline, with a live view of its states.

python -m demo.follow --full-refresh
python -m demo.follow --execution arn:aws:states:...
"""

import argparse
import json
import re
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from botocore.exceptions import BotoCoreError, ClientError

from demo import environment
from demo.environment import Environment
from demo.generator import History
from demo.terminal import duration
from deploy.hyperparameters import refusal
from functions.platform.run_history import AFTER_A_FAILURE, Execution, State, folded, parse, read_history
from functions.platform.run_names import night_execution_name, run_id_of

POLL_S = 1.0
OVER = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}
EVALUATIONS = Path(".local/evaluations")
EVALUATION = re.compile(r"s3://(?P<bucket>[^/\s]+)/(?P<key>\S+/evaluation\.html)")
MARKS = {"running": ">", "retrying": "~", "done": "+", "failed": "x", "caught": "!"}


def execution_input(options: argparse.Namespace) -> dict[str, Any]:
    """Build the execution's input from the flags."""
    wanted: dict[str, Any] = {
        "full_refresh": options.full_refresh,
        "skip_training": options.skip_training,
        "tune": options.tune,
    }
    if options.canary_seconds is not None:
        wanted["canary_seconds"] = options.canary_seconds
    if options.override_reason:
        wanted["override_reason"] = options.override_reason
    if options.hyperparameter:
        wanted["hyperparameters"] = dict(pair.split("=", 1) for pair in options.hyperparameter)
    return wanted


def name_and_value(text: str) -> str:
    """Check that a flag's value is NAME=VALUE of a hyperparameter that the training job has, and return it."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as epochs=3")
    if reason := refusal({name: value}):
        raise argparse.ArgumentTypeError(f"{reason}; docs/settings.md lists them")
    return text


def start(client: Any, state_machine_arn: str, wanted: dict[str, Any]) -> str:
    """Start an execution and return its ARN."""
    name = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    started = client.start_execution(stateMachineArn=state_machine_arn, name=name, input=json.dumps(wanted))
    return str(started["executionArn"])


def latest(client: Any, state_machine_arn: str) -> str | None:
    """Return the ARN of the execution that started last, or None."""
    found = client.list_executions(stateMachineArn=state_machine_arn, maxResults=1)["executions"]
    return str(found[0]["executionArn"]) if found else None


def line_of(state: State, now: datetime) -> str:
    """Format one state as one line."""
    figures = ", ".join(f"{key}={value}" for key, value in state.figures.items() if key != "caught")
    tries = f"  try {state.attempts}" if state.attempts > 1 else ""
    text = (
        f"{MARKS[state.status]} {state.name:<28} {state.status:<9} {duration(state.seconds(now)):>12}{tries}"
    )
    return f"{text}  {figures}".rstrip()


class View:
    """A live view of the states: redrawn in place on a terminal, otherwise one line per change."""

    def __init__(self, out: TextIO, width: int = 160) -> None:
        self._out, self._width = out, width
        self._tty = out.isatty()
        self._drawn = 0
        self._printed: set[str] = set()

    def draw(self, story: Execution, now: datetime) -> None:
        """Draw the current states."""
        states = folded(story.states)
        if self._tty:
            lines = [line_of(state, now)[: self._width] for state in states]
            up = f"\x1b[{self._drawn}A" if self._drawn else ""
            self._out.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
            self._drawn = len(lines)
        else:
            for position, state in enumerate(states):
                for count, failure in enumerate(state.failures, 1):
                    self._print_once(
                        f"{position}/failure/{count}", f"  {state.name}, try {count}: {failure[:400]}"
                    )
                if state.status != "retrying" and not (state.visits > 1 and state.status == "running"):
                    self._print_once(f"{position}/{state.status}", line_of(state, now))
        self._out.flush()

    def _print_once(self, key: str, line: str) -> None:
        if key not in self._printed:
            self._printed.add(key)
            self._out.write(line + "\n")


def follow(client: Any, execution_arn: str, out: TextIO, poll_s: float = POLL_S) -> Execution:
    """Draw the states until the execution ends, and return the execution."""
    view = View(out)
    while True:
        status = client.describe_execution(executionArn=execution_arn)
        story = parse(read_history(client, execution_arn))
        # The history can lag behind the status, so the status decides when to stop.
        if status["status"] in OVER:
            story.status = status["status"]
            story.error = story.error or str(status.get("error", ""))
            story.cause = story.cause or str(status.get("cause", ""))
        view.draw(story, datetime.now(UTC))
        if story.status in OVER:
            return story
        time.sleep(poll_s)


def explain(story: Execution, execution_arn: str, where: Environment, shop: str | None = None) -> str:
    """Explain the failure, its reason and the next step. `shop` is the trained shop, unless it is the stage's first."""
    name = execution_arn.rsplit(":", 1)[1]
    # The state Failed only repeats the failure of the run.
    failed = [
        state
        for state in story.states
        if state.status in ("failed", "caught") and state.failures and state.name not in AFTER_A_FAILURE
    ]
    lines = [f"The run {name} ended as {story.status}."]
    if story.error or story.cause:
        lines += [f"  error: {story.error}", f"  cause: {story.cause[:2000]}"]
    for state in failed:
        lines.append(
            f"  state {state.name} failed {len(state.failures)} times, last with {state.failures[-1][:1000]}"
        )
    if story.error == "ModelRefused":
        lines += [
            "  what was published before is still being served",
            f"  next: {after_refusal(story, where, shop)}",
        ]
        return "\n".join(lines)
    if story.error == "BatchRefused":
        stage = stage_argument(where)
        lines += [
            "  the model that was published before still serves",
            f"  next: `make quality{stage}` shows the page that the cause names, with the rows behind each check. Correct the "
            f"source and run again; or change the shop's limit with `make limit{stage}`; or accept the check in this run: "
            f"""`make override{stage} RUN=... CHECK="..." REASON="..."`, then `make rerun{stage}`""",
        ]
        return "\n".join(lines)
    logs = f"/aws/lambda/tugboat-{where.stage}-*, /aws/sagemaker/TrainingJobs (CloudWatch log groups)"
    local_logs = where.logs_dir or (".local/logs" if where.is_local else None)
    lines.append(f"  look at: {f'{local_logs}/ or `make logs`, and ' if local_logs else ''}{logs}")
    lines.append("  the model that was published before still serves")
    lines.append(
        f"  next: correct the cause, then `make rerun{stage_argument(where)}` continues at the step that failed"
    )
    return "\n".join(lines)


def stage_argument(where: Environment) -> str:
    """Return the argument of make that names the stage; nothing for the local one, which is the default."""
    return "" if where.is_local else f" STAGE={where.stage}"


def after_refusal(story: Execution, where: Environment, shop: str | None) -> str:
    """Name the failed checks, the page with all of them, and the commands that may follow, in one line.

    Copy the page from S3 to EVALUATIONS, so that a browser can open it. If that fails, name its S3 address.
    """
    found = EVALUATION.search(story.cause)
    page = _local_copy(where, found["bucket"], found["key"]) if found else "the run's evaluation.html"
    reasons = story.cause.removeprefix("Evaluate: ").split(" Report: ")[0].split("; ")
    failed = ", ".join(reason.split(" is ")[0] for reason in reasons)
    stage = stage_argument(where)
    arguments = f"--shop {shop} " if shop else ""
    return (
        f"read {page} (failed: {failed}); then `make run{stage} ARGS='{arguments}--hyperparameter seed=1'` trains again,"
        f""" and `make run{stage} ARGS='{arguments}--override-reason "your reason"'` trains and publishes anyway"""
    )


def _local_copy(where: Environment, bucket: str, key: str) -> str:
    path = EVALUATIONS / key.split("/")[-2] / "evaluation.html"
    try:
        page = where.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page)
    except (BotoCoreError, ClientError, OSError):
        return f"s3://{bucket}/{key}"
    return str(path)


def run_shops(where: Environment, wanted: dict[str, Any], given: str | None) -> bool:
    """Start the pipeline for one shop, or a night for several, and follow it. Return True if it succeeded."""
    shops = where.chosen_shops(given)
    if len(shops) == 1:
        return run(where, {**wanted, "shop_id": shops[0]}).status == "SUCCEEDED"
    client = where.client("stepfunctions")
    arn = start(client, where.night_arn(), {**wanted, "shops": shops})
    return follow_night(client, where, arn, shops).status == "SUCCEEDED"


def follow_night(client: Any, where: Environment, arn: str, shops: Sequence[str]) -> Execution:
    """Draw the night's states, and below them those of its executions, until it ends. Print what failed."""
    print(f"execution {arn}, for the shops {', '.join(shops)}", flush=True)
    begun = client.describe_execution(executionArn=arn)["startDate"]
    run_id, pipeline = (
        run_id_of(arn, begun),
        where.state_machine_arn().replace(":stateMachine:", ":execution:"),
    )
    names = {
        "tables": f"night-{run_id}.tables",
        **{shop: night_execution_name(run_id, shop) for shop in shops},
    }
    view = View(sys.stdout)
    while True:
        status = client.describe_execution(executionArn=arn)
        story = parse(read_history(client, arn))
        inner = {of: _story(client, f"{pipeline}:{name}") for of, name in names.items()}
        states = [
            replace(state, name=f"{of}: {state.name}")
            for of, one in inner.items()
            if one
            for state in folded(one.states)
        ]
        view.draw(Execution([*folded(story.states), *states]), datetime.now(UTC))
        if status["status"] in OVER:
            break
        time.sleep(POLL_S)
    story.status, story.error = status["status"], str(status.get("error", ""))
    story.cause = str(status.get("cause", ""))
    for of, one in inner.items():
        if one and one.status not in ("SUCCEEDED", "RUNNING"):
            print(explain(one, f"{pipeline}:{names[of]}", where, of), file=sys.stderr)
    if story.status != "SUCCEEDED":
        print(f"The night {run_id} ended as {story.status}: {story.error} {story.cause}", file=sys.stderr)
    return story


def _story(client: Any, execution_arn: str) -> Execution | None:
    """Return an execution of the night, or None before it has started."""
    try:
        status = client.describe_execution(executionArn=execution_arn)
        story = parse(read_history(client, execution_arn))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return None
    if status["status"] in OVER:
        story.status = status["status"]
    return story


def run(where: Environment, wanted: dict[str, Any], execution_arn: str | None = None) -> Execution:
    """Start an execution unless one is given, follow it, and print its failure if there is one."""
    client = where.client("stepfunctions")
    arn = execution_arn or start(client, where.state_machine_arn(), wanted)
    print(f"execution {arn}", flush=True)
    story = follow(client, arn, sys.stdout)
    if story.redrives:
        print(f"try {story.redrives + 1} of this run: it was redriven", flush=True)
    if story.status != "SUCCEEDED":
        shop = str(wanted.get("shop_id") or "")
        print(explain(story, arn, where, shop if shop != History.shop_id else None), file=sys.stderr)
    return story


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that become the execution's input."""
    parser.add_argument(
        "--full-refresh", action="store_true", help="rebuild every table, not only with new rows"
    )
    parser.add_argument("--skip-training", action="store_true", help="stop after validation")
    parser.add_argument(
        "--tune", action="store_true", help="run a hyperparameter search instead of one training job"
    )
    parser.add_argument(
        "--canary-seconds",
        type=int,
        metavar="S",
        help="time at each share of the sessions, instead of the stage's canary_seconds; 0: no canary",
    )
    parser.add_argument(
        "--override-reason",
        metavar="WHY",
        help="publish although the gate refuses the model; the reason is recorded",
    )
    parser.add_argument(
        "--hyperparameter",
        action="append",
        type=name_and_value,
        metavar="NAME=VALUE",
        help="a setting of the training job; repeat the flag for several",
    )


def main(arguments: list[str] | None = None) -> int:
    """Start or follow an execution; return 0 only if it succeeded."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.follow",
        description="Start or follow one execution of the pipeline.",
        epilog="example: python -m demo.follow --full-refresh",
    )
    add_arguments(parser)
    parser.add_argument(
        "--shop",
        metavar="A,B",
        help="train for these shops; default: for all that the stage trains for. Several have their tables made once",
    )
    parser.add_argument("--execution", metavar="ARN", help="follow this execution instead of starting one")
    parser.add_argument("--latest", action="store_true", help="follow the execution started last")
    options = parser.parse_args(arguments)
    try:
        where = environment.from_variables()
        arn = options.execution
        if options.latest:
            arn = latest(where.client("stepfunctions"), where.state_machine_arn())
            if arn is None:
                print("follow: there is no execution yet; start one without --latest", file=sys.stderr)
                return 1
        if arn is None:
            return 0 if run_shops(where, execution_input(options), options.shop) else 1
        return 0 if run(where, {}, arn).status == "SUCCEEDED" else 1
    except environment.NotDeployed as unknown:
        print(f"follow: {unknown}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"follow: {environment.unanswered(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nfollow: stopped following; the execution still runs. Follow it again with --latest.",
            file=sys.stderr,
        )
        return 130


if __name__ == "__main__":
    sys.exit(main())
