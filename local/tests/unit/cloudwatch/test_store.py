"""The store of metrics."""

from __future__ import annotations

from local.aws.cloudwatch.store import KEPT_MINUTES, Store, metric

STAGE = metric("Tugboat", "EventsRefused", {"Stage": "test"})
BY_REASON = metric("Tugboat", "EventsRefused", {"Stage": "test", "Reason": "wrong_key"})


def test_a_metric_with_more_dimensions_is_another_metric() -> None:
    store = Store(lambda: 120)
    store.put(STAGE, 3)
    store.put(BY_REASON, 2)
    assert store.statistics(STAGE, 120, 180).get("Sum") == 3


def test_a_period_has_the_values_of_its_minutes() -> None:
    store = Store()
    for at_s, value in ((59, 1), (60, 2), (119, 3), (179, 4), (180, 5)):
        store.put(STAGE, value, at_s)
    found = store.statistics(STAGE, 60, 180)
    expected = {"Sum": 9, "SampleCount": 3, "Average": 3, "Minimum": 2, "Maximum": 4}
    assert {name: found.get(name) for name in expected} == expected
    assert store.statistics(STAGE, 600, 900).get("Sum") is None


def test_a_percentile_counts_each_value_as_often_as_it_occurred() -> None:
    store = Store(lambda: 0)
    store.put(STAGE, 10, count=98)
    store.put(STAGE, 700, count=1)
    store.put(STAGE, 900, count=1)
    found = store.statistics(STAGE, 0, 60)
    assert (found.get("p50"), found.get("p99"), found.get("p100")) == (10, 700, 900)


def test_old_minutes_are_dropped() -> None:
    store = Store()
    for minute in range(KEPT_MINUTES + 10):
        store.put(STAGE, 1, minute * 60)
    assert store.statistics(STAGE, 0, 600).get("Sum") is None
    assert store.statistics(STAGE, 0, 60 * (KEPT_MINUTES + 10)).get("Sum") == KEPT_MINUTES
