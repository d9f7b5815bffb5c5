"""Ids of the contract's length, and ids that follow from content."""

import hashlib
import re

from imports.values import ID_PATTERN

_ID = re.compile(ID_PATTERN)


def short_id(text: str) -> str:
    """Return the id if the contract allows it, else a digest of it."""
    clean = text.strip()
    if _ID.fullmatch(clean):
        return clean
    return hashlib.sha1(clean.encode("utf-8", "surrogatepass")).hexdigest()


def row_id(dataset: str, *values: object) -> str:
    """Derive an event id from content, so that a file sent twice changes nothing."""
    text = "\x1f".join([dataset, *[str(value) for value in values]])
    return hashlib.sha1(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
