"""The gate warns of a decline that is within the margin each night before thirty nights are over, and not of noise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.training_jobs.conftest import Trained
from training_jobs.evaluate import main
from training_jobs.gate.leads import EVALUATION, KEPT, WEEK, Lead, change, described, lead_checks, read_leads
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.model_files import ArchiveError
from training_jobs.serving.sessions import DAY_MS

LIMITS = read_thresholds()
# The deviation of a lead of .05 over about 2,000 cases.
NIGHT = 0.0075


def lead(at: int, hr: float, mrr: float = 0.03) -> Lead:
    return Lead(f"m{at}", at * DAY_MS, hr, mrr)


def warned_at(leads: np.ndarray) -> int:
    """Play the gate night after night, and return the first night that it warns of, 0 for none."""
    for at in range(len(leads)):
        earlier = [lead(night, leads[night]) for night in range(at)]
        found = lead_checks(earlier, lead(at, leads[at]), LIMITS)
        if any(row.verdict == "warned" for row in found):
            return at + 1
    return 0


@pytest.mark.parametrize("loss", [0.0015, 0.003, 0.006])
def test_thirty_nights_that_each_lose_less_than_the_margin_are_warned_of(loss: float) -> None:
    assert loss < LIMITS.margin.hr_at_20
    before, caught = 30, []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0, NIGHT, before + 30)
        decline = loss * np.maximum(0, np.arange(before + 30) - before + 1)
        caught.append(warned_at(0.05 + noise - decline))
    assert min(caught) > before
    assert np.median(caught) - before <= min(30, 5 + 0.03 / loss)


def test_thirty_nights_without_a_decline_bring_no_warning() -> None:
    noise = (np.random.default_rng(seed).normal(0, NIGHT, 30) for seed in range(40))
    assert [warned_at(0.05 + nights) for nights in noise] == [0] * 40


def test_a_season_of_the_lead_within_the_margin_brings_no_warning() -> None:
    season = 0.01 * np.sin(2 * np.pi * np.arange(60) / 28)
    noise = np.random.default_rng(1).normal(0, NIGHT, 60)
    assert warned_at(0.05 + season + noise) == 0


def test_after_a_decline_a_repaired_model_passes_at_once() -> None:
    nights = [0.05] * 20 + [0.02] * WEEK
    earlier = [lead(at, value) for at, value in enumerate(nights)]
    verdicts = {
        value: [row.verdict for row in lead_checks(earlier, lead(99, value), LIMITS)]
        for value in (0.02, 0.05)
    }
    assert verdicts == {0.02: ["warned", "passed"], 0.05: ["passed", "passed"]}


def test_a_row_names_the_loss_and_few_releases_are_not_judged() -> None:
    earlier = [lead(at, 0.05 if at < 15 else 0.01) for at in range(25)]
    row = lead_checks(earlier, lead(25, 0.01), LIMITS)[0]
    assert row.value == pytest.approx(-0.04)
    assert "lead of hr_at_20 against earlier releases" in row.reason
    few = lead_checks(earlier[:12], lead(12, -0.5), LIMITS)
    assert [row.verdict for row in few] == ["skipped", "skipped"]
    assert "13 releases, at least 14" in few[0].reason


def test_the_loss_is_that_of_the_last_week_against_the_best_week_before() -> None:
    leads = np.concatenate([np.full(7, 0.02), np.full(7, 0.06), np.full(7, 0.04), np.full(7, 0.05)])
    value, (low, high) = change(leads, 0.99)
    assert value == pytest.approx(-0.01)
    assert low < value < high


def test_the_record_keeps_its_last_releases_and_begins_anew_where_a_person_accepts_a_decline() -> None:
    leads = [lead(at, 0.05) for at in range(KEPT)]
    own = lead(KEPT, 0.01)
    kept = described(leads, own, accepted=False)
    assert [kept[0]["model_version"], kept[-1]["model_version"], len(kept)] == ["m1", f"m{KEPT}", KEPT]
    assert [row["model_version"] for row in described(leads, own, accepted=True)] == [f"m{KEPT}"]


def test_leads_are_read_from_the_champion_s_evaluation_but_for_those_of_the_same_day(tmp_path: Path) -> None:
    own = lead(5, 0.05)
    rows = described([lead(3, 0.05), lead(4, 0.06)], own, accepted=False)
    (tmp_path / EVALUATION).write_text(json.dumps({"leads": rows}))
    assert [found.model_version for found in read_leads(tmp_path, 5 * DAY_MS)] == ["m3", "m4"]
    assert read_leads(tmp_path, 6 * DAY_MS)[-1] == own
    assert read_leads(None, 0) == read_leads(tmp_path / "none", 0) == []
    (tmp_path / EVALUATION).write_text('{"passed": true}')
    assert read_leads(tmp_path, 0) == []


@pytest.mark.parametrize("damage", ["[", '{"leads": [{}]}', '{"leads": [3]}', '{"leads": [null]}', "[]"])
def test_a_damaged_record_of_leads_stops_the_job_and_names_the_file(tmp_path: Path, damage: str) -> None:
    (tmp_path / EVALUATION).write_text(damage)
    with pytest.raises(ArchiveError, match=r"evaluation\.json has no readable leads"):
        read_leads(tmp_path, 0)


def test_an_evaluation_continues_the_champion_s_record_and_warns_of_a_decline(
    trained: Trained, tmp_path: Path
) -> None:
    champion, output = tmp_path / "champion", tmp_path / "output"
    champion.mkdir()
    day_ms = int(trained.data.sessions.ends_ms.max())
    earlier = [Lead(f"m{at}", day_ms - (40 - at) * DAY_MS, 0.9 if at < 13 else 0.0, 0.0) for at in range(20)]
    (champion / EVALUATION).write_text(json.dumps({"leads": described(earlier[:-1], earlier[-1], False)}))

    def judged(*more: str) -> dict[str, Any]:
        options = {
            "--candidate": trained.model_dir,
            "--champion": champion,
            "--interactions": trained.interactions,
            "--output": output,
        }
        assert main([*(str(word) for pair in options.items() for word in pair), *more]) == 0
        found: dict[str, Any] = json.loads((output / EVALUATION).read_text())
        return found

    warned, accepted = judged(), judged("--override-reason", "a new kind of shopper")
    assert (warned["passed"], warned["failures"]) == (True, [])
    assert [reason.split(" is ")[0] for reason in warned["warnings"]] == [
        "lead of hr_at_20 against earlier releases (all)"
    ]
    page = (output / "evaluation.html").read_text()
    assert "What the gate warns of" in page
    assert len(warned["leads"]) == 21
    assert accepted["leads"] == warned["leads"][-1:]
    knn, own = (warned["metrics"][name]["hr_at_20"] for name in ("session_knn", "candidate"))
    assert accepted["leads"][0]["hr_at_20"] == pytest.approx(own - knn, abs=2e-5)
