"""Background processes with pid files: start, find, stop with all children, and clean up after a crash.

The operating system reuses pids, so every record also contains the start time of its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def started_at(pid: int) -> str | None:
    """Return the start time of a process in the operating system's own format, or None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        # No /proc (macOS).
        ps = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
        return ps.stdout.strip() or None
    except ProcessLookupError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def record(folder: Path, pid: int, **details: Any) -> Path:
    """Write the record of a process that we started; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pid}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"pid": pid, "started_at": started_at(pid), **details}))
    part.replace(path)
    return path


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record at `path`, or None if its process ended or its pid was reused."""
    try:
        process: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    start = started_at(process["pid"])
    return process if start is not None and start == process["started_at"] else None


def spawn(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that signals reach its whole tree; append its output to a log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def signal_session(pid: int, sig: signal.Signals) -> None:
    """Signal every process of the session that this process leads. A session that ended is not an error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, sig)


def stop(pid: int, start: str | None, grace_s: float) -> bool:
    """Send SIGTERM, then SIGKILL after the grace period.

    Returns:
        True if SIGTERM was enough.
    """
    if started_at(pid) != start or start is None:
        return True
    signal_session(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # otherwise our child stays a zombie
        if started_at(pid) != start:
            signal_session(pid, signal.SIGKILL)  # the leader may leave other members behind
            return True
        time.sleep(0.05)
    signal_session(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    return False


def sweep(folder: Path, grace_s: float = 2.0) -> int:
    """Stop every process that a crash left behind and remove its record from `folder`; return their number."""
    paths = sorted(folder.glob("*.json"))
    left = [process for process in map(read_record, paths) if process]
    for process in left:  # signal all first, so that their grace periods overlap
        signal_session(process["pid"], signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for process in left:
        stop(process["pid"], process["started_at"], max(0.0, deadline - time.monotonic()))
    for path in paths:
        path.unlink(missing_ok=True)
    return len(left)


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process and all its descendants, in MB (10^6 bytes)."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,rss="], capture_output=True, text=True).stdout
    children: dict[int, list[int]] = {}
    rss_kib: dict[int, int] = {}
    for line in listing.splitlines():
        process, parent, size = (int(part) for part in line.split())
        children.setdefault(parent, []).append(process)
        rss_kib[process] = size
    total, queue = 0, [pid]
    while queue:
        process = queue.pop()
        total += rss_kib.get(process, 0)
        queue += children.get(process, [])
    return total * 1024 / 1e6
