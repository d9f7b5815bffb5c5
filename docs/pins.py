"""Check that the lists of pinned packages agree with constraints.txt, the one list that all others follow.

python -m docs.pins
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLLOWERS = (
    "requirements.txt",
    "layers/warehouse.txt",
    "layers/pandas.txt",
    "training_jobs/serving_image/requirements.txt",
)
# Lambda's glibc has no wheels of newer releases, and tzdata comes with pandas 2 only.
OTHER_VERSION = {"layers/pandas.txt": {"numpy", "pandas", "pyarrow", "tzdata"}}
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?==([^\s;\\]+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Return the version per normalized package name (https://packaging.python.org/specifications/name-normalization/)."""
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PIN.findall(text)}


def disagreements(root: Path = ROOT) -> list[str]:
    """Return one sentence per pin that differs from constraints.txt or is missing there."""
    lock = pins((root / "constraints.txt").read_text())
    return [
        f"{file} pins {name}=={version}, constraints.txt {lock.get(name, 'does not list it')}: change {file}"
        for file in FOLLOWERS
        for name, version in pins((root / file).read_text()).items()
        if lock.get(name) != version and name not in OTHER_VERSION.get(file, ())
    ]


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m docs.pins",
    )
    parser.parse_args()
    found = disagreements()
    print(
        *(found or ["pins: the lists agree with constraints.txt"]),
        sep="\n",
        file=sys.stderr if found else sys.stdout,
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
