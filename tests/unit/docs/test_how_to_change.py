"""docs/how-to-change.md: at most four files per change, and every file and command that it names exists."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

import contracts

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = (REPOSITORY / "docs" / "how-to-change.md").read_text()
CHANGES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def files(section: str) -> list[str]:
    """Return the files of the numbered list."""
    return re.findall(r"^\d\. `([^`]+)`", section, re.MULTILINE)


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def test_the_page_has_the_seven_usual_changes() -> None:
    assert list(CHANGES) == [
        "An event kind",
        "A business rule in /recommend",
        "A dbt mart",
        "A behavioural check of the gate",
        "The model",
        "A deploy setting",
        "A Lambda",
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_touches_at_most_four_files_and_each_of_them_has_a_place(change: str) -> None:
    named = files(CHANGES[change])
    assert 1 <= len(named) <= 4
    for name in named:
        # A new file is written beside existing ones of its kind.
        assert [*REPOSITORY.glob(name.replace("NAME", "*"))], f"{change}: {name} has no place"


@pytest.mark.parametrize("change", CHANGES)
def test_the_commands_of_a_change_exist_and_one_runs_tests(change: str) -> None:
    commands = "\n".join(blocks(CHANGES[change], "sh"))
    for target in re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE):
        assert f"\n{target}:" in MAKEFILE
    modules = re.findall(r"^python -m ([\w.]+)", commands, re.MULTILINE)
    assert "pytest" in modules
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []
    for path in re.findall(r"\btests/[\w/.]+", commands):
        assert (REPOSITORY / path).exists(), f"{change}: {path} does not exist"


def test_the_annotations_of_an_event_kind_are_all_explained() -> None:
    used = {name for kind in contracts.read("event_kinds").values() for name in kind}
    explained = set(re.findall(r"^\| `(\w+)` \|", CHANGES["An event kind"], re.MULTILINE))
    assert explained == used - {"sent_when", "used_for"}


def test_the_examples_can_be_read() -> None:
    [kind] = blocks(CHANGES["An event kind"], "json")
    assert json.loads("{" + kind + "}")["add_to_wishlist"].keys() <= {
        name for kind in contracts.read("event_kinds").values() for name in kind
    }
    [mart] = blocks(CHANGES["A dbt mart"], "yaml")
    assert yaml.safe_load(mart)["models"][0]["description"].startswith("Grain: one ")
