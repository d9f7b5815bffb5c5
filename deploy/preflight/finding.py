"""The finding of one check, and the table of all findings."""

import textwrap
from collections.abc import Iterable
from typing import Literal, NamedTuple

# `unchecked`: the caller may not ask, or the service did not answer. A deployment may still succeed.
Outcome = Literal["passed", "failed", "warning", "unchecked"]

MARKS: dict[Outcome, str] = {
    "passed": "ok",
    "failed": "FAILED",
    "warning": "warning",
    "unchecked": "unchecked",
}
TABLE_CHARACTERS = 120


class Finding(NamedTuple):
    """The result of one check. `fix` says what to do next, and is empty only if the check passed."""

    subject: str
    outcome: Outcome
    found: str
    fix: str = ""


def table(findings: Iterable[Finding]) -> str:
    """Return one line per finding, with its fix below it."""
    rows = list(findings)
    subject_characters = max((len(row.subject) for row in rows), default=0)
    lines: list[str] = []
    for row in rows:
        lines.append(f"{MARKS[row.outcome]:<9}  {row.subject:<{subject_characters}}  {row.found}")
        for place, line in enumerate(line for line in row.fix.splitlines() if line.strip()):
            lines += textwrap.wrap(
                line.strip(),
                TABLE_CHARACTERS,
                initial_indent=" " * 11 + ("fix: " if place == 0 else " " * 5),
                subsequent_indent=" " * 16,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def verdict(findings: Iterable[Finding]) -> str:
    """Return one sentence on all findings."""
    rows = list(findings)
    count = {outcome: sum(row.outcome == outcome for row in rows) for outcome in MARKS}
    counted = ", ".join(f"{number} {outcome}" for outcome, number in count.items() if number)
    ready = "not ready" if count["failed"] else "ready"
    return f"{ready} to deploy: {counted}"
