"""The tables of placements: what is popular, rises, is bought together and is bought again."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.sessions import DAY_MS, Sessions
from training_jobs.snapshot.dataset import Catalogue
from training_jobs.snapshot.placement_tables import (
    LIST_ITEMS,
    PlacementTables,
    by_category,
    log_likelihood_ratio,
    pairs_of_orders,
    placement_tables,
    repurchase_rates,
    rising,
    sessions_per_item,
)

VIEW, PURCHASE = EVENT_STRENGTHS["view_item"], EVENT_STRENGTHS["purchase"]
START_MS = 1_700_000_000_000 // DAY_MS * DAY_MS
Visit = tuple[float, int, Sequence[int], Sequence[int]]  # day, client, views, order


def sessions_of(visits: Sequence[Visit]) -> Sessions:
    """Return sessions in the order of their time. The order's items are the last ones of a session."""
    visits = sorted(visits, key=lambda visit: visit[0])
    items = [[*views, *order] for _, _, views, order in visits]
    kinds = [[VIEW] * len(views) + [PURCHASE] * len(order) for _, _, views, order in visits]
    times = [
        [START_MS + int(day * DAY_MS) + at for at in range(len(of))]
        for (day, *_), of in zip(visits, items, strict=True)
    ]
    return Sessions(
        np.concatenate(items).astype(np.int32),
        np.r_[0, np.cumsum([len(of) for of in items])].astype(np.int64),
        np.concatenate(times).astype(np.int64),
        None,
        np.array([client for _, client, *_ in visits], np.int32),
        np.concatenate(kinds).astype(np.uint8),
    )


def shelves(*paths: str) -> Catalogue:
    """Return a catalogue in which item i has the i-th path; an empty one is unknown."""
    names = sorted({path for path in paths if path})
    codes = np.array([names.index(path) if path else -1 for path in paths], np.int64)
    return Catalogue(np.full(len(paths), np.nan), codes, names)


def test_a_session_counts_once_per_item_and_an_old_one_less() -> None:
    sessions = sessions_of([(0, 1, [0, 1, 0, 1, 0], []), (6, 2, [1], [])])
    assert sessions_per_item(sessions, 3).tolist() == [1, 2, 0]
    tables = placement_tables(sessions, 3, None)
    assert tables.popular[""].tolist() == [1, 0], "item 2 has no view"


def test_a_list_of_a_category_has_the_items_of_the_categories_below_it() -> None:
    score = np.array([5.0, 4.0, 3.0, 2.0, 0.0])
    lists = by_category(score, shelves("a/b", "a", "a/b", "", "a/b"))
    assert {path: rows.tolist() for path, rows in lists.items()} == {
        "": [0, 1, 2, 3],
        "a": [0, 1, 2],
        "a/b": [0, 2],
    }
    assert len(by_category(np.ones(LIST_ITEMS + 5), None)[""]) == LIST_ITEMS


def test_an_item_rises_if_its_share_grows_and_one_sender_lifts_nothing() -> None:
    steady: list[Visit] = [(day / 20, day, [0, 1, day % 7 + 2], []) for day in range(200)]
    new: list[Visit] = [(8.5 + at / 50, 500 + at, [9, 0], []) for at in range(30)]
    sessions = sessions_of([*steady, *new])
    found = rising(sessions, 10)
    assert found.argmax() == 9
    assert np.flatnonzero(found).tolist() == [9]
    one = replace(sessions, networks=np.where(sessions.clients >= 500, 1, 0).astype(np.int32))
    assert not rising(one, 10).any()
    many = replace(sessions, networks=np.where(sessions.clients >= 500, sessions.clients, 0).astype(np.int32))
    assert rising(many, 10).argmax() == 9


def test_a_snapshot_of_few_days_has_no_rising_item() -> None:
    assert not rising(sessions_of([(at / 100, at, [0, 1], []) for at in range(100)]), 2).any()


def test_what_orders_contain_together_is_paired_and_two_best_sellers_are_not() -> None:
    rng = np.random.default_rng(1)
    # 0 and 1 are in most orders, independently; 2 and 3 come together; 4 and 5 did once.
    orders: list[Visit] = []
    for number in range(400):
        order = [item for item in (0, 1) if rng.random() < 0.6]
        order += [2, 3] if number % 20 == 0 else []
        order += [4, 5] if number == 7 else []
        orders.append((number / 40, number, [9], order or [8]))
    pairs, counts = pairs_of_orders(sessions_of(orders), 10)
    assert pairs.of(2)[0].tolist() == [3]
    assert pairs.of(3)[0].tolist() == [2]
    assert pairs.of(0)[0].tolist() == pairs.of(4)[0].tolist() == []
    assert counts[2] == counts[3] == 20
    both, strength = pairs.total([2, 3])
    assert (both.tolist(), len(strength)) == ([2, 3], 2)


def test_one_client_who_repeats_an_order_pairs_nothing() -> None:
    usual: list[Visit] = [(at / 9, at, [5], [4]) for at in range(200)]
    repeated: list[Visit] = [(at, 999, [5], [0, 1]) for at in range(20)]
    shared: list[Visit] = [(at, 300 + at, [5], [2, 3]) for at in range(20)]
    pairs, _ = pairs_of_orders(sessions_of([*usual, *repeated, *shared]), 6)
    assert pairs.of(0)[0].tolist() == []
    assert pairs.of(2)[0].tolist() == [3]


def test_the_ratio_is_dunnings() -> None:
    # Dunning 1993, table 5: "the swiss" 110, 2442, 111, 29114.
    found = log_likelihood_ratio(*(np.array([count]) for count in (110, 2442, 111, 29114)))
    assert found[0] == pytest.approx(270.72, abs=0.01)
    assert log_likelihood_ratio(*(np.array([count]) for count in (4, 4, 4, 4)))[0] == pytest.approx(0)


def test_the_rate_of_repeated_purchases_is_drawn_to_that_of_the_category() -> None:
    visits: list[Visit] = []
    for client in range(60):
        visits += [(client / 60, client, [5], [0]), (20 + client / 60, client, [5], [0, 1])]
        visits += [(30, client, [5], [2]), (30.1, client, [5], [2])]  # two orders of one day are one
    sessions = sessions_of(visits)
    catalogue = shelves("food", "food", "tents", "food", "tents", "")
    rates, in_shop = repurchase_rates(sessions, 6, catalogue)
    assert in_shop == pytest.approx(60 / 180)
    assert rates[0] > rates[3] > in_shop > rates[2], "3 was never bought, and food is bought again"
    assert rates[4] < in_shop
    assert rates[5] == pytest.approx(in_shop), "a category is not known"


@pytest.mark.parametrize("column", ["clients", "kinds"])
def test_a_snapshot_without_a_column_has_the_other_tables(column: str) -> None:
    sessions = sessions_of([(at, at % 3, [0, 1], [1]) for at in range(9)])
    tables = placement_tables(replace(sessions, **{column: None}), 2, None)
    assert tables.popular[""].tolist() == [0, 1]
    assert tables.again_in_shop == 0.0


def test_the_json_has_ids_and_nothing_that_is_out_of_stock() -> None:
    orders: list[Visit] = [(at, at, [4], [0, 1, 2] if at % 5 == 0 else [3]) for at in range(100)]
    tables: PlacementTables = placement_tables(sessions_of(orders), 5, shelves("a", "a", "a", "b", "b"))
    found = tables.as_json(["i0", "i1", "i2", "i3", "i4"], ["i1"])
    assert found["popular"]["b"] == ["i4", "i3"]
    assert "i1" not in found["popular"]["a"]
    assert [item for item, _ in found["bought_together"]["i0"]] == ["i2"]
    assert found["again"].keys() == {"", "i0", "i1", "i2", "i3"}
