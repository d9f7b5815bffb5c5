"""A batch gives each client the list that /recommend gives for the same history, rules, products and fallback."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json as struct_json

from functions.platform.catalogue_state import CatalogueState, pack, state_key
from functions.platform.contract import HistoriesResult
from functions.platform.errors import StorageUnavailable
from functions.platform.s3_keys import AFFINITIES, ANSWERS, batch_prefix, rules_key
from functions.platform.settings import AnswersSettings
from functions.recommend.batch import answers
from functions.recommend.recommend import Recommendation, recommend
from functions.recommend.request import RecommendRequest
from functions.recommend.rules.compiled import Rules
from functions.recommend.rules.model import Explore, Pin, Rule, Selector
from testing.batches import EveryItem, answer, model_of, score
from testing.fakes import FakeEndpoint, FakeS3
from tests.unit.functions.recommend.rules import shops
from tests.unit.functions.recommend.test_recommend import published
from tests.unit.functions.recommend.test_steering import SOON, catalogue, steered, stored
from tests.unit.training_jobs.conftest import Trained
from training_jobs.batch import SCHEMA
from training_jobs.serving import inference

NOW_MS = shops.NOW_MS
PREFIX = batch_prefix("demo", "r1")
FOUND: HistoriesResult = {
    "run_id": "r1",
    "shop_id": "demo",
    "has_model": True,
    "clients": 0,
    "made_at_ms": NOW_MS,
    "model_data_uri": "",
    "histories_uri": f"s3://models/{PREFIX}histories/",
    "candidates_uri": f"s3://models/{PREFIX}candidates/",
}
K = 6


def served(model: inference.Model) -> FakeEndpoint:
    """Return an endpoint that answers with the handlers of the serving container."""

    def respond(question: dict[str, Any]) -> dict[str, Any]:
        query = inference.input_fn(json.dumps(question))
        answered: dict[str, Any] = json.loads(inference.output_fn(inference.predict_fn(query, model))[0])
        return answered

    return FakeEndpoint(respond)


def unloaded(s3: FakeS3, histories: Sequence[list[str]]) -> None:
    """Write histories as the warehouse unloads them."""
    rows = [
        {
            "CLIENT_KEY": f"key-{number:03}",
            "CLIENT_ID": f"client-{number}",
            "USER_ID": None,
            "LAST_EVENT_TIME_MS": NOW_MS - number,
            "ITEMS": json.dumps(items),
        }
        for number, items in enumerate(histories)
    ]
    body = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(SCHEMA)[:5])), body)
    s3.put_object(Bucket="models", Key=f"{PREFIX}histories/data_0.parquet", Body=body.getvalue())


def rows(s3: FakeS3, folder: str) -> list[dict[str, Any]]:
    keys = sorted(key for _, key in s3.objects if key.startswith(PREFIX + folder))
    return [row for key in keys for row in pq.read_table(io.BytesIO(s3.objects["models", key])).to_pylist()]


def by_client(s3: FakeS3) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows(s3, ANSWERS):
        found.setdefault(row["CLIENT_ID"], []).append(row)
    return found


def as_answer(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of one client in the form of /recommend's items."""
    assert [row["ITEM_RANK"] for row in found] == list(range(1, len(found) + 1))
    return [
        {"item_id": row["ITEM_ID"], "score": row["SCORE"]}
        | {name: row[name.upper()] for name in ("pinned_by", "explored_by") if row[name.upper()]}
        | {
            "because": {"kind": row["BECAUSE"]}
            | ({"item_id": row["BECAUSE_ITEM_ID"]} if row["BECAUSE_ITEM_ID"] else {})
        }
        for row in found
    ]


def live(s3: FakeS3, model: inference.Model, items: list[str]) -> Recommendation:
    """Ask /recommend for the same history."""
    request = RecommendRequest(items, K, [], None, "home", True, "demo")
    return recommend(request, steered(served(model), s3), SOON, clock=lambda: NOW_MS / 1000)


def assert_same(s3: FakeS3, model: inference.Model, histories: Sequence[list[str]]) -> None:
    unloaded(s3, histories)
    score(s3, FOUND, model)
    result = answer(s3, FOUND, AnswersSettings("models", K))
    assert result["clients"] == len(histories)
    lists = by_client(s3)
    for number, items in enumerate(histories):
        expected = live(s3, model, items)
        mine = lists.get(f"client-{number}", [])
        assert as_answer(mine) == expected.items
        assert {row["MODEL_VERSION"] for row in mine} <= {expected.model_version}
        assert {row["RULES_REVISION"] or "" for row in mine} <= {expected.rules_revision}
    assert result["rows"] == sum(map(len, lists.values()))
    assert result["affinities"] == len(rows(s3, AFFINITIES))


@pytest.fixture(scope="module")
def model(trained: Trained) -> inference.Model:
    return inference.model_fn(str(trained.model_dir))


SKUS = [f"sku-{number:03}" for number in range(80)]
histories_of_skus = st.lists(
    st.lists(st.sampled_from([*SKUS[:12], "gone"]), max_size=8), min_size=1, max_size=4
)


@settings(max_examples=5, deadline=None)
@given(
    histories=histories_of_skus,
    removed=st.lists(st.sampled_from(SKUS), max_size=70, unique=True),
    sold_out=st.lists(st.sampled_from(SKUS), max_size=40, unique=True),
    has_rules=st.booleans(),
    has_catalogue=st.booleans(),
)
def test_the_trained_model_s_lists_are_those_of_recommend(
    model: inference.Model,
    histories: list[list[str]],
    removed: list[str],
    sold_out: list[str],
    has_rules: bool,
    has_catalogue: bool,
) -> None:
    s3 = published()
    if has_rules:
        rules = [Rule("gone", remove=Selector(items=tuple(removed)))] if removed else []
        stored(s3, *rules, Rule("hero", pin=Pin(2, "p7")))
    if has_catalogue:
        products = {sku: {"availability": "out_of_stock" if sku in sold_out else "in_stock"} for sku in SKUS}
        catalogue(s3, **products)
    assert_same(s3, model, histories)


@settings(max_examples=15, deadline=None)
@given(
    rules=shops.rule_sets,
    state=shops.catalogues,
    histories=st.lists(st.lists(shops.ids, max_size=4), min_size=1, max_size=3),
)
def test_under_random_rules_and_products_the_lists_are_those_of_recommend(
    rules: Rules, state: CatalogueState, histories: list[list[str]]
) -> None:
    s3 = published()
    s3.put_object(Bucket="models", Key=rules_key("demo"), Body=struct_json.encode(rules.rule_set))
    s3.put_object(Bucket="models", Key=state_key("demo"), Body=pack(NOW_MS, (), state.blocks))
    assert_same(s3, model_of(EveryItem(shops.ITEMS)), histories)


def test_an_explored_item_names_its_rule() -> None:
    newcomers = shops.ITEMS[len(shops.ITEMS) // 2 :]
    s3 = stored(published(), Rule("newcomers", explore=Explore(0.3, Selector(items=tuple(newcomers)))))
    assert_same(s3, model_of(EveryItem(shops.ITEMS)), [[shops.ITEMS[0]], [shops.ITEMS[1]]])
    explored = [row for row in rows(s3, ANSWERS) if row["EXPLORED_BY"]]
    assert {(row["EXPLORED_BY"], row["BECAUSE"]) for row in explored} == {("newcomers", "new")}
    assert {row["ITEM_ID"] for row in explored} <= set(newcomers)


def test_a_call_without_time_finishes_one_part_and_the_next_call_continues_behind_it(
    model: inference.Model,
) -> None:
    histories = [[SKUS[number]] for number in range(8)]
    results = {}
    for name, remaining_ms in (("at once", 10**9), ("in calls", 1000)):
        s3 = published()
        unloaded(s3, histories)
        score(s3, FOUND, model)
        result = answer(s3, FOUND, AnswersSettings("models", K), remaining_ms)
        results[name] = ({key: value for key, value in result.items() if key != "after"}, rows(s3, ANSWERS))
    assert results["at once"] == results["in calls"]
    assert results["at once"][0]["clients"] == 8


def test_affinities_are_the_model_s_scores_before_any_rule(model: inference.Model) -> None:
    s3 = stored(published(), Rule("none-of-these", remove=Selector(items=tuple(SKUS[:79]))))
    unloaded(s3, [["sku-020"]])
    score(s3, FOUND, model)
    answer(s3, FOUND, AnswersSettings("models", K))
    asked = inference.predict_fn(inference.Query(["sku-020"], 100, [], True), model)
    assert [(row["ITEM_ID"], row["SCORE"]) for row in rows(s3, AFFINITIES)] == [
        (item["item_id"], item["score"]) for item in asked["items"]
    ]
    assert not {row["ITEM_ID"] for row in rows(s3, ANSWERS)} & set(SKUS[:79])


def test_rules_that_cannot_be_read_stop_the_batch(model: inference.Model) -> None:
    s3 = published()
    unloaded(s3, [["sku-020"]])
    score(s3, FOUND, model)
    s3.put_object(Bucket="models", Key=rules_key("demo"), Body=b"{broken")
    with pytest.raises(StorageUnavailable, match=r"rules/demo/current.json cannot be read"):
        answer(s3, FOUND, AnswersSettings("models", K))
    assert rows(s3, ANSWERS) == []


def test_an_unknown_placement_is_refused() -> None:
    event: Any = {"run_id": "r1", "shop_id": "demo", "made_at_ms": NOW_MS, "placement": "mailbox"}
    with pytest.raises(ValueError, match="no placement is 'mailbox': use one of product"):
        answers(event, AnswersSettings("models", K), FakeS3())


@pytest.mark.parametrize("items", [-5, 101])
def test_a_list_of_a_length_that_recommend_refuses_is_refused(items: int) -> None:
    event: Any = {
        "run_id": "r1",
        "shop_id": "demo",
        "made_at_ms": NOW_MS,
        "placement": "home",
        "items": items,
    }
    with pytest.raises(ValueError, match=f"cannot have {items} items: use 1 to 100"):
        answers(event, AnswersSettings("models", K), FakeS3())
