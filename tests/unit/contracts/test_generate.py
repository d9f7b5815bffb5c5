"""make generate: everything derived from contracts/ is up to date, and an event kind stands in one place."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import contracts
from contracts import generate, modules

SCHEMA = contracts.read("event.schema")
OF_PRODUCTS = ("functions/platform/product.py", "docs/catalogue.md")


@pytest.mark.parametrize("name", generate.TARGETS)
def test_a_generated_file_is_up_to_date(name: str) -> None:
    assert (contracts.REPOSITORY / name).read_text() == generate.TARGETS[name]()


def test_check_names_an_outdated_file_and_writes_nothing_and_generate_repairs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "contract.py"
    stale.write_text("stale")
    monkeypatch.setattr(contracts, "REPOSITORY", tmp_path)
    monkeypatch.setattr(generate, "TARGETS", {"contract.py": lambda: "fresh"})
    assert generate.main(["--check"]) == 1
    assert "contract.py is out of date: run make generate" in capsys.readouterr().err
    assert stale.read_text() == "stale"
    assert generate.main([]) == 0
    assert stale.read_text() == "fresh"
    assert generate.main(["--check"]) == 0


def test_a_new_event_kind_reaches_every_derived_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kinds = contracts.read("event_kinds")
    wish = {
        "sent_when": "a product is put on a wish list",
        "used_for": "sessions",
        "concerns_items": True,
        "requires_items": True,
        "counts_as_shopping": True,
        "strength": 1.5,
    }
    for file in contracts.FOLDER.glob("*.json"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "event_kinds.json").write_text(json.dumps({**kinds, "add_to_wishlist": wish}))
    monkeypatch.setattr(contracts, "FOLDER", tmp_path)
    (tmp_path / "event.schema.json").write_text(generate.schema_text())
    texts = {name: write() for name, write in generate.TARGETS.items() if name not in OF_PRODUCTS}
    assert [name for name, text in texts.items() if "add_to_wishlist" not in text] == []
    assert contracts.training_events() == ["view_item", "add_to_wishlist", "add_to_cart", "purchase"]


def test_a_section_that_a_file_lost_is_an_error_that_names_it() -> None:
    with pytest.raises(SystemExit, match="item fields"):
        generate.replaced("no markers here", "item fields", "| a table |\n")


def test_a_schema_with_a_keyword_that_no_annotation_is_generated_for_is_an_error() -> None:
    grown: dict[str, Any] = {
        **SCHEMA,
        "properties": {**SCHEMA["properties"], "coupon": {"type": "string", "minLength": 2}},
    }
    with pytest.raises(SystemExit, match=r"Event\.coupon uses minLength"):
        modules.event_module(grown)


def test_the_state_machine_reads_no_field_that_a_step_does_not_return() -> None:
    states = json.loads((contracts.REPOSITORY / "statemachine" / "pipeline.asl.json").read_text())["States"]
    variables = {
        "load": "load",
        "transform": "transform",
        "validation": "validate",
        "snapshot": "export",
        "release": "publish",
        "proof": "prove",
    }
    results = contracts.read("step_results")
    text = json.dumps(states)
    for variable, step in variables.items():
        read = set(re.findall(rf"\${variable}\.(\w+)", text))
        assert read <= results[step].keys(), step


def test_no_product_code_imports_the_contracts_package() -> None:
    product = [contracts.REPOSITORY / "app.py"]
    for folder in ("functions", "training_jobs"):
        product += (contracts.REPOSITORY / folder).rglob("*.py")
    importing = [file for file in product if "import contracts" in file.read_text()]
    assert importing == []
