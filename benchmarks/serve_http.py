"""Measure servers with an open-loop client, at rising rates until they fall behind."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.open_loop import drive
from local.ports import free_port

HOST = "127.0.0.1"
START_S = 120.0
_ROOT = Path(__file__).parents[1]
OURS, THEIRS = (250, 500, 1000, 1500, 2000, 3000), (10, 20, 40, 80, 160, 320)


def ours(model_dir: Path, bodies: Sequence[bytes], core: int, seconds: float) -> dict[str, Any]:
    """Measure our server with only the archive's code, as the container starts it."""
    command = [sys.executable, "-m", "training_jobs.server", "--model-dir", str(model_dir), "--host", HOST]
    path = {"PYTHONPATH": str(model_dir / "code")}
    return _measured(lambda port: [*command, "--port", str(port)], path, "/ping", bodies, core, seconds, OURS)


def litserve(model_dir: Path, bodies: Sequence[bytes], core: int, seconds: float) -> dict[str, Any]:
    """Measure LitServe with torch eager, with all its processes on one core."""
    command = [sys.executable, "-m", "benchmarks.serve_litserve", "--model-dir", str(model_dir)]
    path = {"PYTHONPATH": str(_ROOT)}
    return _measured(
        lambda port: [*command, "--port", str(port)], path, "/health", bodies, core, seconds, THEIRS
    )


def torchserve(model_dir: Path, bodies: Sequence[bytes], core: int, seconds: float) -> dict[str, Any]:
    """Measure TorchServe with torch eager, with its Java front end and one worker on one core."""
    programs = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as scratch:
        handler = _ROOT / "benchmarks" / "serve_torchserve.py"
        archiver: list[str | Path] = [
            programs / "torch-model-archiver",
            "--model-name",
            "model",
            "--version",
            "1.0",
        ]
        subprocess.run([*archiver, "--handler", handler, "--export-path", scratch], check=True)
        settings = Path(scratch) / "config.properties"

        def command(port: int) -> list[str]:
            apis = zip(("inference", "management", "metrics"), (port, free_port(), free_port()), strict=True)
            lines = [f"{name}_address=http://{HOST}:{at}" for name, at in apis]
            settings.write_text("\n".join([*lines, "default_workers_per_model=1", ""]))
            options = ["--foreground", "--ncs", "--disable-token-auth", "--model-store", scratch]
            return [
                str(programs / "torchserve"),
                *options,
                "--models",
                "model.mar",
                "--ts-config",
                str(settings),
            ]

        environment = {
            "PYTHONPATH": str(_ROOT),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "MODEL_DIR": str(model_dir),
            "LOG_LOCATION": scratch,
            "METRICS_LOCATION": scratch,
        }
        return _measured(command, environment, "/ping", bodies, core, seconds, THEIRS)


def _measured(
    command: Callable[[int], Sequence[str]],
    environment: Mapping[str, str],
    health: str,
    bodies: Sequence[bytes],
    core: int,
    seconds: float,
    rates: Sequence[int],
) -> dict[str, Any]:
    port = free_port()
    words = command(port)
    began = time.perf_counter()
    process = subprocess.Popen(
        words,
        env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
        cwd="/",  # otherwise the repository's code would precede the archive's
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        start_new_session=True,
    )
    try:
        _wait(process, port, health)
        ready_s = time.perf_counter() - began
        drive(HOST, port, bodies, 20, 2.0)
        rows = []
        for rate in rates:
            used_s = _cpu_s(process.pid)
            row = drive(HOST, port, bodies, rate, seconds)
            row["cpu_ms_an_answer"] = round(
                (_cpu_s(process.pid) - used_s) * 1000 / max(row["answered"], 1), 3
            )
            rows.append(row)
            print(f"{Path(words[0]).name} {words[2]}: {row}", file=sys.stderr, flush=True)
            if rows[-1]["answered"] < 0.9 * rows[-1]["sent"]:
                break
        cheapest = min((row["cpu_ms_an_answer"] for row in rows if row["answered"]), default=0.0)
        kept = [row for row in rows if row["answered"] == row["sent"] and row["p99_ms"] <= 5.0]
        return {
            "ready_s": round(ready_s, 2),
            "memory_mib": _memory_mib(process.pid),
            "answers_a_cpu_second": round(1000 / cheapest) if cheapest else 0,
            "highest_rate_with_p99_within_5_ms": max((row["rate"] for row in kept), default=0),
            "rates": rows,
        }
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    until = time.perf_counter() + START_S
    while time.perf_counter() < until and process.poll() is None:
        try:
            connection = http.client.HTTPConnection(HOST, port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.005)
    raise RuntimeError(f"{process.args!r} did not start: run it by hand to see its error")


def _group(pid: int) -> list[Path]:
    """Return the /proc folders of the server's processes, the server first."""
    found = [Path(f"/proc/{pid}")]
    for path in Path("/proc").glob("[0-9]*"):
        try:
            group = int((path / "stat").read_text().rsplit(")", 1)[1].split()[2])
        except OSError:
            continue
        if group == pid and path != found[0]:
            found.append(path)
    return found


def _cpu_s(pid: int) -> float:
    """Return the processor time so far."""
    ticks = 0
    for path in _group(pid):
        fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    """Return the resident memory."""
    lines = [line for path in _group(pid) for line in (path / "status").read_text().splitlines()]
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)
