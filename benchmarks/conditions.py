"""What a figure depends on beside the code: the command, the machine and how busy it is, the moment."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def conditions(benchmark: str) -> dict[str, Any]:
    """The first keys of a benchmark's JSON line."""
    return {
        "benchmark": benchmark,
        "command": " ".join(["python -m", f"benchmarks.{benchmark}", *sys.argv[1:]]),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "cpu": _named("/proc/cpuinfo", "model name") or platform.processor(),
            "memory": _named("/proc/meminfo", "MemTotal"),
            # Above the number of cores: others were at work too.
            "load_1_minute": round(os.getloadavg()[0], 1),
        },
    }


def _named(path: str, name: str) -> str:
    """The value of the first line `name: value`; empty where the system has no such file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
