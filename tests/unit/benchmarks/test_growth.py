"""The growth benchmark: its shop keeps to the contract, and its fit finds growth and nothing else."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import growth
from benchmarks.growth_fit import fit, student_t
from benchmarks.growth_nights import STEPS, Plan, without_counting
from benchmarks.growth_plot import plot
from benchmarks.growth_shop import SHAPES, Shop
from functions.platform.events.contract import Timing, accept

SHOP = Shop(events=2000, seed=3)


def lines(shop: Shop, day: int) -> list[dict[str, Any]]:
    return [
        json.loads(line) for _, body, _ in shop.files(day, 4) for line in gzip.decompress(body).splitlines()
    ]


def test_every_line_is_one_that_the_collector_accepts_and_stores() -> None:
    made = lines(SHOP, 5)
    assert {event["event_name"] for event in made} >= {"purchase", "recommendation_impression", "search"}
    for event in made:
        server = event.pop("server")
        accepted, time_ms = accept(event, frozenset({"demo"}), Timing(server["received_at_ms"]))
        assert (accepted.event_id, time_ms) == (event["event_id"], server["event_time_ms"])


def test_a_day_is_the_same_again_and_another_seed_is_another_shop() -> None:
    assert list(SHOP.files(2, 4)) == list(Shop(events=2000, seed=3).files(2, 4))
    assert lines(SHOP, 2) != lines(Shop(events=2000, seed=4), 2)


def test_every_event_of_a_day_arrives_some_twice_and_some_days_later() -> None:
    shop = Shop(events=10_000)
    arrived = [
        (day, event["event_id"])
        for day in range(1, 7)
        for event in lines(shop, day)
        if event["event_id"].startswith("1-")
    ]
    ids = [event_id for _, event_id in arrived]
    assert {int(event_id[2:], 16) for event_id in ids} == set(range(len(set(ids))))
    assert 0 < len(ids) - len(set(ids)) < len(ids) / 50
    assert {day for day, _ in arrived} >= {1, 2, 4}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_changes_the_sessions_of_a_day(shape: str) -> None:
    shop = Shop(events=6500, shape=shape, days=60)
    sessions = [shop.sessions(day) for day in range(1, 61)]
    if shape == "flat":
        assert set(sessions) == {1000}
    if shape == "growing":
        assert sessions == sorted(sessions)
        assert (sessions[0], sessions[-1]) == (500, 1500)
    if shape == "seasonal":
        assert max(sessions) > 1.5 * min(sessions)


def test_the_quantiles_are_those_of_student() -> None:
    assert student_t(4) == pytest.approx(2.776, rel=0.01)
    assert student_t(10) == pytest.approx(2.228, rel=0.002)
    assert student_t(50) == pytest.approx(2.009, rel=0.001)


def test_noise_has_no_slope_and_growth_has_one() -> None:
    days = np.arange(60.0)
    draw = np.random.default_rng(1)
    noise, events = draw.normal(100, 5, 60), np.full(60, 1000)
    flat, growing = fit(days, events, noise), fit(days, events, noise + days)
    assert flat is not None
    assert growing is not None
    assert flat["interval"][0] < 0 < flat["interval"][1]
    # One per day over a mean of about 130.
    assert 0 < growing["interval"][0] < 100 / 129.5 < growing["interval"][1]
    assert fit(days[:3], events[:3], noise[:3]) is None


def test_more_traffic_is_no_growth_with_history() -> None:
    days = np.arange(60.0)
    noise = np.random.default_rng(1).normal(0, 5, 60)
    events = 1000 + 30 * days + 200 * np.sin(days)
    found = fit(days, events, 500 + 2 * events + noise)
    grown = fit(days, events, 500 + 2 * events + 10 * days + noise)
    assert found is not None
    assert grown is not None
    assert found["interval"][0] < 0 < found["interval"][1]
    assert grown["slope_percent_per_day"] == pytest.approx(100 * 10 / grown["mean"], rel=0.05)


def night(number: int, rows: int) -> dict[str, Any]:
    figures: dict[str, Any] = {**dict.fromkeys(growth.FIGURES, 100), "rows": rows, "rows_loaded": 1000}
    figures |= {"passed": True, "every_row": False, "swept": False, "longest": []}
    return {
        "night": number, "day": number, "days": 1, "events": 1000, "database_bytes": 1,
        "steps": {step: dict(figures) for step in STEPS},
    }  # fmt: skip


def test_weekly_nights_and_repeated_nights_are_not_fitted_with_the_others() -> None:
    nights = [night(number, 5000) for number in range(1, 31)]
    for number in (14, 21, 28):
        nights[number - 1]["steps"]["validate"] |= {"rows": 5000 * number, "every_row": True}
    nights[9]["steps"]["load"]["rows_loaded"] = 0
    nights[9]["steps"]["transform"]["rows"] = 1
    found = growth.slopes(nights, warm_up=8)
    assert found["validate"]["rows"]["nights"] == 19
    for step in ("transform", "validate"):
        assert found[step]["rows"]["slope_percent_per_day"] == pytest.approx(0, abs=0.001)
    assert found["load weekly"]["rows"] is None
    assert growth.series(nights)["validate"]["every_row"] == [14, 21, 28]


def test_the_plot_has_a_line_per_step_and_figure() -> None:
    run = {"data": "a shop", "nights": growth.series([night(number, 5000) for number in range(1, 4)])}
    assert plot([run, run]).count("<polyline") == 2 * 4 * len(STEPS)


def test_a_folder_with_nights_of_another_shop_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text('{"events": 7}')
    assert growth.main(["--work", str(tmp_path), "--scale", "0.001"]) == 1
    assert "choose another --work" in capsys.readouterr().err


def test_the_nights_deliver_every_day_once() -> None:
    plan = Plan(Shop(days=365), 7, 24, 30, (), Path())
    assert len(plan.nights) == 13
    assert [day for days in plan.nights for day in days] == list(range(1, 366))
    plan = Plan(Shop(days=60), 7, 24, 1, ((11, 50),), Path())
    assert [len(days) for days in plan.nights] == [1] * 10 + [40] + [1] * 10
    assert [day for days in plan.nights for day in days] == list(range(1, 61))


def test_a_night_of_many_days_is_not_fitted_nor_the_nights_that_read_it_again() -> None:
    nights = [night(number, 5000) for number in (*range(1, 11), *range(50, 61))]
    nights[10] = {**night(50, 90_000), "days": 40}
    for after in nights[11:18]:
        after["steps"]["validate"]["rows"] = 70_000
    nights[11]["steps"]["transform"]["rows"] = 70_000
    found = growth.slopes(nights, warm_up=8)
    assert (found["transform"]["rows"]["nights"], found["validate"]["rows"]["nights"]) == (12, 6)
    assert found["transform"]["rows"]["slope_percent_per_day"] == pytest.approx(0, abs=0.001)
    assert found["validate"]["rows"]["slope_percent_per_day"] == pytest.approx(0, abs=0.001)


def test_what_counting_takes_is_subtracted_from_a_step_s_seconds() -> None:
    one_after_the_other = [{"seconds": 1.0, "overhead_s": 2.0}, {"seconds": 3.0, "overhead_s": 1.0}]
    assert without_counting(10, one_after_the_other) == 7
    assert without_counting(10, [{"seconds": 4.0}]) == 10
    at_the_same_time = [{"seconds": 6.0, "overhead_s": 6.0}] * 4
    assert without_counting(12, at_the_same_time) == 6
