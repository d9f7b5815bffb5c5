"""Profiles of columns: a change of values or of nulls is found, and too few rows are not judged."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from functions.validate.profiles import (
    DECILES,
    PROFILED,
    QUANTILES,
    Column,
    Profiled,
    drift_check,
    read_profile,
    statement,
)
from functions.validate.summary import ModelProfile
from functions.validate.thresholds import thresholds

MODEL = Profiled(
    "m",
    "S.M",
    "at_ms",
    (Column("device", "category"), Column("price", "number"), Column("client_key", "key")),
)
HUNDRED = tuple(range(1, 101))


def rows(
    is_day: int, devices: Mapping[str, int], prices: Sequence[float], before: Sequence[float], nulls: int = 0
) -> list[tuple[Any, ...]]:
    """Return the rows of the statement as the warehouse computes them."""
    number, ordered = len(prices) + nulls, sorted(before)
    ends = [ordered[int(decile * len(ordered))] for decile in DECILES]
    figures: list[Any] = [sum(devices.values()), len(devices), len(prices), len(set(prices)), number, number]
    figures += [min(prices), max(prices), *[sorted(prices)[int(q * len(prices))] for q in QUANTILES]]
    figures += [sum(price < ordered[0] for price in prices)]
    figures += [sum(price <= end for price in prices) for end in ends]
    by_device = [(is_day, device, count, *[None] * len(figures)) for device, count in devices.items()]
    return [(is_day, None, number, *figures), *by_device]


def profiled(
    devices: Mapping[str, int] | None = None,
    prices: Sequence[float] = HUNDRED * 10,
    nulls: int = 0,
    days: int = 7,
) -> ModelProfile:
    """Return a profile whose days before have 1,000 phones and prices from 1 to 100."""
    before = HUNDRED * 70
    found = rows(1, devices or {"mobile": len(prices) + nulls}, prices, before, nulls)
    return read_profile(
        MODEL, [*found, *rows(0, {"mobile": len(before)}, before, before)], days, thresholds()
    )


def psi(found: ModelProfile) -> dict[str, float | None]:
    return {column.column: column.psi for column in found.columns}


def test_a_usual_day_has_the_figures_of_its_columns_and_no_drift() -> None:
    found = profiled()
    device, price, client = found.columns
    assert (found.rows, found.rows_before, found.before_days) == (1000, 7000, 7)
    assert [(one.value, one.share) for one in device.day.most_frequent] == [("mobile", 1.0)]
    assert (price.day.smallest, price.day.largest, price.day.quantiles) == (1, 100, [6, 26, 51, 76, 96])
    assert (client.day.nulls, client.day.distinct, client.psi) == (0, 1000, None)
    assert price.psi == pytest.approx(0, abs=0.001)
    check = drift_check(found, thresholds())
    assert (check.kind, check.verdict, check.n) == ("profile", "passed", 1000)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"devices": {"mobile": 800, "toaster": 200}}, "device"),
        ({"prices": [price * 100 for price in HUNDRED] * 10}, "price"),
        ({"prices": [-price for price in HUNDRED] * 10}, "price"),
        ({"prices": HUNDRED * 5, "nulls": 500}, "price"),
    ],
    ids=["a new value", "cents", "below the range", "nulls"],
)
def test_a_change_of_a_column_warns_and_names_it(change: dict[str, Any], column: str) -> None:
    check = drift_check(profiled(**change), thresholds())
    assert check.verdict == "warned"
    assert f"PSI: {column} " in check.reason


def test_a_change_of_a_column_that_few_rows_have_shows_beside_its_nulls() -> None:
    usual = thresholds()
    few = structs.replace(usual, drift=structs.replace(usual.drift, fewest_rows=10))
    before = HUNDRED
    found = rows(1, {"mobile": 10_000}, [500.0] * 100, before, nulls=9_900)
    found += rows(0, {"mobile": 10_000}, before, before, nulls=9_900)
    assert (psi(read_profile(MODEL, found, 7, few))["price"] or 0) > 1


def test_a_constant_column_that_gets_another_value_drifts_in_either_direction() -> None:
    for value in (5.0, 15.0):
        found = rows(1, {"mobile": 1000}, [value] * 1000, [9.5] * 1000) + rows(
            0, {"mobile": 1000}, [9.5] * 1000, [9.5] * 1000
        )
        assert (psi(read_profile(MODEL, found, 7, thresholds()))["price"] or 0) > 1


def test_a_limit_of_the_shop_makes_the_drift_a_failure() -> None:
    usual = thresholds()
    strict = structs.replace(usual, drift=structs.replace(usual.drift, failing_psi=0.5))
    assert drift_check(profiled(devices={"toaster": 1000}), strict).verdict == "failed"
    assert drift_check(profiled(devices={"mobile": 800, "toaster": 200}), strict).verdict == "failed"
    assert drift_check(profiled(), strict).verdict == "passed"


def test_too_few_rows_and_too_few_days_are_not_judged() -> None:
    small = profiled(devices={"toaster": 100}, prices=HUNDRED)
    assert psi(small) == {"device": None, "price": None, "client_key": None}
    assert drift_check(small, thresholds()).verdict == "skipped"
    young = profiled(devices={"toaster": 1000}, days=2)
    assert "2 full days before the newest, 4 needed" in drift_check(young, thresholds()).reason


def test_a_model_without_rows_has_an_empty_profile() -> None:
    found = read_profile(MODEL, [], 7, thresholds())
    assert (found.rows, found.rows_before) == (0, 0)
    assert found.columns[1].day.quantiles == [None] * len(QUANTILES)


def test_each_model_is_one_statement_and_reads_no_ids_of_persons() -> None:
    for one in PROFILED:
        sql = statement(one)
        assert sql.count(f"from {one.table}") == 1
        assert sql.count("%s") == 4
        assert {column.kind for column in one.columns if column.name in ("client_key", "user_id")} <= {"key"}


def test_a_check_keeps_its_figures_when_it_only_warns() -> None:
    check = drift_check(profiled(devices={"mobile": 800, "toaster": 200}), thresholds())
    assert replace(check, verdict="failed").bound == thresholds().drift.largest_psi
