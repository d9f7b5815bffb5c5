"""Show the data quality of a stage: the index of all runs with their trends, and the page of each run, in a browser.

The pages are copied from S3 into build/quality/. With --great-expectations the results of one run are written as JSON of
Great Expectations 1.x instead.
"""

import functools
import json
import sys
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import msgspec
from botocore.exceptions import ClientError

from deploy.command import exit_status, stage_parser
from deploy.pages import environment
from deploy.quality import great_expectations
from deploy.quality.steward import QualityError, make_stage
from deploy.stages import Stage, account_of, read_stage
from functions.platform.contract import (
    VALIDATION_INDEX_PREFIX,
    VALIDATION_LATEST_PREFIX,
    VALIDATION_REPORTS_PREFIX,
)
from functions.validate import summary as summaries
from functions.validate.summary import Summary

BUILD = Path(__file__).resolve().parents[2] / "build" / "quality"
PORT = 8091
# The index lists 90 runs; with several shops, their pages are the newest ones of the stage.
COPIED_PAGES = 300


def read_summary(s3: Any, bucket: str, key: str, stage: Stage) -> Summary:
    """Return a summary of S3.

    Raises:
        QualityError: there is none, or it is from another release.
    """
    try:
        return summaries.decode(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "AccessDenied", "404"):
            raise
        raise QualityError(
            f"s3://{bucket}/{key} does not exist: no run with this id was validated by this release. "
            f"`make quality{make_stage(stage)}` lists the runs"
        ) from error
    except msgspec.ValidationError as error:
        raise QualityError(
            f"s3://{bucket}/{key} was written by another release: {error}. Validate again with `make run`"
        ) from error


def copy_pages(s3: Any, bucket: str, folder: Path, stage: Stage) -> Path:
    """Copy the indexes and the newest pages into a folder, and write the page of all shops; return that page.

    Raises:
        QualityError: no run of this stage was validated yet.
    """
    listed = list(_listed(s3, bucket, VALIDATION_REPORTS_PREFIX))
    indexes = [key for key, _ in listed if key.startswith(VALIDATION_INDEX_PREFIX)]
    latest = [key for key, _ in listed if key.startswith(VALIDATION_LATEST_PREFIX)]
    if not indexes:
        raise QualityError(
            f"no run of stage {stage.name} has been validated yet: make run{make_stage(stage)}"
        )
    pages = [
        (at, key)
        for key, at in listed
        if key.endswith(".html") and "/" not in key.removeprefix(VALIDATION_REPORTS_PREFIX)
    ]
    newest = [key for _, key in sorted(pages, reverse=True)[:COPIED_PAGES]]
    for key in (*indexes, *newest):
        file = folder / key.removeprefix(VALIDATION_REPORTS_PREFIX)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    shops = [read_summary(s3, bucket, key, stage) for key in latest]
    style = (Path(summaries.__file__).parent / "style.css").read_text("utf-8")
    page = environment(Path(__file__).parent).get_template("shops.html.jinja")
    file = folder / "index.html"
    file.write_text(page.render(stage=stage.name, shops=shops, style=style), "utf-8")
    return file


def export(s3: Any, bucket: str, run_id: str, folder: Path, stage: Stage) -> list[Path]:
    """Write the suite and the result of a run as JSON of Great Expectations; return the files."""
    summary = read_summary(s3, bucket, summaries.run_key(run_id), stage)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in (
        ("suite", great_expectations.suite(summary)),
        ("validation", great_expectations.validation_result(summary)),
    ):
        file = folder / f"{run_id}.{name}.json"
        file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        written.append(file)
    return written


def _listed(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, Any]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield found["Key"], found["LastModified"]


def _serve(folder: Path, port: int) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port} (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.quality", __doc__, "--stage dev --great-expectations 20261129-1a2b3c4d5e6f")
    parser.add_argument("--port", type=int, default=PORT, help="port on 127.0.0.1 (default %(default)s)")
    parser.add_argument("--no-serve", action="store_true", help="copy the pages and end")
    parser.add_argument(
        "--great-expectations", metavar="RUN", help="write the results of this run as JSON files, and end"
    )
    args = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        session = boto3.Session(region_name=stage.region)
        bucket = stage.models_bucket(account_of(stage, session.client("sts")))
        s3, folder = session.client("s3"), BUILD / stage.name
        if args.great_expectations:
            for file in export(s3, bucket, args.great_expectations, folder, stage):
                print(f"wrote {file}")
            return 0
        print(f"wrote {copy_pages(s3, bucket, folder, stage)}")
        if not args.no_serve:
            _serve(folder, args.port)
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
