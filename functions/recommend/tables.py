"""The tables of a shop's placements: made with each model from its snapshot, published by prove, read from S3 here.

A table is read when the first request needs it, so a shop that uses other placements pays nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from functions.platform.refreshed import Refreshed
from functions.platform.s3_keys import placements_key
from functions.platform.stored_json import read_json
from functions.recommend.fallback import is_items

REFRESH_S = 300.0

Scored = tuple[str, float]


@dataclass(frozen=True)
class Tables:
    """The lists of one release, each best first.

    `popular` and `rising` have a list per category path; the path of the whole shop is empty. `bought_together` has the items
    that orders contain with an item, each with its strength. `again` has the share of an item's buyers who bought it more
    than once; the empty id has the share of the shop.
    """

    model_version: str
    popular: dict[str, list[str]]
    rising: dict[str, list[str]]
    bought_together: dict[str, list[Scored]]
    again: dict[str, float]

    def popular_in(self, category: str, rising: bool) -> Iterator[tuple[str, str]]:
        """Yield items of a category, then those of the categories above it, each with the name of its list."""
        for path in _upwards(category):
            if rising:
                yield from ((item, "rising") for item in self.rising.get(path, ()))
            yield from ((item, "popular") for item in self.popular.get(path, ()))

    def repurchase_rate(self, item: str) -> float:
        """Return the share of the item's buyers who bought it more than once."""
        return self.again.get(item, self.again.get("", 0.0))


def _upwards(category: str) -> Iterator[str]:
    """Yield a path and those above it: a/b, a, and the empty one."""
    while category:
        yield category
        category = category.rpartition("/")[0]
    yield ""


def stored_tables(s3: Any, bucket: str, shop_id: str) -> Refreshed[Tables]:
    """Return the tables of a shop. They have no value before the first release that has tables."""
    key = placements_key(shop_id)

    def read() -> Tables | None:
        stored = read_json(s3, bucket, key)
        return None if stored is None else _tables(stored)

    return Refreshed(key, read, REFRESH_S)


def _tables(stored: Any) -> Tables:
    """Return the tables of a parsed object.

    Raises:
        KeyError, TypeError, ValueError: it has no tables.
    """
    pairs = {
        str(item): [(str(other), float(strength)) for other, strength in others]
        for item, others in stored["bought_together"].items()
    }
    popular, rising = dict(stored["popular"]), dict(stored["rising"])
    if not all(map(is_items, [*popular.values(), *rising.values()])):
        raise ValueError("items are not lists of texts")
    again = {str(item): float(rate) for item, rate in stored["again"].items()}
    return Tables(str(stored["model_version"]), popular, rising, pairs, again)
