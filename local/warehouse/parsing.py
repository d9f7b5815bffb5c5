"""Parses each statement once. fakesnow 0.12.1 parses it in the server, and again in the cursor."""

from __future__ import annotations

import threading
from collections import OrderedDict

import fakesnow.dialect
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

from local.warehouse.access.statements import is_account_statement
from local.warehouse.pipes import is_pipe_statement

WAITING = 32


class Parser:
    """Trees that the server has parsed, until the cursor takes them. Each tree is used once: fakesnow changes it."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, exp.Expr] = OrderedDict()
        self._thread = threading.local()

    def ahead(self, command: str) -> exp.Expr:
        """Parse for the server, which only asks for the kind of statement. sqlglot cannot parse some about the account."""
        if is_account_statement(command) or is_pipe_statement(command):
            return exp.Command(this="ACCOUNT")
        tree: exp.Expr = fakesnow.dialect.parse_one(command)
        self._waiting[command] = tree
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)
        return tree

    def peek(self, command: str) -> exp.Expr | None:
        """Parse for a look at the statement before `parse` in this thread; None if it cannot be parsed."""
        try:
            self._thread.tree = (command, self.parse(command))
        except ProgrammingError:
            return None  # fakesnow reports the error
        tree: exp.Expr = self._thread.tree[1]
        return tree

    def parse(self, command: str) -> exp.Expr:
        """Return the tree of a statement, for the one caller that changes it."""
        peeked, self._thread.tree = getattr(self._thread, "tree", None), None
        if peeked and peeked[0] == command:
            found: exp.Expr = peeked[1]
            return found
        waiting = self._waiting.pop(command, None)
        parsed: exp.Expr = waiting if waiting is not None else fakesnow.dialect.parse_one(command)
        return parsed
