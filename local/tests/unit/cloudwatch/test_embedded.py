"""Metrics in log lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.aws.cloudwatch.embedded import InvalidDocument, extract, read
from local.aws.cloudwatch.store import Store, metric


def line(**changes: Any) -> str:
    directive = {
        "Namespace": "N",
        "Dimensions": [["Stage"], ["Stage", "Reason"]],
        "Metrics": [{"Name": "Refused", "Unit": "Count"}],
    }
    document = {
        "_aws": {"Timestamp": 61_000, "CloudWatchMetrics": [{**directive, **changes.pop("directive", {})}]},
        "Stage": "test",
        "Reason": "wrong_key",
        "Refused": 2,
    }
    return json.dumps({**document, **changes})


def test_a_value_counts_in_each_of_its_dimension_sets() -> None:
    store = Store()
    extract(store, ["START RequestId: 1", line(), line(Refused=[1, 2], Reason="body_empty")])
    sums = {
        reason: store.statistics(metric("N", "Refused", {"Stage": "test", **reason_of}), 60, 120).get("Sum")
        for reason, reason_of in (
            ("all", {}),
            ("wrong_key", {"Reason": "wrong_key"}),
            ("body_empty", {"Reason": "body_empty"}),
        )
    }
    assert sums == {"all": 5, "wrong_key": 2, "body_empty": 3}


@pytest.mark.parametrize(
    "broken",
    [
        line(Refused="2"),
        line(Refused=True),
        line(Refused=[1] * 101),
        line(Reason=3),
        line(Reason=""),
        line(directive={"Dimensions": [["Missing"]]}),
        line(directive={"Dimensions": [["Stage"] * 31]}),
        line(directive={"Metrics": [{"Name": "Refused"}] * 101}),
        line(directive={"Metrics": [{"Name": "Absent"}]}),
        line(_aws={"CloudWatchMetrics": []}),
        '{"_aws": "CloudWatchMetrics"',
    ],
)
def test_a_line_that_breaks_the_specification_gives_nothing(broken: str) -> None:
    with pytest.raises(InvalidDocument):
        list(read(broken))
    store = Store()
    extract(store, [broken])
    assert not list(store.metrics())
