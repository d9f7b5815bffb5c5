"""The request that a storefront sends to /recommend."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from functions.platform.contract import (
    ID_MAX_CHARACTERS,
    PLACEMENT_ANSWERS,
    PLACEMENT_DEFAULT,
    PLACEMENTS,
    RECOMMEND_BODY_MAX_BYTES,
    RECOMMEND_BOUGHT_MAX,
    RECOMMEND_CANDIDATES_MAX,
    RECOMMEND_EXCLUDE_MAX,
    RECOMMEND_HISTORY_MAX,
    RECOMMEND_ITEMS_MAX,
    RECOMMEND_K_DEFAULT,
    RECOMMEND_K_MAX,
    TEXT_MAX_CHARACTERS,
)
from functions.platform.errors import Reason, RequestRefused
from functions.platform.http import ApiRequest

# The same ids as in the event contract (contracts/event.schema.json).
ID = re.compile(rf"[^\x00-\x1f\x7f]{{1,{ID_MAX_CHARACTERS}}}")
# int() also takes spaces, underscores and the digits of every script.
WHOLE_NUMBER = re.compile("[0-9]{1,3}")
LISTS = ("items", "exclude", "candidates", "history", "bought")


class Session(NamedTuple):
    """The session that a receipt is issued to, named as in its events. `client_id` takes part in experiments."""

    shop_id: str
    session_id: str
    client_id: str | None = None


class RecommendRequest(NamedTuple):
    """The session's items, oldest first; the number of items wanted; the items to exclude; the receipt's labels; the shop.

    With `because`, each item of the answer says what brought it. The fields after `shop` are for some placements only:
    docs/storefront.md explains them.
    """

    items: list[str]
    k: int
    exclude: list[str]
    session: Session | None = None
    placement: str = PLACEMENT_DEFAULT
    because: bool = False
    shop: str | None = None
    candidates: Sequence[str] = ()
    history: Sequence[str] = ()
    bought: Sequence[str] = ()
    category: str = ""
    rising: bool = False

    @property
    def answered_by(self) -> str:
        """Return what answers the placement, such as `next`."""
        return PLACEMENT_ANSWERS[self.placement]


def parse_request(request: ApiRequest) -> RecommendRequest:
    """Read the query string of a GET, or the body of a POST.

    Raises:
        RequestRefused: a parameter is invalid, or the body is unreadable.
    """
    return from_body(request.body) if request.method == "POST" else from_query(request.query)


def from_query(query: Mapping[str, str]) -> RecommendRequest:
    """Read GET /recommend?items=a,b&k=10&exclude=c&shop=s&session=t.

    Raises:
        RequestRefused: a parameter is invalid.
    """
    lists = {name: _split(query[name]) for name in LISTS if name in query}
    return _request({**query, **lists})


def from_body(body: bytes) -> RecommendRequest:
    """Read POST /recommend {"items": ["a", "b"], "k": 10, "exclude": ["c"]}, for ids with commas and long sessions.

    Raises:
        RequestRefused: a parameter is invalid, or the body is unreadable.
    """
    if len(body) > RECOMMEND_BODY_MAX_BYTES:
        raise RequestRefused(
            Reason.BODY_TOO_LARGE, f"{len(body)} bytes, at most {RECOMMEND_BODY_MAX_BYTES} are taken"
        )
    try:
        parsed = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise RequestRefused(Reason.BODY_NOT_JSON, "the body is not JSON") from None
    if not isinstance(parsed, dict):
        raise RequestRefused(
            Reason.PARAMETER_INVALID, 'the body is not an object such as {"items": ["a", "b"], "k": 10}'
        )
    return _request(parsed)


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _request(parameters: Mapping[str, Any]) -> RecommendRequest:
    placement = _placement(parameters)
    candidates = list(dict.fromkeys(_limited("candidates", parameters, RECOMMEND_CANDIDATES_MAX)))
    is_reranked = PLACEMENT_ANSWERS[placement] == "rerank"
    if is_reranked and not candidates:
        raise RequestRefused(
            Reason.PARAMETER_INVALID, f"the placement {placement} needs candidates: the items to put in order"
        )
    k = parameters.get("k", len(candidates) if is_reranked else RECOMMEND_K_DEFAULT)
    ids = _session_ids(parameters)
    return RecommendRequest(
        _ids("items", parameters)[-RECOMMEND_ITEMS_MAX:],
        _count(k),
        _limited("exclude", parameters, RECOMMEND_EXCLUDE_MAX),
        _session(ids),
        placement,
        _flag("because", parameters),
        ids.get("shop"),
        tuple(candidates),
        tuple(_ids("history", parameters)[-RECOMMEND_HISTORY_MAX:]),
        tuple(_ids("bought", parameters)[-RECOMMEND_BOUGHT_MAX:]),
        _category(parameters),
        _flag("rising", parameters),
    )


def _count(k: Any) -> int:
    count = int(k) if WHOLE_NUMBER.fullmatch(str(k)) and isinstance(k, str | int) else 0
    if not 1 <= count <= RECOMMEND_K_MAX:
        raise RequestRefused(Reason.PARAMETER_INVALID, f"k is a whole number from 1 to {RECOMMEND_K_MAX}")
    return count


def _placement(parameters: Mapping[str, Any]) -> str:
    placement = parameters.get("placement")
    if placement is None:
        return PLACEMENT_DEFAULT
    if placement not in PLACEMENTS:
        raise RequestRefused(Reason.PARAMETER_INVALID, f"placement is one of {', '.join(PLACEMENTS)}")
    return str(placement)


def _flag(name: str, parameters: Mapping[str, Any]) -> bool:
    value = str(parameters.get(name, False)).lower()
    if value not in ("true", "false"):
        raise RequestRefused(Reason.PARAMETER_INVALID, f"{name} is true or false")
    return value == "true"


def _category(parameters: Mapping[str, Any]) -> str:
    """Return the path of the category without slashes at its ends; empty for the whole shop."""
    category = parameters.get("category") or ""
    if not isinstance(category, str) or len(category) > TEXT_MAX_CHARACTERS:
        raise RequestRefused(
            Reason.PARAMETER_INVALID,
            f"category is a path such as outdoor/tents, of at most {TEXT_MAX_CHARACTERS} characters",
        )
    return category.strip("/ ")


def _session_ids(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return those ids of shop, session and client that are given."""
    ids = {
        name: parameters[name] for name in ("shop", "session", "client") if parameters.get(name) is not None
    }
    for name, value in ids.items():
        if not isinstance(value, str) or not ID.fullmatch(value) or not _is_unicode(value):
            raise RequestRefused(
                Reason.PARAMETER_INVALID,
                f"{name} is an id of 1 to {ID_MAX_CHARACTERS} characters, as in the events",
            )
    return ids


def _session(ids: Mapping[str, str]) -> Session | None:
    """Return the session if shop and session are given, else None."""
    if not ids.keys() >= {"shop", "session"}:
        return None
    return Session(ids["shop"], ids["session"], ids.get("client"))


def _is_unicode(text: str) -> bool:
    """Return False if the text has half a surrogate pair, which JSON can escape and UTF-8 cannot encode."""
    return text == text.encode("utf-8", "replace").decode()


def _limited(name: str, parameters: Mapping[str, Any], most: int) -> list[str]:
    """Return the ids of a list. A longer list is refused, because cutting it would change what the shop means."""
    found = _ids(name, parameters)
    if len(found) > most:
        raise RequestRefused(
            Reason.PARAMETER_INVALID, f"{name} holds {len(found)} ids, at most {most} are taken"
        )
    return found


def _ids(name: str, parameters: Mapping[str, Any]) -> list[str]:
    value = parameters.get(name, [])
    if not isinstance(value, list) or not all(
        isinstance(item, str) and 0 < len(item) <= ID_MAX_CHARACTERS for item in value
    ):
        raise RequestRefused(
            Reason.PARAMETER_INVALID,
            f"{name} is a list of ids of 1 to {ID_MAX_CHARACTERS} characters",
        )
    return value
