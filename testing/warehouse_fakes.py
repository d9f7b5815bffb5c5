"""A fake of a Snowflake connection."""

from collections.abc import Iterator
from typing import Any


class FakeCursor:
    """A cursor that answers with the prepared rows of its connection."""

    def __init__(self, connection: "FakeConnection") -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []

    def __enter__(self) -> "FakeCursor":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, sql: str, parameters: tuple[Any, ...] | None = None) -> "FakeCursor":
        self._connection.statements.append((" ".join(sql.split()), parameters))
        for part, rows in self._connection.answers:
            if part in sql:
                self._rows = rows
                return self
        raise AssertionError(f"no answer for {sql}")

    def executemany(self, sql: str, rows: list[tuple[Any, ...]]) -> "FakeCursor":
        self._connection.inserted += rows
        return self

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows


class FakeConnection:
    """A connection with prepared rows, for example `FakeConnection(("copy into", [(...)]))`.

    The first text that a statement contains determines its rows.
    """

    def __init__(self, *answers: tuple[str, list[tuple[Any, ...]]]) -> None:
        self.answers = answers
        self.statements: list[tuple[str, tuple[Any, ...] | None]] = []
        self.inserted: list[tuple[Any, ...]] = []

    def cursor(self) -> FakeCursor:
        return FakeCursor(self)
