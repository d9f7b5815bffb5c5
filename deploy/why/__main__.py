"""Explain why a figure moved: recommendation revenue, click rate or conversion, against the days before.

The change is split into traffic, recommended, shown, clicked, bought and price, and into refused events. Each stage is split
by model, variant, rules, placement, device and category. A cause is named only if it is more than the usual variation.
"""

import argparse
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import boto3

from deploy.command import exit_status, stage_parser
from deploy.shop_option import add_shop, chosen_shop
from deploy.stages import Stage, account_of, read_stage
from deploy.warehouse_setup import connection, setup_parameters
from deploy.why import page, text
from deploy.why.analysis import Report, analyze
from deploy.why.data import WhyError, choose_periods, read
from deploy.why.figures import FIGURES
from functions.platform import warehouse

# A user's default is all of its roles at once, and some of them can write.
ONE_ROLE = "use secondary roles none"


def report_of(stage: Stage, account_id: str, session: Any, args: argparse.Namespace) -> tuple[Report, str]:
    """Return the report, and the statements that a reader needs before those of the report.

    Raises:
        WhyError: the warehouse refuses, or the figure cannot be compared.
    """
    from snowflake.connector.errors import Error

    login = warehouse.read_credentials(session.client("secretsmanager"), stage.secret_name)
    values = setup_parameters(stage, account_id, login)
    reader = replace(login, role=f"{values['prefix']}_READER", warehouse=values["reader_warehouse"])
    try:
        with connection(reader) as connected:
            warehouse.rows(connected, ONE_ROLE)
            periods = choose_periods(connected, args.shop, args.first, args.last, args.against)
            data = read(connected, args.shop, periods)
    except Error as error:
        raise WhyError(
            f"user {reader.user} cannot read the marts as {reader.role}: {error.msg}\n"
            f"Before the first run there are no marts: make run STAGE={stage.name}. After an upgrade, run once with "
            'ARGS="--full-refresh". Without the role or QA.REFUSED_EVENTS, deploy once with an administrator\'s login in '
            f"the secret {stage.admin_secret_name} (docs/deploy.md)"
        ) from error
    use = f"use role {reader.role};\nuse warehouse {reader.warehouse};\nuse database {reader.database};"
    return analyze(data, FIGURES[args.figure]), use


def day(value: str) -> date:
    """Read a day such as 2026-11-28."""
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{value!r} is not a day such as 2026-11-28") from error


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser(
        "deploy.why", __doc__, "--stage dev --figure revenue --from 2026-11-22 --to 2026-11-28"
    )
    parser.add_argument(
        "--figure", default="revenue", choices=sorted(FIGURES), help="the figure (default %(default)s)"
    )
    add_shop(parser)
    parser.add_argument(
        "--from", dest="first", type=day, metavar="DAY", help="first day of the period, UTC (default: 7 days)"
    )
    parser.add_argument(
        "--to", dest="last", type=day, metavar="DAY", help="last day (default: the newest complete one)"
    )
    parser.add_argument(
        "--against", type=day, metavar="DAY",
        help="first day of the period to compare with, which has as many days (default: the days before)",
    )  # fmt: skip
    parser.add_argument("--sql", action="store_true", help="print the statement behind each line")
    parser.add_argument(
        "--page",
        type=Path,
        default=Path("build/why.html"),
        metavar="FILE",
        help="the HTML page (default %(default)s)",
    )
    args = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        args.shop = chosen_shop(stage, args.shop)
        session = boto3.Session(region_name=stage.region)
        report, use = report_of(stage, account_of(stage, session.client("sts")), session, args)
        if args.sql:
            print(f"{use}\n")
        print(text.render(report, args.sql))
        args.page.parent.mkdir(parents=True, exist_ok=True)
        args.page.write_text(page.render(report, stage.name), "utf-8")
        print(f"\npage: {args.page}" + ("" if args.sql else "; SQL of each line: on the page, or ARGS=--sql"))
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
