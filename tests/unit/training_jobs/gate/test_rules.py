"""The table of all checks: its page, its thresholds, and that the gate makes exactly these checks."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.unit.training_jobs.conftest import Trained
from training_jobs.evaluate import main
from training_jobs.gate import rules
from training_jobs.gate.rules import RULES, document, resolved
from training_jobs.gate.thresholds import THRESHOLDS, Thresholds, ThresholdsError, read_thresholds


def test_the_page_of_all_checks_is_the_generated_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rules.main(["--check"]) == 0
    monkeypatch.setattr(rules, "DOCUMENT", tmp_path / "gate.md")
    assert rules.main(["--check"]) == 1
    assert "run python -m training_jobs.gate.rules" in capsys.readouterr().err
    assert rules.main([]) == 0
    assert rules.main(["--check"]) == 0
    assert (tmp_path / "gate.md").read_text() == document(read_thresholds())


def test_every_bound_is_a_threshold_and_every_threshold_is_used() -> None:
    limits = read_thresholds()
    named = {
        value.removeprefix("-").split(".")[0]
        for rule in RULES.values()
        for value in (rule.bound, rule.minimum_n)
        if isinstance(value, str) and resolved(limits, value) is not None
    }
    parameters = {
        "reach_minimum_clicks",
        "family_error",
        "family_rows",
        "probes",
        "surge_best_sellers",
        "surge_minimum_clicks",
        "network_minimum_share",
    }
    assert named | parameters == {field.name for field in fields(Thresholds)}


def test_an_evaluation_makes_every_check_of_the_table(trained: Trained, tmp_path: Path) -> None:
    options = {
        "--candidate": trained.model_dir,
        "--champion": trained.model_dir,
        "--interactions": trained.interactions,
        "--items": trained.items,
        "--output": tmp_path,
    }
    assert main([str(word) for pair in options.items() for word in pair]) == 0
    checks = json.loads((tmp_path / "evaluation.json").read_text())["checks"]
    found = {
        ("target slice" if check["slice"].startswith("target ") else "slice")
        if check["slice"] not in ("all", "misses")
        else check["name"]
        for check in checks
    }
    renamed = {f"{metric} against popularity" for metric in ("hr_at_20", "mrr_at_20")}
    assert found - renamed == RULES.keys()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"maximum_ginni": 0.9}, "has the unknown key maximum_ginni"),
        ({"maximum_gini": None}, "lacks the key maximum_gini"),
        ({"probes": 1.5}, "probes is 1.5, must be of type int"),
        ({"slice_margin": "0.1"}, "slice_margin is '0.1', must be of type float"),
        ({"margin": {"hr_at_20": 0.1, "mrr": 0.1}}, "has the unknown key margin.mrr"),
        ({"margin": 0.1}, "margin must be a JSON object"),
    ],
)
def test_a_wrong_key_stops_the_job_with_the_file_and_the_allowed_keys(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    raw = {**json.loads(THRESHOLDS.read_text()), **change}
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps({name: value for name, value in raw.items() if value is not None}))
    with pytest.raises(ThresholdsError, match=re.escape(f"{path}")) as raised:
        read_thresholds(path)
    assert says in str(raised.value)
    assert "allowed keys: " in str(raised.value)


def test_a_file_of_thresholds_that_is_not_json_stops_the_job(tmp_path: Path) -> None:
    (tmp_path / "thresholds.json").write_text("{")
    with pytest.raises(ThresholdsError, match="is not readable JSON"):
        read_thresholds(tmp_path / "thresholds.json")
