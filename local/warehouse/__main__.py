"""Command line of the local warehouse."""

import argparse
import logging
from pathlib import Path

import uvicorn

from local.warehouse.server import make_app


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m local.warehouse",
        description="A local Snowflake on DuckDB, reached with Snowflake's connector.",
        epilog="example: python -m local.warehouse --state .local/warehouse",
    )
    parser.add_argument("--port", type=int, default=4568, help="port on 127.0.0.1 (default %(default)s)")
    parser.add_argument(
        "--state", type=Path, required=True, help="folder that keeps the databases between runs"
    )
    parser.add_argument("--aws-endpoint", required=True, help="URL of the local S3 that stages point at")
    parser.add_argument(
        "--memory-limit", default="", help="DuckDB's memory limit, for instance 2GB (default: its own)"
    )
    arguments = parser.parse_args()
    # Account statements are no SQL that sqlglot knows; it says so twice for each.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    app = make_app(arguments.state, arguments.aws_endpoint, memory_limit=arguments.memory_limit)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
