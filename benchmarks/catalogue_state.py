"""Measure the packed state of a catalogue: its size, its loading, its look-ups, and a fold of a batch into it.

    python -m benchmarks.catalogue_state --products 500000

Loading is what a Lambda does once a minute if the state changed. It prints one JSON line of wall-clock times, without S3.
"""

import json
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.conditions import conditions, parser
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import CatalogueState, unpack

LOADS = 7
LOOKUPS = 20_000
BATCHES = (1, 1_000, 10_000)
NOW_MS = 1_767_400_000_000
WEEK_MS = 7 * 86_400_000


def product(number: int, dice: random.Random) -> dict[str, Any]:
    """Return the fields of an invented product."""
    sale = dice.random() < 0.1
    price = dice.randrange(100, 50_000) / 100
    return {
        "availability": "out_of_stock" if dice.random() < 0.05 else "in_stock",
        "price": price,
        "sale_price": round(price * 0.8, 2) if sale else None,
        "sale_starts_at_ms": NOW_MS if sale else None,
        "sale_ends_at_ms": NOW_MS + WEEK_MS if sale else None,
        "cost": round(price * 0.6, 2),
        "category": f"Home/Category {dice.randrange(50)}/Shelf {dice.randrange(40)}",
        "brand": f"Brand {dice.randrange(5_000)}",
        "item_group_id": f"group-{number // 3}",
        "attributes": {
            "color": dice.choice(("red", "blue", "green", "black", "white")),
            "size": str(dice.randrange(20)),
            "material": f"material {dice.randrange(300)}",
        },
    }


def invented(products: int, seed: int) -> bytes:
    """Return the packed state of an invented shop."""
    dice = random.Random(seed)
    editor = CatalogueEditor()
    for number in range(products):
        item_id = f"sku-{dice.randrange(10**9):09d}-{number}"
        editor.add_known(item_id, product(number, dice), True, NOW_MS - dice.randrange(10**10))
    return editor.packed(NOW_MS)


def seconds(work: Callable[[], object]) -> float:
    """Return the time that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(packed: bytes, seed: int) -> dict[str, Any]:
    """Return the figures of a packed state."""
    loads = [seconds(lambda: unpack(packed)) for _ in range(LOADS)]
    state = unpack(packed)
    dice = random.Random(seed)
    ids = dice.sample(list(state.items()), min(LOOKUPS, len(state)))
    product_s = seconds(lambda: [state.product(item_id, NOW_MS) for item_id in ids])
    available_s = seconds(lambda: [state.is_available(item_id) for item_id in ids])
    return {
        "file_mb": round(len(packed) / 1e6, 1),
        "memory_mb": round(sum(block.nbytes for block in state.blocks.values()) / 1e6, 1),
        "load_s": {"median": round(statistics.median(loads), 3), "longest": round(max(loads), 3)},
        "product_us": round(product_s / len(ids) * 1e6, 1),
        "is_available_us": round(available_s / len(ids) * 1e6, 1),
        "fold_s_by_lines": {
            size: round(seconds(partial(_fold, state, ids[: size - 1])), 2) for size in BATCHES
        },
    }


def _fold(state: CatalogueState, item_ids: list[str]) -> bytes:
    editor = CatalogueEditor(state)
    for item_id in item_ids:
        editor.change(item_id, {"availability": "out_of_stock", "price": 9.5})
    editor.change("new-product", {"price": 9.5, "brand": "New brand", "attributes": {"color": "new"}})
    return editor.packed(NOW_MS + 1)


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line; return the exit status."""
    command = parser(
        "catalogue_state",
        "Measure the size, the loading, the look-ups and the folding of an invented shop's catalogue state.",
        "--products 500000",
    )
    command.add_argument("--products", type=int, default=500_000, help="default %(default)s")
    command.add_argument("--seed", type=int, default=7, help="default %(default)s")
    options = command.parse_args(arguments)
    found = measured(invented(options.products, options.seed), options.seed)
    print(json.dumps(conditions("catalogue_state", products=options.products, seed=options.seed) | found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
