"""Run the whole journey: replay events, wait until they are in S3, run the pipeline, score the recommendations.

python -m demo
python -m demo --events clicks.csv
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from demo import environment, feed, follow, replay, report, shoppers, source
from demo.datasets import Dataset
from demo.environment import Environment
from demo.generator import History
from demo.http import Http
from demo.journey import JourneyFailed, Timings, land, send_events
from demo.landed import LandingWatch
from demo.secret_keys import temporary_secret_keys
from demo.split import Split, cutoff_of
from demo.terminal import duration
from deploy.command import DeployError, table
from deploy.operations_page import build_page
from deploy.stages import read_stage
from functions.platform.run_history import folded
from imports.rejects import Rejects

NEXT_STEPS = """
What to try next:
  make recommend ITEMS={items}
      ask /recommend for a carousel
{explain}  make run{run_arguments}
      start a second run; it publishes a second model and keeps the first for `make rollback`
  make demo EVENTS=your.csv
      send your own events; docs/datasets.md lists the columns
  make quality
      the data checks of every run in a browser: trends, columns, the rows behind a finding
  make status, make logs, make down
      see what runs, read its logs, stop it; the state stays on disk

Where to look:
  make shop
      the shop, on http://127.0.0.1:8095
  make dashboards
      dashboards of the shop, of recommendations and of data quality
  make operations
      the operations page, which answers if the shop is well:
{operations}
  make docs
      the tables with their lineage; docs/architecture.md explains the rest"""

EXPLAIN = """  make explain REQUEST={request}
      trace a carousel that was clicked: session, events, model, why each item is in it
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the journey; return 0 only if every step succeeded."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Send events, run the pipeline, and score what /recommend then serves.",
        epilog="example: python -m demo --events clicks.csv",
    )
    source.add_arguments(parser)
    replay.add_arguments(parser)
    follow.add_arguments(parser)
    parser.add_argument(
        "--max-prefixes",
        type=int,
        default=report.MAX_PREFIXES,
        help="test prefixes to request (default %(default)s)",
    )
    parser.add_argument(
        "--landing-timeout",
        type=float,
        metavar="SECONDS",
        help="longest wait for S3 (default 120 on the local stage, 600 on others)",
    )
    parser.add_argument("--json", action="store_true", help="print all figures as one last JSON line")
    options = parser.parse_args(arguments)
    try:
        return journey(options)
    except (
        source.FileRefused, environment.NotDeployed, DeployError, replay.ReplayFailed, JourneyFailed,
    ) as failed:  # fmt: skip
        print(f"demo: {failed}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(
            f"demo: {error}. Check the stack with `make status`; start it with `make up`.",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print(
            "\ndemo: stopped. It is safe to run it again, because event ids do not change.", file=sys.stderr
        )
        return 130
    return 1


def journey(options: argparse.Namespace) -> int:
    """Run the steps in order and stop at the first that fails."""
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
        raise JourneyFailed("no event was accepted; see the reasons above and the contract in docs/events.md")
    if dataset.catalogue:
        with timings.stage("catalogue"):
            imported = feed.import_items(
                dataset.catalogue(), dataset.shop_id, where.client("s3"), where.events_bucket()
            )
        print(f"catalogue: a feed with {imported.counts.products:,} products")
    land(watch, sent, landing_timeout_s(where, options), timings)
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
            visitors=shoppers.visitors if dataset.catalogue else None,
        )
    clicked = ""
    if judged and not judged.failures and dataset.catalogue:
        products = {str(item["item_id"]): item for item in dataset.catalogue()}
        clicked = let_shoppers_visit(where, dataset, judged, products, timings, options)
    print("\nTime per step:")
    print(table(("", "time"), [(name, duration(seconds)) for name, seconds in timings.stages]))
    print(f"  {duration(timings.total_s)} in total")
    if judged is None or judged.failures:
        return 1
    run_arguments = "" if dataset.shop_id == History.shop_id else f" ARGS='--shop {dataset.shop_id}'"
    print(
        NEXT_STEPS.format(
            items=",".join(test[0][:2]),
            explain=EXPLAIN.format(request=clicked) if clicked else "",
            run_arguments=run_arguments,
            operations=operations_page(where),
        )
    )
    if options.json:
        stages = {name.strip(): round(seconds, 2) for name, seconds in timings.stages}
        print(
            json.dumps({"stages_s": stages, "sent": sent.sent, "accepted": sent.accepted, **judged.figures()})
        )
    return 0


def let_shoppers_visit(
    where: Environment,
    dataset: Dataset,
    judged: report.Report,
    products: dict[str, dict[str, Any]],
    timings: Timings,
    options: argparse.Namespace,
) -> str:
    """Send what shoppers did with the report's carousels, and take it into the tables by a run that trains nothing.

    Return the id of a recommendation that was clicked, or an empty text if none was.

    Raises:
        JourneyFailed: events are refused or missing, or the run failed.
    """
    watch = LandingWatch(where.client("s3"), where.events_bucket())
    visits = shoppers.visit(judged.sessions, judged.visitors, judged.carousels, products, dataset.shop_id)
    with timings.stage("shoppers"), temporary_secret_keys(where) as secret_key_of:
        sent = replay.send(
            visits.events,
            where.api_url,
            where.shop_keys,
            secret_key_of=secret_key_of,
            user_agent_of=dataset.user_agent_of,
            connections=options.connections,
            expected=len(visits.events),
        )
    if sent.refused:
        raise JourneyFailed(sent.summary())
    print(f"\n{visits.summary()}")
    land(watch, sent, landing_timeout_s(where, options), timings)
    print("a second run takes them into the tables, and trains nothing:")
    with timings.stage("second run"):
        story = follow.run(where, {"shop_id": dataset.shop_id, "skip_training": True})
    if story.status != "SUCCEEDED":
        raise JourneyFailed(
            "the figures lack today's shoppers. Repair the cause, then `make rerun` continues"
        )
    return visits.clicked


def landing_timeout_s(where: Environment, options: argparse.Namespace) -> float:
    """Return the longest wait for S3 in seconds."""
    return float(options.landing_timeout or (120.0 if where.is_local else 600.0))


def operations_page(where: Environment) -> str:
    """Build the operations page, and return its lines. The demo has succeeded without it, so a failure is only printed."""
    try:
        session = boto3.Session(region_name=where.region)
        built = build_page(read_stage(where.stage), where.account(), session)
    except (BotoCoreError, ClientError, OSError) as error:
        return f"      it could not be built: {error}"
    return "\n".join(f"      {line}" for line in built.lines())


if __name__ == "__main__":
    sys.exit(main())
