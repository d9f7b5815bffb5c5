"""The person of an erasure: which ids, which lines are theirs, and the digest that stands for them in keys and logs."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Struct

from functions.platform.contract import ID_MAX_CHARACTERS

EXAMPLE = '{"client": "0b5e...", "shop": "demo"} or {"user": "customer-17"}'
FIELDS = ("client", "user", "shop", "action", "seconds")
ACTIONS = ("look", "work", "abandon")
Action = Literal["look", "work", "abandon"]


class Person(NamedTuple):
    """A client id, or a user id with every client that ever had it. Without a shop: in every shop."""

    kind: Literal["client", "user"]
    id: str
    shop: str | None

    def digest(self, key: str) -> str:
        """Return the HMAC-SHA256 of the person under the stage's secret key: without the key, no id can be tried against it."""
        text = "\x1f".join((self.kind, self.id, self.shop or ""))
        return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


class Task(NamedTuple):
    """The request of one call. `seconds` limits its work, so that the caller sees progress."""

    person: Person
    action: Action
    seconds: float


def parse_task(event: Any) -> Task:
    """Return the person and the action of an event.

    Raises:
        ValueError: the message names the problem and shows a valid event. It never repeats an id.
    """
    if not isinstance(event, Mapping):
        raise _invalid("the event is not an object")
    if unknown := sorted(set(event) - set(FIELDS)):
        raise _invalid(f"unknown: {', '.join(unknown)}")
    kinds = [kind for kind in ("client", "user") if kind in event]
    if len(kinds) != 1:
        raise _invalid("the event needs either a client or a user")
    kind: Any = kinds[0]
    action, seconds = event.get("action", "work"), event.get("seconds", 600)
    if action not in ACTIONS:
        raise _invalid(f"action is one of {', '.join(ACTIONS)}")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
        raise _invalid("seconds is a number of seconds, 0 or more")
    shop = _id(event, "shop") if event.get("shop") is not None else None
    return Task(Person(kind, _id(event, kind), shop), action, seconds)


def _id(event: Mapping[str, Any], name: str) -> str:
    value = event[name]
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= ID_MAX_CHARACTERS
        or re.search(r"[\x00-\x1f\x7f]", value)
    ):
        raise _invalid(f"{name} is a text of 1 to {ID_MAX_CHARACTERS} characters without control characters")
    return value


def _invalid(problem: str) -> ValueError:
    return ValueError(f"{problem}. An event is {EXAMPLE}")


class _Line(Struct):
    shop_id: Any = None
    client_id: Any = None
    user_id: Any = None


class _Refused(Struct):
    sender: Any = None


_line = msgspec.json.Decoder(_Line).decode
_refused = msgspec.json.Decoder(_Refused).decode


class Lines:
    """Decides which lines are the person's: `clients` are the shops and client ids that are known to be theirs."""

    def __init__(self, person: Person, clients: Iterable[tuple[str, str]]) -> None:
        self._person = person
        self._clients = frozenset(clients)
        ids = {person.id, *(client for _, client in self._clients)}
        written = sorted({form for one in ids for form in _forms(one)}, key=len, reverse=True)
        self._mention = re.compile(rb"(?<![\w-])(?:%s)(?![\w-])" % b"|".join(map(re.escape, written)))

    def owns(self, line: bytes) -> bool:
        """Return True if a line of raw/ is the person's. Of a line that is no JSON object, its text decides."""
        try:
            found = _line(line)
        except (msgspec.DecodeError, RecursionError):
            return self.mentions(line)
        if (found.shop_id, found.client_id) in self._clients:
            return True
        if self._person.shop not in (None, found.shop_id):
            return False
        return bool(self._person.id == (found.client_id if self._person.kind == "client" else found.user_id))

    def refused(self, line: bytes) -> bool:
        """Return True if a line of rejected/ contains one of the person's ids anywhere in its text."""
        if not self.mentions(line):
            return False
        try:
            sender = _refused(line).sender
        except (msgspec.DecodeError, RecursionError):
            return True
        return self._person.shop is None or sender in (None, self._person.shop)

    def mentions(self, text: bytes) -> bool:
        """Return True if a text contains one of the person's ids, as text, in JSON, in JSON within JSON, or in an address."""
        return self._mention.search(text) is not None

    def client_of(self, line: bytes) -> tuple[str, str] | None:
        """Return shop and client of a line with the person's user id."""
        if self._person.kind != "user":
            return None
        try:
            found = _line(line)
        except (msgspec.DecodeError, RecursionError):
            return None
        if found.user_id != self._person.id or self._person.shop not in (None, found.shop_id):
            return None
        if not isinstance(found.shop_id, str) or not isinstance(found.client_id, str):
            return None
        return found.shop_id, found.client_id


def _forms(text: str) -> list[bytes]:
    """Return the ways in which an id is written in a line."""
    escaped = [json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    within = [
        json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in escaped for ascii_only in (True, False)
    ]
    return [form.encode("utf-8", "surrogatepass") for form in (text, *escaped, *within, quote(text, safe=""))]
