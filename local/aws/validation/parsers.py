"""moto's request parsers, with the type checks of the services.

moto's parsers accept a number where the model has a text, and a text where it has a list. Services refuse both.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.model import Shape
from moto.core.parse import (
    PROTOCOL_PARSERS,
    BaseJSONParser,
    JSONParser,
    RequestParserError,
    RestJSONParser,
)

UNREADABLE = (RequestParserError, ValueError)
"""The errors of parsers. `ValueError` includes invalid numbers, times, base64 and JSON."""


class _TypeChecks(BaseJSONParser):
    def _parse_body_as_json(self, body_contents: bytes | str) -> Any:
        return json.loads(body_contents) if body_contents else {}

    def _parse_structure(self, shape: Shape, value: Any) -> Any:
        if not shape.is_document_type and value is not None and not isinstance(value, dict):
            raise ValueError("Unexpected value type in payload: a structure is expected")
        return super()._parse_structure(shape, value)

    def _parse_map(self, shape: Shape, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("Expected map or null")
        return super()._parse_map(shape, value)

    def _parse_integer(self, shape: Shape, value: Any) -> int:
        # Values of an address or a header are texts.
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"{_kind(value)} can not be converted to an Integer")
        if isinstance(value, str) and "location" not in shape.serialization:
            raise ValueError("STRING_VALUE can not be converted to an Integer")
        return int(value)

    _parse_long = _parse_integer

    def _parse_string(self, shape: Shape, value: Any) -> Any:
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{_kind(value)} can not be converted to a String")
        return value

    def _parse_boolean(self, shape: Shape, value: Any) -> Any:
        if "location" not in shape.serialization and not isinstance(value, bool):
            raise ValueError(f"{_kind(value)} can not be converted to a Boolean")
        return value if isinstance(value, bool) else value == "true"


class _StrictJSON(_TypeChecks, JSONParser):
    def _parse_list(self, shape: Shape, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("Expected list or null")
        return super()._parse_list(shape, value)


class _StrictRestJSON(_TypeChecks, RestJSONParser):
    def _parse_list(self, shape: Shape, value: Any) -> Any:
        if "location" not in shape.serialization and not isinstance(value, list):
            raise ValueError("Expected list or null")
        return super()._parse_list(shape, value)


PARSERS = {**PROTOCOL_PARSERS, "json": _StrictJSON, "rest-json": _StrictRestJSON}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    if isinstance(value, int | float):
        return "NUMBER_VALUE"
    return (
        "STRING_VALUE"
        if isinstance(value, str)
        else "START_ARRAY"
        if isinstance(value, list)
        else "START_OBJECT"
    )
