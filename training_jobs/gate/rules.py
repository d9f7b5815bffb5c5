"""All checks of the gate: one row per check, with its bound. `python -m training_jobs.gate.rules` writes docs/gate.md.

The functions in checks_*.py compute values, and this table contains their bounds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from training_jobs.gate.check import Check, Interval, check
from training_jobs.gate.thresholds import Thresholds, read_thresholds

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "gate.md"


@dataclass(frozen=True)
class Rule:
    """One check. `bound` and `minimum_n` are numbers or names of thresholds; a name after "-" is negated.

    A check that is not `required` is skipped with too few cases. A check `by_far_end` fails only if its whole
    interval misses the bound. One that `warns` never refuses a model.
    """

    meaning: str
    comparator: str
    bound: str | float
    minimum_n: str | int = 1
    required: bool = True
    by_far_end: bool = False
    warns: bool = False


def _opponents() -> dict[str, Rule]:
    return {
        f"{metric} against {other}": Rule(
            f"Accuracy is not shown to be worse than that of {text}, within the margin.",
            ">=",
            f"-margin.{metric}",
            "minimum_cases",
            by_far_end=True,
        )
        for metric in ("hr_at_20", "mrr_at_20")
        for other, text in (
            ("item_to_item", "item-to-item"),
            ("session_knn", "session-kNN"),
            ("champion", "the champion"),
        )
    }


def _placements() -> dict[str, Rule]:
    """Return the rules of the placements. Each is compared with the baseline of its own task (placements.py)."""
    meanings = {
        "similar": "Items like the viewed one have the next view more often than best sellers.",
        "rerank": "The clicked item of a list stands further ahead than in the order by popularity.",
        "bought_together": "A line that is taken out of an order is found more often than among best sellers.",
        "popular": "A category's list of the last days is not worse than that of all days.",
        "rising": "Rising items have at least their earlier share of the views.",
        "home": "A returning client's first view is found more often than among best sellers.",
        "recently_viewed": "A returning client's first view is among the last views more often than among best sellers.",
        "buy_again": "What a client buys again stands further ahead than with the last bought first.",
    }
    return {
        f"placement {name}": Rule(
            f"{meaning} Within the margin.", ">=", "-placement_margin", "minimum_placement_cases", False, True
        )
        for name, meaning in meanings.items()
    }


RULES: dict[str, Rule] = {
    "hr_at_20": Rule("The hit rate has a floor.", ">=", "minimum_hr_at_20", "minimum_cases"),
    "hr_at_20 above popularity": Rule("The hit rate is above that of popularity.", ">", 0.0, "minimum_cases"),
    "mrr_at_20 above popularity": Rule("The MRR is above that of popularity.", ">", 0.0, "minimum_cases"),
    **_opponents(),
    **{
        f"lead of {metric} against earlier releases": Rule(
            "The last seven releases lead session-kNN by no less than the best seven before them, within the margin.",
            *(">=", "-lead_margin", "minimum_releases", False, True, True),
        )
        for metric in ("hr_at_20", "mrr_at_20")
    },
    "slice": Rule(
        "No session length and no category is served worse than by the champion, or by session-kNN without one.",
        *(">=", "-slice_margin", "minimum_slice_cases", False, True),
    ),
    "target slice": Rule(
        "No kind of target (popular, rare, new, seen in the session) is served worse than by the champion.",
        *(">=", "-target_slice_margin", "minimum_slice_cases", False, True),
    ),
    "coverage of active items": Rule(
        "Recommendations cover a part of the active items.",
        *(">=", "minimum_coverage_of_active_items", "minimum_cases"),
    ),
    "popularity ratio": Rule(
        "Recommended items are not much more popular than clicked items.",
        *("<=", "maximum_popularity_ratio", "minimum_cases"),
    ),
    "gini of recommendations": Rule(
        "Recommendations do not concentrate on a few items.", "<=", "maximum_gini", "minimum_cases"
    ),
    "least shown over clicked of a category": Rule(
        "Every category is shown about as often as shoppers go on to it.",
        *(">=", "minimum_reach", 1, False),
    ),
    "same category on misses": Rule(
        "Where the target is missed, the category matches at least about as often as with popularity.",
        *(">=", "-same_category_tolerance", "minimum_slice_cases", False, True),
    ),
    "price distance on misses": Rule(
        "Where the target is missed, prices are about as near to its price as with popularity.",
        *("<=", "price_distance_tolerance", "minimum_slice_cases", False, True),
    ),
    "calibration error": Rule("Scores are calibrated.", "<=", "maximum_calibration_error", "minimum_cases"),
    "hr_at_20 of the surer half above the other": Rule(
        "The half of the cases with higher scores has a higher hit rate.",
        *(">=", 0.0, "minimum_cases", True, True),
    ),
    "training ends before the held-out day (ms)": Rule(
        "The measured model has learnt nothing of the held-out day.", "<=", -1
    ),
    "sessions in the measured model beyond those before the cut": Rule(
        "The measured model has learnt exactly the sessions before the cut.", "==", 0
    ),
    "sessions in the served model beyond those of the snapshot": Rule(
        "The served model has learnt exactly the sessions of the snapshot.", "==", 0
    ),
    "items of the snapshot that the served model lacks": Rule(
        "The served model has every item of the snapshot.", "==", 0
    ),
    "items of the held-out day known from clicks": Rule(
        "The measured model has learnt no item whose first click is on the held-out day.", "==", 0
    ),
    "hr_at_20 as training measured it (difference)": Rule(
        "The gate measures the hit rate that training reported.",
        *("<=", "reproduction_tolerance", "minimum_cases"),
    ),
    "served model lags the snapshot (ms)": Rule(
        "The served model has learnt the newest session of the snapshot.", "<=", 0
    ),
    "surge of one item after a best seller": Rule(
        "No item suddenly follows a best seller (invented sessions).", "<=", "maximum_surge", 0
    ),
    "share of three networks in an item after a best seller": Rule(
        "What follows a best seller does not come from three networks (invented sessions).",
        *("<=", "maximum_network_share", 0, False),
    ),
    "hr_at_20 of the served model, which has seen the day": Rule(
        "The served model, which has learnt the held-out day, is not worse on it than the measured model.",
        *(">=", "-served_tolerance", "minimum_cases", True, True),
    ),
    "answers with k distinct items": Rule("Every answer has k distinct items.", "==", 1.0),
    "answers with the current item": Rule("No answer contains the current item.", "==", 0),
    "answers with finite, ordered scores": Rule("Scores are finite and descend.", "==", 1.0),
    "filtered items shown": Rule("No answer contains an excluded item.", "==", 0),
    "short answers that begin the long ones": Rule(
        "A shorter answer is the beginning of a longer one.", "==", 1.0
    ),
    "answers that are the same again": Rule("The same session gets the same answer.", "==", 1.0),
    "cold sessions answered by popularity": Rule(
        "A session without a known item gets the most popular items.", "==", 2
    ),
    "answers that say where they come from": Rule("Every answer names its source.", "==", 1.0),
    "overlap of the first five of two sessions": Rule(
        "Different sessions get different answers.", "<=", "maximum_cross_overlap", 20
    ),
    "answers with five items or more, all in stock": Rule(
        "The out-of-stock list is respected and does not empty the answers.", "==", 1.0
    ),
    "answers unmoved by an unknown id": Rule("An unknown id does not change an answer.", "==", 1.0),
    "difference that padding makes to a score": Rule(
        "A session is scored alike in a batch and alone.", "<=", "maximum_padding_difference"
    ),
    "overlap after a duplicate event": Rule(
        "A duplicate of the last click changes the answer a little.",
        *(">=", "minimum_duplicate_overlap", 20, False),
    ),
    "overlap after swapping the two oldest clicks": Rule(
        "Swapping the two oldest clicks changes the answer a little.",
        *(">=", "minimum_swap_overlap", 20, False),
    ),
    "overlap with the last click on the most similar item instead": Rule(
        "Replacing the last click by the most similar item keeps a part of the answer.",
        *(">=", "minimum_similar_overlap", 20, False),
    ),
    "effect of the last click beyond that of the first": Rule(
        "The last click changes the answer more than the first.",
        *(">=", "minimum_recency_effect", 20, False, True),
    ),
    "golden sessions answered alike": Rule(
        "The files answer as they did in training.", ">=", "minimum_golden_overlap", 20
    ),
    "golden sessions through the handlers": Rule(
        "The endpoint's handlers answer as training did.", ">=", "minimum_golden_overlap", 20
    ),
    "overlap of the scan with the whole float32 ranking": Rule(
        "The shortlist by sketches and int8 codes equals the full ranking.",
        ">=",
        "minimum_golden_overlap",
        20,
    ),
    "items with codes of another vector": Rule(
        "The int8 codes of every item are those of its vector.", "==", 0
    ),
    "overlap of the served with the measured model": Rule(
        "The served model answers like the measured one.", ">=", "minimum_variant_overlap", 20, False
    ),
    "fallback items the model does not know": Rule(
        "The fallback contains only items of the vocabulary.", "==", 0
    ),
    "files of the endpoint's code": Rule("The archive carries the endpoint's code.", "==", 2),
    "latency p50 (CPU ms)": Rule("The median answer is fast enough.", "<=", "latency_p50_cpu_ms", 5),
    "latency p99 (CPU ms)": Rule("The slowest answers are fast enough.", "<=", "latency_p99_cpu_ms", 5),
    "archive size (bytes)": Rule("The archive fits the endpoint.", "<=", "maximum_archive_bytes"),
    "items without a finite vector": Rule("The model can score every item.", "==", 0),
    **_placements(),
}


def resolved(limits: Thresholds, value: str | float) -> float:
    """Return a number unchanged, and a name as the threshold of that name."""
    if not isinstance(value, str):
        return value
    found: float = attrgetter(value.removeprefix("-"))(limits)
    return -found if value.startswith("-") else found


def judge(
    limits: Thresholds,
    name: str,
    value: float,
    *,
    n: int,
    over: str = "all",
    against: str = "absolute",
    interval: Interval | None = None,
    rule: str | None = None,
) -> Check:
    """Compare a value with the bound of the rule `rule`, which is by default the rule called `name`."""
    row = RULES[rule or name]
    return check(
        name,
        value,
        row.comparator,
        resolved(limits, row.bound),
        n=n,
        minimum_n=int(resolved(limits, row.minimum_n)),
        over=over,
        against=against,
        interval=interval,
        by_far_end=row.by_far_end,
        required=row.required,
        warns=row.warns,
    )


def document(limits: Thresholds) -> str:
    """Return docs/gate.md."""
    lines = [
        "# The checks of the gate",
        "",
        "`python -m training_jobs.gate.rules` writes this page from `training_jobs/gate/rules.py` and `thresholds.json` there.",
        "Change those files, not this page.",
        "The data has [checks of its own](data_checks.md), which are named in the same words.",
        "",
        "With fewer cases than the minimum, a required check fails and any other is skipped.",
        "A check that warns never refuses a model; the message of the run and the evaluation have its reason.",
        "A lead is a model's figure minus that of session-kNN on the same cases ([0078](decisions/0078-retraining.md)).",
        "A check by the far end fails only if its whole interval misses the bound.",
        "The intervals of all these checks together err with the chance `family_error`.",
        "",
        "| check | meaning | value must be | minimum cases | required | far end |",
        "|---|---|---|---|---|---|",
    ]
    for name, rule in RULES.items():
        bound = f"{rule.comparator} {_shown(limits, rule.bound)}"
        lines.append(
            f"| {name} | {rule.meaning} | {bound} | {_shown(limits, rule.minimum_n)} "
            f"| {'warns' if rule.warns else 'yes' if rule.required else 'no'} | {'yes' if rule.by_far_end else ''} |"
        )
    return "\n".join(lines) + "\n"


def _shown(limits: Thresholds, value: str | float) -> str:
    number = f"{resolved(limits, value):.10g}"
    return f"{number} (`{value.removeprefix('-')}`)" if isinstance(value, str) else number


def main(argv: Sequence[str] | None = None) -> int:
    """Write docs/gate.md, or only compare it."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python -m training_jobs.gate.rules --check"
    )
    parser.add_argument("--check", action="store_true", help="only report a page that is out of date")
    options = parser.parse_args(argv)
    text = document(read_thresholds())
    if options.check:
        if not DOCUMENT.exists() or DOCUMENT.read_text("utf-8") != text:
            print(f"{DOCUMENT.name} is out of date: run python -m training_jobs.gate.rules", file=sys.stderr)
            return 1
        return 0
    DOCUMENT.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
