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
            # Those that this process may use: a benchmark may be pinned.
            "cores": len(os.sched_getaffinity(0)),
            "cpu": _cpu(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            # Above the number of cores: others were at work too.
            "load_1_minute": round(os.getloadavg()[0], 1),
        },
    }


def _cpu() -> str:
    """The processor's name; what Python knows where the system has no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
