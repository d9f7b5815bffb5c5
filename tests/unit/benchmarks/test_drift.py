"""The drift bench plants what it says, gives each schedule a model of its age, and reads public logs as the warehouse does."""

from typing import Any

import numpy as np
import pytest

from benchmarks import drift
from benchmarks.decline import simulated
from benchmarks.drift import SCHEDULES, Recipe, latest, replay
from benchmarks.drift_logs import Drift, Log, shop_log
from benchmarks.runs import without_runs
from training_jobs.serving.sessions import DAY_MS, Sessions

LAUNCHES = Drift(launches_per_week=0.1)


def views_of(log: Log, day: int) -> np.ndarray:
    return np.bincount(log.day(day).items, minlength=log.items)


def test_a_launched_item_has_no_click_before_its_day_and_is_listed_the_night_after() -> None:
    log = shop_log("launches", LAUNCHES, 14, 800, 800, 1)
    listed = log.listed_on
    assert listed is not None
    day = (log.sessions.times_ms - log.begin_ms) // DAY_MS
    late = listed[log.sessions.items]
    assert (day >= late).all()
    assert (late > 0).any()
    past = log.past(7, 60)
    known = log.known(7, past)
    assert not known[listed >= 7].any()
    assert known[(listed < 7) & (listed > 0)].all()


def test_without_drift_popularity_stays_and_a_sale_changes_only_its_days() -> None:
    sale = shop_log("sale", Drift(sale=(5, 7)), 8, 4000, 800, 1)
    steady = shop_log("steady", Drift(), 8, 4000, 800, 1)
    alike = {
        name: [np.corrcoef(views_of(log, at), views_of(log, at + 1))[0, 1] for at in (3, 4)]
        for name, log in (("sale", sale), ("steady", steady))
    }
    assert min(alike["steady"]) > 0.5
    assert alike["sale"][0] == alike["steady"][0]
    assert alike["sale"][1] < alike["steady"][1] - 0.1


def test_a_run_of_one_item_counts_once_and_a_session_of_one_run_is_left_out() -> None:
    sessions = Sessions(
        np.array([4, 4, 4, 7, 7, 8, 7], np.int32), np.array([0, 3, 7]), np.array([0, 1, 2, 3, 4, 5, 6])
    )
    found = without_runs(sessions)
    assert found.items.tolist() == [7, 8, 7]
    assert found.times_ms.tolist() == [3, 5, 6]
    assert found.offsets.tolist() == [0, 3]


def test_a_schedule_uses_the_last_model_that_it_made() -> None:
    assert [latest(night, 10, 1) for night in (10, 11, 18)] == [10, 11, 18]
    assert [latest(night, 10, 7) for night in (10, 16, 17, 23, 24)] == [10, 10, 17, 17, 24]
    assert [latest(night, 10, 0) for night in (10, 30)] == [10, 10]


def test_every_schedule_is_measured_on_the_same_cases_and_pays_for_what_it_makes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drift, "TUNE_CASES", 20)
    days: list[dict[str, Any]] = []
    log = shop_log("launches", Drift(launches_per_week=0.5), 11, 120, 300, 1)
    rows = {row["schedule"]: row for row in replay(log, 9, Recipe(60, 1, 0), days.append)}
    assert rows.keys() == SCHEDULES.keys()
    assert [day["day"] for day in days] == [9, 10]
    assert len({row["cases"] for row in rows.values()}) == 1
    nightly, once, never = (rows[of] for of in ("nightly", "encoder once, index nightly", "never again"))
    assert nightly["train_events"] > once["train_events"] == never["train_events"]
    assert nightly["hr_at_20_over_nightly"] == 1.0
    assert nightly["unknown_targets"] == once["unknown_targets"] < never["unknown_targets"]
    assert days[0]["hr_at_20"]["nightly"] == days[0]["hr_at_20"]["never again"]
    assert list(once["hr_at_20_over_nightly_by_age"]) == ["0", "1"]


def test_the_record_of_leads_catches_a_decline_that_the_margins_let_pass() -> None:
    row = simulated(loss=0.003, error=0.0075, season=0.0, lead=0.05, before=30, seeds=10, nights=20)
    assert row["margins"]["caught"] == 0.0
    assert row["record"]["caught"] == 1.0
    still = simulated(loss=0.0, error=0.0075, season=0.0, lead=0.05, before=30, seeds=10, nights=20)
    assert (still["margins"]["caught"], still["record"]["caught"]) == (0.0, 0.0)
