"""SageMaker processing job: decide if this candidate may be published. It writes evaluation.json and evaluation.html.

Exit code 0 means that the measurement worked, whatever its verdict. The state machine reads `passed`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training_jobs.gate.evaluation import evaluate
from training_jobs.gate.report_page import render
from training_jobs.gate.thresholds import THRESHOLDS, ThresholdsError
from training_jobs.serving.model_files import ArchiveError, unpack
from training_jobs.snapshot.dataset import DataError

INPUT, OUTPUT = Path("/opt/ml/processing/input"), Path("/opt/ml/processing/output")


def _finite(value: Any) -> Any:
    """Replace NaN and infinity: JSON has neither, and Step Functions refuses a document with them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def _bound(text: str) -> tuple[str, float]:
    """Return name and number of NAME=NUMBER. A whole number stays one, because some thresholds are counts."""
    name, _, number = text.partition("=")
    try:
        return name, int(number) if number.removeprefix("-").isdigit() else float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=NUMBER, such as minimum_hr_at_20=0.05"
        ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation as a command, and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        epilog="example: python -m training_jobs.evaluate --candidate out/ --interactions interactions/ --output report/",
    )
    add = parser.add_argument
    add("--candidate", type=Path, default=INPUT / "candidate", help="holds the candidate's model.tar.gz")
    add(
        "--champion",
        type=Path,
        default=INPUT / "champion",
        help="holds the champion's; may be absent or empty",
    )
    add(
        "--interactions",
        type=Path,
        default=INPUT / "interactions",
        help="parquet the candidate was trained on",
    )
    add("--items", type=Path, default=INPUT / "items", help="parquet of the catalogue; may be absent")
    add("--output", type=Path, default=OUTPUT, help="where evaluation.json and evaluation.html go")
    add("--thresholds", type=Path, default=THRESHOLDS, help="bounds of the checks")
    add(
        "--bound",
        action="append",
        default=[],
        type=_bound,
        metavar="NAME=NUMBER",
        help="a bound of this shop instead of that in the file; repeatable",
    )
    add("--snapshot-id", default="", help="the export the candidate must have been trained on")
    add("--override-reason", default="", help="publish despite failures; the reason is recorded")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            candidate = unpack(options.candidate, Path(scratch) / "candidate")
            if candidate is None:
                raise ArchiveError(
                    f"no model.tar.gz in {options.candidate}: check that the training job finished"
                )
            items = options.items if options.items.is_dir() else None
            result = evaluate(
                candidate,
                options.champion if options.champion.is_dir() else None,
                options.interactions,
                items,
                options.thresholds,
                snapshot_id=options.snapshot_id,
                override_reason=options.override_reason.strip(),
                bounds=dict(options.bound),
            )
    except (ArchiveError, DataError, ThresholdsError) as error:
        print(f"the evaluation could not be made: {error}", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(result), indent=1, ensure_ascii=False, allow_nan=False)
    (options.output / "evaluation.json").write_text(text, "utf-8")
    (options.output / "evaluation.html").write_text(render(result), "utf-8")
    print(json.dumps({"passed": result["passed"], "failures": result["failures"]}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
