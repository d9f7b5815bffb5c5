"""The whole explanation: the same answer again, the reasons where it differs, and what is missing with the next step."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from deploy.explain import text
from deploy.explain.explanation import _skipped, compare
from deploy.explain.trace import Shown
from functions.platform.s3_keys import current_key
from functions.recommend.recommendation import FALLBACK_VARIANT
from testing.fakes import client_error
from tests.unit.deploy.explain.conftest import (
    EVENTS,
    EXECUTION,
    KEY,
    MODELS,
    RUN_ID,
    FakeStepFunctions,
    World,
    event,
)
from training_jobs.serving.model_files import load_recommender

Seen = Callable[..., World]


def test_an_answer_is_told_whole(seen: Seen, answer: list[str]) -> None:
    document = seen().explanation().to_json()
    assert document["reproduction"]["status"] == "same"
    assert document["reproduction"]["asked"] == ["sku-020", "sku-021"]
    explained = {one["item_id"]: one for one in document["reproduction"]["explanation"]["items"]}
    assert explained[answer[0]]["place"] == 1
    assert explained[answer[0]]["brought_by"] in {"sku-020", "sku-021"}
    model = document["model"]
    assert (model["release"], model["run_id"], model["serving_image"]) == ("current", RUN_ID, "serving:1")
    assert model["job"]["code_uri"] == f"s3://{MODELS}/code/abc/sourcedir.tar.gz"
    assert model["snapshot"]["interactions"] == 5
    assert model["gate"]["report_uri"].endswith(f"{RUN_ID}/evaluation.html")
    assert model["validation_uri"] == f"s3://{MODELS}/reports/validation/{RUN_ID}.html"
    assert [one["line"] for one in document["session"]] == [1, 2, 3]


def test_text_and_json_name_no_client(seen: Seen) -> None:
    explanation = seen().explanation()
    assert "client-7" not in json.dumps(explanation.to_json()) + text.render(explanation)


def test_the_text_has_each_item_with_its_reason(seen: Seen, answer: list[str]) -> None:
    document = text.render(seen().explanation())
    assert f"1. {answer[0]}" in document
    assert "brought by sku-02" in document
    assert "similar sessions vote for it" in document
    assert f"{KEY} line 1" in document
    assert "the same items again? yes" in document


def test_excluded_items_are_found_and_named(seen: Seen, answer: list[str], trained: Any) -> None:
    served = load_recommender(trained.model_dir)[0]
    shown = served.recommend(["sku-020", "sku-021"], 10, answer[:1]).items
    reproduction = seen(shown).explanation().reproduction
    assert reproduction.status == "excluded"
    assert reproduction.excluded == answer[:1]
    assert answer[0] in reproduction.reasons[0]


def test_a_shown_item_is_no_excluded_one_where_the_ranker_orders_the_others_anew() -> None:
    shown = [Shown(item, slot) for slot, item in enumerate(["b", "d", "c"])]
    assert _skipped(shown, ["a", "b", "c", "d", "e"]) == ["a"]


def test_another_answer_differs_with_possible_reasons(seen: Seen) -> None:
    reproduction = seen(["sku-070", "sku-003"]).explanation().reproduction
    assert reproduction.status == "differs"
    assert "exclusions are not stored" in " ".join(reproduction.reasons)
    assert reproduction.explanation is not None
    assert {"sku-070", "sku-003"} <= {one["item_id"] for one in reproduction.explanation["items"]}


def test_a_fallback_is_explained_by_its_lists(seen: Seen, world: World, trained: Any) -> None:
    stored = json.loads((trained.model_dir / "fallback.json").read_text())
    related = [item for item in stored["related"]["sku-021"] if item != "sku-021"]
    explanation = seen(related, variant=FALLBACK_VARIANT).explanation()
    assert explanation.reproduction.status == "same"
    assert explanation.reproduction.fallback is not None
    assert [one["brought_by"] for one in explanation.reproduction.fallback[:2]] == ["sku-021", "sku-021"]
    assert "the endpoint failed" in " ".join(explanation.notes)
    assert "items related to sku-021" in text.render(explanation)


def test_an_arm_of_an_experiment_is_explained_by_its_list(seen: Seen, trained: Any) -> None:
    stored = json.loads((trained.model_dir / "fallback.json").read_text())
    popular = [item for item in stored["popular"] if item != "sku-021"]
    explanation = seen(popular[:5], variant="popular").explanation()
    assert explanation.reproduction.status == "same"
    notes = " ".join(explanation.notes)
    assert "an arm of an experiment that is answered by popular" in notes
    assert "the endpoint failed" not in notes


def test_a_deleted_archive_says_so_and_leaves_the_rest(seen: Seen) -> None:
    world = seen()
    del world.s3.objects[MODELS, "serving/releases/r/model.tar.gz"]
    explanation = world.explanation()
    assert explanation.reproduction.status == "not asked"
    assert explanation.origin is not None
    assert "is deleted: training outputs expire" in explanation.origin.gaps[0]
    assert explanation.origin.gate is not None
    assert "missing: s3://models/serving/releases/r/model.tar.gz is deleted" in text.render(explanation)


def test_a_model_that_is_no_release_any_more_is_found_by_its_training_job(
    seen: Seen, packed_archive: bytes
) -> None:
    world = seen()
    world.s3.objects[MODELS, current_key("shop")] = json.dumps({"release": None, "previous": None}).encode()
    world.s3.objects[MODELS, "training/m1/output/model.tar.gz"] = packed_archive
    explanation = world.explanation()
    assert explanation.origin is not None
    assert (explanation.origin.release, explanation.origin.run_id) == ("not on record", RUN_ID)
    assert explanation.reproduction.status == "same"


def test_expired_snapshot_evaluation_and_execution_are_named_with_what_deleted_them(seen: Seen) -> None:
    world = seen()
    for key in (f"exports/{RUN_ID}/manifest.json", f"evaluation/{RUN_ID}/evaluation.json"):
        del world.s3.objects[MODELS, key]
    explanation = world.explanation()
    assert explanation.origin is not None
    gaps = " ".join(explanation.origin.gaps)
    assert "exports_expire_days" in gaps
    assert "has no evaluation" in gaps
    assert "90 days" in gaps


def test_the_execution_of_a_run_is_found_by_its_hash(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    world = seen()
    run_id = f"20261129-{hashlib.sha256(EXECUTION.encode()).hexdigest()[:12]}"
    record = world.s3.json(MODELS, current_key("shop"))
    record["release"]["run_id"] = run_id
    world.s3.objects[MODELS, current_key("shop")] = json.dumps(record).encode()
    explanation = world.explanation()
    assert explanation.origin is not None
    assert explanation.origin.execution is not None
    assert explanation.origin.execution["arn"] == EXECUTION


def test_a_destroyed_state_machine_has_no_execution_and_leaves_the_rest(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise client_error("StateMachineDoesNotExist")

    monkeypatch.setattr(FakeStepFunctions, "paginate", refuse)
    explanation = seen().explanation()
    assert explanation.origin is not None
    assert explanation.origin.execution is None
    assert explanation.origin.snapshot is not None


def test_an_archive_of_older_code_says_that_only_newer_models_explain(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.explain.model.EXPLAINER", "training_jobs/serving/not_there.py")
    reproduction = seen().explanation().reproduction
    assert reproduction.status == "not asked"
    assert "make run" in reproduction.reasons[0]


def test_without_a_receipt_the_release_of_that_time_is_named_as_a_guess(
    world: World, answer: list[str]
) -> None:
    world.store(
        event(1, "view_item", "sku-020", after_ms=-60_000),
        event(2, "view_item", "sku-021", after_ms=-5_000),
        event(3, "recommendation_impression", answer[0], after_ms=2_000, recommendation_id="r-1"),
    )
    explanation = world.explanation()
    assert explanation.trace.model_version is None
    assert explanation.origin is not None
    assert explanation.origin.model_version == "m1"
    assert "not on record" in " ".join(explanation.notes)
    assert explanation.reproduction.status == "same"


def test_erased_events_leave_the_mart_s_row_and_the_model(seen: Seen) -> None:
    world = seen()
    trace = world.trace()
    assert trace is not None
    trace.naming, trace.session, trace.session_id = [], [], None
    explanation = world.explanation(trace)
    assert "erased" in " ".join(explanation.notes)
    assert explanation.reproduction.status == "nothing shown"
    assert text.render(explanation)


def test_a_deleted_raw_file_is_marked(seen: Seen) -> None:
    world = seen()
    trace = world.trace()
    del world.s3.objects[EVENTS, KEY]
    explanation = world.explanation(trace)
    assert "raw_expire_days" in " ".join(explanation.notes)
    assert "(deleted)" in text.render(explanation)


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ([], "nothing shown"),
        ([Shown("a", 0), Shown("c", 2)], "same"),
        ([Shown("a", 1)], "differs"),
        ([Shown("z", 9)], "differs"),
        ([Shown("c", None)], "same"),
        ([Shown("z", None)], "differs"),
    ],
)
def test_answers_are_compared_by_their_slots(shown: list[Shown], status: str) -> None:
    assert compare(shown, ["a", "b", "c"]) == status


def test_the_rules_that_changed_an_answer_are_named(seen: Seen, answer: list[str]) -> None:
    world = seen(["sku-070", *answer[:2]], rules="5f0c2ad41b7e")
    stored = {
        "shop": "shop",
        "revision": "5f0c2ad41b7e",
        "rules": [{"id": "hero", "pin": {"slot": 1, "items": "sku-070"}}],
    }
    world.s3.objects[MODELS, "serving/rules/shop/5f0c2ad41b7e.json"] = json.dumps(stored).encode()
    explanation = world.explanation()
    place = "s3://models/serving/rules/shop/5f0c2ad41b7e.json"
    assert any(f"changed the answer: hero. They are {place}" in note for note in explanation.notes)
    assert explanation.reproduction.status == "differs"
    assert "rules of revision 5f0c2ad41b7e" in explanation.reproduction.reasons[0]
    assert "hero" in text.render(explanation)


@pytest.mark.parametrize("placement", ["similar", "recently_viewed"])
def test_a_placement_with_a_list_of_its_own_is_not_asked_again(
    seen: Seen, answer: list[str], placement: str
) -> None:
    none = {"model_version": "none", "variant": "own"} if placement == "recently_viewed" else {}
    explanation = seen(answer, placement=placement, **none).explanation()
    assert explanation.reproduction.status == "not asked"
    assert f"the placement {placement} has a list of its own" in explanation.reproduction.reasons[0]
    assert (explanation.origin is None) == bool(none)
    assert f"the placement {placement}" in text.render(explanation)


def test_an_answer_without_rules_has_no_note_of_them(seen: Seen) -> None:
    assert not any("rules" in note for note in seen().explanation().notes)
