"""The files that are built from the storefront's sources, and their sizes."""

import gzip
import json
import re

import pytest

from storefront.sdk import build, contract


def test_every_built_file_is_what_its_sources_make() -> None:
    assert {path.name: path.read_text() == text for path, text in build.built().items()} == {
        "tugboat.js": True,
        "tugboat-carousel.js": True,
        "tugboat.d.ts": True,
    }


def test_the_sdk_weighs_at_most_six_kilobytes_gzipped() -> None:
    assert len(gzip.compress((build.DIST / "tugboat.js").read_bytes())) <= 6_000


def test_the_check_fails_when_a_built_file_is_out_of_date(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "TYPES", build.HERE / "carousel.css")
    assert build.main(["--check"]) == 1
    assert "carousel.css is out of date: run python -m storefront.sdk.build" in capsys.readouterr().err


def test_the_check_passes_on_the_repository_as_it_is() -> None:
    assert build.main(["--check"]) == 0


def test_the_scripts_hold_nothing_that_a_strict_policy_forbids() -> None:
    for name in build.MAX_GZIP_BYTES:
        script = (build.DIST / name).read_text()
        assert not re.search(r"\beval\b|new Function|innerHTML|outerHTML|document\.write|import\(", script)


def test_names_of_the_script_s_own_are_shortened() -> None:
    script = build.scoped("const LIMIT = 3; let some = [LIMIT]; call(...some, {limit: LIMIT}, some);")
    assert not re.search(r"\b(LIMIT|some)\b", script)
    assert "limit:" in script


@pytest.mark.parametrize(
    "use",
    [
        "thing.some",
        "thing?.some",
        "({some:1})",
        "({some})",
        "f({a,some})",
        "'some'",
        '"not some"',
        "`a some`",
    ],
)
def test_a_name_that_is_a_property_or_in_a_text_too_stays_as_it_is(use: str) -> None:
    script = build.scoped(f"let some = call(); call({use}, some);")
    assert len(re.findall(r"\bsome\b", script)) == 1


def test_the_types_name_every_event_and_every_field_of_the_contract() -> None:
    schema = contract.read_schema()
    types = build.TYPES.read_text()
    for event_name in schema["properties"]["event_name"]["enum"]:
        assert f'| "{event_name}"' in types
    for field in schema["properties"]:
        assert re.search(rf"^  {field}\??: ", types, re.MULTILINE)
    for field in schema["properties"]["items"]["items"]["properties"]:
        assert re.search(rf"^  {field}\??: ", types, re.MULTILINE)


def test_the_sdk_knows_the_contract_s_events_and_fields_and_lets_no_page_set_what_it_stamps() -> None:
    constants = dict(re.findall(r"const (\w+) = (.*);", contract.javascript(contract.read_schema())))
    schema = contract.read_schema()
    assert json.loads(constants["EVENT_NAMES"]) == schema["properties"]["event_name"]["enum"]
    fields = json.loads(constants["FIELDS"])
    assert set(fields) - {"__proto__"} == set(schema["properties"]) - set(contract.STAMPED)
    assert (fields["value"], fields["items"], fields["search_term"]) == ("amount", "items", "text")
