"""Measure cold start: items without a click, and a shop with its first sessions, beside the lists of its catalogue.

DATA is a directory with the events of a shop (REES46, e-shop clothing 2008), or `demo`, a generated shop.
`items` takes all clicks of a fifth of the items from the training data. The items stay in the catalogue.
It ranks the next clicks on items without a click, among all items and among such items only, and those on the others.
`shop` trains on the first 0, 100, 1,000 and 10,000 sessions, and answers the 1,000 sessions that follow.
Models are trained by the job's own code with its own settings.
With --choose, other items and older sessions than the test's are measured: settings are chosen on these.

python -m benchmarks.cold_start items demo --seeds 3
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.cold_start_items import measure_items
from benchmarks.cold_start_logs import GENERATED, ShopLog, load
from benchmarks.cold_start_shops import SESSIONS, measure_shop
from benchmarks.conditions import conditions, parser

Row = dict[str, Any]


def means(rows: Sequence[Row]) -> list[Row]:
    """Return a row per model and number of sessions: the means over the seeds, and the deviations of the figures at 20."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row.get("sessions")), []).append(row)
    return [_mean(of_group) for of_group in groups.values()]


def _mean(rows: Sequence[Row]) -> Row:
    figures = {
        name: np.array([row[name] for row in rows], float)
        for name, value in rows[0].items()
        if isinstance(value, int | float) and name not in ("seed", "sessions")
    }
    return {
        **{name: rows[0][name] for name in ("model", "sessions") if name in rows[0]},
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
        measured(log, args.part, args.newest, args.sessions, seed, test=not args.choose, emit=emit)
    for row in means(rows) if args.seeds > 1 else ():
        print(json.dumps(about | {"part": args.part} | row), flush=True)
    return 0


def measured(
    log: ShopLog,
    part: str,
    newest: int,
    counts: Sequence[int],
    seed: int,
    *,
    test: bool,
    emit: Callable[[Row], None],
) -> None:
    """Measure one part with one seed."""
    if part == "items":
        last = len(log.sessions)
        recent = replace(log, sessions=log.sessions.between(max(0, last - newest), last))
        measure_items(recent, seed, test=test, emit=emit)
    else:
        measure_shop(log, counts, seed, test=test, emit=emit)


if __name__ == "__main__":
    raise SystemExit(main())
