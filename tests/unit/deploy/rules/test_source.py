"""rules/<shop>.yaml: values keep their type, times have a zone, and every problem is named with its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.rules.check import check
from deploy.rules.source import FOLDER, Written, WrongRules, read
from deploy.shop_files import shops_of_all_stages
from functions.recommend.rules.model import Range, Rule, Selector


def written(tmp_path: Path, text: str) -> Written:
    file = tmp_path / "demo.yaml"
    file.write_text(text, "utf-8")
    return read(file)


def rules(tmp_path: Path, text: str) -> tuple[Rule, ...]:
    return written(tmp_path, text).rule_set.rules


def milliseconds(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


def test_the_files_of_the_repository_are_valid_and_of_shops() -> None:
    assert {"demo"} <= check(shops_of_all_stages()).keys()
    assert (FOLDER / "README.md").exists()


def test_ids_brands_and_numbers_keep_what_the_author_wrote(tmp_path: Path) -> None:
    [rule] = rules(
        tmp_path,
        "rules: [{id: a, remove: {items: [0123, 1e3, 12:30], brand: NO, price: {max: 9.90}, in_stock: true}}]",
    )
    assert rule.remove == Selector(
        items=("0123", "1e3", "12:30"), brand="NO", price=Range(max=9.9), in_stock=True
    )


def test_a_time_is_of_the_files_zone_or_of_its_own(tmp_path: Path) -> None:
    [local, own, utc] = rules(
        tmp_path,
        "time_zone: Europe/Berlin\nrules:\n"
        "- {id: a, pin: {slot: 1, items: x}, from: 2026-12-01 12:00, until: 2026-07-01 12:00:30}\n".replace(
            "until: 2026-07", "until: 2027-07"
        )
        + "- {id: b, pin: {slot: 1, items: x}, from: '2026-12-01T12:00-05:00'}\n"
        "- {id: c, pin: {slot: 1, items: x}, from: 2026-12-01T12:00Z}\n",
    )
    assert (local.from_ms, local.until_ms) == (
        milliseconds(2026, 12, 1, 11),
        milliseconds(2027, 7, 1, 10, 0, 30),
    )
    assert own.from_ms == milliseconds(2026, 12, 1, 17)
    assert utc.from_ms == milliseconds(2026, 12, 1, 12)


def test_the_revision_names_the_content_and_not_its_spelling(tmp_path: Path) -> None:
    one = written(tmp_path, "rules: [{id: a, remove: {brand: x}}]").rule_set.revision
    assert written(tmp_path, "# why\nrules:\n- id: a\n  remove:\n    brand: 'x'\n").rule_set.revision == one
    assert written(tmp_path, "rules: [{id: a, remove: {brand: y}}]").rule_set.revision != one


def test_no_rule_is_a_set_too(tmp_path: Path) -> None:
    assert rules(tmp_path, "rules: []") == rules(tmp_path, "rules:\n") == ()


PIN = "pin: {slot: 1, items: x}"
BERLIN = "time_zone: Europe/Berlin\nrules:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules:\n- id: a\n  remov: {brand: x}", "demo.yaml:3: rule a: the unknown key remov, do you mean remove"),
        ("rules:\n- id: a\n  remove:\n    brnd: x", "demo.yaml:4: rule a: the unknown key brnd, do you mean brand"),
        ("rules:\n- id: a\n  pin: {slot: first, items: x}", "demo.yaml:3: rule a: `pin.slot`: Expected `int`"),
        ("rules:\n- id: a\n  pin: {slot: 0, items: x}", "rule a: `pin.slot`: Expected `int` >= 1"),
        ("rules:\n- id: a\n  pin: {slot: 101, items: x}", "rule a: `pin.slot`: Expected `int` <= 100"),
        ("rules:\n- id: a\n  boost: {match: {brand: x}, by: 1}", "rule a: `boost.by`: Expected `float` > 1"),
        ("rules:\n- id: a\n  boost: {match: {brand: x}, by: nan}", "rule a: `boost.by`"),
        ("rules:\n- id: a\n  remove: {items: []}", "rule a: `remove.items`: Expected `array` of length >= 1"),
        ("rules:\n- id: a\n  remove: {}", "rule a: `remove` has no criterion"),
        ("rules:\n- id: a\n  remove: {price: {}}", "rule a: `remove.price` has neither `min` nor `max`"),
        ("rules:\n- id: a\n  remove: {price: {min: 3, max: 2}}", "a `min` above its `max`"),
        ("rules:\n- id: a", "demo.yaml:2: rule a: has no action: give it one of remove, only, pin"),
        (f"rules:\n- id: a\n  {PIN}\n  remove: {{brand: x}}", "has the actions remove and pin"),
        (f"rules:\n- id: a\n  {PIN}\n  unknown: remove", "`unknown` belongs to `remove` and `only`"),
        (f"rules:\n- id: A b\n  {PIN}", "rule A b: `id`: Expected `str` matching"),
        (f"rules:\n- {PIN}", "demo.yaml:2: rule 1: Object missing required field `id`"),
        (f"rules:\n- id: out-of-stock\n  {PIN}", "is that of the catalogue's own stock"),
        (f"rules:\n- id: a\n  {PIN}\n- id: a\n  {PIN}", "demo.yaml:4: the rule of line 2 has the id a too"),
        (f"rules:\n- id: a\n  id: b\n  {PIN}", "demo.yaml:3: the key id is here twice"),
        (f"rules:\n- id: a\n  when: {{placements: [basket]}}\n  {PIN}", "no placement is basket: use product"),
        (f"rules:\n- id: a\n  when: {{k: {{min: 200}}}}\n  {PIN}", "`when.k` contains no number"),
        ("rules:\n- id: a\n  limit: {max: 3}", "`limit` has neither `per` nor `match`"),
        ("rules:\n- id: a\n  limit: {max: 3, per: color}", "rule a: `limit.per`: Expected `str` matching"),
        ("rules:\n- id: a\n  limit: {max: 3, per: brand, level: 2}", "only categories have"),
        ("rules:\n- id: a\n  margin: {strength: 2}", "rule a: `margin.strength`: Expected `float` <= 1"),
        ("rules:\n- id: a\n  never_with: {match: {brand: x}}", "missing required field `with`"),
        (f"{BERLIN}- id: a\n  {PIN}\n  from: 2026-12-01", "demo.yaml:5: rule a: `from` is 2026-12-01: write a day and a time"),
        (f"{BERLIN}- id: a\n  {PIN}\n  from: 2027-03-28 02:30", "which the clocks of Europe/Berlin skip"),
        (f"{BERLIN}- id: a\n  {PIN}\n  from: 2026-10-25 02:30", "show twice: add an offset"),
        (f"{BERLIN}- id: a\n  {PIN}\n  from: 2026-13-01 12:00", "`from` is 2026-13-01 12:00: month"),
        (f"rules:\n- id: a\n  {PIN}\n  from: 2026-12-01 12:00", "has no time zone: add `time_zone:"),
        (f"{BERLIN}- id: a\n  {PIN}\n  from: 2026-12-02 12:00\n  until: 2026-12-01 12:00", "`until` is not after"),
        (f"rules:\n- id: a\n  {PIN}\n  from_ms: 5", "the unknown key from_ms"),
        ("time_zone: Berlin\nrules: []", "demo.yaml:1: no time zone is Berlin"),
        ("rule: []", "the unknown key rule: use time_zone and rules"),
        ("rules: {a: b}", "`rules` is no list"),
        ("rules: [a]", "a rule has keys such as"),
        ("- a", "begin with `rules:`"),
        ("rules: [", "demo.yaml:1: no YAML"),
        ("rules: &a [*a]", "no YAML"),
        ("", "has no key `rules`"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_the_line_and_the_correction(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(WrongRules) as raised:
        written(tmp_path, text)
    assert message in str(raised.value)
    assert "rules/demo.yaml:" in str(raised.value)


def test_all_problems_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(WrongRules) as raised:
        written(tmp_path, "rules:\n- id: a\n- id: b\n  pin: {slot: 0, items: x}\n")
    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == ["2", "4"]


def test_a_file_of_no_shop_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nobody.yaml").write_text("rules: []")
    (tmp_path / "demo.yml").write_text("rules: []")
    with pytest.raises(WrongRules) as raised:
        check(["demo"], tmp_path)
    assert "no stage has a shop 'nobody'" in str(raised.value)
    assert "rules/demo.yml is no .yaml file" in str(raised.value)


def test_a_missing_file_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(WrongRules, match=r"there is no rules/demo.yaml: write one"):
        read(tmp_path / "demo.yaml")
