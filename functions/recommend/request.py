"""What a storefront asks of /recommend."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from functions.errors import Reason, RequestRefused

ITEMS_MAX = 50
EXCLUDE_MAX = 500
ID_MAX_CHARACTERS = 64
K_MAX = 100
K_DEFAULT = 10
BODY_MAX_BYTES = 65_536
# An id as the event contract has it (functions/collect/event.schema.json).
ID = re.compile(rf"[^\x00-\x1f\x7f]{{1,{ID_MAX_CHARACTERS}}}")


class Visit(NamedTuple):
    """Whose session it is, as its events will say."""

    shop_id: str
    session_id: str


class Question(NamedTuple):
    """The session's items, oldest first; how many are wanted; what must not come back; who gets the receipt."""

    items: list[str]
    k: int
    exclude: list[str]
    visit: Visit | None = None


def from_query(query: Mapping[str, str]) -> Question:
    """GET /recommend?items=a,b&k=10&exclude=c&shop=s&session=t

    Raises:
        RequestRefused: a parameter cannot be read.
    """
    return _question(
        _split(query.get("items", "")), query.get("k", K_DEFAULT), _split(query.get("exclude", "")), query
    )


def from_body(body: bytes) -> Question:
    """POST /recommend {"items": ["a", "b"], "k": 10, "exclude": ["c"]}: for ids that hold a comma, and long sessions.

    Raises:
        RequestRefused: the body cannot be read.
    """
    if len(body) > BODY_MAX_BYTES:
        raise RequestRefused(Reason.BODY_TOO_LARGE, f"{len(body)} bytes, at most {BODY_MAX_BYTES} are taken")
    try:
        parsed = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise RequestRefused(Reason.BODY_NOT_JSON, "the body is not JSON") from None
    if not isinstance(parsed, dict):
        raise RequestRefused(
            Reason.PARAMETER_INVALID, 'the body is not an object such as {"items": ["a", "b"], "k": 10}'
        )
    return _question(parsed.get("items", []), parsed.get("k", K_DEFAULT), parsed.get("exclude", []), parsed)


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _question(items: Any, k: Any, exclude: Any, named: Mapping[str, Any]) -> Question:
    try:
        count = int(k) if isinstance(k, str | int) and not isinstance(k, bool) else 0
    except ValueError:
        count = 0
    if not 1 <= count <= K_MAX:
        raise RequestRefused(Reason.PARAMETER_INVALID, f"k is a whole number from 1 to {K_MAX}")
    kept = _ids("items", items)[-ITEMS_MAX:]
    excluded = _ids("exclude", exclude)
    if len(excluded) > EXCLUDE_MAX:
        raise RequestRefused(
            Reason.PARAMETER_INVALID, f"exclude holds {len(excluded)} ids, at most {EXCLUDE_MAX} are taken"
        )
    return Question(kept, count, excluded, _visit(named))


def _visit(named: Mapping[str, Any]) -> Visit | None:
    """The visit, where both of its ids are given."""
    given = {name: named[name] for name in ("shop", "session") if named.get(name) is not None}
    for name, value in given.items():
        if not isinstance(value, str) or not ID.fullmatch(value) or not _is_unicode(value):
            raise RequestRefused(
                Reason.PARAMETER_INVALID,
                f"{name} is an id of 1 to {ID_MAX_CHARACTERS} characters, as in the events",
            )
    return Visit(given["shop"], given["session"]) if len(given) == 2 else None


def _is_unicode(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which JSON can escape and UTF-8 cannot hold."""
    return text == text.encode("utf-8", "replace").decode()


def _ids(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(
        isinstance(item, str) and 0 < len(item) <= ID_MAX_CHARACTERS for item in value
    ):
        raise RequestRefused(
            Reason.PARAMETER_INVALID, f"{name} is a list of ids of 1 to {ID_MAX_CHARACTERS} characters"
        )
    return value
