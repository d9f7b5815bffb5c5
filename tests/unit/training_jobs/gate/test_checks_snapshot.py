"""Invented sessions behind a best seller stand out; a promotion that the whole shop sees does not."""

from dataclasses import replace

import numpy as np

from tests.unit.training_jobs import shop
from training_jobs.gate.checks_snapshot import largest_surge, surge_check
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.sessions import DAY_MS, Sessions
from training_jobs.snapshot.dataset import pack

LIMITS = replace(read_thresholds(), surge_best_sellers=50, surge_minimum_clicks=20, maximum_surge=10.0)


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
