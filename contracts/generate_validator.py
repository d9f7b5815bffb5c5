"""Writes validator.py from event.schema.json, so that the Lambda neither compiles a schema nor ships a library for it.

python -m contracts.generate_validator          # after a change of event.schema.json
python -m contracts.generate_validator --check  # exit 1 when validator.py is out of date
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCHEMA = HERE / "event.schema.json"
VALIDATOR = HERE.parent / "functions" / "platform" / "events" / "validator.py"
HEADER = '''"""Generated from event.schema.json by contracts/generate_validator.py: change the schema, not this file."""

# ruff: noqa
# mypy: ignore-errors
import re

from functions.platform.events.violation import SchemaViolation

'''
# What the schema may use; the rest of what stands in it explains.
CHECKED = {
    "type",
    "enum",
    "pattern",
    "maxLength",
    "minimum",
    "maximum",
    "maxItems",
    "items",
    "properties",
    "required",
    "$ref",
}
EXPLAINING = {"$schema", "$id", "title", "description", "definitions"}
# json.loads makes these and nothing derived from them, so that a look at the type is enough, and a bool is no int.
WRONG_TYPE = {
    "object": "type({0}) is not dict",
    "array": "type({0}) is not list",
    "string": "type({0}) is not str",
    "number": "type({0}) is not int and type({0}) is not float",
    "integer": "type({0}) is not int and not (type({0}) is float and {0}.is_integer())",
}


class _Writer:
    """Flat code, which makes the path of a field only if that breaks the schema: every event passes through it."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.definitions = definitions
        self.lines: list[str] = []
        self.patterns: dict[str, str] = {}

    def write(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    def refuse(self, depth: int, condition: str, path: str, told: str) -> None:
        self.write(depth, f"if {condition}:")
        self.refusal(depth + 1, path, told)

    def refusal(self, depth: int, path: str, told: str, more: str = "") -> None:
        text = repr(f"{path} {told}") if "{" not in path else f'f"{path} " {told!r}'
        self.write(depth, f"raise SchemaViolation({text}){more}")

    def value(self, depth: int, schema: dict[str, Any], name: str, path: str) -> None:
        """The checks of what the variable `name` holds."""
        if "$ref" in schema:
            schema = self.definitions[schema["$ref"].removeprefix("#/definitions/")]
        if unknown := schema.keys() - CHECKED - EXPLAINING:
            raise SystemExit(f"{path} uses {', '.join(sorted(unknown))}: teach {__file__} to check it")
        self.refuse(depth, WRONG_TYPE[schema["type"]].format(name), path, f"must be {schema['type']}")
        if allowed := schema.get("enum"):
            listed = ", ".join(map(repr, allowed))
            self.refuse(depth, f"{name} not in {{{listed}}}", path, f"must be one of [{listed}]")
        if "pattern" in schema:
            pattern = schema["pattern"]
            matches = self.patterns.setdefault(pattern, f"_matches_{len(self.patterns) + 1}")
            self.refuse(depth, f"not {matches}({name})", path, f"must match pattern {pattern}")
        for keyword, condition, told in (
            ("maxLength", "len({0}) > {1}", "must be shorter than or equal to {1} characters"),
            ("minimum", "{0} < {1}", "must be bigger than or equal to {1}"),
            ("maximum", "{0} > {1}", "must be smaller than or equal to {1}"),
            ("maxItems", "len({0}) > {1}", "must contain less than or equal to {1} items"),
        ):
            if keyword in schema:
                limit = schema[keyword]
                self.refuse(depth, condition.format(name, limit), path, told.format(name, limit))
        if "items" in schema:
            self.write(depth, f"for at, item in enumerate({name}):")
            self.value(depth + 1, schema["items"], "item", path + "[{at}]")
        if "properties" in schema:
            self.fields(depth, schema, name, path)

    def fields(self, depth: int, schema: dict[str, Any], name: str, path: str) -> None:
        required = schema["required"]
        self.write(depth, "try:")
        for field in required:
            self.write(depth + 1, f'{name}_{field} = {name}["{field}"]')
        self.write(depth, "except KeyError:")
        self.refusal(depth + 1, path, "must contain ", " from None")
        for field, described in schema["properties"].items():
            if field in required:
                self.value(depth, described, f"{name}_{field}", f"{path}.{field}")
            else:
                self.write(depth, f'if "{field}" in {name}:')
                self.write(depth + 1, f'{name}_{field} = {name}["{field}"]')
                self.value(depth + 1, described, f"{name}_{field}", f"{path}.{field}")


def validator_source() -> str:
    """Python source of `validate(event)`, which raises SchemaViolation."""
    schema = json.loads(SCHEMA.read_text())
    writer = _Writer(schema["definitions"])
    writer.value(1, schema, "data", "data")
    # In JSON Schema `$` is the end of the text; in Python's it may have a line break after it.
    ends = {name: re.sub("[$]$", r"\\Z", pattern) for pattern, name in writer.patterns.items()}
    patterns = [f"{name} = re.compile({pattern!r}).search\n" for name, pattern in ends.items()]
    names = {
        "EVENT_FIELDS": schema["properties"],
        "ITEM_FIELDS": schema["properties"]["items"]["items"]["properties"],
        "REQUIRED_FIELDS": schema["required"],
    }
    constants = [f"{name} = frozenset({list(fields)!r})\n" for name, fields in names.items()]
    return (
        HEADER + "".join(constants + patterns) + "\n\ndef validate(data):\n" + "\n".join(writer.lines) + "\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m contracts.generate_validator --check",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when validator.py is out of date"
    )
    if not parser.parse_args().check:
        VALIDATOR.write_text(validator_source())
        return 0
    if VALIDATOR.read_text() == validator_source():
        return 0
    print(
        "functions/platform/events/validator.py is out of date: run python -m contracts.generate_validator",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
