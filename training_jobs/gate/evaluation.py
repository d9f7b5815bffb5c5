"""Measure a candidate on the held-out day, against baselines and the champion, and judge it by every check."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from training_jobs.gate import metrics
from training_jobs.gate.check import Check, failures, warnings
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
from training_jobs.gate.checks_snapshot import network_check, surge_check
from training_jobs.gate.leads import Lead, described, lead_checks, lead_of, read_leads
from training_jobs.gate.measure import HeldOut, Measured, held_out, measure_baselines, measure_recommender
from training_jobs.gate.model import Model
from training_jobs.gate.placements import measure_placements
from training_jobs.gate.thresholds import Thresholds, with_bounds
from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.model_files import (
    ArchiveError,
    ModelCard,
    load_card,
    load_golden,
    load_recommender,
    read_out_of_stock,
    unpack,
)
from training_jobs.serving.sessions import Float64
from training_jobs.snapshot.dataset import Dataset
from training_jobs.snapshot.parquet import read_dataset


@dataclass(frozen=True)
class Candidate:
    """A model to be judged, as read from its archive.

    `served` excludes the out-of-stock items and `whole` does not. `variant` has not seen the held-out day.
    """

    directory: Path
    served: Model
    whole: Model
    card: ModelCard
    variant: Model
    variant_card: ModelCard
    out_of_stock: list[str]
    golden: list[dict[str, Any]]


def evaluate(
    candidate_dir: Path,
    champion_dir: Path | None,
    interactions: Path,
    items: Path | None,
    thresholds: Path,
    *,
    snapshot_id: str = "",
    override_reason: str = "",
    bounds: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Any]:
    """Read the files, measure on the held-out day and judge. `bounds` are a shop's own, instead of those of the file.

    A given `snapshot_id` must be the snapshot that the candidate was trained on.
    """
    limits = with_bounds(bounds, thresholds)
    candidate = read_candidate(candidate_dir)
    card = candidate.card
    if snapshot_id and card.snapshot_id != snapshot_id:
        raise ArchiveError(
            f"the candidate was trained on snapshot {card.snapshot_id}, not {snapshot_id}: "
            "pass the export that it was trained on"
        )
    data = read_dataset(interactions, items)
    with tempfile.TemporaryDirectory() as scratch:
        champion, note = comparable_champion(champion_dir, Path(scratch), card.holdout_start_ms)
    leads = read_leads(champion_dir, card.holdout_start_ms)
    return judged(candidate, champion, note, data, limits, override_reason, leads)


def read_candidate(directory: Path) -> Candidate:
    """Load the served model and the holdout variant of an archive."""
    card = load_card(directory)
    served, _ = load_recommender(directory)
    out_of_stock = read_out_of_stock(directory)
    # The held-out day is older than the list, and its targets may be out of stock since: measure the model, not the stock.
    whole = load_recommender(directory, stock=False)[0] if out_of_stock else served
    variant, variant_card = load_recommender(directory / "holdout")
    golden = load_golden(directory)
    return Candidate(directory, served, whole, card, variant, variant_card, out_of_stock, golden)


def judged(
    candidate: Candidate,
    champion: Model | None,
    note: str,
    data: Dataset,
    limits: Thresholds,
    override_reason: str = "",
    leads: Sequence[Lead] = (),
) -> dict[str, Any]:
    """Return the content of evaluation.json. `note` is the name of the champion, or the reason for none.

    `leads` are those of the releases up to the champion, oldest first.
    """
    card, whole, served = candidate.card, candidate.whole, candidate.served
    evidence = whole.evidence()  # which items are in stock does not change it
    held = held_out(data, card.holdout_start_ms)
    measured = measure_baselines(held) | {
        "candidate": measure_recommender("candidate", candidate.variant, held)
    }
    if champion is not None:
        measured["champion"] = measure_recommender("champion", champion, held)

    resampler = metrics.Resampler(held.cases.session)
    probes = probe_sessions(held.cases, data.vocabulary, limits.probes)
    own = measured["candidate"]
    of_placements, placement_checks = measure_placements(candidate.variant, held, limits)
    prices = data.catalogue.prices if data.catalogue else None
    lead = lead_of(card.model_version, card.holdout_start_ms, measured)
    against_leads = lead_checks(leads, lead, limits)
    found: list[Check] = [
        *measured_checks(measured, held, resampler, limits, note),
        *against_leads,
        *leakage_checks(candidate.variant, candidate.variant_card, whole, evidence, card, own, held, limits),
        surge_check(held.data.sessions, limits),
        network_check(held.data.sessions, data.vocabulary, limits),
        served_check(measure_recommender("served", whole, held), own, held, resampler, limits),
        *constraint_checks(whole, probes, limits),
        *stock_checks(served, candidate.out_of_stock, probes, limits),
        *perturbation_checks(whole, probes, limits),
        *golden_checks(served, candidate.golden, limits),
        *parity_checks(candidate.directory, whole, evidence, candidate.variant, probes, limits),
        *budget_checks(served, evidence, probes, _size_bytes(candidate.directory), limits),
        *placement_checks,
    ]
    failed = list(failures(found))
    return {
        "passed": not failed or bool(override_reason),
        "failures": failed,
        "warnings": list(warnings(found)),
        "override_reason": override_reason or None,
        "champion": note,
        "metrics": {
            name: model.figures(held.cases, held.popularity, len(data.vocabulary), resampler, prices)
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
        "target_kinds": _target_kinds(measured, held, prices, limits.minimum_slice_cases),
        "placements": of_placements,
        "leads": described(leads, lead, accepted=bool(override_reason) and any(warnings(against_leads))),
        "checks": [asdict(row) for row in found],
        "cases": len(held.cases),
        "holdout_start_ms": card.holdout_start_ms,
        "snapshot_id": card.snapshot_id,
        "model_version": card.model_version,
        # The variant that has not seen the held-out day has the training curve.
        "settings": candidate.variant_card.settings,
    }


def comparable_champion(
    directory: Path | None, scratch: Path, holdout_start_ms: int
) -> tuple[Model | None, str]:
    """Return the champion's variant that has not seen the held-out day, and a sentence that names it or the reason for none."""
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


def _target_kinds(
    measured: Mapping[str, Measured], held: HeldOut, prices: Float64 | None, minimum_cases: int
) -> dict[str, dict[str, Any]]:
    """Return the figures per kind of the target. A kind with fewer than `minimum_cases` has no models, only its cases."""
    kinds = held.cases.kinds
    if kinds is None:
        return {}
    found = {}
    for kind, strength in EVENT_STRENGTHS.items():
        inside = kinds == strength
        of_cases = None if prices is None else prices[held.cases.targets[inside]]
        models = measured if int(inside.sum()) >= minimum_cases else {}
        found[kind] = {
            "cases": int(inside.sum()),
            "models": {name: model.of_kind(inside, of_cases) for name, model in models.items()},
        }
    return found


def _size_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
