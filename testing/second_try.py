"""Run the tests that failed once more, alone, and name those that pass now: `make test` calls it (decision 0079).

Three test processes share two cores with servers, jobs and browsers, so a test may find a race that no user meets.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# More failures than this have a cause.
MOST = 4
# These start nothing that could be late.
WITHOUT_PROCESSES = ("tests/unit/", "local/tests/unit/")


def refusal(failed: Sequence[str]) -> str | None:
    """Return why these tests get no second try, or None if they get one."""
    if not failed:
        return "pytest recorded no failed test: read its output above"
    if len(failed) > MOST:
        return f"{len(failed)} tests failed: at most {MOST} get a second try"
    units = [test for test in failed if test.startswith(WITHOUT_PROCESSES)]
    if units:
        return f"a unit test gets no second try: {units[0]}"
    return None


def last_failed(cache: Path) -> list[str]:
    """Return the ids of the tests that failed in the last run, as pytest's cache has them."""
    path = cache / "v" / "cache" / "lastfailed"
    return sorted(json.loads(path.read_text("utf-8"))) if path.exists() else []


def second_try(failed: Sequence[str], run: Callable[[Sequence[str]], int], say: Callable[[str], None]) -> int:
    """Run the tests again and return the exit status of all: 0 if each of them passes now."""
    why_not = refusal(failed)
    if why_not:
        say(f"no second try: {why_not}")
        return 1
    say(f"a second try, alone, of {len(failed)} failed:")
    status = run(failed)
    if status == 0:
        for test in failed:
            say(
                f"FLAKY: {test} failed, and passed alone. It is a defect: find its race in the first failure above."
            )
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Try the tests that failed in the last run of pytest here once more."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m testing.second_try",
    )
    parser.parse_args(argv)

    def run(tests: Sequence[str]) -> int:
        return subprocess.run([sys.executable, "-m", "pytest", "-p", "no:xdist", *tests]).returncode

    def say(line: str) -> None:
        print(line, flush=True)

    return second_try(last_failed(Path(".pytest_cache")), run, say)


if __name__ == "__main__":
    raise SystemExit(main())
