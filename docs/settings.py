"""Write docs/settings.md from the settings in the code: stages, Lambda environments, hyperparameters and thresholds.

python -m docs.settings          # after a change of a setting
python -m docs.settings --check  # exit 1 if docs/settings.md is out of date
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec import inspect as msgspec_inspect
from pydantic import TypeAdapter

from deploy.lambdas import SETTINGS_CLASSES
from deploy.stages import SETTINGS, STAGES_FILE, Stage
from training_jobs.train import parser as hyperparameters

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"
THRESHOLDS = sorted(
    path for folder in ("functions", "training_jobs") for path in (ROOT / folder).rglob("thresholds.json")
)


def _table(*rows: Iterable[object]) -> str:
    """Return a Markdown table, the first row its head."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    cells.insert(1, ["---"] * len(cells[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _allowed(schema: dict[str, Any]) -> str:
    """Return the values that a JSON schema allows, in words."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    parts = [
        {"integer": "whole number", "boolean": "true or false", "string": "text"}.get(schema["type"], "table")
    ]
    parts += [
        f"{word} {schema[key]:,}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema
    ]
    parts += [f"matching `{schema['pattern']}`"] if "pattern" in schema else []
    return " ".join(parts)


def _stages() -> str:
    tables = tomllib.loads(STAGES_FILE.read_text())
    schemas = TypeAdapter(Stage).json_schema()["properties"]
    stages = [name for name in tables if name != "default"]
    rows = [
        [f"`{key}`", _allowed(schemas[key]), f"`{json.dumps(tables['default'][key])}`"]
        + [f"`{json.dumps(tables[stage][key])}`" if key in tables[stage] else "" for stage in stages]
        for key in tables["default"]
        if key in SETTINGS and key != "shops"
    ]
    return _table(["setting", "values", "default", *stages], *rows)


def _environments() -> str:
    rows = []
    for concern in SETTINGS_CLASSES.values():
        described = msgspec_inspect.type_info(concern)
        assert isinstance(described, msgspec_inspect.StructType)
        rows += [
            [f"`{field.encode_name}`", f"`{concern.__name__}`", _of_field(field.type)]
            for field in described.fields
        ]
    return _table(["variable", "read by", "values"], *rows)


def _of_field(kind: msgspec_inspect.Type) -> str:
    match kind:
        case msgspec_inspect.IntType(ge=lowest, le=None):
            return f"whole number from {lowest:,}"
        case msgspec_inspect.IntType(ge=lowest, le=highest):
            return f"whole number from {lowest:,} to {highest:,}"
        case msgspec_inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case msgspec_inspect.StrType():
            return "text"
        case _:
            return "`shop=key`, separated by commas"


def _hyperparameters() -> str:
    actions = [action for action in hyperparameters()._actions if action.dest != "help"]
    return _table(
        ["hyperparameter", "default", "meaning"],
        # Paths default to variables that SageMaker sets, which differ by machine.
        *(
            [
                f"`{action.option_strings[-1]}`",
                _default(action.default),
                (action.help or "").replace("\n", " "),
            ]
            for action in actions
        ),
    )


def _default(value: object) -> str:
    return f"`{value}`" if isinstance(value, int | float) else "none"


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


def page() -> str:
    """Return the text of docs/settings.md."""
    thresholds = "\n".join(
        f"### {path.relative_to(ROOT).as_posix()}\n\n"
        + _table(
            ["threshold", "value"],
            *((f"`{key}`", f"`{value}`") for key, value in _leaves(json.loads(path.read_text()))),
        )
        for path in THRESHOLDS
    )
    return f"""# Settings

`python -m docs.settings` writes this page, and `make check` compares it with the code.

## Stages

These keys are in `deploy/stages.toml`.
An empty cell means the default.
`[<stage>.shops]` lists each shop's keys.

{_stages()}
## Environment of the Lambdas

`make deploy` writes these variables into `.chalice/config.json`.
A function has the variables of the settings that it reads.

{_environments()}
## Hyperparameters of the training job

They are options of `python -m training_jobs.train`, and `hyperparameters` in the input of an execution.

{_hyperparameters()}
## Thresholds

A run that crosses one of these limits fails its gate.

{thresholds}"""


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m docs.settings --check",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is out of date"
    )
    if not parser.parse_args().check:
        PAGE.write_text(page())
        return 0
    if not PAGE.exists() or PAGE.read_text() != page():
        print("docs/settings.md is out of date: run python -m docs.settings", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
