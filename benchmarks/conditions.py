"""The shell that every benchmark shares: its command line, and the conditions that its figures depend on."""

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def parser(benchmark: str, description: str, example: str) -> argparse.ArgumentParser:
    """Make a benchmark's parser; the example is the arguments of a typical run."""
    command = f"python -m benchmarks.{benchmark}"
    return argparse.ArgumentParser(
        prog=command,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example: {command} {example}",
    )


def conditions(benchmark: str, **about: Any) -> dict[str, Any]:
    """Return the first keys of a benchmark's JSON line; `about` has its data and its seed."""
    return {
        "benchmark": benchmark,
        "command": " ".join(["python -m", f"benchmarks.{benchmark}", *sys.argv[1:]]),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            # The cores that this process may use, because a benchmark may be pinned.
            "cores": len(os.sched_getaffinity(0)),
            "cpu": _cpu(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            # A load above the number of cores means that other processes ran too.
            "load_1_minute": round(os.getloadavg()[0], 1),
        },
        **about,
    }


def _cpu() -> str:
    """Return the processor's name, or Python's name for it on systems without /proc."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
