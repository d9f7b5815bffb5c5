"""The contracts that the parts of Tugboat share as data, and the generators of everything derived from them.

The JSON files are the sources. `make generate` writes what functions/, training_jobs/, sql/ and storefront/ need into
their own folders. They never import each other or this package at run time.
"""

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parent


def read(name: str) -> dict[str, Any]:
    """Return one of the JSON files, such as `event_kinds`."""
    parsed: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return parsed


def event_kinds(annotation: str | None = None) -> list[str]:
    """Return the names of the event kinds, or of those that have the annotation, such as `concerns_items`."""
    kinds = read("event_kinds")
    return [name for name, kind in kinds.items() if annotation is None or kind.get(annotation)]


def placements() -> list[str]:
    """Return the names of the placements, the default first."""
    return list(read("placements"))


def placement_answers() -> dict[str, str]:
    """Return what answers each placement, such as `next` for the placements that show what comes next."""
    return {name: placement["answered_by"] for name, placement in read("placements").items()}


def also_named() -> dict[str, str]:
    """Return the event kind of each other name that Google Analytics 4 has for one.

    Its enhanced measurement records `search` as `view_search_results`: https://support.google.com/analytics/answer/9216061
    """
    kinds = read("event_kinds")
    return {other: name for name, kind in kinds.items() for other in kind.get("also_named", ())}


def id_max_characters() -> int:
    """Return the length of the longest id, which the pattern of the event schema limits."""
    pattern: str = read("event.schema")["definitions"]["id"]["pattern"]
    found = re.search(r"\{1,(\d+)\}", pattern)
    if found is None:
        raise SystemExit(f"the pattern {pattern} of ids in event.schema.json has no {{1,N}}: give it one")
    return int(found[1])


def training_events() -> list[str]:
    """Return the event kinds that the recommender learns from, weakest sign of interest first."""
    kinds = read("event_kinds")
    return sorted(event_kinds("strength"), key=lambda name: int(kinds[name]["strength"]))
