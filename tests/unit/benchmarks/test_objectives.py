"""The benchmark of objectives reads sessions as the warehouse makes them, and chooses a weight on the validation part."""

from typing import Any

import numpy as np

from benchmarks.objectives import CART, PURCHASE, VIEW, Tested, chosen, figures, of_events, planted

START_MS = 1_700_000_000_000


def event(number: int, name: str, *items: str, client: str = "c1", **more: Any) -> dict[str, Any]:
    return {
        "shop_id": "s", "client_id": client, "event_id": f"{client}-{number}", "event_name": name,
        "client_time_ms": START_MS + number * 1000, "items": [{"item_id": item, "price": 9.5} for item in items], **more,
    }  # fmt: skip


def test_a_run_of_one_item_has_its_strongest_event_and_nothing_follows_the_first_order() -> None:
    history = [
        event(0, "view_item", "a"), event(1, "add_to_cart", "a"), event(2, "view_item", "b"),
        event(3, "purchase", "a", "b", transaction_id="t1"), event(4, "view_item", "z"),
        event(0, "view_item", "b", client="c0"), event(1, "view_item", "a", client="c0"),
        event(0, "view_item", "a", client="crawler-1"), event(1, "view_item", "b", client="crawler-1"),
    ]  # fmt: skip
    data, clients = of_events(history)
    assert clients == ["c0", "c1"]
    assert data.vocabulary == ["a", "b"]
    assert [data.sessions.session(row).tolist() for row in (0, 1)] == [[1, 0], [0, 1, 0, 1]]
    assert data.sessions.kinds is not None
    assert data.sessions.kinds.tolist() == [VIEW, VIEW, CART, VIEW, PURCHASE, PURCHASE]
    assert data.catalogue is not None
    assert data.catalogue.prices.tolist() == [9.5, 9.5]


def test_in_the_planted_shop_one_target_in_eight_is_bought_and_lies_elsewhere() -> None:
    data = planted(sessions=2000, items=400)
    sessions, kinds = data.sessions, data.sessions.kinds
    assert kinds is not None
    inner = np.ones(len(kinds), bool)
    inner[sessions.offsets[:-1]] = False
    step = np.diff(sessions.items, prepend=0)[inner] % 400
    bought = kinds[inner] == PURCHASE
    assert 0.11 < bought.mean() < 0.14
    assert set((step[bought] > 200).tolist()) == {True}
    assert step[~bought].max() <= 40


KINDS = np.array([VIEW, CART, PURCHASE, PURCHASE], np.uint8)
TESTED = Tested(
    KINDS, np.array([1.0, 1.0, 3.0, 1.0]), np.arange(4), np.array([1, 1, 0, 0], bool), np.array([0, 0, 0, 1])
)


def test_figures_are_of_the_sample_and_of_carted_and_bought_targets_over_seeds() -> None:
    rank, first = np.array([[1, 30, 2, 30], [1, 1, 30, 30]]), np.array([[1, 30, 30, 30], [1, 30, 2, 30]])
    found = figures(rank, first, TESTED)
    assert {name: one["cases"] for name, one in found.items()} == {"all": 2, "cart": 1, "purchase": 2}
    assert (found["purchase"]["hr_at_20"], found["purchase"]["revenue_hr_at_20"]) == (0.25, 0.375)
    assert (found["all"]["hr_at_20_over_1"], found["purchase"]["hr_at_20_over_1"]) == (1.5, 1.0)
    assert found["purchase"]["hr_at_20_gain_interval"] == [0.0, 0.0]
    assert found["cart"]["hr_at_20_over_1"] is None  # nothing to compare with


def test_a_fold_s_objective_is_chosen_on_the_other_folds_and_loses_few_hits_there() -> None:
    hit, miss = 1, 99
    rank = {
        "1": np.array([[hit, hit, miss, miss]]),
        "2": np.array([[hit, hit, miss, hit]]),
        "8": np.array([[hit, miss, hit, hit]]),
    }
    # The second fold has no sampled case of its own, and the first one's purchase is hit by 8, which loses half of all hits.
    both = Tested(KINDS, TESTED.prices, TESTED.session, np.array([1, 1, 0, 1], bool), TESTED.fold)
    assert chosen(rank, both) == ["2", "1"]
