"""The generated module of the Python SDK: the types that an editor completes, and the limits of a request."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import contracts
from contracts import modules, openapi

# The SDK sets these itself.
STAMPED = ("schema_version", "event_name", "shop_id")
# The browser numbers its events. A back end does not know the numbers.
OF_THE_BROWSER = ("sequence",)
# The SDK has defaults for these, although an event needs them.
DEFAULTED = ("event_id", "client_time_ms")
# Texts that the SDK cuts. A cut id is another id, and a cut receipt is forged.
CUT = ("text", "address")
ANNOTATIONS = {"string": "str", "number": "float", "integer": "int"}
# Back ends keep amounts as Decimal.
AMOUNT = "float | Decimal"


def sdk_module() -> str:
    """Return clients/python/src/tugboat_events/contract.py."""
    schema = contracts.read("event.schema")
    limits = contracts.read("limits")
    item = schema["properties"]["items"]["items"]
    fields = {
        name: field for name, field in schema["properties"].items() if name not in STAMPED + OF_THE_BROWSER
    }
    given = [name for name in schema["required"] if name in fields and name not in DEFAULTED]
    answer = openapi.description()["components"]["schemas"]["Recommendation"]
    recommended = answer["properties"]["items"]["items"]
    because = recommended["properties"]["because"]
    lines = [
        modules.HEADER % "*.json",
        "from __future__ import annotations",
        "",
        "from decimal import Decimal",
        "from typing import Any, Literal, TypedDict",
        "",
        f"EventName = Literal[{', '.join(map(repr, contracts.event_kinds()))}]",
        f"Placement = Literal[{', '.join(map(repr, contracts.placements()))}]",
        "",
        f"SCHEMA_VERSION = {schema['properties']['schema_version']['enum'][-1]}",
        f"EVENTS_MAX = {limits['collect']['events_max']}",
        f"BODY_MAX_BYTES = {limits['collect']['body_max_bytes']}",
        f"EVENT_MAX_BYTES = {limits['collect']['event_max_bytes']}",
        f"EVENT_ITEMS_MAX = {schema['properties']['items']['maxItems']}",
        *(f"RECOMMEND_{name.upper()} = {limits['recommend'][name]}" for name in ("items_max", "exclude_max", "k_max")),
        *(f"CATALOGUE_{name.upper()} = {limits['catalogue'][name]}" for name in ("batch_lines_max", "batch_max_bytes")),
        f"MAX_CHARACTERS = {({kind: schema['definitions'][kind]['maxLength'] for kind in CUT})!r}",
        f"EVENT_FIELDS = {({name: _kind(name, field) for name, field in fields.items()})!r}",
        f"ITEM_FIELDS = {({name: _kind(name, field) for name, field in item['properties'].items()})!r}",
        *_typed_dict("Item", "A product of an event.", item["properties"], item["required"], schema),
        *_typed_dict("Fields", "The fields of an event that a shop may set.", fields, given, schema),
        *_typed_dict("Because", "The reason for which an item is in an answer.", because["properties"], because["required"], {}),
        *_typed_dict("RecommendedItem", "An item of an answer.", recommended["properties"], recommended["required"], {}),
        *_typed_dict("Recommendation", "An answer of /recommend.", answer["properties"], answer["required"], {}),
    ]  # fmt: skip
    return modules.formatted("\n".join(lines) + "\n")


def _typed_dict(
    name: str, docstring: str, fields: dict[str, Any], required: Iterable[str], schema: dict[str, Any]
) -> Iterator[str]:
    """Yield a TypedDict with required and optional keys: as two classes, because NotRequired needs Python 3.11."""
    needed = {field: kind for field, kind in fields.items() if field in required}
    optional = {field: kind for field, kind in fields.items() if field not in required}
    first = f"_Required{name}" if optional else name
    yield from ("", "", f"class {first}(TypedDict):")
    yield from ("" if optional else f'    """{docstring}"""', "")
    yield from _keys(needed, schema)
    if optional:
        yield from ("", "", f"class {name}({first}, total=False):", f'    """{docstring}"""', "")
        yield from _keys(optional, schema)


def _keys(fields: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    for name, field in fields.items():
        if "description" in field:
            yield textwrap.indent(textwrap.fill(field["description"], 100), "    # ")
        yield f"    {name}: {_annotation(field, schema)}"


def _annotation(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in field:
        field = schema["definitions"][field["$ref"].removeprefix("#/definitions/")]
    if "enum" in field:
        return f"Literal[{', '.join(map(repr, field['enum']))}]"
    if field["type"] == "array":
        if schema:
            return "list[Item]"
        return "list[RecommendedItem]" if "score" in field["items"]["properties"] else "list[dict[str, Any]]"
    if field["type"] == "object":
        return "Because"
    return AMOUNT if schema and field["type"] == "number" else ANNOTATIONS[field["type"]]


def _kind(name: str, field: dict[str, Any]) -> str:
    """Return the name of a field's definition, or what stands for it."""
    if "$ref" in field:
        return str(field["$ref"].removeprefix("#/definitions/"))
    if field["type"] == "array":
        return "items"
    return "integer" if field["type"] == "integer" else name
