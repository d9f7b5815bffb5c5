"""The lead over session-kNN of the released models: the gate warns of a decline that is within the margin every single night.

Figures of different days are not comparable, because some days are harder. A lead is: model and session-kNN answer the same
cases of the same day, and session-kNN is trained anew each night with fixed settings. The last releases are compared with the
best ones before them. The leads of the earlier releases and the candidate's are in evaluation.json. The release record keeps
that file beside the champion.

It warns and does not refuse, because the loss is released already. A refusal would keep the last of the declined models, which
then gets old.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.gate.check import Check, Interval, family_level, share, skipped
from training_jobs.gate.measure import Measured
from training_jobs.gate.metrics import t_quantile
from training_jobs.gate.rules import judge
from training_jobs.gate.thresholds import Thresholds
from training_jobs.serving.model_files import ArchiveError
from training_jobs.serving.sessions import DAY_MS, Float64

EVALUATION = "evaluation.json"
METRICS = ("hr_at_20", "mrr_at_20")
# A mean over a week has no weekday in it.
WEEK = 7
KEPT = 60
_FIELD = "leads"


@dataclass(frozen=True)
class Lead:
    """A model's figures minus those of session-kNN, on the held-out day that begins at `holdout_start_ms`."""

    model_version: str
    holdout_start_ms: int
    hr_at_20: float
    mrr_at_20: float


def lead_of(model_version: str, holdout_start_ms: int, measured: Mapping[str, Measured]) -> Lead:
    """Return the candidate's lead."""
    own, other = measured["candidate"], measured["session_knn"]
    hits, reciprocals = share(own.hits - other.hits), share(own.reciprocals - other.reciprocals)
    return Lead(model_version, holdout_start_ms, round(hits, 6), round(reciprocals, 6))


def read_leads(champion: Path | None, holdout_start_ms: int) -> list[Lead]:
    """Return the leads up to the champion's, oldest first, of earlier days than the candidate's.

    `champion` is the directory with the champion's evaluation. Without one there are no leads.

    Raises:
        ArchiveError: the evaluation is damaged.
    """
    path = champion / EVALUATION if champion else None
    if path is None or not path.exists():
        return []
    try:
        found = [_lead(raw) for raw in json.loads(path.read_text("utf-8")).get(_FIELD, [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArchiveError(
            f"{path} has no readable leads ({error}): delete evaluation.json beside the champion's model.tar.gz on S3, "
            "and the record of leads begins anew"
        ) from error
    # Two runs of one day measure the same cases.
    return [lead for lead in found if holdout_start_ms - lead.holdout_start_ms > DAY_MS // 2]


def _lead(raw: Any) -> Lead:
    lead = Lead(**{field.name: raw[field.name] for field in fields(Lead)})
    if not np.isfinite([lead.holdout_start_ms, lead.hr_at_20, lead.mrr_at_20]).all():
        raise ValueError(f"a lead of {lead.model_version} is not a number")
    return lead


def described(leads: Sequence[Lead], own: Lead, accepted: bool) -> list[dict[str, Any]]:
    """Return the leads for evaluation.json. Where a person `accepted` a decline, the record begins anew with the candidate's."""
    return [asdict(lead) for lead in ([own] if accepted else [*leads, own][-KEPT:])]


def lead_checks(leads: Sequence[Lead], own: Lead, limits: Thresholds) -> list[Check]:
    """Check that the candidate and the releases before it do not lead by less than the best earlier ones."""
    found = []
    for metric in METRICS:
        name = f"lead of {metric} against earlier releases"
        values = np.array([getattr(lead, metric) for lead in [*leads, own][-KEPT:]])
        if len(values) < limits.minimum_releases:
            reason = f"{len(values)} releases, at least {limits.minimum_releases} are needed to judge"
            found.append(skipped(name, reason, against="earlier releases"))
            continue
        value, interval = change(values, family_level(limits))
        found.append(judge(limits, name, value, n=len(values), against="earlier releases", interval=interval))
    return found


def change(leads: Float64, level: float) -> tuple[float, Interval]:
    """Return the mean of the last WEEK `leads` minus the best mean of WEEK leads before them, with its interval.

    `leads` [releases] has the candidate's lead at the end. If that alone is higher than the mean of the last ones, it counts
    instead: a repaired model is judged by itself. The deviation of a night is estimated from the differences of successive nights
    (von Neumann), which a slow decline hardly changes. Each end holds with the chance `level`.
    """
    weeks = np.convolve(leads, np.full(WEEK, 1.0 / WEEK), "valid")
    value = float(max(weeks[-1], leads[-1]) - weeks[:-WEEK].max())
    steps = np.diff(leads)
    deviation = float(np.sqrt((steps**2).mean() / 2))
    # Successive differences share a night, so they are worth two thirds of their number.
    half = t_quantile(level, max(2, 2 * len(steps) // 3)) * deviation * np.sqrt(2 / WEEK)
    return value, (value - float(half), value + float(half))
