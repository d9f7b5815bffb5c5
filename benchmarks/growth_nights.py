"""The nights of the growth benchmark: the product's own steps on a local stack, each step in a process of its own.

A step's process is new, as a cold Lambda is, and its memory is the peak of that process. Its modules are imported before.
Snowflake starts anew each night, so its caches are cold and its memory is the night's own. Its clock, and that of Load and
Validate, is the night's.
"""

import json
import logging
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec import structs

from benchmarks.growth_bare import replayed
from benchmarks.growth_shop import FIRST_DAY, Shop
from functions.platform import warehouse
from functions.platform.settings import WarehouseSettings
from functions.validate.validate import EVERY_ROW
from local import lambda_venv, snowflake_login
from local.clients import aws_client
from local.environment import Stack as Place
from local.environment import client_environment
from local.ports import free_port_base
from local.services import Service, services, start, stop
from testing.warehouse_stack import Stack, stack_maker

STEPS = ("load", "transform", "validate", "export")
NAME = "growth"
# A night begins two hours after its day has ended.
NIGHT_BEGINS = timedelta(hours=26)
VECTOR_ROWS = 2048
WAREHOUSE_MEMORY = "4GB"
PRELOADED = ["benchmarks.growth_nights", "dbt.cli.main", "dbt.adapters.snowflake", "snowflake.connector"]


@dataclass(frozen=True)
class Plan:
    """A shop, and how its nights are played."""

    shop: Shop
    training_days: int
    files: int
    days_per_night: int
    # First and last days of periods that one night delivers.
    together: tuple[tuple[int, int], ...]
    work: Path

    @property
    def nights(self) -> list[range]:
        """Return the days that each night delivers."""
        nights = []
        day = 1
        while day <= self.shop.days:
            last = next(
                (last for first, last in self.together if first == day), day + self.days_per_night - 1
            )
            nights.append(range(day, min(last, self.shop.days) + 1))
            day = last + 1
        return nights

    @property
    def partition_rows(self) -> int:
        """Return rows per row group: about eight groups per day, as a multiple of DuckDB's vector."""
        return max(1, self.shop.events // 8 // VECTOR_ROWS) * VECTOR_ROWS


@dataclass(frozen=True)
class Task:
    """One step for a process of its own."""

    step: str
    run_id: str
    settings: WarehouseSettings
    credentials: warehouse.Credentials
    aws_url: str
    environment: dict[str, str]
    ahead_s: int


class Listed:
    """The pages, keys and bytes of S3's listings by one client."""

    def __init__(self, s3: Any) -> None:
        self.pages = self.keys = self.bytes = 0
        s3.meta.events.register("after-call.s3.ListObjectsV2", self._add)

    def _add(self, http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        self.pages += 1
        self.keys += len(parsed.get("Contents", []))
        self.bytes += len(http_response.content)


def run_step(task: Task) -> dict[str, Any]:
    """Run one step as its Lambda does; return its figures and its result."""
    from functions.export import export
    from functions.load import load
    from functions.transform import transform
    from functions.validate import validate

    os.environ.update(task.environment)
    ahead = timedelta(seconds=task.ahead_s)

    class Night(datetime):
        """The night's clock."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + ahead

    s3 = aws_client("s3", task.aws_url)
    listed = Listed(s3)
    event, settings, credentials = {"run_id": task.run_id}, task.settings, task.credentials
    result: Any
    began_s, cpu_s = time.perf_counter(), time.process_time()
    with patch.object(load, "datetime", Night), patch.object(validate, "datetime", Night):
        if task.step == "transform":
            result = transform.transform(event, settings, credentials)
        else:
            with warehouse.connect(credentials) as connection:
                match task.step:
                    case "load":
                        result = load.load(event, settings, connection)
                    case "validate":
                        result = validate.validate(event, settings, credentials, connection, s3)
                    case _:
                        result = export.export(event, settings, connection, s3)
    return {
        "seconds": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - cpu_s,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "listed": {"pages": listed.pages, "keys": listed.keys, "bytes": listed.bytes},
        "result": result,
    }


def _answer(task: Task, answers: Any) -> None:
    logging.disable()
    try:
        answers.put(run_step(task))
    except Exception as error:
        answers.put({"error": f"{task.step}: {error}"})
        raise


class StepFailed(Exception):
    """A step of a night ended with an error."""


def in_a_process(task: Task) -> dict[str, Any]:
    """Run a step in a new process, and return its figures."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    answers = server.Queue()
    process = server.Process(target=_answer, args=(task, answers), daemon=True)
    process.start()
    figures: dict[str, Any] = answers.get(timeout=3600)
    process.join()
    if "error" in figures:
        raise StepFailed(f"{figures['error']}. Run the same command again to repeat this night.")
    return figures


class Nights:
    """Plays nights on a stack in the working folder."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._place = Place(free_port_base(), (plan.work / "stack").resolve())
        self._scans = plan.work / "scans.jsonl"
        self._stack: Stack | None = None

    @contextmanager
    def started(self) -> Iterator[None]:
        """Run the local AWS while nights are played."""
        lambda_venv.ensure(lambda_venv.location())
        aws = services(self._place)[0]
        try:
            start([aws], _quiet)
            yield
        finally:
            stop([self._warehouse(0), aws], _quiet)

    def play(self, night: int, bare: bool) -> dict[str, Any]:
        """Deliver the night's days and run it; return the figures. With `bare`, repeat its statements in bare DuckDB."""
        days = self._plan.nights[night - 1]
        begins = FIRST_DAY + timedelta(days=days[-1] - 1) + NIGHT_BEGINS
        ahead_s = int((begins - datetime.now(UTC)).total_seconds())
        service = self._warehouse(ahead_s)
        before: Path | None = None
        statements: list[dict[str, Any]] = []
        with self._running(service):
            figures: dict[str, Any] = {
                "night": night,
                "day": days[-1],
                "days": len(days),
                **self._deliver(days),
            }
            steps = {"load": self._step(service, "load", night, ahead_s)}
            if bare:
                stop([service], _quiet)
                before = self._copied()
                start([service], _quiet)
            for step in STEPS[1:]:
                steps[step] = self._step(service, step, night, ahead_s, statements)
        figures |= {"steps": steps, "database_bytes": self._databases().stat().st_size}
        if before:
            figures["bare"] = replayed(before, self._databases().stem, statements)
            shutil.rmtree(before.parent)
        return figures

    def _warehouse(self, ahead_s: int) -> Service:
        service = services(self._place)[1]
        options = [
            *("--scans", str(self._scans.resolve()), "--partition-rows", str(self._plan.partition_rows)),
            *(f"--clock-ahead={ahead_s}", "--memory-limit", WAREHOUSE_MEMORY),
        ]
        return replace(service, command=(*service.command, *options))

    @contextmanager
    def _running(self, service: Service) -> Iterator[None]:
        try:
            start([service], _quiet)
            if self._stack is None:
                snowflake_login.ensure(self._place)
                made = stack_maker(self._place)(NAME)
                settings = structs.replace(made.settings, training_days=self._plan.training_days)
                self._stack = replace(made, settings=settings)
            yield
        finally:
            stop([service], _quiet)

    def _databases(self) -> Path:
        return self._place.state / "warehouse" / f"TUGBOAT_{NAME.upper()}.db"

    def _copied(self) -> Path:
        folder = self._plan.work / "bare"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Path(shutil.copy(self._databases(), folder / self._databases().name))

    def _deliver(self, days: range) -> dict[str, int]:
        assert self._stack is not None
        lines = size = files = 0
        for day in days:
            for key, body, count in self._plan.shop.files(day, self._plan.files):
                self._stack.s3.put_object(Bucket=self._stack.settings.events_bucket, Key=key, Body=body)
                lines, size, files = lines + count, size + len(body), files + 1
        return {"events": lines, "raw_bytes": size, "raw_files": files}

    def _step(
        self,
        service: Service,
        step: str,
        night: int,
        ahead_s: int,
        statements: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        assert self._stack is not None
        process = service.running()
        assert process is not None
        self._scans.unlink(missing_ok=True)
        _reset_peak(process["pid"])
        cpu_s = _cpu_s(process["pid"])
        settings, credentials = self._stack.settings, self._stack.credentials
        environment = client_environment(self._place)
        task = Task(step, f"n{night}", settings, credentials, self._place.aws_url, environment, ahead_s)
        figures = in_a_process(task)
        lines = [json.loads(line) for line in self._scans.read_text().splitlines()]
        if statements is not None and step == "transform":
            statements += lines
        return summary(step, figures, lines) | {
            "warehouse_mb": _peak_mb(process["pid"]),
            "warehouse_cpu_s": round(_cpu_s(process["pid"]) - cpu_s, 2),
        }


def summary(step: str, figures: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a step: without what only counting takes, with its three longest statements."""
    listed = figures["listed"]
    copies = [line for line in lines if line["sql"].startswith("LIST ")]
    result = figures["result"]
    longest = sorted(lines, key=lambda line: -line.get("seconds", 0))[:3]
    most = sorted(lines, key=lambda line: -line["rows"])[:3]
    sums = {
        "cpu_s": figures["cpu_s"],
        "seconds": without_counting(figures["seconds"], lines),
        "statements_s": sum(line.get("seconds", 0) for line in lines if not line.get("metadata")),
        "metadata_s": sum(line.get("seconds", 0) for line in lines if line.get("metadata")),
    }
    about: dict[str, Any] = {name: round(value, 2) for name, value in sums.items()}
    about |= {
        "rows": sum(line["rows"] for line in lines),
        "statements": len(lines) - len(copies),
        "list_calls": listed["pages"] + len(copies),
        "listed_keys": listed["keys"] + sum(line["keys"] for line in copies),
        "listed_bytes": listed["bytes"] + sum(line["bytes"] for line in copies),
        "memory_mb": round(figures["memory_mb"]),
        "longest": [_named(line, "seconds") for line in longest],
        "most": [_named(line, "rows") for line in most],
    }
    if step == "validate":
        about |= {"passed": result["passed"], "failures": result["failures"][:3]}
        about["every_row"] = any(_keeps_every_row(line["sql"]) for line in lines)
    if step == "load":
        about["swept"] = any(line["sql"].endswith("/raw/") for line in copies)
        about["rows_loaded"] = result["rows_loaded"]
    if step == "export":
        about["interactions"] = result["interactions"]
    return about


def without_counting(seconds: float, lines: list[dict[str, Any]]) -> float:
    """Return the seconds of a step without its counting.

    Statements that run at the same time share the step's seconds, so counting has its share of their sum.
    """
    counting = sum(line.get("overhead_s", 0) for line in lines)
    statements = sum(line.get("seconds", 0) for line in lines)
    # Subtract exactly where the statements ran one after the other.
    busy = min(seconds, counting + statements)
    return seconds - busy * counting / (counting + statements) if counting else seconds


def _keeps_every_row(sql: str) -> bool:
    """Return True for the statement that records a validation of every row."""
    return sql.lstrip()[:6].upper() == "INSERT" and f"'{EVERY_ROW}'" in sql


def _named(line: dict[str, Any], figure: str) -> list[Any]:
    return [line.get(figure, 0), " ".join(line["sql"].split())[:120]]


def _reset_peak(pid: int) -> None:
    """Set a process's peak of memory to its present use."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def _quiet(_: str) -> None:
    return None
