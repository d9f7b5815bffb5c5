"""From the rows of a feed to validated products, with a count for every row."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, ValidationError, convert, json

from catalogue.formats import SHARED_IDS
from catalogue.rows import Draft, Outcomes, Part, Reject
from functions.platform.product import Product

# Of several variants with one id, the best availability counts.
BEST_FIRST = ("in_stock", "preorder", "backorder", "out_of_stock")
ENCODER = json.Encoder(order="deterministic")


@dataclass
class Counts:
    """The rows of a feed. Every row is a product, merged into another row's product, or rejected."""

    rows: int = 0
    products: int = 0
    merged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        """Return the number of rejected rows."""
        return sum(self.reasons.values())


class Content:
    """A fingerprint of products, the same in whatever order they come."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, product: Product) -> None:
        """Add one product."""
        self._sum += int.from_bytes(hashlib.sha256(ENCODER.encode(product)).digest())

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits."""
        return hashlib.sha256(str(self._sum).encode()).hexdigest()[:16]


def products(outcomes: Outcomes, shop_id: str, item_id: str, counts: Counts) -> Iterator[Product | Reject]:
    """Yield the products and the rejected rows, and count every row.

    Args:
        outcomes: the rows, from a reader.
        shop_id: the shop of the products.
        item_id: the choice of `--item-id`. Rows that share such an id become one product at the end.
        counts: the counts, which are complete when the iterator ends.
    """
    shared = item_id in SHARED_IDS
    merged: dict[str, Product] = {}
    seen: set[str] = set()
    for outcome in outcomes:
        counts.rows += 1
        if isinstance(outcome, Part):
            counts.merged += 1
            continue
        made = outcome if isinstance(outcome, Reject) else _product(outcome, shop_id, item_id)
        if isinstance(made, Product) and isinstance(outcome, Draft) and made.item_id in seen:
            if shared:
                _merge(merged[made.item_id], made)
                counts.merged += 1
                continue
            made = _reject(outcome, "duplicate_id", f"an earlier row has the id {made.item_id!r}")
        if isinstance(made, Reject):
            counts.reasons[made.reason] += 1
            yield made
            continue
        counts.products += 1
        seen.add(made.item_id)
        if shared:
            merged[made.item_id] = made
        else:
            yield made
    yield from merged.values()


def _product(draft: Draft, shop_id: str, item_id: str) -> Product | Reject:
    chosen = draft.ids.get(item_id, "")
    if not chosen:
        others = " or ".join(f"--item-id {name}" for name, value in draft.ids.items() if value)
        advice = f"; the row has an id for {others}" if others else ""
        return _reject(draft, "id_missing", f"the row has no {item_id}{advice}")
    if not draft.fields.get("title"):
        return _reject(draft, "title_missing", f"product {chosen!r} has no title")
    fields: dict[str, Any] = {**draft.fields, "shop_id": shop_id, "item_id": chosen}
    if ("price" in fields or "sale_price" in fields) and not fields.get("currency"):
        return _reject(draft, "currency_missing", f"the price of {chosen!r} has no currency: use --currency")
    try:
        return convert(fields, Product)
    except ValidationError as error:
        return _reject(draft, "field_invalid", _detail(error, fields))


def _detail(error: ValidationError, fields: dict[str, Any]) -> str:
    """Return the field and its value. msgspec names the place, as `$.url`, and a regular expression."""
    field = re.split(r"[.\[]", str(error).rpartition("`$.")[2].rstrip("`"))[0]
    return f"{field} of {fields['item_id']!r} cannot be {str(fields.get(field))[:80]!r}: docs/catalogue.md has its values"


def _reject(draft: Draft, reason: str, detail: str) -> Reject:
    return Reject(draft.line, reason, detail, draft.row)


def _merge(product: Product, variant: Product) -> None:
    """Give the product the lowest price and the best availability of its variants, and drop what differs between them."""
    cheaper = variant.price is not UNSET and (product.price is UNSET or _current(variant) < _current(product))
    if cheaper:
        for name in ("price", "sale_price", "sale_starts_at_ms", "sale_ends_at_ms", "currency", "cost"):
            setattr(product, name, getattr(variant, name))
    stated = [one for one in (product.availability, variant.availability) if one is not UNSET]
    if stated:
        product.availability = min(stated, key=BEST_FIRST.index)
    for name in ("url", "image_url", "category", "brand"):
        if getattr(product, name) is UNSET:
            setattr(product, name, getattr(variant, name))
    product.gtin = UNSET
    if product.attributes is not UNSET:
        others = {} if variant.attributes is UNSET else variant.attributes
        common = {name: value for name, value in product.attributes.items() if others.get(name) == value}
        product.attributes = common or UNSET


def _current(product: Product) -> float:
    price = product.price if product.sale_price is UNSET else product.sale_price
    return float("inf") if price is UNSET else float(price)
