"""Measure cold start: items without a click, and a shop with its first sessions, beside the lists of its catalogue.

DATA is a directory with the events of a shop (REES46, e-shop clothing 2008), or `demo`, a generated shop.
`items` takes all clicks of a fifth of the items from the training data. The items stay in the catalogue.
It ranks the next clicks on items without a click, among all items and among such items only, and those on the others.
`shop` trains on the first 0, 100, 1,000 and 10,000 sessions, and answers the 1,000 sessions that follow.
Models are trained by the job's own code with its own settings.
With --embeddings, half of the sessions make embeddings of the items, with noise. The other half is measured without the
embeddings and with them. They stand in for embeddings of pictures, which no public log has.
With --choose, other items and older sessions than the test's are measured: settings are chosen on these.

python -m benchmarks.cold_start items demo --seeds 3
"""

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.cold_start_items import measure_items
from benchmarks.cold_start_logs import GENERATED, ShopLog, load, with_embeddings
from benchmarks.cold_start_shops import SESSIONS, measure_shop
from benchmarks.conditions import conditions, parser

Row = dict[str, Any]


def means(rows: Sequence[Row]) -> list[Row]:
    """Return a row per model and number of sessions: the means over the seeds, and the deviations of the figures at 20."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row.get("sessions"), row.get("embeddings")), []).append(row)
    return [_mean(of_group) for of_group in groups.values()]


def _mean(rows: Sequence[Row]) -> Row:
    figures = {
        name: np.array([row[name] for row in rows], float)
        for name, value in rows[0].items()
        if isinstance(value, int | float) and name not in ("seed", "sessions", "embeddings")
    }
    return {
        **{name: rows[0][name] for name in ("model", "sessions", "embeddings") if name in rows[0]},
        "seeds": [row["seed"] for row in rows],
        **{name: round(float(values.mean()), 4) for name, values in figures.items()},
        "deviation": {
            name: round(float(values.std()), 4) for name, values in figures.items() if name.endswith("at_20")
        },
    }


def main() -> int:
    """Run the command line."""
    arguments = parser("cold_start", __doc__ or "", "items demo --seeds 3")
    add = arguments.add_argument
    add("part", choices=("items", "shop"))
    add("data", help=f"a directory of events, or `{GENERATED}`")
    add("--seeds", type=int, default=3, help="number of seeds (default %(default)s)")
    add("--events", type=int, default=60_000, help="of `demo` (default %(default)s)")
    add("--newest", type=int, default=4_000, help="sessions of `items`, the newest (default %(default)s)")
    add("--sessions", type=int, nargs="+", default=SESSIONS, help="of `shop` (default %(default)s)")
    add(
        "--embeddings",
        type=float,
        metavar="NOISE",
        help="of `items`: with embeddings too; length of their noise",
    )
    add("--choose", action="store_true", help="measure what settings are chosen on, not the test")
    args = arguments.parse_args()
    torch.set_num_threads(1)
    log = load(args.data, args.events)
    about = conditions(
        "cold_start",
        data=log.name,
        items=len(log.vocabulary),
        log_sessions=len(log.sessions),
        measured="choice" if args.choose else "test",
    )
    rows: list[Row] = []

    def emit(row: Row) -> None:
        rows.append(row)
        print(json.dumps(about | {"part": args.part} | row), flush=True)

    for seed in range(args.seeds):
        measured(log, args, seed, emit)
    for row in means(rows) if args.seeds > 1 else ():
        print(json.dumps(about | {"part": args.part} | row), flush=True)
    return 0


def measured(log: ShopLog, args: Namespace, seed: int, emit: Callable[[Row], None]) -> None:
    """Measure the part that the command line names, with one seed."""
    test = not args.choose
    if args.part == "shop":
        measure_shop(log, args.sessions, seed, test=test, emit=emit)
        return
    noise = args.embeddings
    given = log if noise is None else with_embeddings(log, noise, seed)
    last = len(given.sessions)
    recent = replace(given, sessions=given.sessions.between(max(0, last - args.newest), last))
    if noise is None:
        measure_items(recent, seed, test=test, emit=emit)
        return
    bare = replace(recent, embeddings=log.embeddings)
    for one, has in ((bare, False), (recent, True)):
        about: Row = {"embeddings": has, "noise": noise}

        def emit_about(row: Row, about: Row = about) -> None:
            emit(about | row)

        measure_items(one, seed, test=test, emit=emit_about)


if __name__ == "__main__":
    raise SystemExit(main())
