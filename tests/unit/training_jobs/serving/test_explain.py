"""An explanation is true: what it names as the reason of an item is measured to be one, and its parts add up."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from tests.unit.training_jobs.conftest import Trained
from tests.unit.training_jobs.large_shop import large_shop
from training_jobs.gate import baselines
from training_jobs.serving.explain import explain
from training_jobs.serving.knn import KnnSettings, build_index
from training_jobs.serving.model_files import load_recommender
from training_jobs.serving.session_recommender import POPULARITY_FLOOR, BlendSettings, Recommender
from training_jobs.snapshot.dataset import no_content
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.job import encoder_weights
from training_jobs.training.model_writer import copy_serving_code

SKUS = st.sampled_from([f"sku-{at:03}" for at in range(80)])
SESSIONS = st.lists(SKUS, min_size=1, max_size=6)


@pytest.fixture(scope="module")
def served(trained: Trained) -> Recommender:
    return load_recommender(trained.model_dir)[0]


def score_of(served: Recommender, items: list[str], exclude: list[str], item: str) -> float:
    """Return an item's score in an answer with all items: by the way that the endpoint goes, not by explain's."""
    found = served.recommend(items, len(served.vocabulary), exclude)
    return dict(zip(found.items, found.scores, strict=True)).get(item, 0.0)


@settings(max_examples=40, deadline=None)
@given(SESSIONS)
def test_without_the_named_item_of_the_session_the_score_falls(
    served: Recommender, session: list[str]
) -> None:
    explanation = explain(served, session, 10)
    for one in explanation["items"]:
        if (named := one["brought_by"]) is None:
            continue
        before = score_of(served, session, session[-1:], one["item_id"])
        rest = [item for item in session if item != named]
        assert score_of(served, rest, session[-1:], one["item_id"]) < before
        assert before == pytest.approx(one["score"], rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(SESSIONS)
def test_the_named_item_is_the_one_whose_absence_costs_most(served: Recommender, session: list[str]) -> None:
    for one in explain(served, session, 5)["items"]:
        known = {part["item_id"]: part["score"] for part in one["without"] if part["score"] is not None}
        lower = {item: score for item, score in known.items() if score < one["score"]}
        assert (one["brought_by"] is None) == (not lower)
        assert one["brought_by"] is None or lower[one["brought_by"]] == min(lower.values())


def test_along_the_ring_every_first_item_is_brought_by_the_session(served: Recommender) -> None:
    explanation = explain(served, ["sku-020", "sku-021"], 5)
    assert [one["brought_by"] for one in explanation["items"]].count(None) <= 1
    assert explanation["neighbours"] > 10
    first = explanation["items"][0]
    assert first["place"] == 1
    assert first["similar_sessions"]["voters"] > 0
    assert {part["item_id"] for part in first["similar_sessions"]["by_item"]} <= {"sku-020", "sku-021"}


@settings(max_examples=40, deadline=None)
@given(SESSIONS, st.lists(SKUS, max_size=3))
def test_the_parts_of_a_score_add_up(served: Recommender, session: list[str], wanted: list[str]) -> None:
    explanation = explain(served, session, 10, wanted=wanted)
    for one in explanation["items"]:
        if not one["shown"]:
            assert one["why_not"]
            continue
        similar, popular = one["similar_sessions"], one["popularity"]["share"] * POPULARITY_FLOOR
        parts = max(one["encoder"] + similar["score"] + one["catalogue"] + popular, one["returns"])
        assert parts == pytest.approx(one["blend"], rel=1e-3, abs=1e-9)
        voted = sum(part["votes"] for part in similar["by_item"])
        assert explanation["knn_weight"] * voted == pytest.approx(similar["score"], rel=1e-3, abs=1e-9)
        assert max((part["voters"] for part in similar["by_item"]), default=0) <= similar["voters"]


@settings(max_examples=25, deadline=None)
@given(SESSIONS)
def test_a_click_that_no_similar_session_shares_has_no_part_in_the_votes(
    served: Recommender, session: list[str]
) -> None:
    """The division of votes, against the index itself: a voter of an item shares each click that is named."""
    index, rows = served.index, served.rows
    sessions = [set(index.session_items[a:b].tolist()) for a, b in _spans(index.session_offsets)]
    for one in explain(served, session, 5)["items"]:
        for part in one["similar_sessions"]["by_item"]:
            both = {rows[one["item_id"]], rows[part["item_id"]]}
            assert part["voters"] <= sum(both <= items for items in sessions)


def _spans(offsets: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))


def test_the_items_and_their_order_are_those_of_the_answer(served: Recommender) -> None:
    explanation = explain(
        served, ["sku-030", "sku-031"], 7, ["sku-033"], ["sku-033", "sku-031", "never-seen"]
    )
    found = served.recommend(["sku-030", "sku-031"], 7, ["sku-033"])
    assert [one["item_id"] for one in explanation["answer"]] == found.items
    assert [one["item_id"] for one in explanation["items"]] == [*found.items, "sku-033", "sku-031"]
    assert [one["place"] for one in explanation["items"]] == [1, 2, 3, 4, 5, 6, 7, None, None]
    assert [one["why_not"] for one in explanation["items"][-2:]] == [
        "the request excludes it",
        "it is the session's last item, which is never recommended",
    ]
    assert explanation["wanted_unknown"] == ["never-seen"]


def test_a_session_that_ends_with_an_unknown_item_is_explained_as_it_is_answered() -> None:
    served, sessions = large_shop(400, 0, 0.4)
    session = [*(served.vocabulary[item] for item in sessions.session(5)), "never-seen"]
    explanation = explain(served, session, 10)
    assert session[-2] in [one["item_id"] for one in explanation["answer"]]
    for place, (one, answered) in enumerate(zip(explanation["items"], explanation["answer"], strict=True), 1):
        assert (one["item_id"], one["place"]) == (answered["item_id"], place)
        assert one["score"] == pytest.approx(answered["score"], rel=1e-3)
        for part in one["without"]:
            rest = [item for item in session if item != part["item_id"]]
            assert score_of(served, rest, [], one["item_id"]) == pytest.approx(part["score"], rel=1e-3)


@pytest.mark.parametrize("session", [[], ["never-seen"]])
def test_a_session_without_a_known_item_is_explained_by_popularity(
    served: Recommender, session: list[str]
) -> None:
    explanation = explain(served, session, 3)
    assert explanation["source"] == "popularity"
    assert [one["popularity"]["place"] for one in explanation["items"]] == [1, 2, 3]
    assert {one["mainly"] for one in explanation["items"]} == {"popularity"}
    assert explanation["session_unknown"] == session


def test_the_effect_of_a_feature_is_what_the_ranker_would_do_without_it() -> None:
    served, sessions = large_shop(400, 0, 0.4)
    session = [served.vocabulary[item] for item in sessions.session(5)]
    explanation = explain(served, session, 10)
    effects = [one["ranker"]["features"] for one in explanation["items"]]
    assert all(len(features) > 1 for features in effects)
    for features in effects:
        sizes = [abs(feature["effect"]) for feature in features]
        assert sizes == sorted(sizes, reverse=True)
    unranked, _ = large_shop(400, 0, 0.4, ranked=False)
    assert {one["ranker"] for one in explain(unranked, session, 10)["items"]} == {None}


def test_items_out_of_stock_say_so() -> None:
    served, sessions = large_shop(400, 0, 0.4)
    session = [served.vocabulary[item] for item in sessions.session(5)]
    best = served.recommend(session, 1).items[0]
    sold_out, _ = large_shop(400, 0, 0.4, out_of_stock=[best])
    [explanation] = [one for one in explain(sold_out, session, 3, wanted=[best])["items"] if not one["shown"]]
    assert (explanation["item_id"], explanation["why_not"]) == (best, "it is on the out-of-stock list")


def ask(archive: Path, code: Path, question: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Ask an archive in a process that finds no code of Tugboat but this."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "training_jobs.serving.explain", str(archive)],
        input=json.dumps(question),
        env={"PYTHONPATH": str(code)},
        cwd=code,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_archive_explains_itself_with_its_own_code_alone(trained: Trained, tmp_path: Path) -> None:
    copy_serving_code(tmp_path)
    done = ask(trained.model_dir, tmp_path, {"items": ["sku-020"], "k": 3})
    explanation = json.loads(done.stdout)
    assert (explanation["model_version"], explanation["snapshot_id"]) == ("m1", "snap-1")
    assert len(explanation["answer"]) == 3


def test_a_folder_without_a_model_is_refused_with_the_next_step(tmp_path: Path) -> None:
    copy_serving_code(tmp_path)
    done = ask(tmp_path, tmp_path, {"items": [], "k": 1})
    assert done.returncode == 1
    assert "pass the folder of a model archive" in done.stderr


@pytest.fixture(scope="module")
def new_shop() -> Recommender:
    """A shop with one session of a and b, and c beside a in the catalogue only."""
    sessions = shop.packed([[0, 1], [1, 0]])
    index = build_index(sessions, 3, catalogue=shop.packed([[0, 2], [2, 0]]))
    weights = encoder_weights(Encoder(3, EncoderSettings(dim=8, layers=1, heads=2), no_content(3)))
    knn = KnnSettings(idf_power=0.0, catalogue_weight=1.0)
    popularity = baselines.popularity(sessions, 3)
    return Recommender(["a", "b", "c"], weights, index, popularity, BlendSettings(0.9, knn))


def test_no_shopper_is_named_for_what_the_catalogue_brought(new_shop: Recommender) -> None:
    explanation = explain(new_shop, ["a"], 2)
    of_item = {one["item_id"]: one for one in explanation["items"]}
    assert explanation["neighbours"] == 2
    assert of_item["b"]["similar_sessions"]["voters"] == 2
    assert of_item["b"]["catalogue"] == 0
    assert of_item["c"]["similar_sessions"] == {"score": 0.0, "voters": 0, "by_item": []}
    assert of_item["c"]["catalogue"] > 0
    assert of_item["c"]["mainly"] == "catalogue"


def test_catalogue_sessions_are_no_evidence_of_clicks(new_shop: Recommender) -> None:
    evidence = new_shop.evidence()
    assert evidence.sessions == 2
    assert evidence.from_clicks.tolist() == [True, True, False]
