"""The whole journey from the command line: replay, wait for the landing, run the pipeline, report.

python -m demo
python -m demo --events ../shared/data/events/serenade
"""

import argparse
import json
import sys
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError

from demo import environment, follow, replay, report, source
from demo.generator import History
from demo.history import folded
from demo.http import Http
from demo.journey import JourneyFailed, Timings, land, send_events
from demo.rejects import Rejects
from demo.split import Split, cutoff_of
from demo.terminal import duration, table

NEXT_STEPS = """
What to try next:
  make recommend ITEMS={items}
      ask for a carousel yourself
  make run{run_arguments}
      a second run: it ships a second model and keeps the first for `make rollback`
  make demo EVENTS=your.csv
      your own events; docs/datasets.md names the columns
  make status, make logs, make down
      what runs, what it says, and the end of it; the state survives"""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 only if all of it happened."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Send events, run the pipeline, and judge what /recommend then serves.",
        epilog="example: python -m demo --events ../shared/data/events/serenade",
    )
    source.add_arguments(parser)
    replay.add_arguments(parser)
    follow.add_arguments(parser)
    parser.add_argument(
        "--max-prefixes",
        type=int,
        default=report.MAX_PREFIXES,
        help="test prefixes asked for (default %(default)s)",
    )
    parser.add_argument(
        "--landing-timeout", type=float, metavar="SECONDS", help="default 120 locally, 600 elsewhere"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON line of all figures")
    options = parser.parse_args(arguments)
    try:
        return journey(options)
    except (source.UnknownLayout, environment.NotDeployed, replay.ReplayFailed, JourneyFailed) as failed:
        print(f"demo: {failed}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(
            f"demo: {error}. Is the stack up and deployed? `make status` says, `make up` starts.",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print("\ndemo: stopped. Running it again is safe: event ids do not change.", file=sys.stderr)
        return 130
    return 1


def journey(options: argparse.Namespace) -> int:
    """The stages in order; the first that fails ends it."""
    where = environment.from_variables()
    timings = Timings()
    dataset = source.from_options(options)
    print(f"events: {dataset.name}")
    split = Split(dataset, None if options.all else cutoff_of(dataset))
    with Rejects(options.rejects) as rejects:
        sent, watch = send_events(where, split, rejects, options.connections, timings)
    print(sent.summary())
    if rejects.count:
        print(rejects.summary())
    if split.cutoff_ms is not None:
        moment = datetime.fromtimestamp(split.cutoff_ms / 1000, UTC)
        print(
            f"{split.held_out_events:,} events from {moment:%Y-%m-%d %H:%M} UTC on are held out for the report"
        )
    if not sent.accepted:
        raise JourneyFailed("no event was accepted; the reasons are above, the contract is event.schema.json")
    land(watch, sent, options.landing_timeout or (120.0 if where.is_local else 600.0), timings)
    with timings.stage("pipeline"):
        story = follow.run(where, {**follow.execution_input(options), "shop_id": dataset.shop_id})
    for state in folded(story.states):
        if state.kind == "Task":
            timings.add(f"  {state.name}", state.seconds(datetime.now(UTC)))
    if story.status != "SUCCEEDED":
        return 1
    test = split.test_sessions()
    with timings.stage("report"):
        judged = report.judge(
            Http(report.THREADS),
            where.api_url,
            split.training_sessions(),
            test,
            split.item_names(),
            shop_id=dataset.shop_id,
            published=dataset.published,
            max_prefixes=options.max_prefixes,
        )
    print("\nTime of each stage:")
    print(table(("", "time"), [(name, duration(seconds)) for name, seconds in timings.stages]))
    print(f"  {duration(timings.total_s)} in all")
    if judged is None or judged.failures:
        return 1
    run_arguments = "" if dataset.shop_id == History.shop_id else f" ARGS='--shop {dataset.shop_id}'"
    print(NEXT_STEPS.format(items=",".join(test[0][:2]), run_arguments=run_arguments))
    if options.json:
        stages = {name.strip(): round(seconds, 2) for name, seconds in timings.stages}
        print(
            json.dumps({"stages_s": stages, "sent": sent.sent, "accepted": sent.accepted, **judged.figures()})
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
