"""The benchmark of /recommend's speed runs: three environments answer from one model server."""

import json

import pytest

from benchmarks import recommend_speed, serve_shops


def test_each_kind_answers_every_request_and_the_report_has_its_ratio(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_shops, "SESSIONS", 2_000)
    monkeypatch.setattr(recommend_speed, "WARM_UP", 2)
    recommend_speed.main(["--items", "400", "--requests", "6", "--turns", "2"])
    report = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert list(report["rows"]) == ["plain", "catalogue", "rules"]
    assert {row["requests"] for row in report["rows"].values()} == {6}
    assert report["p50_to_plain"]["plain"] == 1.0
    assert list(report["scan"]) == ["10", "30", "100"]
    assert report["scan"]["100"]["p50_ms"] > 0
