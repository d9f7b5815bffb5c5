"""Write every file that is derived from contracts/*.json, or check that none is out of date.

TARGETS lists the files.

    python -m contracts.generate          # after a change in contracts/, a part of `make generate`
    python -m contracts.generate --check  # write nothing; exit 1 if a file is out of date
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import contracts
from contracts import document, modules, openapi, python_sdk

BEGIN = r"(?P<begin>^[^\n]*generated: {name}\b[^\n]*\n)"
END = r"(?P<end>^[^\n]*end of generated\b)"


def schema_text() -> str:
    """Return event.schema.json with the event kinds of event_kinds.json."""
    text = (contracts.FOLDER / "event.schema.json").read_text("utf-8")
    kinds = json.dumps(contracts.event_kinds())
    return re.sub(r'("event_name": \{[^}]*"enum": )\[[^\]]*\]', lambda found: found[1] + kinds, text, count=1)


def dbt_project_text() -> str:
    """Return sql/dbt_project.yml with the event kinds and the fields of products as dbt variables."""
    text = (contracts.REPOSITORY / "sql" / "dbt_project.yml").read_text("utf-8")
    product = contracts.read("product.schema")["properties"]
    lists = {
        "event_names": contracts.event_kinds(),
        "item_events": contracts.event_kinds("concerns_items"),
        "order_events": contracts.event_kinds("concerns_orders"),
        "exposure_events": contracts.event_kinds("records_exposure"),
        "training_events": contracts.training_events(),
        "placements": contracts.placements(),
        "availabilities": product["availability"]["enum"],
        # Without the ids, which are the key.
        "product_fields": [name for name in product if name not in ("shop_id", "item_id")],
    }
    lines = [f"  {name}:\n" + "".join(f"    - {kind}\n" for kind in kinds) for name, kinds in lists.items()]
    return replaced(text, "lists of contracts", "".join(lines))


def replaced(text: str, name: str, content: str) -> str:
    """Return the text with new lines between the markers `generated: <name>` and `end of generated`.

    Raises:
        SystemExit: the text has no such markers.
    """
    section = re.compile(BEGIN.format(name=re.escape(name)) + ".*?" + END, re.DOTALL | re.MULTILINE)
    new_text, count = section.subn(lambda found: found["begin"] + content + found["end"], text)
    if count != 1:
        raise SystemExit(f"{count} sections are marked `generated: {name}`, one is needed")
    return new_text


def documentation_text(page: str) -> str:
    """Return a page of docs/ with its generated tables."""
    text = (contracts.REPOSITORY / page).read_text("utf-8")
    for name, table in document.SECTIONS[page].items():
        text = replaced(text, name, table())
    return text


# In order: later files are derived from earlier ones.
TARGETS: dict[str, Callable[[], str]] = {
    "contracts/event.schema.json": schema_text,
    "functions/platform/events/event.py": modules.event_module,
    "functions/platform/product.py": modules.product_module,
    "functions/platform/contract.py": modules.functions_module,
    "training_jobs/serving/contract.py": modules.training_module,
    "sql/dbt_project.yml": dbt_project_text,
    "functions/scripts/openapi.json": openapi.openapi_text,
    "clients/python/src/tugboat_events/contract.py": python_sdk.sdk_module,
    **{page: partial(documentation_text, page) for page in document.SECTIONS},
}


def outdated(repository: Path, write: bool) -> list[str]:
    """Return the files whose content is not the generated one, and rewrite them if asked to."""
    found = []
    for name, generate in TARGETS.items():
        file, text = repository / name, generate()
        if not file.exists() or file.read_text("utf-8") != text:
            found.append(name)
            if write:
                file.write_text(text, "utf-8")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m contracts.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m contracts.generate --check",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    files = outdated(contracts.REPOSITORY, write=not check)
    for name in files:
        print(f"{name} is out of date: run make generate" if check else f"wrote {name}", file=sys.stderr)
    return int(check and bool(files))


if __name__ == "__main__":
    sys.exit(main())
