"""Statements about the account: roles, users, warehouses, integrations, resource monitors, and grants.

fakesnow 0.12.1 and sqlglot 30.22 support few of them. Properties are validated by name, as Snowflake does.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot.tokenizer_core import Token, TokenType

from local.environment import SNOWFLAKE_USER_ARN
from local.warehouse.access import errors, keys
from local.warehouse.access.account import GRANTABLE, THE_ACCOUNT, Account, Entry, Need, Thing
from local.warehouse.access.privileges import Session

ACCOUNT_STATEMENT = re.compile(
    r"""(?:\s|--[^\n]*\n|/\*.*?\*/)*(
        use\s+(role|warehouse|secondary)\b
        | (create|alter|drop)\s+(or\s+replace\s+)?(role|user|warehouse|resource\s+monitor|(storage\s+)?integration)\b
        | alter\s+(stage|file\s+format)\b
        | desc(ribe)?\s+(user|(storage\s+)?integration)\b
        | show\s+(roles|users|warehouses|integrations|resource\s+monitors)\b
        | (grant|revoke)\b
    )""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
KINDS = ("RESOURCE MONITOR", "STORAGE INTEGRATION", "FILE FORMAT", "INTEGRATION", "WAREHOUSE", "ROLE", "USER")
SIZES = (
    "XSMALL",
    "SMALL",
    "MEDIUM",
    "LARGE",
    "XLARGE",
    "XXLARGE",
    "XXXLARGE",
    "X4LARGE",
    "X5LARGE",
    "X6LARGE",
)
# Properties per kind: https://docs.snowflake.com/en/sql-reference/sql/create-warehouse and its siblings.
PROPERTIES = {
    "ROLE": {"COMMENT"},
    "WAREHOUSE": {
        "WAREHOUSE_SIZE", "WAREHOUSE_TYPE", "MAX_CLUSTER_COUNT", "MIN_CLUSTER_COUNT", "SCALING_POLICY", "AUTO_SUSPEND",
        "AUTO_RESUME", "INITIALLY_SUSPENDED", "RESOURCE_MONITOR", "COMMENT", "MAX_CONCURRENCY_LEVEL",
        "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS", "STATEMENT_TIMEOUT_IN_SECONDS",
    },
    "INTEGRATION": {
        "TYPE", "STORAGE_PROVIDER", "ENABLED", "STORAGE_AWS_ROLE_ARN", "STORAGE_AWS_EXTERNAL_ID", "COMMENT",
        "STORAGE_AWS_OBJECT_ACL", "STORAGE_ALLOWED_LOCATIONS", "STORAGE_BLOCKED_LOCATIONS",
    },
    "RESOURCE MONITOR": {
        "CREDIT_QUOTA", "FREQUENCY", "START_TIMESTAMP", "END_TIMESTAMP", "NOTIFY_USERS", "TRIGGERS",
    },
    "USER": {
        "TYPE", "RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2", "COMMENT", "DEFAULT_ROLE", "DEFAULT_WAREHOUSE",
        "DEFAULT_NAMESPACE", "DISABLED", "EMAIL", "ABORT_DETACHED_QUERY", "DEFAULT_SECONDARY_ROLES",
        "STATEMENT_TIMEOUT_IN_SECONDS", "TIMEZONE",
    },
    "STAGE": {"URL", "STORAGE_INTEGRATION", "COMMENT"},
    "FILE FORMAT": {"COMPRESSION", "COMMENT", "STRIP_OUTER_ARRAY", "STRIP_NULL_VALUES", "MULTI_LINE"},
}  # fmt: skip


@dataclass
class Result:
    """A result table; a status is a table of one cell."""

    columns: tuple[str, ...] = ("status",)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    # What the caller changes in fakesnow's tables: properties of a stage.
    altered: tuple[Thing, dict[str, Any]] | None = None


def is_account_statement(command: str) -> bool:
    """Return True if this module executes the statement."""
    return ACCOUNT_STATEMENT.match(command) is not None


def execute(command: str, session: Session, account: Account) -> Result:
    """Execute a statement about the account under the session's role.

    Raises:
        ProgrammingError: the role may not, or the statement is wrong.
    """
    words = Words(sqlglot.tokenize(command.strip().rstrip(";"), read="snowflake"))
    verb = words.take()
    with account.change():
        return VERBS[verb](words, session, account)


class Words:
    """The tokens of a statement, read from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    @property
    def ended(self) -> bool:
        """True after the last token."""
        return self._next >= len(self._tokens)

    def peek(self) -> str:
        """Return the next word in upper case without taking it; an empty text at the end."""
        return "" if self.ended else str(self._tokens[self._next].text).upper()

    def take(self) -> str:
        """Take one word in upper case; a quoted name stays as it is."""
        if self.ended:
            raise errors.invalid("unexpected end of statement")
        token = self._tokens[self._next]
        self._next += 1
        # A keyword of several words is one token, for example FILE FORMAT.
        quoted = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)
        return str(token.text) if quoted else str(token.text).upper()

    def skip(self, *phrases: str) -> str:
        """Take the first of these phrases that comes next; return it, or an empty text."""
        for phrase in phrases:
            start = self._next
            taken: list[str] = []
            while not self.ended and len(taken) < len(phrase.split()):
                taken += self.take().split()
            if taken == phrase.split():
                return phrase
            self._next = start
        return ""

    def expect(self, *phrases: str) -> str:
        """Take one of these phrases.

        Raises:
            ProgrammingError: something else comes next.
        """
        found = self.skip(*phrases)
        if not found:
            raise errors.invalid(f"syntax error: unexpected '{self.peek()}', expected {' or '.join(phrases)}")
        return found

    def name(self) -> str:
        """Take a name, with dots."""
        found = self.take()
        while self.peek() == ".":
            found += self.take() + self.take()
        return found

    def value(self) -> Any:
        """Take a value: a text, a number, a word or a list."""
        if self.peek() != "(":
            return self.take()
        self.take()
        values = []
        while self.peek() != ")":
            values.append(self.take())
            self.skip(",")
        self.take()
        return values

    def properties(self, kind: str) -> dict[str, Any]:
        """Take all `NAME = value` pairs.

        Raises:
            ProgrammingError: the kind has no such property.
        """
        found: dict[str, Any] = {}
        while not self.ended:
            self.skip(",")
            name = self.take()
            if name not in PROPERTIES[kind]:
                raise errors.invalid(f"invalid property '{name}' for '{kind}'")
            if name == "TRIGGERS":
                found[name] = self._triggers()
                continue
            self.expect("=")
            found[name] = self.value()
        if found.get("WAREHOUSE_SIZE", SIZES[0]).replace("-", "").upper() not in SIZES:
            raise errors.invalid(f"invalid value '{found['WAREHOUSE_SIZE']}' for property 'WAREHOUSE_SIZE'")
        return found

    def _triggers(self) -> list[str]:
        triggers = []
        while self.skip("ON"):
            percent = self.take()
            self.expect("PERCENT")
            self.expect("DO")
            triggers.append(f"{percent}% {self.expect('SUSPEND_IMMEDIATE', 'SUSPEND', 'NOTIFY')}")
        return triggers


def _status(text: str = "Statement executed successfully.") -> Result:
    return Result(rows=[(text,)])


def _use(words: Words, session: Session, account: Account) -> Result:
    kind = words.expect("ROLE", "WAREHOUSE", "SECONDARY ROLES")
    name = words.name()
    if kind == "ROLE":
        if not account.user_has_role(session.user, name):
            raise errors.role_not_assigned(name)
        session.role = name
    elif kind == "WAREHOUSE":
        account.require(session.role, [Need(Thing("WAREHOUSE", name))])
        session.warehouse = name
    elif name != "NONE":
        raise errors.invalid("the local Snowflake has no secondary roles: use secondary roles none")
    return _status()


def _kind_and_name(words: Words, session: Session) -> Thing:
    kind = words.expect(*KINDS, "STAGE").replace("STORAGE ", "")
    words.skip("IF NOT EXISTS", "IF EXISTS")
    name = words.name()
    return Thing(kind, session.complete(name.split(".")) if kind in ("STAGE", "FILE FORMAT") else name)


def _create(words: Words, session: Session, account: Account) -> Result:
    replace = bool(words.skip("OR REPLACE"))
    kind = words.expect(*KINDS)
    unless = bool(words.skip("IF NOT EXISTS"))
    thing = Thing(kind.replace("STORAGE ", ""), words.name())
    words.skip("WITH")
    properties = words.properties(thing.kind)
    account.require(session.role, [Need(THE_ACCOUNT, (f"CREATE {thing.kind}",))])
    if "RESOURCE_MONITOR" in properties:
        account.require(session.role, [Need(THE_ACCOUNT, ("APPLY RESOURCE MONITOR",))])
    if thing in account.objects:
        if unless:
            return _status(f"{thing.name} already exists, statement succeeded.")
        if not replace:
            raise errors.exists(*thing)
        account.require(session.role, [Need(thing, ("OWNERSHIP",))])
    if thing.kind == "INTEGRATION":
        # A new integration has a new external id, so replacing one breaks the trust of its AWS role.
        unique = base64.b64encode(secrets.token_bytes(24)).decode()
        properties.setdefault("STORAGE_AWS_EXTERNAL_ID", f"LOCAL_SFCRole=2_{unique}")
    account.create(thing, session.role, properties, replace)
    if thing.kind == "WAREHOUSE":
        session.warehouse = thing.name  # as Snowflake does
    return _status(f"{thing.kind.capitalize()} {thing.name} successfully created.")


def _alter(words: Words, session: Session, account: Account) -> Result:
    thing = _kind_and_name(words, session)
    privileges = (
        ("MODIFY", "OWNERSHIP") if thing.kind in ("WAREHOUSE", "RESOURCE MONITOR") else ("OWNERSHIP",)
    )
    account.require(session.role, [Need(thing, privileges)])
    entry = account.objects[thing]
    action = words.expect("SET", "UNSET", "SUSPEND", "RESUME")
    if action == "UNSET":
        while not words.ended:
            entry.properties.pop(words.take(), None)
            words.skip(",")
    if action != "SET":
        return _status()
    properties = words.properties(thing.kind)
    if "RESOURCE_MONITOR" in properties:
        account.require(session.role, [Need(THE_ACCOUNT, ("APPLY RESOURCE MONITOR",))])
        account.require(session.role, [Need(Thing("RESOURCE MONITOR", properties["RESOURCE_MONITOR"]))])
    if "STORAGE_INTEGRATION" in properties:
        account.require(
            session.role, [Need(Thing("INTEGRATION", properties["STORAGE_INTEGRATION"]), ("USAGE",))]
        )
    for key in ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2"):
        if key in properties:
            keys.fingerprint(properties[key])  # refuses a text that is no key
    if thing.kind == "STAGE":
        check_location(account, {**entry.properties, **properties})
    entry.properties.update(properties)
    return Result(rows=[("Statement executed successfully.",)], altered=(thing, properties))


def check_location(account: Account, properties: dict[str, Any]) -> None:
    """Check that the integration of a stage allows its URL.

    Raises:
        ProgrammingError: it does not.
    """
    integration = account.objects.get(Thing("INTEGRATION", properties.get("STORAGE_INTEGRATION", "")))
    url = properties.get("URL", "")
    allowed = integration.properties.get("STORAGE_ALLOWED_LOCATIONS", []) if integration else ["*"]
    if not any(location == "*" or url.startswith(location) for location in allowed):
        raise errors.invalid(
            f"Location '{url}' is not allowed by integration '{properties['STORAGE_INTEGRATION']}'. "
            "Please use DESC INTEGRATION to check out allowed and blocked locations."
        )


def _drop(words: Words, session: Session, account: Account) -> Result:
    kind = words.expect(*KINDS).replace("STORAGE ", "")
    if_exists = bool(words.skip("IF EXISTS"))
    thing = Thing(kind, words.name())
    if thing in account.objects or not if_exists:
        account.require(session.role, [Need(thing, ("OWNERSHIP",))])
        account.drop(thing)
    return _status(f"{thing.name} successfully dropped.")


def _describe(words: Words, session: Session, account: Account) -> Result:
    thing = _kind_and_name(words, session)
    if thing != Thing("USER", session.user):
        privileges = ("USAGE", "OWNERSHIP") if thing.kind == "INTEGRATION" else ("MONITOR", "OWNERSHIP")
        account.require(session.role, [Need(thing, privileges)])
    shown = dict(account.objects[thing].properties)
    if thing.kind == "USER":
        shown = {"NAME": thing.name, **shown}
        for key in ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2"):
            shown[f"{key}_FP"] = keys.fingerprint(shown[key]) if shown.get(key) else None
        columns = ("property", "value", "default", "description")
        return Result(columns, [(name, value, None, "") for name, value in shown.items()])
    shown["STORAGE_AWS_IAM_USER_ARN"] = SNOWFLAKE_USER_ARN
    texts = {name: ",".join(value) if isinstance(value, list) else value for name, value in shown.items()}
    columns = ("property", "property_type", "property_value", "property_default")
    return Result(columns, [(name, "String", value, "") for name, value in texts.items()])


def _show(words: Words, session: Session, account: Account) -> Result:
    kind = words.expect("ROLES", "USERS", "WAREHOUSES", "INTEGRATIONS", "RESOURCE MONITORS")[:-1]
    pattern = words.take() if words.skip("LIKE") else "%"
    like = re.compile(re.escape(pattern).replace("%", ".*").replace("_", "."), re.IGNORECASE)
    properties = sorted(PROPERTIES[kind] - {"RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2"})
    rows = [
        (thing.name, entry.owner, *(_cell(entry, name) for name in properties))
        for thing, entry in sorted(account.objects.items())
        if thing.kind == kind and like.fullmatch(thing.name)
        if kind == "ROLE" or account.privileges(session.role, thing)
    ]
    return Result(("name", "owner", *(name.lower() for name in properties)), rows)


def _cell(entry: Entry, name: str) -> str | None:
    value = entry.properties.get(name)
    return ", ".join(value) if isinstance(value, list) else value


def _grant(words: Words, session: Session, account: Account) -> Result:
    return _change_grants(words, session, account, give=True)


def _revoke(words: Words, session: Session, account: Account) -> Result:
    return _change_grants(words, session, account, give=False)


def _change_grants(words: Words, session: Session, account: Account, give: bool) -> Result:
    if words.skip("ROLE"):
        return _change_membership(words, session, account, give)
    privileges = _privileges(words)
    many = words.skip("ALL", "FUTURE")
    plurals = ("TABLES", "VIEWS", "STAGES", "FILE FORMATS")
    kind = words.expect(
        *(plurals if many else ("ACCOUNT", *KINDS, "DATABASE", "SCHEMA", "TABLE", "VIEW", "STAGE", "PIPE"))
    )
    kind = kind.removesuffix("S") if many else kind.replace("STORAGE ", "")
    if many:
        words.expect("IN SCHEMA")
    name = "" if kind == "ACCOUNT" else words.name()
    words.expect("TO ROLE" if give else "FROM ROLE")
    role = words.name()
    _require_role(role, account)
    where = Thing("SCHEMA", name) if many else _named(kind, name, session, account)
    if where not in account.objects:
        raise errors.unknown(*where)
    if not account.may_grant(session.role, where):
        raise errors.insufficient(*where)
    if invalid := set(privileges) - GRANTABLE.get(kind, set()) - {"OWNERSHIP"}:
        raise errors.invalid(f"invalid privilege {', '.join(sorted(invalid))} for {kind}")
    if many == "FUTURE":
        future = {(privilege, kind, role) for privilege in privileges}
        (account.future[name].update if give else account.future[name].difference_update)(future)
        return _status()
    for thing in account.within(kind, name) if many else [where]:
        entry = account.objects[thing]
        if "OWNERSHIP" in privileges and give:
            entry.owner = role
        change = entry.grants[role].update if give else entry.grants[role].difference_update
        change(set(privileges) - {"OWNERSHIP"})
    return _status()


def _privileges(words: Words) -> list[str]:
    privileges: list[str] = []
    current: list[str] = []
    while not words.skip("ON"):
        word = words.take()
        if word == ",":
            privileges.append(" ".join(current))
            current = []
        else:
            current.append(word)
    return [*privileges, " ".join(current)]


def _named(kind: str, name: str, session: Session, account: Account) -> Thing:
    if kind == "ACCOUNT":
        return THE_ACCOUNT
    if kind in ("TABLE", "VIEW"):
        return account.relation(session.complete(name.split(".")))
    return Thing(
        kind, session.complete(name.split(".")) if kind in ("STAGE", "FILE FORMAT", "PIPE") else name
    )


def _change_membership(words: Words, session: Session, account: Account, give: bool) -> Result:
    granted = words.name()
    words.expect("TO" if give else "FROM")
    grantee = Thing(words.expect("ROLE", "USER"), words.name())
    for thing in (Thing("ROLE", granted), grantee):
        if thing not in account.objects:
            raise errors.unknown(*thing)
    if not account.may_grant(session.role, Thing("ROLE", granted)):
        raise errors.insufficient("ROLE", granted)
    (account.parents[grantee].add if give else account.parents[grantee].discard)(granted)
    return _status()


def _require_role(role: str, account: Account) -> None:
    if Thing("ROLE", role) not in account.objects:
        raise errors.unknown("ROLE", role)


VERBS: dict[str, Callable[[Words, Session, Account], Result]] = {
    "USE": _use,
    "CREATE": _create,
    "ALTER": _alter,
    "DROP": _drop,
    "DESC": _describe,
    "DESCRIBE": _describe,
    "SHOW": _show,
    "GRANT": _grant,
    "REVOKE": _revoke,
}
