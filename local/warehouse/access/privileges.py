"""The privileges that a parsed statement needs, and what it changes about owners."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from local.warehouse.access.account import RELATIONS, THE_ACCOUNT, Account, Need, Thing

FORMAT_NAME = re.compile(r"FORMAT_NAME\s*=\s*'?([\w.$\"]+)'?", re.IGNORECASE)
Effect = Callable[[Account], None]


@dataclass
class Session:
    """The context of a statement: who executes it, and how its names are completed."""

    user: str
    role: str
    warehouse: str = ""
    database: str = ""
    schema: str = ""

    def full_name(self, table: exp.Table) -> str:
        """Return DATABASE.SCHEMA.NAME of a table."""
        parts = [
            part
            for part in (_name(table.args.get("catalog")), _name(table.args.get("db")), _name(table.this))
            if part
        ]
        return self.complete(parts)

    def complete(self, parts: list[str]) -> str:
        """Add the current database and schema to a name in parts."""
        return ".".join([*(self.database, self.schema)[: max(0, 3 - len(parts))], *parts])


def needs(statement: exp.Expr, session: Session, account: Account, temporary: bool = False) -> list[Need]:
    """Return what the session's role needs for a statement. A temporary table needs no CREATE TABLE."""
    if isinstance(statement, exp.Describe):
        return _describe(statement, session, account)
    if isinstance(statement, exp.Create):
        return _create(statement, session, account, temporary)
    if isinstance(statement, exp.Drop):
        return [Need(thing, ("OWNERSHIP",)) for thing in _dropped(statement, session, account)]
    if isinstance(statement, exp.Alter):
        return _alter(statement, session, account)
    if isinstance(statement, (exp.Use, exp.Show)):
        return _scope(statement, session)
    if isinstance(statement, exp.Comment):
        return [Need(_target(statement, session, account), ("OWNERSHIP",))]
    if isinstance(statement, exp.TruncateTable):
        return [
            Need(account.relation(session.full_name(table)), ("TRUNCATE",)) for table in statement.expressions
        ]
    return _data(statement, session, account)


def effects(statement: exp.Expr, session: Session, account: Account) -> Effect | None:
    """Return the change to the account's objects after the statement has succeeded, or None."""
    if isinstance(statement, exp.Create):
        thing, owner = _created(statement, session), session.role
        replace, properties = bool(statement.args.get("replace")), stage_properties(statement)
        return lambda account: account.create(thing, owner, properties, replace)
    if isinstance(statement, exp.Drop):
        things = _dropped(statement, session, account)

        def drop(account: Account) -> None:
            for thing in things:
                account.drop(thing)

        return drop
    if isinstance(statement, exp.Alter):
        for action in statement.args.get("actions") or []:
            if isinstance(action, exp.AlterRename):
                renamed, name = _target(statement, session, account), session.full_name(action.this)
                return lambda account: account.rename(renamed, name)
    return None


def stages(statement: exp.Expr, session: Session) -> list[Thing]:
    """Return the stages that a statement reads or writes."""
    found = []
    for reference in _stage_references(statement):
        name = reference[1:].partition("/")[0]
        if name and name[0] not in "~%":
            found.append(
                Thing("STAGE", session.complete([part.strip('"').upper() for part in name.split(".")]))
            )
    return found


def _name(identifier: Any) -> str:
    if not isinstance(identifier, exp.Identifier):
        return ""
    return identifier.name if identifier.args.get("quoted") else identifier.name.upper()


def _target(statement: exp.Expr, session: Session, account: Account) -> Thing:
    table = statement.find(exp.Table)
    assert table is not None
    kind = str(statement.args.get("kind") or "TABLE").upper()
    return account.relation(session.full_name(table)) if kind in RELATIONS else _thing(kind, table, session)


def _thing(kind: str, table: exp.Table, session: Session) -> Thing:
    parts = [
        part
        for part in (_name(table.args.get("catalog")), _name(table.args.get("db")), _name(table.this))
        if part
    ]
    if kind == "SCHEMA":
        return Thing(kind, ".".join(parts if len(parts) > 1 else [session.database, *parts]))
    return Thing(kind, parts[-1]) if kind == "DATABASE" else Thing(kind, session.complete(parts))


def _created(statement: exp.Create, session: Session) -> Thing:
    table = statement.find(exp.Table)
    assert table is not None
    return _thing(str(statement.args["kind"]).upper(), table, session)


def stage_properties(statement: exp.Create) -> dict[str, Any]:
    """Return the URL and the integration of a new stage."""
    found: dict[str, Any] = {}
    properties = statement.args.get("properties")
    for one in properties.expressions if properties else []:
        if isinstance(one.this, exp.Var) and one.this.name.upper() in ("URL", "STORAGE_INTEGRATION"):
            value: exp.Expr = one.args["value"]
            literal = isinstance(value, exp.Literal)
            found[one.this.name.upper()] = value.name if literal else value.name.upper()
    return found


def _create(statement: exp.Create, session: Session, account: Account, temporary: bool) -> list[Need]:
    thing = _created(statement, session)
    if thing.kind == "DATABASE":
        found = [Need(THE_ACCOUNT, ("CREATE DATABASE",))]
    elif thing.kind == "SCHEMA":
        found = [Need(Thing("DATABASE", thing.name.split(".")[0]), ("CREATE SCHEMA",))]
    else:
        schema = Thing("SCHEMA", thing.name.rpartition(".")[0])
        temporary = temporary or bool(statement.find(exp.TemporaryProperty))
        free = temporary and thing.kind == "TABLE"
        found = [Need(schema, ("USAGE",) if free else (f"CREATE {thing.kind}",))]
        found += [] if free else [Need(schema, ("USAGE",))]
    existing = account.relation(thing.name) if thing.kind in RELATIONS else thing
    if statement.args.get("replace") and existing in account.objects:
        found.append(Need(existing, ("OWNERSHIP",)))
    if integration := stage_properties(statement).get("STORAGE_INTEGRATION"):
        found.append(Need(Thing("INTEGRATION", integration), ("USAGE",)))
    if query := statement.args.get("expression"):
        read = _data(query, session, account)
        # The query of a view runs later.
        found += [need for need in read if thing.kind != "VIEW" or need.thing.kind != "WAREHOUSE"]
    return found


def _dropped(statement: exp.Drop, session: Session, account: Account) -> list[Thing]:
    kind = str(statement.args.get("kind") or "TABLE").upper()
    things = []
    for table in statement.args.get("tables") or [statement.this]:
        thing = (
            account.relation(session.full_name(table)) if kind in RELATIONS else _thing(kind, table, session)
        )
        if thing in account.objects or not statement.args.get("exists"):
            things.append(thing)
    return things


def _alter(statement: exp.Alter, session: Session, account: Account) -> list[Need]:
    if str(statement.args.get("kind")).upper() == "SESSION":
        return []
    found = [Need(_target(statement, session, account), ("OWNERSHIP",))]
    for action in statement.args.get("actions") or []:
        if isinstance(action, exp.AlterRename):
            schema = session.full_name(action.this).rpartition(".")[0]
            found.append(Need(Thing("SCHEMA", schema), (f"CREATE {found[0].thing.kind}",)))
    return found


def _describe(statement: exp.Describe, session: Session, account: Account) -> list[Need]:
    if not isinstance(statement.this, exp.Table):
        return _data(statement.this, session, account)
    kind = str(statement.args.get("kind") or "TABLE").upper()
    name = session.full_name(statement.this)
    return [Need(account.relation(name) if kind in RELATIONS else Thing(kind, name))]


def _scope(statement: exp.Use | exp.Show, session: Session) -> list[Need]:
    table = statement.this if isinstance(statement, exp.Use) else statement.args.get("scope")
    kind = statement.args.get("kind") if isinstance(statement, exp.Use) else statement.args.get("scope_kind")
    kind = str(getattr(kind, "name", kind) or "").upper()
    if not isinstance(table, exp.Table) or kind not in ("DATABASE", "SCHEMA"):
        return []
    return [Need(_thing(kind, table, session), ("USAGE",))]


def _data(statement: exp.Expr, session: Session, account: Account) -> list[Need]:
    """Return the needs of a query or of a statement that changes rows."""
    found = []
    written = _written(statement)
    for table in statement.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or _is_common_table_expression(table):
            continue
        name = session.full_name(table)
        if name.split(".")[-2:-1] == ["INFORMATION_SCHEMA"]:
            found.append(Need(Thing("SCHEMA", name.rpartition(".")[0]), ("USAGE",)))
            continue
        privileges = written[1] if written and table is written[0] else ("SELECT",)
        found += [Need(account.relation(name), (privilege,)) for privilege in privileges]
    for stage in stages(statement, session):
        found.append(Need(stage, ("USAGE",)))
    if isinstance(statement, exp.Copy):
        for param in statement.args.get("params") or []:
            if param.this.name.upper() == "FILE_FORMAT" and (
                named := FORMAT_NAME.search(param.sql("snowflake"))
            ):
                parts = [part.strip('"').upper() for part in named[1].split(".")]
                found.append(Need(Thing("FILE FORMAT", session.complete(parts)), ("USAGE",)))
    if found:
        found.append(Need(Thing("WAREHOUSE", session.warehouse), ("USAGE",)))
    return found


def _written(statement: exp.Expr) -> tuple[Any, tuple[str, ...]] | None:
    """Return the table that a statement changes, and the privileges on it."""
    target = statement.args.get("this")
    if isinstance(target, exp.Schema):
        target = target.this
    if isinstance(statement, exp.Insert):
        return target, ("INSERT", "DELETE") if statement.args.get("overwrite") else ("INSERT",)
    if isinstance(statement, exp.Copy):
        return target, ("INSERT", "SELECT")
    if isinstance(statement, exp.Update):
        return target, ("UPDATE",)
    if isinstance(statement, exp.Delete):
        return target, ("DELETE",)
    if isinstance(statement, exp.Merge):
        kinds: dict[type, str] = {exp.Insert: "INSERT", exp.Update: "UPDATE"}
        actions = {type(when.args.get("then")) for when in statement.args["whens"].expressions}
        return target, tuple(sorted(kinds.get(action, "DELETE") for action in actions))
    return None


def _is_common_table_expression(table: exp.Table) -> bool:
    if table.args.get("db"):
        return False
    name = _name(table.this)
    node: exp.Expr | None = table
    while node is not None:
        with_ = node.args.get("with_")
        if with_ and any(_name(cte.args["alias"].this) == name for cte in with_.expressions):
            return True
        node = node.parent
    return False


def _stage_references(statement: exp.Expr) -> Iterator[str]:
    for variable in statement.find_all(exp.Var):
        if variable.name.startswith("@"):
            yield variable.name
