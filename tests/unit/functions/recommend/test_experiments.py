"""Experiments: the arms of clients are sticky, even and independent, and a wrong file is refused before it is deployed."""

import dataclasses
import hashlib
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.platform.http import ApiRequest
from functions.platform.time_box import Deadline
from functions.recommend.experiments import (
    BUCKETS,
    Assigned,
    ExperimentsError,
    Shop,
    assign,
    bucket,
    parse,
    read_experiments,
)
from functions.recommend.routes import answer_recommend
from testing.fakes import FakeEndpoint, FakeS3, client_error
from tests.unit.functions.recommend.test_recommend import (
    Api,
    environment,
    failing,
    good_answer,
    only,
    published,
)

NOW = datetime(2026, 12, 1, tzinfo=UTC)
CLIENTS = [f"client-{n}" for n in range(20_000)]
AB = """
[[experiment]]
name = "spring"
seed = "seed-1"
[[experiment.arm]]
name = "A"
share = 0.5
answers = "model"
[[experiment.arm]]
name = "B"
share = 0.5
answers = "popular"
"""
HOLDOUT = '[holdout]\nseed = "h"\nshare = 0.02\n'


def shop(tmp_path: Path, text: str) -> Shop:
    file = tmp_path / "demo.toml"
    file.write_text(text)
    return parse(file)


def chi_square_p(observed: list[int], expected: list[float]) -> float:
    """Return the p-value by the Wilson-Hilferty approximation, which needs no library."""
    freedom = len(observed) - 1
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    spread = 2 / (9 * freedom)
    z = ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(z / math.sqrt(2))


def test_the_documented_recomputation_gives_the_same_bucket() -> None:
    seed, experiment, client_id = "seed-1", "spring", "client-7"
    digest = hashlib.sha256(f"{seed}:{experiment}:{client_id}".encode()).digest()
    assert bucket(seed, experiment, client_id) == int.from_bytes(digest[:8], "big") % 10_000


def test_buckets_are_even() -> None:
    counts = Counter(bucket("seed-1", "spring", client) // 500 for client in CLIENTS)
    assert chi_square_p([counts[n] for n in range(20)], [len(CLIENTS) / 20] * 20) > 0.001


@pytest.mark.parametrize(("seed", "experiment"), [("seed-1", "summer"), ("seed-2", "spring")])
def test_another_seed_or_experiment_is_independent(seed: str, experiment: str) -> None:
    counts = Counter(
        (bucket("seed-1", "spring", client) // 2_000, bucket(seed, experiment, client) // 2_000)
        for client in CLIENTS
    )
    cells = [counts[one, other] for one in range(5) for other in range(5)]
    assert chi_square_p(cells, [len(CLIENTS) / 25] * 25) > 0.001


def test_a_clients_arm_is_sticky_and_has_its_share(tmp_path: Path) -> None:
    spring = shop(tmp_path, AB)
    arms = [assign(spring, client, "product", NOW) for client in CLIENTS]
    assert arms == [assign(spring, client, "home", datetime(2030, 1, 1, tzinfo=UTC)) for client in CLIENTS]
    counts = Counter(assigned.assignments[0].arm for assigned in arms)
    assert chi_square_p([counts["A"], counts["B"]], [len(CLIENTS) / 2] * 2) > 0.001
    assert {(assigned.assignments[0].arm, assigned.treatment) for assigned in arms} == {
        ("A", "model"),
        ("B", "popular"),
    }


def test_a_client_in_the_holdout_is_in_no_experiment(tmp_path: Path) -> None:
    both = shop(tmp_path, HOLDOUT + AB)
    arms = [assign(both, client, "product", NOW) for client in CLIENTS]
    held = [one for one in arms if one.treatment == "none"]
    assert chi_square_p([len(held), len(arms) - len(held)], [400, 19_600]) > 0.001
    assert {tuple(one.assignments) for one in held} == {(("holdout", "holdout", 200, "holdout"),)}
    shown = {tuple(assignment.arm for assignment in one.assignments) for one in arms if one not in held}
    assert shown == {("shown", "A"), ("shown", "B")}


def test_the_holdout_takes_equally_from_each_arm(tmp_path: Path) -> None:
    both, alone = shop(tmp_path, HOLDOUT + AB), shop(tmp_path, AB)
    held = [client for client in CLIENTS if assign(both, client, "product", NOW).treatment == "none"]
    counts = Counter(assign(alone, client, "product", NOW).assignments[0].arm for client in held)
    assert chi_square_p([counts["A"], counts["B"]], [len(held) / 2] * 2) > 0.001


@pytest.mark.parametrize("client", [None, "a@b.example", "+49301234567", "x y", "é"])
def test_a_client_without_a_plain_id_is_in_no_experiment(tmp_path: Path, client: str | None) -> None:
    """The collector would replace such an id, so nobody could recompute its arm."""
    assert assign(shop(tmp_path, HOLDOUT + AB), client, "product", NOW) == Assigned()


def test_an_experiment_has_its_period_and_its_placements(tmp_path: Path) -> None:
    limits = (
        'name = "spring"\nstart = 2026-12-01T00:00:00Z\nend = 2026-12-08T00:00:00Z\nplacements = ["cart"]'
    )
    spring = shop(tmp_path, AB.replace('name = "spring"', limits))
    inside = [("cart", datetime(2026, 12, 1, tzinfo=UTC)), ("cart", datetime(2026, 12, 7, 23, tzinfo=UTC))]
    outside = [
        ("product", NOW),
        ("cart", datetime(2026, 11, 30, 23, 59, tzinfo=UTC)),
        ("cart", datetime(2026, 12, 8, tzinfo=UTC)),
    ]
    assert all(assign(spring, "c1", place, now).assignments for place, now in inside)
    assert not any(assign(spring, "c1", place, now).assignments for place, now in outside)


SECOND = AB.replace("spring", "summer")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (AB.replace("0.5", "0.4", 1), "spring: the shares of its arms sum to 0.9: they must sum to 1"),
        (AB.replace("0.5", "0.50001", 1), "at most 4 decimals"),
        (AB.replace("popular", "ranked"), "Invalid enum value 'ranked'"),
        (AB.replace('name = "B"', 'name = "A"'), "two arms have the same name"),
        (AB.replace('"seed-1"', '"seed-1"\nplacements = ["basket"]'), "no placement is basket: use product"),
        (AB.replace('"seed-1"', '"seed-1"\nplacements = ["cart", "cart"]'), "a placement is listed twice"),
        (
            AB.replace('"seed-1"', '"s"\nstart = 2026-12-02T00:00:00Z\nend = 2026-12-01T00:00:00Z'),
            "its end is not after its start",
        ),
        (AB.replace('"seed-1"', '"s"\nstart = 2026-12-02T00:00:00'), "timezone"),
        (AB + SECOND, "spring and summer overlap at product, home, cart, category, search"),
        (AB + AB, "spring is the name of two experiments"),
        ('[holdout]\nseed = "h"\nshare = 0.5\n', "<= 0.05"),
        ('[holdout]\nseed = "h"\nname = "spring"\nshare = 0.02\n' + AB, "spring is the name of two"),
        (AB.replace("share = 0.5", "share = 0.5\nshares = 1", 1), "unknown field `shares`"),
        (AB.replace('seed = "seed-1"\n', ""), "missing required field `seed`"),
        (AB[: AB.rindex("[[")].replace("0.5", "1.0"), "arm"),
        (AB.replace('"spring"', '"Spring Sale"'), "regex"),
        ("experiment = 3", "Expected `array`"),
        ("[[experiment", "demo.toml"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ExperimentsError) as raised:
        shop(tmp_path, text)
    assert message in str(raised.value)
    assert "experiments/demo.toml" in str(raised.value)


def test_experiments_one_after_another_or_at_other_placements_do_not_overlap(tmp_path: Path) -> None:
    first = AB.replace('"seed-1"', '"s"\nend = 2026-12-01T00:00:00Z')
    later = SECOND.replace('"seed-1"', '"s"\nstart = 2026-12-01T00:00:00Z')
    assert len(shop(tmp_path, first + later).experiments) == 2
    places = AB.replace('"seed-1"', '"s"\nplacements = ["cart"]') + SECOND.replace(
        '"seed-1"', '"s"\nplacements = ["home"]'
    )
    assert len(shop(tmp_path, places).experiments) == 2


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert shop(tmp_path, f"\ufeff{AB}") == shop(tmp_path, AB)


def test_a_wrong_file_never_fails_a_request(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[[")
    (tmp_path / "demo.toml").write_text(AB)
    assert list(read_experiments(tmp_path)) == ["demo"]


def ask(tmp_path: Path, treatment: str, endpoint: Any = None, **more: str) -> tuple[dict[str, Any], Api]:
    """Ask as a client of an arm with this treatment, next to a model that answers or fails."""
    api = Api()
    two = AB.replace("model", treatment).replace("popular", treatment)
    api.recommender = with_experiments(
        environment(endpoint or FakeEndpoint(good_answer), published()), shop(tmp_path, two)
    )
    query = {"items": "z,a", "k": "5", "shop": "demo", "session": "s1", "client": "c1", **more}
    return api.get(**query), api


def with_experiments(recommender: Any, of_demo: Shop) -> Any:
    return dataclasses.replace(recommender, experiments={"demo": of_demo})


@pytest.mark.parametrize(
    ("treatment", "source", "variant", "items"),
    [
        ("model", "model", "all-traffic", ["m0", "m1", "m2", "m3", "m4"]),
        ("related", "related", "related", ["r1", "b", "r2", "p0", "p1"]),
        ("popular", "popular", "popular", ["p0", "p1", "p2", "p3", "p4"]),
        ("none", "none", "none", []),
    ],
)
def test_each_arm_is_answered_by_its_treatment_and_the_receipt_says_so(
    tmp_path: Path, treatment: str, source: str, variant: str, items: list[str]
) -> None:
    answer, api = ask(tmp_path, treatment, placement="cart")
    assert [item["item_id"] for item in answer["items"]] == items
    assert (answer["source"], answer["variant"]) == (source, variant)
    [arm] = answer["experiments"]
    assert arm["experiment"] == "spring"
    receipt = api.keys.read(answer["receipt"])
    assert receipt is not None
    assert [tuple(one) for one in receipt.assignments] == [("spring", arm["arm"], 5_000, "A")]
    assert (receipt.variant, len(receipt.slots), receipt.placement) == (variant, len(items), "cart")
    assert len(api.recommender.endpoint.questions) == 1, (
        "every arm asks the model, so that all take the same time"
    )


def test_a_fallback_in_the_models_arm_stays_in_that_arm(tmp_path: Path) -> None:
    answer, _ = ask(tmp_path, "model", failing(client_error("ModelError")))
    assert answer["variant"] == "fallback"
    assert answer["experiments"]


def test_an_arm_without_its_lists_gets_the_models_answer_and_stays_in_its_arm(tmp_path: Path) -> None:
    api = Api()
    of_demo = shop(tmp_path, AB.replace("model", "related").replace("popular", "related"))
    api.recommender = with_experiments(api.recommender, of_demo)
    answer = api.get(items="a", k="2", shop="demo", session="s1", client="c1")
    assert answer["source"] == "model"
    assert answer["experiments"]


def test_every_arm_is_refused_alike_before_the_first_model(tmp_path: Path) -> None:
    """If only the model's arm failed, its clients would not be counted."""
    api = Api()
    of_demo = shop(tmp_path, AB.replace("model", "none").replace("popular", "none"))
    api.recommender = with_experiments(
        environment(failing(client_error("ValidationError")), FakeS3()), of_demo
    )
    request = ApiRequest("r", "GET", {"items": "a", "shop": "demo", "session": "s", "client": "c"}, b"")
    assert answer_recommend(request, only(api.recommender), api.keys, Deadline.after(20)).status_code == 503


@pytest.mark.parametrize("missing", ["shop", "session", "client"])
def test_without_the_ids_there_is_no_experiment(tmp_path: Path, missing: str) -> None:
    api = Api()
    api.recommender = with_experiments(api.recommender, shop(tmp_path, AB.replace("popular", "none")))
    query = {"items": "a", "shop": "demo", "session": "s1", "client": "c1"}
    del query[missing]
    answer = api.get(**query)
    assert "experiments" not in answer
    assert answer["source"] == "model"


def test_a_person_who_opted_out_is_in_no_experiment(tmp_path: Path) -> None:
    api = Api()
    api.recommender = with_experiments(
        api.recommender, shop(tmp_path, AB.replace("model", "none").replace("popular", "none"))
    )
    query = {"items": "a", "shop": "demo", "session": "s1", "client": "c1"}
    answer = api.ask(ApiRequest("r", "GET", query, b"", privacy_control=True))
    assert "experiments" not in answer
    assert answer["items"]


def test_the_files_of_the_repository_are_valid() -> None:
    folder = Path(__file__).resolve().parents[4] / "experiments"
    for file in folder.glob("*.toml"):
        parse(file)
    assert BUCKETS == 10_000
