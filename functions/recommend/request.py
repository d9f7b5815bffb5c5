"""The request that a storefront sends to /recommend."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from functions.platform.contract import (
    ID_MAX_CHARACTERS,
    PLACEMENT_DEFAULT,
    PLACEMENTS,
    RECOMMEND_BODY_MAX_BYTES,
    RECOMMEND_EXCLUDE_MAX,
    RECOMMEND_ITEMS_MAX,
    RECOMMEND_K_DEFAULT,
    RECOMMEND_K_MAX,
)
from functions.platform.errors import Reason, RequestRefused
from functions.platform.http import ApiRequest

# The same ids as in the event contract (contracts/event.schema.json).
ID = re.compile(rf"[^\x00-\x1f\x7f]{{1,{ID_MAX_CHARACTERS}}}")
# int() also takes spaces, underscores and the digits of every script.
WHOLE_NUMBER = re.compile("[0-9]{1,3}")


class Session(NamedTuple):
    """The session that a receipt is issued to, named as in its events. `client_id` takes part in experiments."""

    shop_id: str
    session_id: str
    client_id: str | None = None


class RecommendRequest(NamedTuple):
    """The session's items, oldest first; the number of items wanted; the items to exclude; the receipt's labels.

    With `because`, each item of the answer says what brought it.
    """

    items: list[str]
    k: int
    exclude: list[str]
    session: Session | None = None
    placement: str = PLACEMENT_DEFAULT
    because: bool = False


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
    return _request(
        _split(query.get("items", "")),
        query.get("k", RECOMMEND_K_DEFAULT),
        _split(query.get("exclude", "")),
        query,
    )


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
    return _request(
        parsed.get("items", []), parsed.get("k", RECOMMEND_K_DEFAULT), parsed.get("exclude", []), parsed
    )


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _request(items: Any, k: Any, exclude: Any, parameters: Mapping[str, Any]) -> RecommendRequest:
    count = int(k) if WHOLE_NUMBER.fullmatch(str(k)) and isinstance(k, str | int) else 0
    if not 1 <= count <= RECOMMEND_K_MAX:
        raise RequestRefused(Reason.PARAMETER_INVALID, f"k is a whole number from 1 to {RECOMMEND_K_MAX}")
    kept = _ids("items", items)[-RECOMMEND_ITEMS_MAX:]
    excluded = _ids("exclude", exclude)
    if len(excluded) > RECOMMEND_EXCLUDE_MAX:
        raise RequestRefused(
            Reason.PARAMETER_INVALID,
            f"exclude holds {len(excluded)} ids, at most {RECOMMEND_EXCLUDE_MAX} are taken",
        )
    return RecommendRequest(
        kept, count, excluded, _session(parameters), _placement(parameters), _because(parameters)
    )


def _placement(parameters: Mapping[str, Any]) -> str:
    placement = parameters.get("placement")
    if placement is None:
        return PLACEMENT_DEFAULT
    if placement not in PLACEMENTS:
        raise RequestRefused(Reason.PARAMETER_INVALID, f"placement is one of {', '.join(PLACEMENTS)}")
    return str(placement)


def _because(parameters: Mapping[str, Any]) -> bool:
    because = parameters.get("because", False)
    if str(because).lower() not in ("true", "false"):
        raise RequestRefused(Reason.PARAMETER_INVALID, "because is true or false")
    return str(because).lower() == "true"


def _session(parameters: Mapping[str, Any]) -> Session | None:
    """Return the session if shop and session are given, else None."""
    ids = {
        name: parameters[name] for name in ("shop", "session", "client") if parameters.get(name) is not None
    }
    for name, value in ids.items():
        if not isinstance(value, str) or not ID.fullmatch(value) or not _is_unicode(value):
            raise RequestRefused(
                Reason.PARAMETER_INVALID,
                f"{name} is an id of 1 to {ID_MAX_CHARACTERS} characters, as in the events",
            )
    if not ids.keys() >= {"shop", "session"}:
        return None
    return Session(ids["shop"], ids["session"], ids.get("client"))


def _is_unicode(text: str) -> bool:
    """Return False if the text has half a surrogate pair, which JSON can escape and UTF-8 cannot encode."""
    return text == text.encode("utf-8", "replace").decode()


def _ids(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(
        isinstance(item, str) and 0 < len(item) <= ID_MAX_CHARACTERS for item in value
    ):
        raise RequestRefused(
            Reason.PARAMETER_INVALID,
            f"{name} is a list of ids of 1 to {ID_MAX_CHARACTERS} characters",
        )
    return value
