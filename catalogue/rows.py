"""The outcome of each row of a feed: a product, a part of another row's product, or a rejected row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class FeedUnreadable(Exception):
    """The file as a whole cannot be read. The message names the position and the next step."""


class BadRow(Exception):
    """One row cannot become a product."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the reason, one word for counts, and the detail for people."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Draft:
    """A row as a product, before its id is chosen. `ids` holds its id under each choice of `--item-id`."""

    line: int
    ids: Mapping[str, str]
    fields: Mapping[str, Any]
    row: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """A row that adds to the product of another row, such as a second picture."""

    line: int


@dataclass(frozen=True)
class Reject:
    """A row without a product, the reason and the row itself."""

    line: int
    reason: str
    detail: str
    row: Mapping[str, str]


Outcome = Draft | Part | Reject
Outcomes = Iterator[Outcome]


@dataclass(frozen=True)
class Row:
    """A row of a table: its first line in the file, and its cells by column."""

    line: int
    cells: dict[str, str]

    def reject(self, error: BadRow) -> Reject:
        """Return this row as rejected."""
        return Reject(self.line, error.reason, error.detail, self.cells)
