"""Background processes with pid files: start, find, stop with all children, and clean up after a crash.

A pid alone is not an identity: it is reused. Every record holds the process's start time too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.environment import HOST


def started_at(pid: int) -> str | None:
    """When this process started, in the system's own terms; None when there is no such process."""
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


def record(folder: Path, pid: int, **about: Any) -> Path:
    """Writes down that we started this process."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pid}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"pid": pid, "started_at": started_at(pid), **about}))
    part.replace(path)
    return path


def read_record(path: Path) -> dict[str, Any] | None:
    """The process of a pid file, if it is still the same and running."""
    try:
        about: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    start = started_at(about["pid"])
    return about if start is not None and start == about["started_at"] else None


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def spawn(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own (so that its whole tree can be signalled), output to a log."""
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
    """Signals every process of the session that this process leads; gone already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, sig)


def stop(pid: int, start: str | None, grace_s: float) -> bool:
    """SIGTERM, then SIGKILL after a grace. True when SIGTERM was enough."""
    if started_at(pid) != start or start is None:
        return True
    signal_session(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # a child of ours would stay a zombie
        if started_at(pid) != start:
            signal_session(pid, signal.SIGKILL)  # a leader that ended may leave members behind
            return True
        time.sleep(0.05)
    signal_session(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    return False


def sweep(folder: Path, grace_s: float = 2.0) -> int:
    """Stops every process recorded in this folder (left over from a crash) and forgets it."""
    paths = sorted(folder.glob("*.json"))
    left = [about for about in map(read_record, paths) if about]
    for about in left:  # all at once, so that their graces run together
        signal_session(about["pid"], signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for about in left:
        stop(about["pid"], about["started_at"], max(0.0, deadline - time.monotonic()))
    for path in paths:
        path.unlink(missing_ok=True)
    return len(left)


def memory_mb(pid: int) -> float:
    """Resident memory of a process and all its descendants, in MB (10^6 bytes)."""
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
