r"""Regular expressions of the service models. They are written for Java, and a value must match as a whole.

The `regex` package has `\p{L}`, which `re` lacks. The differences that remain are rewritten.
In Java `\w`, `\d`, `\s`, `\p{Alnum}` and `\p{Print}` are ASCII, and `\z` is an anchor. Characters outside the basic plane may be
written as two surrogates.
"""

from __future__ import annotations

import functools
import re

import regex  # type: ignore[import-untyped]  # its types are a package of their own

_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
_ALL_PLANES = r"\U00010000-\U0010FFFF"
_CLASSES = {
    r"\w": "a-zA-Z0-9_",
    r"\d": "0-9",
    r"\s": r"\ \t\n\x0B\f\r",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Print}": r"\x20-\x7E",
    r"\p{ASCII}": r"\x00-\x7F",
}
_NEGATED = {r"\W": r"\w", r"\D": r"\d", r"\S": r"\s"}
_TOKEN = re.compile(r"\\p\{\w+\}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL)


@functools.cache
def compiled(pattern: str) -> regex.Pattern[str] | None:
    """Return the pattern for `fullmatch`, or None if it cannot be expressed."""
    try:
        return regex.compile(_translated(pattern))
    except regex.error:
        return None


def _translated(pattern: str) -> str:
    inside = False  # of a character class
    translated: list[str] = []
    tokens = _TOKEN.findall(pattern.replace(_SURROGATES, _ALL_PLANES))
    for previous, token in zip(["", *tokens], tokens, strict=False):
        if token == "[" and not inside:
            inside = True
        elif token == "]" and inside and translated[-1] not in ("[", "^"):
            inside = False
        elif token == "-" and inside and previous in _CLASSES:
            token = r"\-"  # A predefined class cannot begin a range, so Java reads the hyphen as itself.
        elif token in _CLASSES:
            token = _CLASSES[token] if inside else f"[{_CLASSES[token]}]"
        elif token in _NEGATED and not inside:
            token = f"[^{_CLASSES[_NEGATED[token]]}]"
        elif token == r"\z":
            token = r"\Z"
        translated.append(token)
    return "".join(translated)
