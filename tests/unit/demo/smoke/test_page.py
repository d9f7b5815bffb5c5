"""The report: rows with their states, the steps that were not reached, and nothing that could become markup."""

from demo.smoke.page import render
from demo.smoke.result import STEPS, Row, SmokeResult
from deploy.bill.prices import read_prices
from deploy.bill.step_costs import Cost


def _result() -> SmokeResult:
    rows = [Row(name, "passed", 1.0, "", Cost(0.5, "1 s x a <thing>")) for name in STEPS]
    rows[2].inner = [Row("Train", "passed", 60.0, "hr_at_20=0.7", Cost(None, "60 s of ml.p9.xlarge"))]
    return SmokeResult({"Stage": "dev & co"}, rows)


def test_a_passed_report_adds_up_times_and_known_costs() -> None:
    page = render(_result(), read_prices("us-east-1"))
    assert f"${0.5 * len(STEPS):.2f}" in page
    assert "<td>Train</td>" in page
    assert "dev &amp; co" in page
    assert "a &lt;thing&gt;" in page


def test_steps_behind_a_failure_are_not_reached_and_the_test_has_not_passed() -> None:
    result = _result()
    result.rows = [*result.rows[:2], Row("First run", "failed", 3.0, "no <b>quota</b>")]
    result.finish()
    assert not result.passed
    assert [row.outcome for row in result.rows] == ["passed", "passed", "failed", *["not reached"] * 5]
    page = render(result, read_prices("us-east-1"))
    assert "no &lt;b&gt;quota&lt;/b&gt;" in page
    assert page.count(">not reached</td>") == 5


def test_all_steps_passed_is_a_passed_test() -> None:
    assert _result().passed
