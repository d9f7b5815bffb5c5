"""A named reason is true: the session without the named view gives the item a clearly lower score."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_jobs.conftest import Trained
from training_jobs.serving import inference
from training_jobs.serving.because import LEAST_FALL, VIEWS, Because, because
from training_jobs.serving.explain import explain
from training_jobs.serving.model_files import load_recommender
from training_jobs.serving.session_recommender import Recommender

SKUS = st.sampled_from([f"sku-{at:03}" for at in range(80)])
SESSIONS = st.lists(SKUS, min_size=1, max_size=8)


@pytest.fixture(scope="module")
def served(trained: Trained) -> Recommender:
    return load_recommender(trained.model_dir)[0]


def reasons(served: Recommender, session: list[str], exclude: tuple[str, ...] = ()) -> dict[str, Because]:
    found = served.recommend(session, 10, exclude)
    return dict(zip(found.items, because(served, session, exclude, found), strict=True))


@settings(max_examples=40, deadline=None)
@given(SESSIONS)
def test_without_the_named_view_the_item_falls(served: Recommender, session: list[str]) -> None:
    found = served.recommend(session, 10)
    before = dict(zip(found.items, found.scores, strict=True))
    for item, reason in reasons(served, session).items():
        if reason.kind != "viewed":
            continue
        rest = [one for one in session if one != reason.item_id]
        without = served.recommend(rest, len(served.vocabulary), session[-1:])
        after = dict(zip(without.items, without.scores, strict=True)).get(item, 0.0)
        assert after <= (1 - LEAST_FALL) * before[item] + 1e-6


@settings(max_examples=30, deadline=None)
@given(SESSIONS)
def test_the_named_view_is_the_one_that_the_explanation_names(
    served: Recommender, session: list[str]
) -> None:
    named = {one["item_id"]: one["brought_by"] for one in explain(served, session, 10)["items"]}
    tried = list(dict.fromkeys(reversed(session)))[:VIEWS]
    for item, reason in reasons(served, session).items():
        if reason.kind == "viewed" and named[item] in tried:
            assert reason.item_id == named[item]


@settings(max_examples=30, deadline=None)
@given(SESSIONS)
def test_only_items_of_the_session_come_again(served: Recommender, session: list[str]) -> None:
    for item, reason in reasons(served, session).items():
        assert (reason.kind == "again") == (item in session)
        assert reason.item_id is None or reason.item_id in session


def test_along_the_ring_the_first_items_are_named_by_a_view(served: Recommender) -> None:
    found = reasons(served, ["sku-020", "sku-021"])
    named = [reason.item_id for reason in found.values() if reason.kind == "viewed"]
    assert len(named) >= 5
    assert set(named) <= {"sku-020", "sku-021"}


def test_no_view_is_named_for_a_candidate_that_is_not_known(served: Recommender) -> None:
    session, listed = ["sku-020", "sku-021"], ["never-seen", "sku-022"]
    found = served.rerank(session, listed)
    reasons = because(served, session, (), found, listed)
    assert dict(zip(found.items, reasons, strict=True))["never-seen"] == Because("popular")


@pytest.mark.parametrize("session", [[], ["never-seen"]])
def test_without_a_known_view_every_item_is_popular(served: Recommender, session: list[str]) -> None:
    assert set(reasons(served, session).values()) == {Because("popular")}


def test_the_endpoint_names_reasons_only_if_it_is_asked(trained: Trained) -> None:
    model = inference.model_fn(str(trained.model_dir))

    def ask(**more: Any) -> Any:
        body = json.dumps({"items": ["sku-020", "gone", "sku-021"], "k": 3, **more})
        return inference.predict_fn(inference.input_fn(body), model)["items"]

    plain, asked = ask(), ask(because=True)
    assert all("because" not in item for item in plain)
    assert [{name: item[name] for name in ("item_id", "score")} for item in asked] == plain
    assert {item["because"]["kind"] for item in asked} <= {"viewed", "again", "popular"}
    with pytest.raises(ValueError, match="because must be true or false"):
        inference.input_fn('{"items": [], "because": "yes"}')
