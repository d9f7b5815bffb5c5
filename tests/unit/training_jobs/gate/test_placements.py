"""Each placement is measured on its own task: what is planted is found, and too little data is no failure."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training_jobs.conftest import Trained
from tests.unit.training_jobs.snapshot.test_placement_tables import Visit, sessions_of, shelves
from training_jobs.gate.measure import HeldOut, held_out
from training_jobs.gate.placements import CASES, TASKS, measure_placements
from training_jobs.gate.rules import RULES
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.model_files import load_card, load_recommender
from training_jobs.serving.recommendation import Recommendation
from training_jobs.snapshot.dataset import Dataset, no_content

LIMITS = read_thresholds()


class Silent:
    """A model that recommends nothing, so that a figure is that of the tables."""

    def __init__(self, items: int) -> None:
        self.vocabulary = [f"i{row}" for row in range(items)]
        self.rows = {item: row for row, item in enumerate(self.vocabulary)}

    def recommend(self, items: Sequence[str], k: int, exclude: Collection[str] = ()) -> Recommendation:
        return Recommendation([], [], "none", "silent")

    def similar(self, item: str, k: int, exclude: Collection[str] = ()) -> Recommendation:
        return self.recommend([], k)

    def rerank(
        self, items: Sequence[str], candidates: Sequence[str], exclude: Collection[str] = ()
    ) -> Recommendation:
        return Recommendation(list(candidates), [], "given", "silent")


def planted(clients: int = 160) -> HeldOut:
    """Return a shop of twelve days: soap (0) is bought every third day, a tent (1 to 9) once, 20 and 21 go together."""
    rng = np.random.default_rng(3)
    visits: list[Visit] = []
    for day in range(12):
        for client in range(clients):
            last = 30 + client % 40
            order = [0] if (day + client) % 3 == 0 else [1 + client % 9] if day == 9 else []
            pair = [20 + 2 * (client % 5), 21 + 2 * (client % 5)] if (day + client) % 4 == 1 else []
            views = [last, int(rng.integers(30, 70)), last]
            visits.append((day + 0.9 * client / clients, client, views, [*order, *pair]))
    sessions = sessions_of(visits)
    items = 80
    catalogue = shelves(*["home/soap" if row < 10 else f"shelf/{row // 10}" for row in range(items)])
    data = Dataset(sessions, [f"i{row}" for row in range(items)], no_content(items), catalogue)
    return held_out(data, int(sessions.starts_ms.min()) + 11 * 24 * 3_600_000)


def test_what_is_planted_is_found_by_the_tables() -> None:
    held = planted()
    figures, checks = measure_placements(Silent(80), held, LIMITS)  # type: ignore[arg-type]
    assert figures["bought_together"]["value"] > 0.8
    assert figures["bought_together"]["baseline_value"] < 0.7
    assert figures["buy_again"]["value"] > figures["buy_again"]["baseline_value"] + 0.1
    assert figures["recently_viewed"]["value"] == 1.0
    verdicts = {check.name: check.verdict for check in checks}
    assert verdicts["placement recently_viewed"] == "passed"
    assert verdicts["placement similar"] == "failed", (
        "a model that recommends nothing is worse than best sellers"
    )
    assert figures["rerank"]["value"] == figures["rerank"]["baseline_value"], "the order is that of the shop"


def test_each_task_has_a_row_of_the_gate_and_a_bounded_number_of_cases(trained: Trained) -> None:
    card = load_card(trained.model_dir)
    variant, _ = load_recommender(trained.model_dir / "holdout")
    sessions = trained.data.sessions
    rng = np.random.default_rng(0)
    kinds = np.full(len(sessions.items), EVENT_STRENGTHS["view_item"], np.uint8)
    for place in (1, 2):
        kinds[sessions.offsets[1:] - place] = EVENT_STRENGTHS["purchase"]
    data = replace(
        trained.data,
        sessions=replace(sessions, clients=rng.integers(0, 90, len(sessions)).astype(np.int32), kinds=kinds),
    )
    figures, checks = measure_placements(variant, held_out(data, card.holdout_start_ms), LIMITS)
    assert {f"placement {name}" for name in TASKS} == {check.name for check in checks}
    assert {check.name for check in checks} <= RULES.keys()
    assert all(figure["cases"] <= CASES for figure in figures.values())
    # The shop is a ring, in which the next item is a neighbour of the viewed one.
    assert figures["similar"]["value"] > figures["similar"]["baseline_value"] + 0.3
    assert figures["rerank"]["value"] > figures["rerank"]["baseline_value"]
    assert figures["home"]["cases"] > 0
    assert [check.reason for check in checks if check.verdict == "failed"] == []


@pytest.mark.parametrize("column", ["clients", "kinds"])
def test_a_snapshot_without_a_column_is_not_judged_by_it(column: str) -> None:
    held = planted(30)
    data = replace(held.data, sessions=replace(held.data.sessions, **{column: None}))
    figures, checks = measure_placements(Silent(80), replace(held, data=data), LIMITS)  # type: ignore[arg-type]
    assert figures["buy_again"]["cases"] == 0
    [check] = [check for check in checks if check.name == "placement buy_again"]
    assert (check.verdict, check.reason) == (
        "skipped",
        "placement buy_again (all): 0 cases, at least 100 are needed to judge",
    )
