"""The fallback for a slow or broken endpoint: items related to the last known one, then popular items.

The step prove writes it to S3 with each model. Here it is read once and cached for minutes.
"""

from dataclasses import dataclass
from typing import Any, Literal

from functions.platform.refreshed import Refreshed
from functions.platform.s3_keys import fallback_key
from functions.platform.stored_json import read_json

REFRESH_S = 300.0


@dataclass(frozen=True)
class Fallback:
    """Popular items and, per known item, its related ones, both best first; and the version of their model.

    Before a shop's first model, the newest products stand in for the popular ones.
    """

    popular: list[str]
    related: dict[str, list[str]]
    model_version: str
    popular_because: Literal["popular", "new"] = "popular"

    def related_to(self, items: list[str]) -> tuple[str | None, list[str]]:
        """Return the last known one of `items`, and the items that are related to it, best first."""
        anchor = next((item for item in reversed(items) if item in self.related), None)
        return (anchor, self.related[anchor]) if anchor is not None else (None, [])

    def pick(self, items: list[str], k: int, excluded: set[str]) -> tuple[list[str], str]:
        """Pick up to `k` distinct items that are not excluded.

        Returns:
            The items, and the source of the first one: `related`, `popular` or `new`.
        """
        _, related = self.related_to(items)
        candidates = dict.fromkeys(item for item in [*related, *self.popular] if item not in excluded)
        picked = list(candidates)[:k]
        return picked, "related" if picked and picked[0] in related else self.popular_because


def stored_fallback(s3: Any, bucket: str, shop_id: str) -> Refreshed[Fallback]:
    """Return the fallback of a shop's release on record. It has no value before the shop's first release."""
    key = fallback_key(shop_id)

    def read() -> Fallback | None:
        stored = read_json(s3, bucket, key)
        return None if stored is None else _fallback(stored)

    return Refreshed(key, read, REFRESH_S)


def _fallback(stored: Any) -> Fallback:
    """Return the fallback of a parsed object.

    Raises:
        KeyError, TypeError, ValueError: it is no fallback.
    """
    popular, related = stored["popular"], stored["related"]
    if not isinstance(related, dict) or not all(map(is_items, [popular, *related.values()])):
        raise ValueError("items are not lists of texts")
    return Fallback(popular, related, str(stored["model_version"]))


def is_items(value: Any) -> bool:
    """Return True for a list of ids."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
