"""Target tracking: how many instances a rate of requests needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.sagemaker.autoscaling import desired_count


@pytest.mark.parametrize(
    ("count", "per_minute", "wanted"),
    [(1, 600, 1), (1, 601, 2), (2, 1_200, 2), (2, 1_100, 2), (3, 900, 2), (1, 100_000, 4), (4, 0, 1)],
)
def test_instances_follow_the_requests_within_the_limits(count: int, per_minute: float, wanted: int) -> None:
    assert desired_count(count, per_minute, 600, 1, 4) == wanted


@given(
    count=st.integers(1, 20),
    per_minute=st.floats(0, 1e6),
    target=st.floats(1, 1e4),
    least=st.integers(1, 5),
    more=st.integers(0, 15),
)
def test_the_count_stays_within_the_limits_and_is_enough_if_they_allow_it(
    count: int, per_minute: float, target: float, least: int, more: int
) -> None:
    wanted = desired_count(count, per_minute, target, least, least + more)
    assert least <= wanted <= least + more
    assert wanted == least + more or per_minute / wanted <= target * 1.000001
