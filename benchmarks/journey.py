"""Measure the whole journey on a generated shop of any size, beside the same SQL in bare DuckDB.

    python -m benchmarks.journey --generate 1000000
    python -m benchmarks.journey --generate 10000000 --bare-only

It prints one JSON line with the seconds, rows and rates of each step. Start the stack first (`make up`), unless --bare-only.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.conditions import conditions, parser
from demo import environment, follow, replay, report, source
from demo.datasets import Dataset
from demo.http import Http, RequestFailed
from demo.journey import JourneyFailed, Timings, land, send_events
from demo.replay import ReplayFailed
from demo.sessions import Event
from demo.split import Split, cutoff_of
from demo.terminal import Progress
from deploy.command import DeployError
from functions.platform.run_history import folded
from imports.rejects import Rejects

BARE_SQL = Path(__file__).with_suffix(".sql")
LINES_PER_FILE = 50_000


def raw_line(event: Event, is_bot: bool) -> dict[str, Any]:
    """Return the line that collect makes of an event, reduced to what the SQL reads."""
    server = {"event_time_ms": event["client_time_ms"], "is_bot": is_bot, "source": "events"}
    return {**event, "server": server}


def write_raw(dataset: Dataset, directory: Path) -> int:
    """Write the data set as raw gzip JSON lines, as Firehose would; return the number of lines."""
    written = 0
    progress = Progress("writing raw lines", dataset.expected)
    events = dataset.read(Rejects())
    while chunk := list(islice(events, LINES_PER_FILE)):
        with gzip.open(directory / f"{written:012d}.gz", "wt", compresslevel=1) as file:
            for event in chunk:
                line = raw_line(event, dataset.is_bot(event["client_id"]))
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
        written += len(chunk)
        progress.update(written)
    progress.finish(written)
    return written


def bare_duckdb(dataset: Dataset, memory_limit: str) -> dict[str, Any]:
    """Measure load, staging, sessions and training interactions in plain DuckDB, statement by statement."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tugboat-bare-") as name:
        directory = Path(name)
        rows = write_raw(dataset, directory)
        connection = duckdb.connect(str(directory / "bare.duckdb"))
        connection.execute(f"SET memory_limit = '{memory_limit}'")
        connection.execute("SET preserve_insertion_order = false")
        total_s = 0.0
        for title, statement in statements(BARE_SQL.read_text()):
            started_s = time.perf_counter()
            connection.execute(statement.replace("{raw}", str(directory / "*.gz")))
            seconds = time.perf_counter() - started_s
            total_s += seconds
            (count,) = connection.execute(f"SELECT count(*) FROM {title}").fetchone() or (0,)
            figures[title] = {"seconds": round(seconds, 2), "rows": count}
        connection.close()
    return {
        **figures,
        "raw_rows": rows,
        "seconds": round(total_s, 2),
        "rows_per_s": round(rows / max(total_s, 1e-9)),
    }


def statements(text: str) -> list[tuple[str, str]]:
    """Split the .sql into statements, each with the table that it creates."""
    found = []
    for statement in text.split(";"):
        code = "\n".join(
            line for line in statement.splitlines() if not line.lstrip().startswith("--")
        ).strip()
        if code:
            found.append((code.split()[2], code))
    return found


def through_the_stack(dataset: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """Run replay, landing, pipeline and report, and measure each."""
    where = environment.from_variables()
    timings = Timings()
    split = Split(dataset, cutoff_of(dataset), for_report=options.max_prefixes > 0)
    with Rejects() as rejects:
        sent, watch = send_events(where, split, rejects, options.connections, timings)
    land(watch, sent, options.landing_timeout, timings)
    client = where.client("stepfunctions")
    wanted = {**follow.execution_input(options), "shop_id": dataset.shop_id}
    with timings.stage("pipeline"):
        execution = follow.start(client, where.state_machine_arn(), wanted)
        story = follow.follow(client, execution, sys.stderr)
    now = datetime.now(UTC)
    states = {
        state.name: {"seconds": round(state.seconds(now), 2), **state.figures}
        for state in folded(story.states)
        if state.kind == "Task"
    }
    figures: dict[str, Any] = {
        "status": story.status,
        "sent": sent.sent,
        "accepted": sent.accepted,
        "replay_events_per_s": round(sent.rate),
        "states": states,
    }
    if story.status == "SUCCEEDED" and options.max_prefixes:
        with timings.stage("report"):
            judged = report.measure(
                Http(report.THREADS),
                where.api_url,
                split.training_sessions(),
                split.test_sessions(),
                shop_id=dataset.shop_id,
                max_prefixes=options.max_prefixes,
            )
        figures["report"] = judged.figures()
    figures["stages_s"] = {name: round(seconds, 2) for name, seconds in timings.stages}
    return figures


def times_the_bare(stack: dict[str, Any], bare: dict[str, Any]) -> float:
    """Return the time per row of Load and Transform in the stack, as a multiple of bare DuckDB's."""
    seconds = sum(stack["states"][name]["seconds"] for name in ("Load", "Transform"))
    stack_row_s: float = seconds / stack["accepted"]
    bare_row_s: float = bare["seconds"] / bare["raw_rows"]
    return round(stack_row_s / bare_row_s, 2)


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line; return 1 if a step failed."""
    command = parser(
        "journey",
        "Measure every step of the journey, and the same SQL in bare DuckDB.",
        "--generate 1000000 > benchmarks/results/journey-1m.json",
    )
    source.add_arguments(command)
    replay.add_arguments(command)
    follow.add_arguments(command)
    add = command.add_argument
    add("--bare-only", action="store_true", help="measure only bare DuckDB; needs no stack")
    add("--no-bare", action="store_true", help="measure only the stack")
    add("--bare-memory", default="4GB", help="DuckDB's memory limit (default %(default)s)")
    add("--max-prefixes", type=int, default=500, help="prefixes of the report; 0 skips it (default 500)")
    add(
        "--landing-timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="longest wait for S3 (default %(default)s)",
    )
    options = command.parse_args(arguments)
    try:
        dataset = source.from_options(options)
        figures = conditions("journey", data=dataset.name, seed=None if options.events else options.seed)
        if not options.bare_only:
            figures["stack"] = through_the_stack(dataset, options)
        if not options.no_bare:
            figures["bare_duckdb"] = bare_duckdb(dataset, options.bare_memory)
        if "stack" in figures and "bare_duckdb" in figures and figures["stack"]["status"] == "SUCCEEDED":
            figures["times_the_bare"] = times_the_bare(figures["stack"], figures["bare_duckdb"])
    except (
        source.FileRefused,
        environment.NotDeployed,
        DeployError,
        ReplayFailed,
        JourneyFailed,
        RequestFailed,
    ) as failed:
        print(f"journey: {failed}", file=sys.stderr)
        return 1
    print(json.dumps(figures))
    return 0 if options.bare_only or figures["stack"]["status"] == "SUCCEEDED" else 1


if __name__ == "__main__":
    sys.exit(main())
