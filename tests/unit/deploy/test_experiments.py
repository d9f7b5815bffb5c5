"""The check of experiments before a deployment, and the report in words."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deploy.experiments.check import WrongExperiments, check
from deploy.experiments.report import ArmResult, Lift, render
from deploy.shop_files import shops_of_all_stages
from functions.recommend.experiments import FOLDER, Shop, parse

GOOD = """
[[experiment]]
name = "spring"
seed = "s"
[[experiment.arm]]
name = "A"
share = 0.5
answers = "popular"
[[experiment.arm]]
name = "B"
share = 0.5
answers = "model"
"""


def test_the_files_of_the_repository_can_be_deployed() -> None:
    assert "demo" in check(shops_of_all_stages())


def test_the_folder_is_packed_beside_the_functions() -> None:
    """Chalice packs what vendor/ links to."""
    link = FOLDER.parent / "vendor" / "experiments"
    assert link.resolve() == FOLDER


def test_every_problem_of_every_file_is_named_with_its_correction(tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text(GOOD.replace("0.5", "0.6"))
    (tmp_path / "nobody.toml").write_text(GOOD)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(WrongExperiments) as raised:
        check(["demo", "serenade"], tmp_path)
    message = str(raised.value)
    assert "experiments/demo.toml: spring: the shares of its arms sum to 1.2" in message
    assert (
        "no stage has a shop 'nobody'. Name the file after a shop of deploy/stages.toml: demo, serenade"
        in message
    )
    assert "experiments/notes.txt is no .toml file" in message


def result(arm: str, **changes: Any) -> ArmResult:
    figures: dict[str, Any] = {
        "shop_id": "demo", "experiment": "spring", "arm": arm, "day": date(2026, 12, 9), "is_control": arm == "A",
        "share": 0.5, "visitors": 12_000, "rates": (0.3, 0.1, 0.05), "revenue_per_visitor": 2.5,
        "difference": (None, None, None) if arm == "A" else (0.5, 0.1, 0.9),
        "lifts": dict.fromkeys(("clicks", "carts", "orders", "revenue"), Lift(0.2, 0.05, 0.35)),
        "p_value": 0.8, "fallback_share": 0.001, "empty_share": 0.0, "verdict": "no decision yet", "decision": None,
        "complete_until": None, "first_day": date(2026, 12, 1),
    }  # fmt: skip
    return ArmResult(**{**figures, **changes})


def report(*arms: ArmResult, tmp_path: Path, text: str = GOOD) -> str:
    file = tmp_path / "demo.toml"
    file.write_text(text)
    return render(arms, {"demo": parse(file)})


def test_the_report_has_the_arms_their_answers_and_the_difference(tmp_path: Path) -> None:
    found = report(result("A"), result("B"), tmp_path=tmp_path)
    assert "demo: spring, clients first exposed from 2026-12-01 to 2026-12-09" in found
    assert "popular" in found
    assert "B against A: +0.50 revenue per visitor, interval +0.10 to +0.90" in found
    assert "revenue +20.0% (+5.0% to +35.0%)" in found
    assert "verdict: no decision yet: the days of the first clients are not over" in found
    assert max(map(len, found.splitlines())) <= 160


def test_the_verdict_is_of_complete_days(tmp_path: Path) -> None:
    until = date(2026, 12, 2)
    more = result("B", decision="earns more", complete_until=until)
    assert "verdict: B earns more, by clients first exposed until 2026-12-02" in report(
        result("A"), more, tmp_path=tmp_path
    )
    unsure = result("B", decision="no decision yet", complete_until=until)
    assert "no decision yet: the interval of clients first exposed until 2026-12-02" in report(
        result("A"), unsure, tmp_path=tmp_path
    )


def test_a_sample_ratio_mismatch_outranks_every_verdict(tmp_path: Path) -> None:
    arms = [
        result(arm, p_value=1e-6, verdict="sample ratio mismatch", decision="earns more", complete_until=date(2026, 12, 2))
        for arm in "AB"
    ]  # fmt: skip
    found = report(*arms, tmp_path=tmp_path)
    assert "sample ratio: not as configured (p = 1e-06)" in found
    assert "stop: sample ratio mismatch" in found
    assert "earns more" not in found


def test_an_aa_test_is_called_one_and_few_buyers_have_no_interval(tmp_path: Path) -> None:
    few = result(
        "B",
        difference=(0.5, None, None),
        lifts={"revenue": Lift(0.2, None, None), "orders": Lift(None, None, None)},
    )
    found = report(result("A"), few, tmp_path=tmp_path, text=GOOD.replace("popular", "model"))
    assert "an A/A test" in found
    assert "an interval needs 100 buyers in each arm" in found
    assert "revenue +20.0% (too few for an interval), orders -" in found


def test_an_experiment_that_is_no_longer_described_is_still_reported() -> None:
    found = render([result("A"), result("B")], {"demo": Shop()})
    assert "experiments/demo.toml no longer has it" in found
    assert "an A/A test" not in found
