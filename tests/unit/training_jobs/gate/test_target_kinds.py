"""Figures per kind of the target: of its own cases alone, and only where there are enough."""

import numpy as np
import pytest

from tests.unit.training_jobs import shop
from training_jobs.gate.evaluation import _target_kinds
from training_jobs.gate.measure import HeldOut, Measured
from training_jobs.gate.report_page import _target_kinds as rows_of
from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.sessions import Float64
from training_jobs.snapshot.dataset import Cases, Dataset, no_content

VIEW, CART, PURCHASE = EVENT_STRENGTHS.values()
KINDS = np.array([VIEW, VIEW, VIEW, PURCHASE, PURCHASE, CART], np.uint8)
RANK = np.array([1, 30, 2, 4, 50, 1])
PRICES = np.array([1.0, 1.0, 1.0, 30.0, 10.0, np.nan])


def found(kinds: np.ndarray | None, prices: Float64 | None, least: int = 2) -> dict[str, dict[str, object]]:
    rows = np.arange(6, dtype=np.int64)
    cases = Cases(np.zeros(6, np.int32), np.arange(7), rows, rows, kinds)
    data = Dataset(shop.packed([[0, 1]]), [str(row) for row in range(6)], no_content(6))
    held = HeldOut(data, cases, np.ones(6), np.ones(6, bool), 0, 0)
    measured = {"candidate": Measured("candidate", RANK, np.zeros((6, 20), np.int64), np.zeros(6))}
    return _target_kinds(measured, held, prices, least)


def test_each_kind_has_the_figures_of_its_own_cases() -> None:
    by_kind = found(KINDS, PRICES)
    assert {kind: one["cases"] for kind, one in by_kind.items()} == {
        "view_item": 3,
        "add_to_cart": 1,
        "purchase": 2,
    }
    assert by_kind["view_item"]["models"]["candidate"] == pytest.approx(  # type: ignore[index]
        {"hr_at_20": 2 / 3, "mrr_at_20": 0.5, "revenue_hr_at_20": 2 / 3}
        | {"revenue_ndcg_at_20": (1 + 1 / np.log2(3)) / 3},
        abs=1e-5,
    )
    bought = by_kind["purchase"]["models"]["candidate"]  # type: ignore[index]
    assert (bought["hr_at_20"], bought["mrr_at_20"], bought["revenue_hr_at_20"]) == (0.5, 0.125, 0.75)


def test_a_kind_of_too_few_cases_has_no_figures_and_its_row_says_so() -> None:
    by_kind = found(KINDS, None)
    assert by_kind["add_to_cart"] == {"cases": 1, "models": {}}
    table = rows_of(by_kind)
    assert [(row["kind"], row["cases"], row["model"]) for row in table["rows"]] == [
        ("viewed", 3, "candidate"),
        ("put into the cart", 1, ""),
        ("bought", 2, "candidate"),
    ]
    assert table["metrics"] == ["hr_at_20", "mrr_at_20"]


def test_an_old_snapshot_without_events_has_no_figures_per_kind() -> None:
    assert found(None, PRICES) == {}
    assert rows_of({})["rows"] == []
