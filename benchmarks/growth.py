"""Measure how the cost of a night grows with history: play many days of a shop into the local stack, and fit slopes.

    python -m benchmarks.growth --work DIR --scale 0.1
    python -m benchmarks.growth --work DIR --scale 0.001 --days 365 --days-per-night 30 --shape seasonal --files 24
    python -m benchmarks.growth --plot benchmarks/results/growth.jsonl > docs/images/growth.svg

A night delivers a day's raw files and runs Load, Transform, Validate and Export. DIR keeps the stack and the nights so far:
the same command continues a stopped run. It prints one JSON line. Nothing in DIR is needed afterwards.
"""

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mode
from typing import Any

from benchmarks.conditions import conditions, parser
from benchmarks.growth_fit import fit
from benchmarks.growth_nights import STEPS, Nights, Plan, StepFailed
from benchmarks.growth_plot import plot
from benchmarks.growth_shop import SHAPES, Shop
from local.services import StackError

EVENTS_A_DAY = 1_000_000
FIGURES = (
    *("rows", "seconds", "statements_s", "cpu_s", "warehouse_cpu_s", "memory_mb", "warehouse_mb"),
    *("listed_keys", "listed_bytes"),
)
# Validate reads what a week has loaded, and Transform what the night before has loaded.
VALIDATED_DAYS, OVERLAP_DAYS = 7, 1
# Until then, the seven days of Validate's comparison are not full.
WARM_UP = 8


def series(nights: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the nights by columns: a list per figure and step."""
    columns: dict[str, Any] = {
        name: [night[name] for night in nights] for name in ("night", "day", "days", "events")
    }
    for step in STEPS:
        columns[step] = {name: [night["steps"][step][name] for night in nights] for name in FIGURES}
    columns["validate"]["every_row"] = _nights_that(nights, lambda steps: steps["validate"]["every_row"])
    columns["validate"]["failed"] = _nights_that(nights, lambda steps: not steps["validate"]["passed"])
    columns["load"]["swept"] = _nights_that(nights, lambda steps: steps["load"]["swept"])
    return columns


def _nights_that(nights: list[dict[str, Any]], condition: Callable[[dict[str, Any]], bool]) -> list[int]:
    return [night["night"] for night in nights if condition(night["steps"])]


def slopes(nights: list[dict[str, Any]], warm_up: int) -> dict[str, Any]:
    """Fit each figure over the nights after the warm-up. Weekly nights of a step are fitted apart."""
    found: dict[str, Any] = {}
    usual = mode(night["days"] for night in nights)
    kept = [
        night
        for night in nights
        if night["day"] >= warm_up and not _repeated(night) and night["days"] == usual
    ]
    for step in STEPS:
        weekly = {"load": "swept", "validate": "every_row"}.get(step)
        days = VALIDATED_DAYS if step == "validate" else OVERLAP_DAYS
        fitted = [night for night in kept if not _after_many_days(night, nights, usual, days)]
        plain = [night for night in fitted if not (weekly and night["steps"][step][weekly])]
        found[step] = {name: _fit(plain, step, name) for name in FIGURES}
        if weekly:
            rest = [night for night in fitted if night["steps"][step][weekly]]
            figures = ("rows", "warehouse_cpu_s", "listed_keys")
            found[f"{step} weekly"] = {name: _fit(rest, step, name) for name in figures}
    return found


def _after_many_days(night: dict[str, Any], nights: list[dict[str, Any]], usual: int, days: int) -> bool:
    """Return True if many days were loaded together in these days before, because the step reads them again."""
    before = [other for other in nights if night["day"] - days <= other["day"] < night["day"]]
    return any(other["days"] > usual for other in before)


def _repeated(night: dict[str, Any]) -> bool:
    """Return True for a night that was stopped after its load, and played again."""
    return bool(night["steps"]["load"]["rows_loaded"] != night["events"])


def _fit(nights: list[dict[str, Any]], step: str, figure: str) -> dict[str, Any] | None:
    return fit(
        [night["day"] for night in nights],
        [night["events"] for night in nights],
        [night["steps"][step][figure] for night in nights],
    )


def played(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Play the nights that are missing in the working folder; return all."""
    plan = plan_of(options)
    record = options.work / "nights.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    _keep_plan(plan, options.work / "plan.json")
    nights = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    wanted = range(len(nights) + 1, min(len(plan.nights), options.until or len(plan.nights)) + 1)
    if not wanted:
        return nights
    player = Nights(plan)
    with player.started():
        for night in wanted:
            nights.append(player.play(night, bare=night in options.bare))
            with record.open("a") as out:
                out.write(json.dumps(nights[-1]) + "\n")
            steps = nights[-1]["steps"]
            took = ", ".join(f"{step} {steps[step]['seconds']:.1f} s" for step in STEPS)
            print(f"night {night} of {len(plan.nights)}: {took}", file=sys.stderr, flush=True)
    return nights


class AnotherRun(Exception):
    """The working folder has the nights of other options."""


def _keep_plan(plan: Plan, file: Path) -> None:
    text = json.dumps(
        {
            **vars(plan.shop),
            **{
                name: getattr(plan, name) for name in ("training_days", "files", "days_per_night", "together")
            },
        },
        sort_keys=True,
    )
    if file.exists() and file.read_text() != text:
        raise AnotherRun(
            f"{file.parent} has nights of {file.read_text()}: choose another --work, or delete it"
        )
    file.write_text(text)


def plan_of(options: argparse.Namespace) -> Plan:
    """Return what the options describe."""
    shop = Shop(
        events=round(EVENTS_A_DAY * options.scale), seed=options.seed, shape=options.shape, days=options.days
    )
    return Plan(
        shop,
        options.training_days,
        options.files,
        options.days_per_night,
        tuple(options.together),
        options.work,
    )


def report(options: argparse.Namespace, nights: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the line of the results file."""
    shop = plan_of(options).shop
    return conditions(
        "growth",
        data=f"benchmarks.growth_shop, {shop.events} events per day, {shop.shape}, {nights[-1]['day']} of {shop.days} days",
        seed=shop.seed,
        partition_rows=plan_of(options).partition_rows,
        training_days=options.training_days,
        raw_files_per_day=options.files,
        days_per_night=options.days_per_night,
        events=sum(night["events"] for night in nights),
        database_bytes=nights[-1]["database_bytes"],
        slopes=slopes(nights, options.warm_up),
        bare={str(night["night"]): night["bare"] for night in nights if "bare" in night},
        longest={step: nights[-1]["steps"][step]["longest"] for step in STEPS},
        nights=series(nights),
    )


def _period(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last)


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    command = parser("growth", __doc__, "--work /tmp/growth --scale 0.1 > growth.json")
    add = command.add_argument
    add("--work", type=Path, metavar="DIR", help="folder of the stack and of the nights so far")
    add("--scale", type=float, default=1.0, help=f"share of {EVENTS_A_DAY:,} events per day (default 1)")
    add("--days", type=int, default=60, help="days of the shop (default 60)")
    add("--until", type=int, metavar="NIGHT", help="stop after this night (default: the last)")
    add("--seed", type=int, default=1, help="same seed, same shop (default 1)")
    add("--shape", choices=SHAPES, default="flat", help="course of the traffic (default flat)")
    add("--files", type=int, default=288, help="raw files per day (default 288, one per five minutes)")
    add("--days-per-night", type=int, default=1, help="days that each night delivers (default 1)")
    add(
        "--together",
        type=_period,
        nargs="*",
        default=[],
        metavar="FIRST-LAST",
        help="days that one night delivers, such as 11-50: a long history in a short time",
    )
    add("--training-days", type=int, default=7, help="training window in days (default 7)")
    add("--warm-up", type=int, default=WARM_UP, help="first day of the fits (default 8)")
    add("--bare", type=int, nargs="*", default=[], metavar="NIGHT", help="nights to repeat in bare DuckDB")
    add("--delete", action="store_true", help="delete DIR after the last night")
    add("--plot", type=Path, metavar="RESULTS", help="print the plot of a results file, and play nothing")
    options = command.parse_args(arguments)
    if not options.plot and not options.work:
        command.error("--work or --plot is required")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    options = options_of(arguments)
    if options.plot:
        print(plot([json.loads(line) for line in options.plot.read_text().splitlines()]))
        return 0
    # A stopped run stops its stack too, and continues later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        nights = played(options)
    except (AnotherRun, StepFailed, StackError) as error:
        print(f"growth: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report(options, nights)))
    if options.delete:
        shutil.rmtree(options.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
