"""Ring alarms of a stage on purpose, and print the message that arrives.

The setting alarm_drills of the stage says how. "causes" makes the condition true where that is quick and harmless, else
puts marked data points, else sets the state. "states" only sets the state, which disturbs no figure and no shopper.
The alarm then returns to the state of its data with its next evaluation.
"""

import os
import sys
import textwrap
import time
from contextlib import ExitStack
from typing import NamedTuple

import boto3

from deploy import chalice_record
from deploy.command import DeployError, exit_status, stage_parser
from deploy.drill.delivery import Delivered, Subscriber, subscriber
from deploy.drill.drills import DRILLS, SHARE_PERIOD_S, Drill
from deploy.drill.place import NotPossible, Place
from deploy.shop_option import add_shop, chosen_shop
from deploy.stages import Stage, account_of, read_stage

# CloudWatch evaluates once a minute, and metrics of services arrive a few minutes late.
ARRIVAL_S = 420.0
ALL = "all"


class Outcome(NamedTuple):
    """The way in which an alarm was rung, and the message, or None if none arrived."""

    alarm: str
    way: str
    delivered: Delivered | None
    seconds: float


def drill(place: Place, one: Drill, listening: Subscriber) -> Outcome:
    """Ring an alarm, wait for its message, and clean up.

    Raises:
        DeployError: the stage has no such alarm.
    """
    found = place.alarm(one.alarm)
    if found is None:
        raise DeployError(
            f"stage {place.stage.name} has no alarm {place.alarm_name(one.alarm)}. Deploy it with "
            f"make deploy STAGE={place.stage.name}; model-old exists only with model_max_age_hours above 0"
        )
    if found["StateValue"] == "ALARM":
        print(f"  it rings already: {found['StateReason']}")
        place.set_state(one.alarm, "OK", "A drill resets the alarm, so that it can ring again.")
    began = time.monotonic()
    with ExitStack() as cleaning:
        way = _ring(place, one, cleaning)
        delivered = listening.wait(place.alarm_name(one.alarm), "ALARM", ARRIVAL_S)
    return Outcome(one.alarm, way, delivered, time.monotonic() - began)


def _ring(place: Place, one: Drill, cleaning: ExitStack) -> str:
    """Ring by the best way that the stage allows; return the way in a word."""
    causes = place.stage.alarm_drills == "causes"
    if causes and one.cause:
        try:
            print(f"  true cause: {cleaning.enter_context(one.cause(place))}")
            return "true cause"
        except NotPossible as reason:
            print(f"  no true cause: {reason}")
    if causes and one.bad:
        place.put(one.bad)
        # CloudWatch takes values of the next two hours: the period after this one is a good one.
        cleaning.callback(place.put, one.good, SHARE_PERIOD_S)
        values = ", ".join(f"{name} = {value:g}" for name, value in one.bad.items())
        print(
            f"  marked data points: {values}. Good ones follow in {SHARE_PERIOD_S // 60} minutes and end the ringing"
        )
        return "data points"
    place.set_state(one.alarm, "ALARM", "A drill (make drill) set this state. No data point is behind it.")
    cleaning.callback(place.set_state, one.alarm, "OK", "The drill is over.")
    print("  set state: SetAlarmState, without a data point. The next evaluation finds the true state")
    return "set state"


def report(outcome: Outcome) -> None:
    """Print the message as its subscribers get it."""
    if outcome.delivered is None:
        print(f"  NOT DELIVERED within {outcome.seconds:.0f} s")
        return
    message = outcome.delivered.message
    print(f"  delivered after {outcome.seconds:.0f} s to the topic's subscribers:")
    print(f"    subject: {outcome.delivered.subject}")
    fill = textwrap.TextWrapper(
        110, initial_indent="    ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    ).fill
    for name, text in (("reason", message["NewStateReason"]), ("what to do", message["AlarmDescription"])):
        print(fill(f"{name}: {text}"))


def listing() -> str:
    """Return the alarms, each with the best way to ring it."""
    lines = [f"  {drill.alarm:16} {drill.described}" for drill in DRILLS.values()]
    return "\n".join(['Alarms, and how a stage with alarm_drills = "causes" rings them:', *lines])


def api_url(stage: Stage, account_id: str, s3: object) -> str:
    """Return the address of the stage's API, from the environment or from Chalice's record.

    Raises:
        DeployError: there is no record.
    """
    if given := os.environ.get("TUGBOAT_API_URL"):
        return given
    record = chalice_record.fetch(stage, stage.models_bucket(account_id), s3)
    api = chalice_record.api_of(record) if record else None
    if api is None:
        raise DeployError(f"the API of stage {stage.name} is not deployed: make deploy STAGE={stage.name}")
    return str(api["rest_api_url"])


def run(stage: Stage, wanted: str, shop: str) -> int:
    """Ring one alarm or all of them, of a shop where each shop has its own; return the exit status."""
    if wanted != ALL and wanted not in DRILLS:
        raise DeployError(f"there is no alarm {wanted!r}. Use ALARM={ALL} or one of {', '.join(DRILLS)}")
    session = boto3.Session(region_name=stage.region)
    account_id = account_of(stage, session.client("sts"))
    place = Place(stage, account_id, session, api_url(stage, account_id, session.client("s3")), shop)
    drills = list(DRILLS.values()) if wanted == ALL else [DRILLS[wanted]]
    outcomes = []
    with subscriber(place) as listening:
        for one in drills:
            if wanted == ALL and place.alarm(one.alarm) is None:
                print(f"{place.alarm_name(one.alarm)}: the stage does not have it")
                continue
            print(f"{place.alarm_name(one.alarm)}:")
            outcomes.append(drill(place, one, listening))
            report(outcomes[-1])
    silent = [outcome.alarm for outcome in outcomes if outcome.delivered is None]
    if wanted == ALL:
        print(f"\n{len(outcomes) - len(silent)} of {len(outcomes)} alarms rang, and their messages arrived:")
        for outcome in outcomes:
            print(f"  {outcome.alarm:16} {outcome.way:12} {outcome.seconds:4.0f} s")
    if silent:
        print(
            f"\nno message of {', '.join(silent)}. Look at the alarm's history: aws cloudwatch describe-alarm-history "
            f"--alarm-name {place.alarm_name(silent[0])}",
            file=sys.stderr,
        )
    return int(bool(silent))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.drill", __doc__, "--stage local --alarm events-refused")
    parser.add_argument("--alarm", default="", help="an alarm's name, or all (default: list the alarms)")
    add_shop(parser)
    args = parser.parse_args(arguments)
    if not args.alarm:
        print(listing())
        return 0

    def ring() -> int:
        stage = read_stage(args.stage)
        return run(stage, args.alarm, chosen_shop(stage, args.shop))

    return exit_status(ring)


if __name__ == "__main__":
    sys.exit(main())
