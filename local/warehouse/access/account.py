"""The account: its objects with their owners, the grants on them, and the hierarchy of roles. One JSON file keeps it."""

from __future__ import annotations

import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from local.warehouse.access import errors

ACCOUNTADMIN = "ACCOUNTADMIN"
# Role -> the roles whose privileges it inherits.
SYSTEM_ROLES = {
    ACCOUNTADMIN: {"SYSADMIN", "SECURITYADMIN"},
    "SECURITYADMIN": {"USERADMIN"},
    "SYSADMIN": set(),
    "USERADMIN": set(),
    "PUBLIC": set(),
}
# Snowflake has no privileges to create integrations' or monitors' counterparts for SYSADMIN: only ACCOUNTADMIN may.
SYSTEM_PRIVILEGES = {
    ACCOUNTADMIN: {"CREATE INTEGRATION", "CREATE RESOURCE MONITOR", "APPLY RESOURCE MONITOR"},
    "SECURITYADMIN": {"MANAGE GRANTS"},
    "SYSADMIN": {"CREATE DATABASE", "CREATE WAREHOUSE"},
    "USERADMIN": {"CREATE ROLE", "CREATE USER"},
}
RELATIONS = ("TABLE", "VIEW")
# Privileges that can be granted on each kind of object.
# https://docs.snowflake.com/en/user-guide/security-access-control-privileges
GRANTABLE = {
    "DATABASE": {"USAGE", "MONITOR", "MODIFY", "CREATE SCHEMA"},
    "SCHEMA": {
        "USAGE",
        "MONITOR",
        "MODIFY",
        *(
            f"CREATE {kind}"
            for kind in ("TABLE", "VIEW", "STAGE", "FILE FORMAT", "SEQUENCE", "FUNCTION", "PIPE")
        ),
    },
    "TABLE": {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES"},
    "VIEW": {"SELECT", "REFERENCES"},
    "STAGE": {"USAGE", "READ", "WRITE"},
    "FILE FORMAT": {"USAGE"},
    "PIPE": {"MONITOR", "OPERATE"},
    "WAREHOUSE": {"USAGE", "OPERATE", "MONITOR", "MODIFY"},
    "INTEGRATION": {"USAGE"},
    "RESOURCE MONITOR": {"MONITOR", "MODIFY"},
    "USER": {"MONITOR"},
}


class Thing(NamedTuple):
    """An object of the account: its kind and its full name, such as TABLE TUGBOAT.RAW.EVENTS."""

    kind: str
    name: str


class Need(NamedTuple):
    """An object, and the privileges of which one is needed. Without privileges, any one is enough."""

    thing: Thing
    privileges: tuple[str, ...] = ()


THE_ACCOUNT = Thing("ACCOUNT", "")


@dataclass
class Entry:
    """An object's owner, properties, and privileges per role."""

    owner: str
    properties: dict[str, Any] = field(default_factory=dict)
    grants: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


class Account:
    """Users, roles, objects and grants. Without a file they are in memory only."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._inherited: dict[str, frozenset[str]] = {}
        # The JSON of unchanged objects. A table of a model changes its name several times per run, and an account has many.
        self._written: dict[Thing, str] = {}
        self._depth = 0
        self.objects: dict[Thing, Entry] = {}
        self.future: dict[str, set[tuple[str, str, str]]] = defaultdict(
            set
        )  # schema -> (privilege, kind, role)
        self.parents: dict[Thing, set[str]] = defaultdict(set)  # role or user -> roles granted to it
        if file and file.exists():
            self._read(json.loads(file.read_text()))
        else:
            for role, inherited in SYSTEM_ROLES.items():
                self.objects[Thing("ROLE", role)] = Entry("")
                self.parents[Thing("ROLE", role)] = set(inherited)
            self.objects[THE_ACCOUNT] = Entry("")
            for role, privileges in SYSTEM_PRIVILEGES.items():
                self.objects[THE_ACCOUNT].grants[role] = set(privileges)

    # Reading

    def inherited(self, role: str) -> frozenset[str]:
        """Return the role and every role whose privileges it has."""
        if role not in self._inherited:
            found = {role, "PUBLIC"}
            todo = [role]
            while todo:
                new = self.parents.get(Thing("ROLE", todo.pop()), set()) - found
                found |= new
                todo += new
            self._inherited[role] = frozenset(found)
        return self._inherited[role]

    def user_has_role(self, user: str, role: str) -> bool:
        """Return True if the role is granted to the user, directly or through another role."""
        granted = self.parents.get(Thing("USER", user), set()) | {"PUBLIC"}
        return Thing("ROLE", role) in self.objects and any(role in self.inherited(one) for one in granted)

    def relation(self, name: str) -> Thing:
        """Return the table or view of this name; a table if there is none."""
        view = Thing("VIEW", name)
        return view if view in self.objects else Thing("TABLE", name)

    def privileges(self, role: str, thing: Thing) -> set[str]:
        """Return the privileges that the role has on an object, OWNERSHIP among them for its owner."""
        entry = self.objects.get(thing)
        if entry is None:
            return set()
        roles = self.inherited(role)
        held = {privilege for one, granted in entry.grants.items() if one in roles for privilege in granted}
        return held | {"OWNERSHIP"} if entry.owner in roles else held

    def require(self, role: str, needs: list[Need]) -> None:
        """Check that the role may do all of this.

        Raises:
            ProgrammingError: it may not, or an object is missing.
        """
        for need in needs:
            for parent in _parents(need.thing):
                if not self.privileges(role, parent) & {"USAGE", "OWNERSHIP"}:
                    raise errors.unknown(*parent)
            held = self.privileges(role, need.thing)
            if "OWNERSHIP" in held or held.intersection(need.privileges) or (held and not need.privileges):
                continue
            if need.thing.kind == "WAREHOUSE" and need.privileges == ("USAGE",):
                raise errors.no_warehouse()
            raise (errors.insufficient if held or need.thing == THE_ACCOUNT else errors.unknown)(*need.thing)

    def may_grant(self, role: str, thing: Thing) -> bool:
        """Return True if the role may grant privileges on an object: its owner, or a role with MANAGE GRANTS."""
        return "MANAGE GRANTS" in self.privileges(role, THE_ACCOUNT) or "OWNERSHIP" in self.privileges(
            role, thing
        )

    # Writing

    @contextmanager
    def change(self, only: Thing | None = None) -> Iterator[None]:
        """Change the account, or `only` one object of it, and write the file at the end."""
        with self._lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                self._inherited.clear()
                if only:
                    self._written.pop(only, None)
                else:
                    self._written.clear()
                if self._file and not self._depth:
                    self._write(self._file)

    def create(
        self, thing: Thing, owner: str, properties: dict[str, Any] | None = None, replace: bool = False
    ) -> None:
        """Register a new object with the future grants of its schema. An object that exists keeps its owner."""
        if thing in self.objects and not replace:
            return
        with self.change(only=thing):
            if thing.kind in RELATIONS:  # a table can replace a view of the same name
                for kind in RELATIONS:
                    self.objects.pop(Thing(kind, thing.name), None)
            entry = self.objects[thing] = Entry(owner, properties or {})
            if thing.kind == "DATABASE":
                for schema in ("PUBLIC", "INFORMATION_SCHEMA"):
                    self.create(Thing("SCHEMA", f"{thing.name}.{schema}"), owner)
                self.objects[Thing("SCHEMA", f"{thing.name}.INFORMATION_SCHEMA")].grants["PUBLIC"].add(
                    "USAGE"
                )
            for privilege, kind, role in self.future.get(thing.name.rpartition(".")[0], ()):
                if kind == thing.kind:
                    entry.grants[role].add(privilege)

    def drop(self, thing: Thing) -> None:
        """Remove an object with everything in it."""
        with self.change(only=None if thing.kind == "ROLE" else thing):
            for other in list(self.objects):
                inside = thing.kind in ("DATABASE", "SCHEMA") and other.name.startswith(f"{thing.name}.")
                if other == thing or inside:
                    del self.objects[other]
            if thing.kind == "ROLE":
                for granted in self.parents.values():
                    granted.discard(thing.name)
                for entry in self.objects.values():
                    entry.grants.pop(thing.name, None)

    def rename(self, thing: Thing, name: str) -> None:
        """Rename a table or view; it keeps its owner and grants."""
        renamed = Thing(thing.kind, name)
        with self.change(only=renamed):
            if thing in self.objects:
                self.objects[renamed] = self.objects.pop(thing)

    def within(self, kind: str, schema: str) -> list[Thing]:
        """Return the objects of a kind in a schema."""
        return [
            thing for thing in self.objects if thing.kind == kind and thing.name.rpartition(".")[0] == schema
        ]

    # The file

    def _write(self, file: Path) -> None:
        for thing, entry in self.objects.items():
            if thing not in self._written:
                grants = {role: sorted(held) for role, held in entry.grants.items()}
                self._written[thing] = json.dumps([*thing, entry.owner, entry.properties, grants])
        objects = ", ".join(self._written[thing] for thing in self.objects)
        future = json.dumps({schema: sorted(granted) for schema, granted in self.future.items()})
        parents = json.dumps([[*thing, sorted(roles)] for thing, roles in self.parents.items()])
        temporary = file.with_suffix(".tmp")
        temporary.write_text(f'{{"objects": [{objects}], "future": {future}, "parents": {parents}}}')
        os.replace(temporary, file)

    def _read(self, state: dict[str, Any]) -> None:
        for kind, name, owner, properties, grants in state["objects"]:
            entry = self.objects[Thing(kind, name)] = Entry(owner, properties)
            entry.grants.update({role: set(held) for role, held in grants.items()})
        for schema, granted in state["future"].items():
            self.future[schema] = {tuple(one) for one in granted}
        for kind, name, roles in state["parents"]:
            self.parents[Thing(kind, name)] = set(roles)


def _parents(thing: Thing) -> list[Thing]:
    """Return the database and schema that contain an object."""
    if thing.kind == "SCHEMA":
        return [Thing("DATABASE", thing.name.split(".")[0])]
    if thing.kind in ("TABLE", "VIEW", "STAGE", "FILE FORMAT", "SEQUENCE", "FUNCTION", "PIPE"):
        database, schema, *_ = thing.name.split(".")
        return [Thing("DATABASE", database), Thing("SCHEMA", f"{database}.{schema}")]
    return []
