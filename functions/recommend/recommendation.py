"""The answer of /recommend, whatever made it."""

from typing import Any, NamedTuple

FALLBACK_VARIANT = "fallback"
# The variant of an answer from a table of the release, and of one from the visitor's own lists, which has no model.
TABLE_VARIANT, OWN_VARIANT, NO_MODEL = "table", "own", "none"


class Recommendation(NamedTuple):
    """A carousel's items, best first, and where they come from.

    `rules` are the effects of the shop's rules, each with the rule's id; None if the shop has neither rules nor a catalogue.
    `rules_revision` names the set.
    """

    items: list[dict[str, Any]]
    source: str
    reason: str
    model_version: str
    variant: str
    rules: list[dict[str, Any]] | None = None
    rules_revision: str = ""
