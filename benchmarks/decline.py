"""Measure when the gate catches models that get a little worse each night, and how often it catches models that do not.

Nights are drawn, not trained: a lead over session-kNN of --lead, a noise per night and a season. The loss per night begins
after --before nights. `margins` are the comparisons of each candidate with the champion and with session-kNN, which refuse.
`record` is training_jobs/gate/leads.py, which warns. Both judge the same nights until they catch one.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.conditions import conditions, parser
from training_jobs.gate.check import family_level
from training_jobs.gate.leads import KEPT, change
from training_jobs.gate.metrics import t_quantile
from training_jobs.gate.thresholds import read_thresholds

LOSSES = (0.0, 0.0015, 0.003, 0.006)
ERRORS = (0.005, 0.01, 0.015)
SEASONS = (0.0, 0.01, 0.015)
SEASON_DAYS = 28
LIMITS = read_thresholds()
LEVEL = family_level(LIMITS)


def by_margins(lead: NDArray[np.float64], gain: NDArray[np.float64], error: float) -> int:
    """Return the first night that a comparison with one other model refuses, 0 for none. `gain` is over the champion."""
    half = t_quantile(LEVEL, 1000) * error
    refused = np.minimum(lead, gain) + half < -LIMITS.margin.hr_at_20
    return int(np.argmax(refused)) + 1 if refused.any() else 0


def by_record(lead: NDArray[np.float64]) -> int:
    """Return the first night that the record of leads warns of, 0 for none."""
    for nights in range(LIMITS.minimum_releases, len(lead) + 1):
        _, (_, high) = change(lead[max(0, nights - KEPT) : nights], LEVEL)
        if high < -LIMITS.lead_margin:
            return nights
    return 0


def simulated(
    loss: float, error: float, season: float, lead: float, before: int, seeds: int, nights: int
) -> dict[str, Any]:
    """Return the share of the seeds that each catches within `nights`, the median night, and what was lost by then."""
    night = np.arange(before + nights)
    lost = loss * np.maximum(0, night - before + 1)
    found: dict[str, list[int]] = {"margins": [], "record": []}
    for seed in range(seeds):
        rng = np.random.default_rng([seed, before])
        of_season = season * np.sin(2 * np.pi * (night / SEASON_DAYS + rng.random()))
        leads = lead - lost + of_season + rng.normal(0, error, len(night))
        gains = np.where(night >= before, -loss, 0.0) + rng.normal(0, error, len(night))
        found["margins"].append(by_margins(leads, gains, error))
        found["record"].append(by_record(leads))
    row: dict[str, Any] = {
        "loss_per_night": loss,
        "error": error,
        "season": season,
        "seeds": seeds,
        "nights": nights,
    }
    for name, first in found.items():
        caught = np.array([one for one in first if one])
        row[name] = {
            "caught": round(len(caught) / seeds, 4),
            "median_night": int(np.median(caught)) - before if len(caught) else None,
            "lost": round(float(loss * max(0.0, np.median(caught) - before)), 4) if len(caught) else None,
        }
    return row


def main(argv: Sequence[str] | None = None, emit: Callable[[str], None] = print) -> int:
    """Print one line per loss, noise and season."""
    command = parser("decline", __doc__ or "", "--seeds 1000")
    command.add_argument("--seeds", type=int, default=1000, help="(default %(default)s)")
    command.add_argument(
        "--nights", type=int, default=30, help="after the decline began (default %(default)s)"
    )
    command.add_argument("--before", type=int, default=30, help="nights before it (default %(default)s)")
    command.add_argument(
        "--lead", type=float, default=0.05, help="of HR@20 over session-kNN (default %(default)s)"
    )
    options = command.parse_args(argv)
    about = conditions("decline", lead=options.lead, before=options.before)
    for season in SEASONS:
        for error in ERRORS:
            for loss in LOSSES:
                row = simulated(
                    loss, error, season, options.lead, options.before, options.seeds, options.nights
                )
                emit(json.dumps(about | row))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
