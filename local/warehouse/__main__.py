"""Command line of the local Snowflake: `python -m local.warehouse`."""

import argparse
import logging
import sys
from pathlib import Path

import uvicorn

from local.warehouse.scans import PARTITION_ROWS, Counting
from local.warehouse.server import make_app
from local.warehouse.store import StateOutdated


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m local.warehouse",
        description="Serve a local Snowflake on DuckDB for Snowflake's connector.",
        epilog="example: python -m local.warehouse --state .local/warehouse --aws-endpoint http://127.0.0.1:4566",
    )
    parser.add_argument("--port", type=int, default=4568, help="port on 127.0.0.1 (default %(default)s)")
    parser.add_argument("--state", type=Path, required=True, help="folder of the databases")
    parser.add_argument("--aws-endpoint", required=True, help="URL of the local S3 that stages refer to")
    parser.add_argument(
        "--memory-limit", default="", help="memory limit of DuckDB, for example 2GB (default: DuckDB's own)"
    )
    parser.add_argument(
        "--user",
        action="append",
        default=[],
        metavar="USER=ROLE",
        help="create this user and role at the first start; the private key is STATE/USER.pem",
    )
    parser.add_argument("--scans", type=Path, help="file for the rows that each statement scans")
    parser.add_argument(
        "--partition-rows",
        type=int,
        default=PARTITION_ROWS,
        help="rows of a row group with --scans, a multiple of 2048 (default %(default)s)",
    )
    parser.add_argument(
        "--clock-ahead", type=int, default=0, metavar="SECONDS", help="shift the clock; negative: behind"
    )
    arguments = parser.parse_args()
    # sqlglot does not support account statements and logs two warnings for each.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        users = dict(pair.split("=", 1) for pair in arguments.user)
        app = make_app(
            arguments.state,
            arguments.aws_endpoint,
            arguments.memory_limit,
            users,
            Counting(arguments.scans, arguments.partition_rows) if arguments.scans else None,
            arguments.clock_ahead,
        )
    except StateOutdated as error:
        sys.exit(str(error))
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
