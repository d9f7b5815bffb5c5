"""Predict the monthly bill of a stage from its settings, before it is deployed or after a night was measured.

It shows 1 M, 100 M and 1 B events per month unless the shop's figures are given, and what the stage costs while idle.
Without --measured it asks nobody: it needs neither AWS nor Snowflake.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import boto3

from deploy.bill import report as reports
from deploy.bill.assumptions import Assumptions, read_assumptions
from deploy.bill.bill import predict, workload
from deploy.bill.measured import Clients, Measured, measure
from deploy.bill.month import Month, Workload, idle
from deploy.bill.prices import read_prices
from deploy.command import DeployError, exit_status, stage_parser
from deploy.stages import account_of, read_stage

SIZES = ("1M", "100M", "1B")
UNITS = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}
QUANTITY = re.compile(r"(?P<digits>\d+(\.\d+)?)(?P<unit>[kmb]?)", re.IGNORECASE)
FIGURES = ("events", "sessions", "recommendations", "items", "runs")
PAGE = Path(".local/bill")


class FiguresIncomplete(DeployError):
    """--shop-figures names an unknown figure, or has no events."""


def quantity(text: str) -> float:
    """Return the number that a text such as 100M or 2.5k means."""
    found = QUANTITY.fullmatch(text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 1M, 2.5k or 400000")
    return float(found["digits"]) * UNITS[found["unit"].lower()]


def pair(text: str) -> tuple[str, float]:
    """Return the name and the number of a text such as sessions=400k."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER, such as sessions=400k")
    return name, quantity(value)


def workloads(options: argparse.Namespace, assumed: Assumptions, run: Measured | None) -> list[Workload]:
    """Return the workloads of the columns: the given sizes, the shop's own figures, and the measured run's.

    Raises:
        FiguresIncomplete: the shop's figures are unknown or lack the events.
    """
    found: list[Workload] = []
    if run is not None:
        events = run.events * assumed.runs_per_month
        figures = {"items": float(run.items)} if run.items else {}
        found.append(workload("as measured", events, assumed, figures))
    if options.shop_figures:
        figures = dict(options.shop_figures)
        if unknown := figures.keys() - set(FIGURES):
            raise FiguresIncomplete(
                f"--shop-figures has {', '.join(sorted(unknown))}: use {', '.join(FIGURES)}, each per month but items"
            )
        if "events" not in figures:
            raise FiguresIncomplete(
                "--shop-figures has no events: add the events per month, such as events=3M"
            )
        found.append(workload("the shop", figures.pop("events"), assumed, figures))
    sizes = options.events or ([] if found else list(SIZES))
    return found + [workload(f"{size} events", quantity(size), assumed) for size in sizes]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser(
        "deploy.bill", __doc__, "--stage prod --shop-figures events=3M sessions=400k items=20k"
    )
    parser.add_argument(
        "--events", action="append", metavar="N",
        help=f"events per month, such as 100M; repeat it for several columns (default {', '.join(SIZES)})",
    )  # fmt: skip
    parser.add_argument(
        "--shop-figures", nargs="+", type=pair, metavar="NAME=N",
        help=f"the shop's own figures per month: {', '.join(FIGURES)}. Events are needed; the rest is assumed from them",
    )  # fmt: skip
    parser.add_argument(
        "--assume", nargs="+", type=pair, default=[], metavar="NAME=N",
        help="replace assumptions of deploy/bill/assumptions.json, such as month=24 events_per_request=3",
    )  # fmt: skip
    parser.add_argument(
        "--measured", metavar="RUN",
        help="replace assumptions by what a finished run used: latest, its run id, or its execution's name. It only reads",
    )  # fmt: skip
    parser.add_argument(
        "--prices", metavar="REGION", help="use the price list of this region instead of the stage's"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with all changes and formulas")
    parser.add_argument(
        "--page",
        type=Path,
        default=PAGE,
        metavar="FOLDER",
        help="where the HTML page goes (default %(default)s)",
    )
    options = parser.parse_args(arguments)
    for size in options.events or ():
        try:
            quantity(size)
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --events: {error}")

    def run() -> int:
        stage = read_stage(options.stage)
        prices = read_prices(options.prices or stage.region)
        assumed = read_assumptions()
        measured, replacements = None, []
        if options.measured:
            session = boto3.Session(region_name=stage.region)
            account_id = account_of(stage, session.client("sts"))
            clients = Clients(*(session.client(name) for name in ("stepfunctions", "logs", "s3")))
            month = Month(stage, idle(), assumed, prices)
            measured = measure(options.measured, stage, account_id, month, clients)
            replacements = measured.replacements(assumed)
            assumed = assumed.with_values(measured.values)
        assumed = assumed.with_values(dict(options.assume))
        columns = [idle(), *workloads(options, assumed, measured)]
        report = reports.Report(
            [predict(stage, column, assumed, prices) for column in columns],
            replacements,
            measured.run_id if measured else "",
        )
        if options.json:
            print(json.dumps(reports.as_json(report), indent=2))
            return 0
        print(reports.as_text(report))
        page = options.page / f"{stage.name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(reports.as_page(report))
        print(f"\nThe same as a page: {page}")
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
