"""Invented sessions behind a best seller stand out; a promotion that the whole shop sees does not."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training_jobs import shop
from training_jobs.gate.checks_snapshot import largest_surge, network_check, surge_check
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.sessions import DAY_MS, Sessions
from training_jobs.snapshot.dataset import pack

LIMITS = replace(
    read_thresholds(),
    surge_best_sellers=50,
    surge_minimum_clicks=20,
    maximum_surge=10.0,
    network_minimum_share=0.02,
    maximum_network_share=0.5,
)

NAMES = [f"sku-{at}" for at in range(shop.ITEMS)]


def history(extra: list[list[int]]) -> Sessions:
    """Ten days of walks, and the sessions of `extra` in the last hour."""
    walks = shop.walks(3000, seed=3)
    rows = [walks.session(row).tolist() for row in range(len(walks))] + extra
    starts = [*np.linspace(0, 10 * DAY_MS - 3_600_000, len(walks)).astype(int).tolist()]
    starts += [10 * DAY_MS - 1000 * at - 60_000 for at in range(len(extra))]
    code = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    place = np.concatenate([np.arange(len(row)) for row in rows])
    times = np.array(starts, np.int64)[code] + place
    return pack(code, np.concatenate([np.array(row) for row in rows]), times, place)


def test_a_shop_s_own_day_has_no_surge() -> None:
    assert surge_check(history([]), LIMITS).verdict == "passed"


def test_fifty_invented_sessions_behind_the_best_seller_are_found() -> None:
    honest = history([])
    seller = int(np.bincount(honest.items).argmax())
    stranger = (seller + shop.ITEMS // 2) % shop.ITEMS
    row = surge_check(history([[seller, stranger]] * 50), LIMITS)
    assert row.verdict == "failed"
    assert row.value > 10.0


def test_an_item_that_the_whole_shop_goes_to_is_no_surge() -> None:
    honest = history([])
    seller = int(np.bincount(honest.items).argmax())
    promoted = (seller + shop.ITEMS // 2) % shop.ITEMS
    visits = [[other, promoted] for other in range(shop.ITEMS) for _ in range(20) if other != promoted]
    surge, pairs = largest_surge(history(visits), 50, 20)
    assert pairs > 0
    assert surge < 10.0


def test_a_shop_without_a_past_has_none_either() -> None:
    assert largest_surge(shop.walks(2), 50, 20) == (1.0, 0)


def patient(networks_of_senders: int, invented: int = 120) -> Sessions:
    """Ten days of walks from 500 networks, and invented sessions on every day from a few networks."""
    walks = shop.walks(3000, seed=3)
    seller = int(np.bincount(walks.items).argmax())
    stranger = (seller + shop.ITEMS // 2) % shop.ITEMS
    rows = [walks.session(row).tolist() for row in range(len(walks))] + [[seller, stranger]] * invented
    networks = [1 + at % 500 for at in range(len(walks))]
    networks += [501 + at % networks_of_senders for at in range(invented)]
    mixed = np.random.default_rng(0).permutation(len(rows))
    packed = shop.packed([rows[at] for at in mixed], gap_ms=10 * DAY_MS // len(rows))
    return replace(packed, networks=np.array(networks, np.int32)[mixed])


@pytest.mark.parametrize("senders", [1, 2, 3])
def test_a_patient_sender_of_few_networks_is_found_though_no_day_is_new(senders: int) -> None:
    sessions = patient(senders)
    assert surge_check(sessions, LIMITS).verdict == "passed"
    row = network_check(sessions, NAMES, LIMITS)
    assert row.verdict == "failed"
    assert row.value > 0.5
    seller = int(np.bincount(sessions.items).argmax())
    pushed = (seller + shop.ITEMS // 2) % shop.ITEMS
    assert f"'sku-{pushed}' after 'sku-{seller}'" in row.reason


def test_shoppers_of_many_networks_are_not_refused() -> None:
    row = network_check(patient(120), NAMES, LIMITS)
    assert (row.verdict, row.n > 10) == ("passed", True)
    assert row.value < 0.3


def test_few_sessions_of_one_network_are_not_refused_so_nobody_stops_training_with_them() -> None:
    few = patient(1, invented=8)
    strict = replace(LIMITS, surge_minimum_clicks=5, network_minimum_share=0.0)
    assert network_check(few, NAMES, strict).verdict == "failed"
    assert network_check(few, NAMES, replace(strict, network_minimum_share=0.2)).verdict == "passed"
    assert network_check(few, NAMES, replace(strict, surge_minimum_clicks=20)).verdict == "passed"


def test_a_shop_whose_back_end_sends_everything_is_not_refused() -> None:
    sessions = patient(1)
    for number in (0, 1):
        same = replace(sessions, networks=np.full(len(sessions), number, np.int32))
        assert network_check(same, NAMES, LIMITS).verdict == "passed"


def test_a_shopper_who_compares_two_items_counts_once_per_session() -> None:
    walks = patient(120)
    seller = int(np.bincount(walks.items).argmax())
    other = (seller + 3) % shop.ITEMS
    rows = [walks.session(row).tolist() for row in range(len(walks))] + [[seller, other] * 40]
    sessions = shop.packed(rows)
    networks = np.r_[walks.networks if walks.networks is not None else [], 700].astype(np.int32)
    assert network_check(replace(sessions, networks=networks), NAMES, LIMITS).verdict == "passed"


def test_an_old_snapshot_without_networks_is_skipped_with_the_next_step() -> None:
    row = network_check(history([]), NAMES, LIMITS)
    assert row.verdict == "skipped"
    assert row.reason.endswith("this snapshot has no networks: export again, then train on the new export")
