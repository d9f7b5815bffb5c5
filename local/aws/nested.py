"""Conversion of nested JSON values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def same(value: Any) -> Any:
    """Return the value unchanged."""
    return value


def mapped(value: Any, leaf: Callable[[Any], Any] = same, key: Callable[[str], str] = same) -> Any:
    """Return a copy of nested dictionaries and lists with converted leaves and keys."""
    if isinstance(value, dict):
        return {key(name): mapped(item, leaf, key) for name, item in value.items()}
    if isinstance(value, list):
        return [mapped(item, leaf, key) for item in value]
    return leaf(value)


def boolean(value: Any) -> Any:
    """Return True or False for the texts with which CloudFormation passes booleans."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
