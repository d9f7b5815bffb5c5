"""The OpenAPI description of the HTTP API, from the contract of events, the limits and the reasons of refusals.

https://spec.openapis.org/oas/v3.1.0
"""

import json
from http import HTTPStatus
from typing import Any

import contracts
from functions.platform.errors import Reason, http_status

VERSION = "1"
JSON = "application/json"
# sendBeacon posts text/plain, to avoid a preflight.
BODY_TYPES = (JSON, "text/plain")
OF_RECOMMEND = {
    Reason.NO_MODEL_YET,
    Reason.MODEL_UNAVAILABLE,
    Reason.PARAMETER_INVALID,
    Reason.SHOP_NOT_SERVED,
}
# What a rule does to items: functions/recommend/rules/arrange.py counts them.
EFFECTS = ("removed", "pinned", "boosted", "buried", "weighted", "moved", "explored")
# The lists that items are from: functions/recommend/lists.py.
SOURCES = (
    "model",
    "related",
    "popular",
    "rising",
    "bought_together",
    "viewed",
    "bought",
    "given",
    "new",
    "none",
)
BECAUSE_KINDS = ("viewed", "again", "related", "popular", "bought_with", "bought", "pinned", "new")
# Reasons that refuse one event of a batch: the answer is 200, and names them.
OF_EVENTS = {
    Reason.EVENT_NOT_AN_OBJECT,
    Reason.EVENT_TOO_LARGE,
    Reason.FIELD_MISSING,
    Reason.FIELD_INVALID,
    Reason.TEXT_INVALID,
    Reason.UNKNOWN_EVENT_NAME,
    Reason.UNKNOWN_SCHEMA_VERSION,
    Reason.UNKNOWN_SHOP,
    Reason.CLIENT_TIME_IN_FUTURE,
    Reason.EVENT_TOO_OLD,
}
# Reasons that refuse one line of a catalogue's changes: the answer is 200, and names them.
OF_LINES = {
    Reason.FIELD_MISSING,
    Reason.FIELD_INVALID,
    Reason.FIELD_UNKNOWN,
    Reason.LINE_NOT_JSON,
    Reason.LINE_TOO_LARGE,
    Reason.UNKNOWN_SHOP,
}
# Reasons that refuse all changes of a catalogue.
OF_CATALOGUE = {
    Reason.WRONG_SECRET_KEY,
    Reason.SECRET_KEYS_UNAVAILABLE,
    Reason.BODY_EMPTY,
    Reason.BODY_TOO_LARGE,
    Reason.TOO_MANY_LINES,
    Reason.PARAMETER_INVALID,
    Reason.IDEMPOTENCY_KEY_REUSED,
    Reason.STORAGE_UNAVAILABLE,
}
ONLY_OF_CATALOGUE = {Reason.TOO_MANY_LINES, Reason.IDEMPOTENCY_KEY_REUSED} | (OF_LINES - OF_EVENTS)
JSON_LINES = "application/jsonl"
# The answer is 200 and names it: nothing is stored, and nothing is to be sent again.
OF_PRIVACY = {Reason.GLOBAL_PRIVACY_CONTROL}
EXAMPLE_EVENT = {
    "schema_version": 1,
    "event_id": "e-20260101-1",
    "event_name": "view_item",
    "shop_id": "demo",
    "client_id": "c-5f2b",
    "session_id": "s-20260101-1",
    "client_time_ms": 1767261600000,
    "items": [{"item_id": "boot-7", "item_name": "Boot", "price": 89.9}],
}
EXAMPLE_CHANGES = (
    {"item_id": "boot-7", "availability": "out_of_stock"},
    {"item_id": "boot-9", "price": 89.9, "sale_price": None},
    {"item_id": "boot-3", "delete": True},
)
EXAMPLE_QUESTION = {"items": ["boot-7"], "k": 2, "shop": "demo", "session": "s-20260101-1"}


def openapi_text() -> str:
    """Return openapi.json."""
    return json.dumps(description(), indent=1, ensure_ascii=False) + "\n"


def description() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tugboat",
            "version": VERSION,
            "description": "Storefront events in, recommendations for a session out. docs/events.md explains each field.",
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com/api",
                "description": "The address that a deployment prints.",
                "variables": {"api": {"default": "abc123"}, "region": {"default": "us-east-1"}},
            }
        ],
        "paths": {
            "/events": {"post": _post_events()},
            "/pixel.gif": {"get": _get_pixel()},
            "/catalogue": {"put": _put_catalogue()},
            "/recommend": {"get": _get_recommend(), "post": _post_recommend()},
            "/tugboat.js": {"get": _get_file("The storefront's SDK.", "text/javascript")},
            "/tugboat-carousel.js": {"get": _get_file("The carousel's element.", "text/javascript")},
            "/openapi.json": {"get": _get_file("This document.", JSON)},
        },
        "components": {
            "schemas": _schemas(),
            "parameters": {"key": _key()},
            "securitySchemes": {"secretKey": _secret_key()},
        },
    }


def _key() -> dict[str, Any]:
    return {
        "name": "key",
        "in": "query",
        "required": True,
        "description": "The shop's key. It is in the shop's pages, so it is not a secret. "
        "A request with the secret key needs none.",
        "schema": {"type": "string"},
    }


def _secret_key() -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": "bearer",
        "description": "The shop's secret key, for its back end: never in a page. Its events are trusted, of any age. "
        "It changes the catalogue.",
    }


def _post_events() -> dict[str, Any]:
    limits = contracts.read("limits")["collect"]
    example = {"sent_at_ms": EXAMPLE_EVENT["client_time_ms"], "events": [EXAMPLE_EVENT]}
    body = {"schema": {"$ref": "#/components/schemas/Batch"}, "example": example}
    return {
        "operationId": "sendEvents",
        "summary": "Store a batch of events.",
        "description": f"A body has at most {limits['body_max_bytes']:,} bytes, an event {limits['event_max_bytes']:,}.",
        # With the secret key, ?key= may be left out.
        "security": [{}, {"secretKey": []}],
        "parameters": [{**_key(), "required": False}],
        "requestBody": {"required": True, "content": dict.fromkeys(BODY_TYPES, body)},
        "responses": {
            "200": _answer("Accepted events are stored durably. Refused ones are named.", "Collected"),
            **_refusals(set(Reason) - OF_RECOMMEND - OF_EVENTS - OF_PRIVACY - ONLY_OF_CATALOGUE),
        },
    }


def _get_pixel() -> dict[str, Any]:
    event, item = _schemas()["Event"], _schemas()["Item"]
    given = {"schema_version", "event_id", "session_id", "client_time_ms"}
    fields = {
        **{name: field for name, field in event["properties"].items() if name != "items"},
        **{name: field for name, field in item["properties"].items() if name != "receipt"},
    }
    required = set(event["required"]) - given
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in fields.items()
    ]
    return {
        "operationId": "sendPixel",
        "summary": "Store one event of a page or mail without scripts.",
        "description": "The fields of one item are beside those of the event. "
        f"The server fills in {', '.join(sorted(given))} where they are missing.",
        "parameters": [{"$ref": "#/components/parameters/key"}, *parameters],
        "responses": {
            "200": {
                "description": "A transparent GIF of one pixel, always.",
                "headers": {
                    "X-Tugboat-Refused": {
                        "description": "The reason, if the event was refused or not stored.",
                        "schema": {"$ref": "#/components/schemas/Reason"},
                    }
                },
                "content": {"image/gif": {}},
            }
        },
    }


def _put_catalogue() -> dict[str, Any]:
    limits = contracts.read("limits")["catalogue"]
    example = "".join(json.dumps(change) + "\n" for change in EXAMPLE_CHANGES)
    return {
        "operationId": "changeCatalogue",
        "summary": "Change or delete products of the catalogue.",
        "description": f"The body is JSON Lines: one Change per line, at most {limits['batch_lines_max']:,} lines, "
        f"{limits['line_max_bytes']:,} bytes per line and {limits['batch_max_bytes']:,} bytes in all, also gzipped. "
        "Lines hold in their order, and batches in the order of their receipt. docs/catalogue.md explains more.",
        "security": [{"secretKey": []}],
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "A text of the sender's choice, one per batch, such as a UUID. A batch that is sent again "
                "with its key within 7 days counts once, at the time of its first receipt.",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": limits["idempotency_key_max_characters"],
                },
            }
        ],
        "requestBody": {
            "required": True,
            "content": {JSON_LINES: {"schema": {"type": "string"}, "example": example}},
        },
        "responses": {
            "200": _answer("Accepted lines are stored durably. Refused ones are named.", "CatalogueChanged"),
            **_refusals(OF_CATALOGUE),
        },
    }


def _change() -> dict[str, Any]:
    """Return the schema of a line: the fields of a product, of which all but the id may be left out or be null."""
    schema = contracts.read("product.schema")
    properties = {
        name: _inlined(field, schema["definitions"])
        for name, field in schema["properties"].items()
        if name != "shop_id"
    }
    clearable = {
        name: {"anyOf": [field, {"type": "null"}]}
        for name, field in properties.items()
        if name not in ("item_id", "title")
    }
    delete = {"description": "Removes the product. The line has no other field.", "const": True}
    return {
        "description": "What is so from now on. A field that is left out stays; null clears it.",
        "type": "object",
        "required": ["item_id"],
        "minProperties": 2,
        "properties": {**properties, **clearable, "delete": delete},
        "additionalProperties": False,
    }


def _inlined(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a field with its definitions in place, because those of products differ from those of events."""
    if "$ref" in field:
        return {**definitions[field["$ref"].rpartition("/")[2]], "description": field["description"]}
    return {
        name: _inlined({"description": "", **part}, definitions)
        if name in ("propertyNames", "additionalProperties")
        else part
        for name, part in field.items()
    }


def _get_recommend() -> dict[str, Any]:
    limits = contracts.read("limits")["recommend"]
    properties = _question(limits)["properties"]
    return {
        "operationId": "recommend",
        "summary": "Recommend items for a session.",
        "parameters": [
            {
                "name": name,
                "in": "query",
                "description": schema["description"],
                "schema": schema,
                **({"style": "form", "explode": False} if schema.get("type") == "array" else {}),
            }
            for name, schema in properties.items()
        ],
        "responses": _recommended(),
    }


def _post_recommend() -> dict[str, Any]:
    body = {"schema": {"$ref": "#/components/schemas/Question"}, "example": EXAMPLE_QUESTION}
    return {
        "operationId": "recommendByPost",
        "summary": "Recommend items for a session: for ids with a comma, and for long lists.",
        "requestBody": {"required": True, "content": dict.fromkeys(BODY_TYPES, body)},
        "responses": _recommended(),
    }


def _recommended() -> dict[str, Any]:
    reasons = OF_RECOMMEND | {Reason.BODY_NOT_JSON, Reason.BODY_TOO_LARGE}
    return {
        "200": _answer("Items, best first, and where they come from.", "Recommendation"),
        **_refusals(reasons),
    }


def _get_file(summary: str, media_type: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": {media_type: {}}},
            "304": {"description": "The ETag of If-None-Match is the current one."},
        },
    }


def _answer(text: str, schema: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _refusals(reasons: set[Reason]) -> dict[str, Any]:
    """Return the responses that refuse a whole request, by status, each with its reasons."""
    by_status: dict[HTTPStatus, list[str]] = {}
    for reason in Reason:
        if reason in reasons:
            by_status.setdefault(http_status(reason), []).append(reason.value)
    found = {
        str(status.value): _answer(f"The reason is {' or '.join(names)}.", "Refusal")
        for status, names in sorted(by_status.items())
    }
    found["429"] = {
        "description": "Too many requests: send again after the seconds of Retry-After, or later."
    }
    return found


def _schemas() -> dict[str, Any]:
    limits = contracts.read("limits")
    schema = contracts.read("event.schema")
    definitions = {name.capitalize(): _moved(one) for name, one in schema["definitions"].items()}
    event = {name: _moved(schema[name]) for name in ("description", "type", "required", "properties")}
    item = event["properties"]["items"]["items"]
    event["properties"]["items"]["items"] = {"$ref": "#/components/schemas/Item"}
    item["description"] = "A product that an event is about."
    a_text: dict[str, Any] = {"type": "string"}
    reference = {"$ref": "#/components/schemas/Event"}
    events = {
        "type": "array",
        "minItems": 1,
        "maxItems": limits["collect"]["events_max"],
        "items": reference,
    }
    sent_at = {
        **_moved(schema["properties"]["client_time_ms"]),
        "description": "When the client sends the batch, by its own clock. It corrects clocks that are wrong.",
    }
    latest_ms = sent_at["maximum"]
    clock_error = {
        "description": "The client's clock minus the server's, measured by an answer's received_at_ms. "
        "It tells a wrong clock from a request that took long.",
        "type": "integer",
        "minimum": -latest_ms,
        "maximum": latest_ms,
    }
    return {
        "Event": event,
        "Item": item,
        **definitions,
        "Batch": {
            "description": "A batch, a list of events, or one event.",
            "anyOf": [
                _object({"events": events, "sent_at_ms": sent_at, "clock_error_ms": clock_error}, ["events"]),
                events,
                reference,
            ],
        },
        "Collected": _object(
            {
                "accepted": {"type": "integer", "minimum": 0},
                "refused": {"type": "array", "items": {"$ref": "#/components/schemas/RefusedEvent"}},
                "not_stored": {
                    "description": "Only if the request had `Sec-GPC: 1`: no event is stored, and none is to be sent again.",
                    "const": Reason.GLOBAL_PRIVACY_CONTROL.value,
                },
                "received_at_ms": {
                    "description": "When the request arrived, by the server's clock.",
                    "type": "integer",
                },
                "request_id": a_text,
            },
            ["accepted", "refused", "request_id"],
        ),
        "RefusedEvent": _object(
            {
                "index": {"description": "Its place in the batch, from 0.", "type": "integer"},
                "event_id": {"type": ["string", "null"]},
                "reason": {"$ref": "#/components/schemas/Reason"},
                "message": a_text,
            }
        ),
        "Change": _change(),
        "CatalogueChanged": _object(
            {
                "accepted": {"type": "integer", "minimum": 0},
                "refused": {"type": "array", "items": {"$ref": "#/components/schemas/RefusedLine"}},
                "received_at_ms": {
                    "description": "When the batch arrived, by the server's clock: the time from which the changes hold.",
                    "type": "integer",
                },
                "request_id": a_text,
            },
            ["accepted", "refused", "received_at_ms", "request_id"],
        ),
        "RefusedLine": _object(
            {
                "line": {"description": "Its number in the body, from 1.", "type": "integer"},
                "item_id": {"type": ["string", "null"]},
                "reason": {"$ref": "#/components/schemas/Reason"},
                "message": a_text,
            }
        ),
        "Question": _question(limits["recommend"]),
        "Recommendation": _object(
            {
                "items": {
                    "type": "array",
                    "items": _object(
                        {
                            "item_id": a_text,
                            "score": {"description": "0 for an item that no model scored.", "type": "number"},
                            "pinned_by": {"description": "The rule that gave it its slot.", **a_text},
                            "explored_by": {
                                "description": "The rule of exploration that gave it its slot.",
                                **a_text,
                            },
                            "because": {
                                "description": "Only if asked. `viewed`, `related` and `bought_with` name the item that "
                                "brought it.",
                                **_object(
                                    {
                                        "kind": {"enum": list(BECAUSE_KINDS)},
                                        "item_id": a_text,
                                    },
                                    ["kind"],
                                ),
                            },
                        },
                        ["item_id", "score"],
                    ),
                },
                "rules": {
                    "description": "The shop's rules that changed the answer, each with its number of items per effect. "
                    "Only if the shop has rules or a catalogue.",
                    "type": "array",
                    "items": _object(
                        {"id": a_text, **{effect: {"type": "integer", "minimum": 1} for effect in EFFECTS}},
                        ["id"],
                    ),
                },
                "rules_revision": {"description": "The set of rules that was applied.", **a_text},
                "source": {
                    "description": "`model`, the list that the items are from, or the arm of an experiment: `none` has no items.",
                    "enum": list(SOURCES),
                },
                "reason": a_text,
                "model_version": a_text,
                "variant": a_text,
                "request_id": {"description": "The recommendation_id of events that follow.", **a_text},
                "receipt": {
                    "description": "Only with `shop` and `session`, and without `Sec-GPC: 1`.",
                    **a_text,
                },
                "experiments": {
                    "description": "The client's arms. Send one recommendation_exposure with the receipt.",
                    "type": "array",
                    "items": _object({"experiment": a_text, "arm": a_text}),
                },
            },
            ["items", "source", "reason", "model_version", "variant", "request_id"],
        ),
        "Refusal": _object(
            {
                "error": _object({"reason": {"$ref": "#/components/schemas/Reason"}, "message": a_text}),
                "request_id": a_text,
            }
        ),
        "Reason": {
            "description": "For programs; the message beside it is for people.",
            "enum": [reason.value for reason in Reason],
        },
    }


def _question(limits: dict[str, int]) -> dict[str, Any]:
    an_id = {"$ref": "#/components/schemas/Id"}
    an_item = {"type": "string", "minLength": 1, "maxLength": contracts.id_max_characters()}
    return {
        "type": "object",
        "properties": {
            "items": {
                "description": f"The session's items, oldest first. The last {limits['items_max']} are used.",
                "type": "array",
                "items": an_item,
            },
            "k": {
                "description": "The number of items. The default of `rerank` is the length of `candidates`.",
                "type": "integer",
                "minimum": 1,
                "maximum": limits["k_max"],
                "default": limits["k_default"],
            },
            "exclude": {
                "description": "Items that the answer must not contain.",
                "type": "array",
                "maxItems": limits["exclude_max"],
                "items": an_item,
            },
            "shop": {
                "description": "shop_id of the session's events. Its model answers. Only in a stage that trains for one shop it "
                "may be missing.",
                **an_id,
            },
            "session": {"description": "session_id of them. With both, the answer has a receipt.", **an_id},
            "client": {
                "description": "client_id of them. With it, the client takes part in the shop's experiments.",
                **an_id,
            },
            "placement": {
                "description": "What the carousel shows, and where it stands. The receipt carries it.",
                "type": "string",
                "enum": contracts.placements(),
                "default": contracts.placements()[0],
            },
            "candidates": {
                "description": "Placement `rerank`: the list that is put in order. The answer has no other items.",
                "type": "array",
                "maxItems": limits["candidates_max"],
                "items": an_item,
            },
            "history": {
                "description": "Placements `home` and `recently_viewed`: the visitor's views of earlier sessions, oldest first. "
                f"The last {limits['history_max']} are used.",
                "type": "array",
                "items": an_item,
            },
            "bought": {
                "description": "Placement `buy_again`: what the visitor bought before, oldest first. "
                f"The last {limits['bought_max']} are used.",
                "type": "array",
                "items": an_item,
            },
            "category": {
                "description": "Placement `popular`: the path of a category, such as outdoor/tents.",
                "type": "string",
                "maxLength": contracts.read("event.schema")["definitions"]["text"]["maxLength"],
            },
            "rising": {
                "description": "Placement `popular`: products whose share of the views grows are first.",
                "type": "boolean",
                "default": False,
            },
            "because": {
                "description": "Whether each item says what brought it, which takes up to five times as long.",
                "type": "boolean",
                "default": False,
            },
        },
    }


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": required or list(properties), "properties": properties}


def _moved(schema: Any) -> Any:
    """Return a part of event.schema.json with its definitions as components."""
    if isinstance(schema, dict):
        return {
            key: "#/components/schemas/" + value.rpartition("/")[2].capitalize()
            if key == "$ref"
            else _moved(value)
            for key, value in schema.items()
        }
    return [_moved(one) for one in schema] if isinstance(schema, list) else schema
