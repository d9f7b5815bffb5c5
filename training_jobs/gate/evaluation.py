"""Measure a candidate on the held-out day, against baselines and the champion, and judge it by every check."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training_jobs.gate import metrics
from training_jobs.gate.check import Check, failures
from training_jobs.gate.checks_measured import leakage_checks, measured_checks, served_check, slices
from training_jobs.gate.checks_served import (
    budget_checks,
    constraint_checks,
    golden_checks,
    parity_checks,
    perturbation_checks,
    probe_sessions,
    stock_checks,
)
from training_jobs.gate.checks_snapshot import surge_check
from training_jobs.gate.measure import HeldOut, held_out, measure_baselines, measure_recommender
from training_jobs.serving.model_files import (
    ArchiveError,
    ModelCard,
    load_card,
    load_golden,
    load_recommender,
    read_out_of_stock,
    unpack,
)
from training_jobs.serving.session_recommender import Recommender
from training_jobs.snapshot.parquet import read_dataset

THRESHOLDS = Path(__file__).with_name("thresholds.json")


def evaluate(
    candidate_dir: Path,
    champion_dir: Path | None,
    interactions: Path,
    items: Path | None,
    thresholds: Path,
    *,
    snapshot_id: str = "",
    override_reason: str = "",
) -> dict[str, Any]:
    """Measure on the held-out day and judge. `snapshot_id`, where given, must be what the candidate learnt from."""
    limits = json.loads(thresholds.read_text("utf-8"))
    card = load_card(candidate_dir)
    if snapshot_id and card.snapshot_id != snapshot_id:
        raise ArchiveError(
            f"the candidate was trained on snapshot {card.snapshot_id}, not {snapshot_id}: "
            "pass the export that it was trained on"
        )
    served, _ = load_recommender(candidate_dir)
    out_of_stock = read_out_of_stock(candidate_dir)
    # The held-out day is of before the list, and what was bought then may be gone: judged is the model, not the stock.
    whole = load_recommender(candidate_dir, stock=False)[0] if out_of_stock else served
    candidate, candidate_card = load_recommender(candidate_dir / "holdout")
    data = read_dataset(interactions, items)
    held = held_out(data, card.holdout_start_ms)

    measured = measure_baselines(held) | {"candidate": measure_recommender("candidate", candidate, held)}
    with tempfile.TemporaryDirectory() as scratch:
        champion, note = comparable_champion(champion_dir, Path(scratch), card.holdout_start_ms)
    if champion is not None:
        measured["champion"] = measure_recommender("champion", champion, held)

    resampler = metrics.Resampler(held.cases.session)
    probes = probe_sessions(held.cases, data.vocabulary, int(limits["probes"]))
    golden = load_golden(candidate_dir)
    own = measured["candidate"]
    found: list[Check] = [
        *measured_checks(measured, held, resampler, limits, note),
        *leakage_checks(candidate, candidate_card, whole, card, own, held, limits),
        surge_check(held.data.sessions, limits),
        served_check(measure_recommender("served", whole, held), own, held, resampler, limits),
        *constraint_checks(whole, probes, limits),
        *stock_checks(served, out_of_stock, probes),
        *perturbation_checks(whole, probes, limits),
        *golden_checks(served, golden, limits),
        *parity_checks(candidate_dir, whole, candidate, probes, limits),
        *budget_checks(served, probes, _size_bytes(candidate_dir), limits),
    ]
    failed = list(failures(found))
    return {
        "passed": not failed or bool(override_reason),
        "failures": failed,
        "override_reason": override_reason or None,
        "champion": note,
        "metrics": {
            name: model.figures(held.cases, held.popularity, len(data.vocabulary), resampler)
            for name, model in measured.items()
        },
        "hit_rates": {
            name: [round(metrics.hit_rate(model.rank, k), 5) for k in range(1, 21)]
            for name, model in measured.items()
        },
        "reliability": [
            [round(said, 5), round(came, 5), n]
            for said, came, n in metrics.reliability(own.confidence, own.hits)
        ],
        "slices": _slices(measured, held),
        "checks": [asdict(row) for row in found],
        "cases": len(held.cases),
        "holdout_start_ms": card.holdout_start_ms,
        "snapshot_id": card.snapshot_id,
        "model_version": card.model_version,
    }


def comparable_champion(
    directory: Path | None, scratch: Path, holdout_start_ms: int
) -> tuple[Recommender | None, str]:
    """The champion in a variant that has not seen the held-out day, and a sentence on which one, or why none."""
    try:
        directory = unpack(directory, scratch / "champion") if directory else None
        if directory is None:
            return None, "there is no champion yet"
        card = load_card(directory)
        if card.trained_until_ms < holdout_start_ms:
            return load_recommender(directory, stock=False)[0], f"champion {card.model_version} as served"
        earlier: ModelCard = load_card(directory / "holdout")
        if earlier.trained_until_ms < holdout_start_ms:
            variant = load_recommender(directory / "holdout")[0]
            return variant, f"champion {card.model_version}, its holdout variant"
    except ArchiveError as error:
        return None, f"the champion is not comparable: {error}"
    return None, f"champion {card.model_version} is not comparable: it has learnt from the held-out day"


def _slices(measured: dict[str, Any], held: HeldOut) -> dict[str, dict[str, float]]:
    return {
        name: {"n": int(inside.sum())}
        | {
            model: round(float((m.rank[inside] <= 20).mean()), 5) if inside.any() else 0.0
            for model, m in measured.items()
        }
        for name, inside in slices(held).items()
    }


def _size_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
