"""Measure the gate: false refusals of sound models, and refusals of spoilt ones.

Sound models are trained like the pipeline's. The data are generated shops of several sizes, seeds and dates, and
bootstrap samples (of whole sessions) of public clicks. Some shops have a champion of the day before. Then each sabotage of
benchmarks/sabotages.py spoils some of the models. The result is one JSON line per judgement, and a summary at the end. A run
that was stopped resumes from the lines in --output.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions, parser

SIZES = (20_000, 20_000, 40_000, 20_000, 60_000, 40_000, 20_000, 100_000, 40_000, 60_000)
LARGEST = 200_000
DATES = (date(2026, 1, 4), date(2026, 3, 29), date(2026, 7, 15), date(2026, 11, 28), date(2026, 12, 25))
CHAMPION_EVERY = 4
SPOILT_SIZE = 40_000  # shops up to this many events are spoilt: what is found there is found in a larger one
PUBLIC = {"serenade": "events/serenade", "rsc15": "bench/rsc15_1by64"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model to train and judge. `events` is 0 for a bootstrap sample of the public data `name`."""

    name: str
    events: int
    seed: int
    end: date
    champion: bool
    sabotages: tuple[str, ...] = ()


def cases(
    shops: int, bootstraps: int, spoilt: int, seed: int, public: Path | None, only: Sequence[str] = ()
) -> Iterator[Case]:
    """Yield the cases; every sabotage, or each of `only`, is given to `spoilt` of them, in turn."""
    from benchmarks.sabotages import SABOTAGES

    names = [sabotage.name for sabotage in SABOTAGES if not only or sabotage.name in only]
    small = [at for at in range(shops) if _events_of(at) <= SPOILT_SIZE]
    given: dict[int, list[str]] = {}
    for number, name in enumerate(name for name in names for _ in range(spoilt)):
        given.setdefault(small[number % len(small)], []).append(name)
    for at in range(shops):
        end = DATES[at % len(DATES)] + timedelta(days=at // len(DATES))
        yield Case("shop", _events_of(at), seed + at, end, at % CHAMPION_EVERY == 1, tuple(given.get(at, ())))
    if public is None:
        return
    for name, folder in PUBLIC.items():
        if not (public / folder).is_dir():
            print(f"gate: {public / folder} is absent: its bootstraps are left out", file=sys.stderr)
            continue
        for at in range(bootstraps):
            yield Case(name, 0, seed + at, DATES[0], False)


def _events_of(at: int) -> int:
    return LARGEST if at % 20 == 19 else SIZES[at % len(SIZES)]


def judge(case: Case, public: Path | None) -> list[Row]:
    """Train a case's model, have the gate judge it, spoil it, and have the gate judge that. Runs in a worker."""
    import torch

    from benchmarks.sabotages import SABOTAGES, Shop
    from training_jobs.gate import evaluation
    from training_jobs.gate.thresholds import THRESHOLDS
    from training_jobs.snapshot.parquet import read_dataset
    from training_jobs.training.job import JobSettings, run

    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gate-") as directory:
        root = Path(directory)
        interactions, items = _snapshot(case, root / "today", public)

        def train(learnt: Path, into: Path) -> None:
            data = read_dataset(learnt, items)
            settings = JobSettings(seed=case.seed)
            run(data, settings, into, None, version=into.parent.name, snapshot="s", log=lambda _: None)

        def judged(candidate: Path, on: Path, champion: Path | None, name: str) -> None:
            began = time.perf_counter()
            try:
                result = evaluation.evaluate(candidate, champion, on, items, THRESHOLDS)
            except (
                ValueError,
                FloatingPointError,
            ) as error:  # the job ends without a verdict: nothing is published
                result = {"failures": [f"no verdict: {error}"], "checks": [], "metrics": {}, "cases": 0}
            rows.append(_row(case, name, result, train_s, time.perf_counter() - began))

        began = time.perf_counter()
        model = root / "sound"
        train(interactions, model)
        train_s = time.perf_counter() - began
        champion = None
        if case.champion:
            earlier = _before_last_day(interactions, root / "yesterday")
            champion = root / "champion"
            train(earlier, champion)
        judged(model, interactions, champion, "sound")
        shop = Shop(interactions, items, read_dataset(interactions, items), model, train)
        for sabotage in SABOTAGES:
            if sabotage.name in case.sabotages:
                scratch = root / "spoilt"
                scratch.mkdir()
                spoilt = sabotage.spoil(shop, scratch)
                with spoilt.answering:
                    judged(spoilt.candidate, spoilt.interactions, None, sabotage.name)
                shutil.rmtree(scratch)
    return rows


def _snapshot(case: Case, directory: Path, public: Path | None) -> tuple[Path, Path | None]:
    from benchmarks.shops import write_bootstrap, write_snapshot
    from demo.generator import History

    if case.events:
        return write_snapshot(History(events=case.events, seed=case.seed, end=case.end), directory)
    assert public is not None
    return write_bootstrap(public / PUBLIC[case.name], case.seed, directory), None


def _before_last_day(interactions: Path, directory: Path) -> Path:
    """Write the snapshot of the day before: the sessions that ended then."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmarks.shops import session_ends_ms

    table = pq.read_table(interactions)
    ends = session_ends_ms(table)
    directory.mkdir()
    pq.write_table(table.filter(pa.array(ends < ends.max() - 86_400_000)), directory / "part-0.parquet")
    return directory


def _row(case: Case, judged: str, result: Row, train_s: float, judge_s: float) -> Row:
    return {
        "data": case.name if case.events == 0 else f"shop of {case.events:,} events",
        "seed": case.seed,
        "end": case.end.isoformat(),
        "champion": case.champion and judged == "sound",
        "judged": judged,
        "refused": bool(result["failures"]),
        "failed": sorted(
            {f"{row['name']} ({row['slice']})" for row in result["checks"] if row["verdict"] == "failed"}
            | {reason for reason in result["failures"] if reason.startswith("no verdict")}
        ),
        "cases": result["cases"],
        "hr_at_20": {name: figures["hr_at_20"] for name, figures in result["metrics"].items()},
        "values": {
            f"{row['name']} ({row['slice']})": _short(row["value"]) for row in result["checks"] if row["n"]
        },
        "train_s": round(train_s, 1),
        "judge_s": round(judge_s, 1),
    }


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def summary(rows: Sequence[Row]) -> Row:
    """Return false refusals in all and per check, and the share refused per sabotage, with 95 % Wilson intervals."""
    from benchmarks.sabotages import SABOTAGES
    from training_jobs.gate.metrics import wilson_interval

    stories = {sabotage.name: sabotage.story for sabotage in SABOTAGES}

    def rate(refused: int, of: int) -> Row:
        low, high = wilson_interval(refused, of)
        return {"refused": refused, "of": of, "interval_95": [round(low, 4), round(high, 4)]}

    sound = [row for row in rows if row["judged"] == "sound"]
    spoilt = [row for row in rows if row["judged"] != "sound"]
    checks = sorted({name for row in sound for name in row["values"]})
    per_check = {name: [row for row in sound if name in row["values"]] for name in checks}
    return {
        "sound": rate(sum(row["refused"] for row in sound), len(sound)),
        "sound_by_data": {
            data: rate(sum(r["refused"] for r in sound if r["data"] == data), sum(r["data"] == data for r in sound))
            for data in sorted({row["data"] for row in sound})
        },
        "sound_per_check": {
            name: rate(sum(name in row["failed"] for row in judged), len(judged))
            | {"least": min(r["values"][name] for r in judged), "most": max(r["values"][name] for r in judged)}
            for name, judged in per_check.items()
        },
        "sabotaged": rate(sum(row["refused"] for row in spoilt), len(spoilt)),
        "sabotages": {
            name: rate(sum(r["refused"] for r in spoilt if r["judged"] == name), sum(r["judged"] == name for r in spoilt))
            | {"story": stories[name]}
            for name in sorted({row["judged"] for row in spoilt})
        },
        "train_s": round(sum(row["train_s"] for row in sound), 1),
        "judge_s": round(sum(row["judge_s"] for row in rows), 1),
    }  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    command = parser("gate", __doc__ or "", "--shops 4 --bootstraps 0 --spoilt 1 --workers 2")
    add = command.add_argument
    add("--shops", type=int, default=40, help="generated shops (default %(default)s)")
    add("--bootstraps", type=int, default=3, help="samples of each public data set (default %(default)s)")
    add("--spoilt", type=int, default=5, help="models that each sabotage spoils (default %(default)s)")
    add("--sabotage", action="append", help="spoil in this way only; may be given several times")
    add("--seed", type=int, default=1000, help="the first seed (default %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    add("--public", type=Path, help="a directory with events/serenade and bench/rsc15_1by64")
    add("--output", type=Path, help="JSON lines to append to and to carry on from")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    about = conditions("gate")
    wanted = list(
        cases(
            options.shops,
            options.bootstraps,
            options.spoilt,
            options.seed,
            options.public,
            options.sabotage or (),
        )
    )
    rows = _read(options.output)
    done = {(row["data"], row["seed"]) for row in rows}
    left = [case for case in wanted if (_data_of(case), case.seed) not in done]
    left.sort(key=lambda case: -case.events)  # the longest first, so that no worker waits for one at the end
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    began = time.monotonic()
    pool = ProcessPoolExecutor(options.workers)
    try:
        running = {pool.submit(judge, case, options.public): case for case in left}
        for number, future in enumerate(as_completed(running), start=1):
            found = future.result()
            rows += found
            _note(found, options.output)
            spent_s = time.monotonic() - began
            left_s = spent_s / number * (len(left) - number)
            print(
                f"{number} of {len(left)} models, {spent_s:.0f} s, {left_s:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
    finally:
        pool.shutdown(cancel_futures=True)
    print(json.dumps(about | {"seed": options.seed} | summary(rows)))
    return 0


def _note(found: Sequence[Row], output: Path | None) -> None:
    """Append judgements to the output, and name those that are wrong."""
    if output:
        with output.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in found)
    for row in found:
        if row["refused"] == (row["judged"] == "sound"):
            print(
                f"wrong: {row['judged']}, {row['data']}, seed {row['seed']}: {row['failed']}", file=sys.stderr
            )


def _data_of(case: Case) -> str:
    return case.name if case.events == 0 else f"shop of {case.events:,} events"


def _read(output: Path | None) -> list[Row]:
    if output is None or not output.exists():
        return []
    return [json.loads(line) for line in output.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    raise SystemExit(main())
