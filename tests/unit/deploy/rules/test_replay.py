"""make rules and make check-rules: sessions are replayed, an empty carousel refuses the rules, and a good set is stored."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from deploy.rules import page
from deploy.rules.replay import Question, Replay, replay
from deploy.rules.sessions import sessions_of
from deploy.rules.stored import (
    RulesRefused,
    question,
    refuse_empty,
    release_of,
    served_rules,
    upload,
)
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import CatalogueState
from functions.platform.releases import Release
from functions.platform.s3_keys import current_key, fallback_key, rules_key
from functions.recommend.fallback import Fallback
from functions.recommend.rules.model import Boost, Pin, Rule, RuleSet, Selector, When, decode
from testing.fakes import FakeEndpoint, FakeS3
from tests.unit.functions.publish.test_publish import archive

NOW_MS = 1_780_000_000_000
HOUR_MS = 3_600_000
MODEL = [(f"m{n}", 1 / (n + 2)) for n in range(30)]
POPULAR = [f"p{n}" for n in range(30)]
ARCHIVE_URI = "s3://models/serving/releases/r1/model.tar.gz"
RELEASE = Release("tugboat-test", "c", "m", "m1", ARCHIVE_URI, "run-1", "run-1", "t", "demo")


def state() -> CatalogueState:
    editor = CatalogueEditor()
    for place, (item_id, _) in enumerate(MODEL):
        fields = {
            "availability": "in_stock",
            "brand": "Anchor" if place % 3 else "Buoy",
            "category": "shoes/boots",
        }
        editor.change(item_id, fields)
    return editor.state(NOW_MS)


def asked(catalogue: CatalogueState | None = None) -> Question:
    sessions: list[list[str]] = [[], ["a"], ["a", "m3"]]
    return Question(sessions, "made up", [MODEL] * 3, Fallback(POPULAR, {"a": ["m5"]}, "m1"), catalogue)


def replayed(*rules: Rule, catalogue: CatalogueState | None = None, served: tuple[Rule, ...] = ()) -> Replay:
    return replay(asked(catalogue), RuleSet("demo", "new", rules), RuleSet("demo", "old", served), NOW_MS)


def test_the_same_rules_change_nothing() -> None:
    hero = Rule("hero", pin=Pin(1, "p3"))
    found = replayed(hero, served=(hero,))
    assert (found.cases, found.carousels, found.changed, found.changes, found.empty) == (6, 6, 0, [], [])


def test_the_carousels_that_change_most_come_first_with_what_changed_them() -> None:
    found = replayed(Rule("hero", pin=Pin(4, "p3")), Rule("not-m3", remove=Selector(items=("m0", "m2"))))
    assert (found.changed, found.short) == (5, 0), "p3 has the fourth slot of the popular items already"
    assert [change.items for change in found.changes] == [[], ["a"], ["a", "m3"]]
    weights = [change.weight for change in found.changes]
    assert weights == sorted(weights, reverse=True)
    assert found.changes[0].after.effects == {"hero": {"pinned": 1}, "not-m3": {"removed": 2}}
    assert {use.rule.id: use.carousels for use in found.uses} == {"hero": 6, "not-m3": 3}


def test_a_rule_set_that_empties_a_carousel_is_refused_with_the_session_and_the_rule() -> None:
    nothing = Rule("sale-only", when=When(placements=("cart",)), only=Selector(items="none-such"))
    found = replayed(nothing)
    assert {change.moment.placement for change in found.empty} == {"cart"}
    with pytest.raises(RulesRefused) as raised:
        refuse_empty(found)
    message = str(raised.value)
    assert "empty 6 of 48 carousels" in message
    assert "placement cart, session an empty session: sale-only removes 60" in message


def test_a_sale_that_has_not_begun_is_replayed_at_its_begin_and_its_end() -> None:
    sale = Rule(
        "sale", from_ms=NOW_MS + HOUR_MS, until_ms=NOW_MS + 2 * HOUR_MS, only=Selector(items="none-such")
    )
    found = replayed(sale)
    assert [moment.now_ms - NOW_MS for moment in found.moments] == [0, HOUR_MS, 2 * HOUR_MS]
    assert {change.moment.now_ms - NOW_MS for change in found.empty} == {HOUR_MS}


def test_a_misspelt_value_and_a_rule_without_effect_are_noted() -> None:
    found = replayed(
        Rule("own", boost=Boost(Selector(brand="anchor", category=("shoes", "shoe")), 2)),
        Rule("gone", pin=Pin(1, "m99")),
        catalogue=state(),
    )
    assert "own: no product has the brand anchor (there is Anchor)" in found.warnings
    assert "own: no product has the category shoe (there is shoes)" in found.warnings
    assert not any("category shoes" in warning for warning in found.warnings)
    assert "gone: the catalogue has no item m99" in found.warnings
    assert "own changed none of the replayed carousels" in found.warnings


def test_rules_on_facts_of_a_shop_without_a_catalogue_are_noted() -> None:
    assert any("no catalogue yet" in one for one in replayed(Rule("a", remove=Selector(brand="x"))).warnings)
    assert not any("catalogue" in one for one in replayed(Rule("a", remove=Selector(items="m1"))).warnings)


def test_the_page_shows_both_sides_and_escapes_names() -> None:
    found = replayed(Rule("hero", pin=Pin(1, "<b>x</b>")), catalogue=state())
    html = page.render(found, state(), "dev")
    assert "pinned by hero" in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "<b>x</b>" not in html.replace("<b><b>", "")
    assert "Anchor, shoes/boots" in html
    assert "6 of 6 carousels change, none is empty" in "\n".join(page.summary(found))


def snapshot(s3: FakeS3, rows: list[tuple[int, int, str, int]], last_ms: int) -> None:
    columns = ("SESSION_ID", "POSITION", "ITEM_ID", "EVENT_TIME_MS")
    table = pa.table(
        {
            "SHOP_ID": ["demo"] * len(rows),
            **{name: [row[n] for row in rows] for n, name in enumerate(columns)},
        }
    )
    body = io.BytesIO()
    parquet.write_table(table, body)
    s3.objects["models", "exports/run-1/interactions/data_0.parquet"] = body.getvalue()
    s3.objects["models", "exports/run-1/manifest.json"] = json.dumps({"last_event_time_ms": last_ms}).encode()


def test_the_sessions_are_those_of_the_last_week_and_the_same_ones_again() -> None:
    s3 = FakeS3()
    day = 24 * HOUR_MS
    rows = [(n, place, f"i{n}-{place}", NOW_MS - n * day) for n in range(14) for place in (1, 0)]
    snapshot(s3, rows, NOW_MS)
    found = sessions_of(RELEASE, 100, s3, "models")
    assert len(found.items) == 8
    assert {items[0] for items in found.items} == {f"i{n}-0" for n in range(8)}
    assert "last week" in found.source
    assert sessions_of(RELEASE, 100, s3, "models") == found
    assert len(sessions_of(RELEASE, 3, s3, "models").items) == 3


def stage_with_model() -> FakeS3:
    s3 = FakeS3()
    record: dict[str, Any] = {"release": {**RELEASE.__dict__}, "previous": None}
    s3.objects["models", current_key("demo")] = json.dumps(record).encode()
    s3.objects["models", fallback_key("demo")] = json.dumps(
        {"popular": POPULAR, "related": {}, "model_version": "m1"}
    ).encode()
    s3.objects["models", "serving/releases/r1/model.tar.gz"] = archive("m1")
    return s3


def model(_: dict[str, Any]) -> dict[str, Any]:
    return {"items": [{"item_id": item_id, "score": score} for item_id, score in MODEL]}


def test_without_a_snapshot_the_golden_sessions_are_replayed_and_an_empty_session_always() -> None:
    s3, endpoint = stage_with_model(), FakeEndpoint(model)
    release = release_of(s3, "models", "demo")
    assert release is not None
    found = question("demo", release, 100, s3, "models", endpoint)
    assert found.source == "the model's golden sessions"
    assert found.sessions[0] == []
    assert {one["k"] for one in endpoint.questions} == {100}
    assert len(found.candidates) == len(found.sessions) == len(endpoint.questions)


def test_a_model_of_another_shop_is_not_asked() -> None:
    assert release_of(stage_with_model(), "models", "serenade") is None


def test_an_uploaded_set_is_what_recommend_reads_and_each_revision_stays() -> None:
    s3 = FakeS3()
    for revision, rules in (("r1", ()), ("r2", (Rule("hero", pin=Pin(1, "p3")),))):
        upload(RuleSet("demo", revision, rules), s3, "models")
    assert decode(s3.objects["models", rules_key("demo")]).revision == "r2"
    assert decode(s3.objects["models", rules_key("demo", "r1")]).revision == "r1"
    assert served_rules(s3, "models", "demo").revision == "r2"
    s3.objects["models", rules_key("demo")] = b"{"
    assert served_rules(s3, "models", "demo").rules == ()


def test_the_page_is_one_file_without_addresses(tmp_path: Path) -> None:
    html = page.render(replayed(Rule("hero", pin=Pin(1, "p3"))), None, "dev")
    assert "http" not in html
    assert "src=" not in html
