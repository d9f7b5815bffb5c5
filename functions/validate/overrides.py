"""Overrides: a person accepts a failed check for one run, with name and reason, in the append-only table QA.OVERRIDES.

An invariant of the tables (the kind `dbt`) cannot be overridden. It says that the tables are broken, whatever the shop did.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from functions.platform import warehouse
from functions.validate.rules import Check
from functions.validate.summary import Override

# The kinds of checks that a person can override.
OVERRIDABLE = frozenset({"data", "expectation", "profile"})
OVERRIDES = """
    select CHECK_NAME, SET_BY, SET_AT, REASON
    from QA.OVERRIDES
    where RUN_ID = %s and SHOP_ID = %s
    qualify row_number() over (partition by CHECK_NAME order by SET_AT desc) = 1
"""


def read_overrides(connection: Any, run_id: str, shop_id: str) -> dict[str, Override]:
    """Return the overrides of a run, by the names of their checks."""
    return {
        name: Override(set_by, set_at.isoformat(timespec="seconds"), reason)
        for name, set_by, set_at, reason in warehouse.rows(connection, OVERRIDES, (run_id, shop_id))
    }


def overridden(check: Check, overrides: Mapping[str, Override]) -> Check:
    """Return the check, with another verdict if it failed and a person has accepted that."""
    override = overrides.get(check.name)
    if override is None or check.verdict != "failed" or check.kind not in OVERRIDABLE:
        return check
    reason = f"{check.reason} Overridden by {override.set_by}: {override.reason}"
    return replace(check, verdict="overridden", reason=reason)
