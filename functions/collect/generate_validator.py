"""Writes validator.py from event.schema.json, so that the Lambda neither compiles a schema nor ships a library for it.

python -m functions.collect.generate_validator          # after a change of event.schema.json
python -m functions.collect.generate_validator --check  # exit 1 when validator.py is out of date
"""

import argparse
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCHEMA = HERE / "event.schema.json"
VALIDATOR = HERE / "validator.py"
HEADER = '''"""Generated from event.schema.json by functions/collect/generate_validator.py: change the schema, not this file."""

# ruff: noqa
# mypy: ignore-errors
'''


def validator_source() -> str:
    """Python source of `validate(event)`, which raises SchemaViolation."""
    import fastjsonschema

    code: str = fastjsonschema.compile_to_code(json.loads(SCHEMA.read_text()), detailed_exceptions=False)
    code = re.sub(
        r"^from fastjsonschema import .*$",
        "from functions.collect.violation import SchemaViolation",
        code,
        flags=re.MULTILINE,
    ).replace("JsonSchemaValueException", "SchemaViolation")
    entry = "validate_https___tugboat_example_schemas_event_1"
    if f"def {entry}(" not in code:
        raise SystemExit(f"fastjsonschema no longer names its entry {entry}: adapt {__file__}")
    # json.loads makes no Decimal, and importing it costs a cold start some milliseconds.
    code = code.replace("from decimal import Decimal\n", "").replace(", Decimal", "")
    # The generated code makes the path of every field that it checks, not only of those that break the schema, and notes
    # which are left for a schema that forbids unknown ones: together a third of what an event costs.
    code = re.sub(r'("[^"]*")\.format\(\*\*locals\(\)\)', r"f\1", code)
    code = re.sub(r'\(name_prefix or "data"\) \+ (f?)"\.', r'\1"data.', code)
    code = re.sub(r"^ +\w+_keys\.remove\(.*\)\n", "", code, flags=re.MULTILINE)
    code = re.sub(r"(\w+_keys) = set\((\w+\.keys\(\))\)", r"\1 = \2", code)
    lines = (line for line in code.splitlines() if not line.startswith("VERSION ="))
    return HEADER + "\n".join(lines) + f"\n\nvalidate = {entry}\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m functions.collect.generate_validator --check",
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
        "functions/collect/validator.py is out of date: run python -m functions.collect.generate_validator",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
