"""Set up, run or tabulate the peers: `python -m benchmarks.peers setup|run|table` (README.md here)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.conditions import parser
from benchmarks.next_item_layouts import LayoutError
from benchmarks.peers import environment
from benchmarks.peers.settings import PEERS
from benchmarks.peers.table import markdown

RESULTS = environment.REPOSITORY / "benchmarks" / "results"


def models(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(PEERS)}")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    command = parser(
        "peers",
        "Train other libraries' models beside ours on the same files.",
        "run --data clicks/diginetica --models core,narm --budget-s 3600 --threads 2"
        " >> benchmarks/results/peers-diginetica.jsonl",
    )
    commands = command.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install the peers under build/peers")
    run = commands.add_parser("run", help="print one JSON line per model, ours first")
    run.add_argument("--data", type=Path, required=True, help="directory in a layout of benchmarks.next_item")
    run.add_argument("--models", type=models, default=list(PEERS), help=",".join(PEERS))
    run.add_argument(
        "--budget-s", type=float, required=True, help="wall clock for training and validation of each model"
    )
    run.add_argument(
        "--threads", type=int, default=1, help="threads of torch, for all models (default %(default)s)"
    )
    run.add_argument("--seed", type=int, default=0, help="seed of every model (default %(default)s)")
    table = commands.add_parser("table", help="write benchmarks/results/peers.md from result files")
    table.add_argument("files", type=Path, nargs="*", help="default: benchmarks/results/peers-*.jsonl")
    options = command.parse_args(argv)
    try:
        if options.command == "setup":
            environment.set_up()
        elif options.command == "run":
            from benchmarks.peers.run import run as rows

            for row in rows(options):
                print(json.dumps(row), flush=True)
        else:
            files = options.files or sorted(RESULTS.glob("peers-*.jsonl"))
            (RESULTS / "peers.md").write_text(
                markdown([json.loads(line) for file in files for line in file.read_text().splitlines()])
            )
    except (environment.NotSetUp, LayoutError, OSError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"peers: {' '.join(error.cmd)} failed; see its error above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
