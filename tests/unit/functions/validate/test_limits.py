"""Limits of a shop and overrides: what is refused, what holds, and who decided."""

from datetime import UTC, datetime

import pytest

from functions.validate.limits import (
    ShopLimit,
    expectation_limits,
    limit_of,
    read_limits,
    shop_thresholds,
)
from functions.validate.overrides import overridden, read_overrides
from functions.validate.rules import RULES, Check
from functions.validate.summary import Kind, Override
from functions.validate.thresholds import LimitRefused, limit_names, thresholds, unit, with_limits
from testing.warehouse_fakes import FakeConnection

AT = datetime(2026, 11, 29, 12)


def limit(name: str, value: float) -> dict[str, ShopLimit]:
    return {name: ShopLimit(name, value, "ann", "closed on Sundays", AT)}


def check(name: str = "volume", kind: Kind = "data") -> Check:
    return Check(kind, name, "shop s", "absolute", 9, 1, 0.4, 0.6, ">=", "failed", "Few events.")


def test_every_bound_of_a_rule_is_a_limit_that_a_shop_can_have() -> None:
    for rule in RULES.values():
        assert set(rule.limit_names()) <= limit_names().keys()
    assert not [name for name in limit_names() if name.startswith("history.")]


def test_a_limit_replaces_one_default_and_no_other() -> None:
    changed = with_limits(
        {"volume.lowest_ratio": 0.3, "missing.largest_share.items": 1, "drift.failing_psi": 0.5}
    )
    assert changed.volume.lowest_ratio == 0.3
    assert changed.missing.largest_share == thresholds().missing.largest_share | {"items": 1}
    assert changed.drift.failing_psi == 0.5
    assert with_limits({}) == thresholds()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("volume.lowest_ratio", 1.5, "cannot be 1.5: it is a ratio to the usual, above 0 and at most 1"),
        ("missing.largest_share.items", 5, "cannot be 5: it is a share from 0 to 1, and its default is 0.05"),
        ("freshness.largest_hours_since_load", 0, "it is a number of hours above 0, and its default is 48"),
        ("rejected.fewest_events", 0.5, "it is a whole number of events"),
        ("unloaded.largest_days", -1, "it is a whole number of days"),
        ("drift.failing_psi", -1, "its default is none"),
        ("history.trailing_days", 3, "is no limit"),
        ("volum", 3, "is no limit. The limits are"),
    ],
)
def test_a_limit_that_does_not_exist_or_has_a_wrong_value_is_refused_with_its_unit(
    name: str, value: float, said: str
) -> None:
    with pytest.raises(LimitRefused) as refused:
        with_limits({name: value})
    assert said in str(refused.value)


def test_every_limit_has_a_unit_in_words() -> None:
    assert all(unit(name).startswith("a ") for name in limit_names())


def test_the_newest_limits_of_the_shop_are_read_and_a_withdrawn_one_is_the_default_again() -> None:
    found = [
        ("volume.lowest_ratio", 0.3, "ann", "why", AT),
        ("missing.largest_share.items", None, "bob", "why", AT),
    ]
    connection = FakeConnection(("from QA.LIMITS", found))
    limits = read_limits(connection, "s")
    assert connection.statements[0][1] == ("s",)
    assert limits.keys() == {"volume.lowest_ratio"}
    assert str(limits["volume.lowest_ratio"]) == "0.3, set by ann on 2026-11-29: why"


def test_a_limit_that_this_release_refuses_stops_no_run() -> None:
    limits = limit("volume.lowest_ratio", 7) | limit("volume.highest_ratio", 5)
    assert shop_thresholds(limits) == with_limits({"volume.highest_ratio": 5})


def test_the_limits_of_expectations_go_to_dbt_and_the_others_do_not() -> None:
    limits = limit("volume.lowest_ratio", 0.5) | limit("order_value_is_plausible", 0.9)
    assert expectation_limits(limits) == {"order_value_is_plausible": 0.9}


def test_a_check_names_who_set_its_limits() -> None:
    said = "volume.highest_ratio 9, set by ann on 2026-11-29: closed on Sundays"
    assert limit_of(check(), limit("volume.highest_ratio", 9)) == said
    assert limit_of(check("freshness"), limit("volume.highest_ratio", 9)) is None
    own = limit("device_is_known", 0.9)
    assert "device_is_known 0.9" in (limit_of(check("device_is_known", "expectation"), own) or "")


def test_an_override_accepts_its_check_and_no_other() -> None:
    connection = FakeConnection(("from QA.OVERRIDES", [("volume", "ann", AT.replace(tzinfo=UTC), "a sale")]))
    overrides = read_overrides(connection, "r1", "s")
    assert connection.statements[0][1] == ("r1", "s")
    accepted = overridden(check(), overrides)
    assert (accepted.verdict, accepted.reason) == ("overridden", "Few events. Overridden by ann: a sale")
    assert overridden(check("silence"), overrides).verdict == "failed"


def test_an_invariant_of_the_tables_fails_despite_an_override() -> None:
    overrides = {"unique": Override("ann", "2026-11-29", "trust me")}
    assert overridden(check("unique", "dbt"), overrides).verdict == "failed"
    assert overridden(check("unique", "expectation"), overrides).verdict == "overridden"
