"""Groups of senders: a network is in one group, and a group has all days of its cells."""

import pytest

from functions.validate.senders import Cell, cell, groups, key, middle, usual_total

MANY_NETWORKS = {Cell(network, client): 10.0 for network in range(16) for client in range(16)}


def test_a_network_is_in_one_group() -> None:
    found = groups(MANY_NETWORKS)
    assert len(found) == 5
    for network in range(16):
        assert sum(any(at.network == network for at in group) for group in found) == 1


def test_many_cases_give_more_groups() -> None:
    assert len(groups({at: 100 * number for at, number in MANY_NETWORKS.items()})) == 16


def test_one_or_two_networks_are_divided_by_client() -> None:
    found = groups({Cell(network, client): 50 for network in (3, 8) for client in range(16)})
    assert len(found) == 10
    assert all(len({at.network for at in group}) == 1 for group in found)


def test_a_group_has_the_cells_without_a_case_and_a_group_of_few_cases_is_left_out() -> None:
    """A cell without a case on this day has some on another day."""
    cases = {Cell(0, 0): 50.0, Cell(5, 0): 0.0, Cell(1, 0): 9.0, Cell(2, 0): 10.0}
    assert groups(cases) == [frozenset({Cell(0, 0), Cell(5, 0)}), frozenset({Cell(2, 0)})]


@pytest.mark.parametrize(
    ("values", "usual", "value"),
    [
        ([0.5, 1.0, 9.0], 1.0, 1.0),
        ([0.0, 0.0, 1.0, 1.0], 1.0, 1.0),
        ([0.0, 0.0, 0.0, 1.0], 1.0, 0.0),
        ([0.0, 0.0, 1.0, 1.0], 0.0, 0.0),
        ([4.0, 4.0, 1.5, 1.0], 1.0, 1.5),
    ],
)
def test_of_two_middle_values_the_usual_one_counts(values: list[float], usual: float, value: float) -> None:
    assert middle(values, usual) == value


def test_the_key_is_that_of_the_warehouse() -> None:
    """md5 of 'demo', chr(31) and '192.0.2.0/24'."""
    assert key("demo", "192.0.2.0/24") == "c58485dbf11524265a1c7006c9225133"
    assert cell("a", "0") == Cell(10, 0)


def test_a_shop_is_as_large_as_if_its_largest_group_were_like_the_others() -> None:
    assert usual_total([20, 20, 20, 20, 20]) == 100
    assert usual_total([10, 10, 10, 10, 20_000]) == 50
    assert usual_total([7]) == usual_total([]) == 0
