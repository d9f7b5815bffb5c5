"""Measure the time that rules take: 20 rules on 200 candidates, and the search for products in a large catalogue.

python -m benchmarks.rules --products 500000
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import CatalogueState
from functions.recommend.rules.arrange import Scored, arrange
from functions.recommend.rules.compiled import NO_RULES, Catalogue, Request, Rules
from functions.recommend.rules.kept_products import KeptProducts
from functions.recommend.rules.model import (
    Boost,
    Bury,
    Diversify,
    Limit,
    Margin,
    NeverWith,
    Pin,
    Range,
    Rule,
    RuleSet,
    Selector,
    When,
)
from functions.recommend.rules.reserve import Reserve

NOW_MS = 1_780_000_000_000
SEED = 68
CANDIDATES = 200
POPULAR = 2000
RARE = "rare"
TWENTY = (
    Rule("no-samples", remove=Selector(category="c3/s1")),
    Rule("not-these-brands", remove=Selector(brand=("b1", "b2"))),
    Rule("not-too-cheap", remove=Selector(price=Range(max=5))),
    Rule("recalled", remove=Selector(items=tuple(f"item-{n}" for n in range(0, 300, 7)))),
    Rule("no-white-ones", remove=Selector(attributes={"color": "w"}, category="c5")),
    Rule("old-groups", remove=Selector(group=("g4", "g9"))),
    Rule("affordable", only=Selector(price=Range(max=190))),
    Rule("hero", pin=Pin(1, "item-77")),
    Rule("second-hero", pin=Pin(4, ("item-78", "item-79"))),
    Rule("own-brand", boost=Boost(Selector(brand="b7"), 2)),
    Rule("season", boost=Boost(Selector(category="c2"), 1.5)),
    Rule("same-category", when=When(last_item=Selector(category="c1")), boost=Boost(Selector(category="c1"), 2)),
    Rule("old-stock", bury=Bury(Selector(brand="b9"))),
    Rule("expensive", bury=Bury(Selector(price=Range(min=150)), 3)),
    Rule("two-per-brand", limit=Limit(2, "brand")),
    Rule("three-per-category", limit=Limit(3, "category", 1)),
    Rule("one-per-group", limit=Limit(1, "group")),
    Rule("apart", never_with=NeverWith(Selector(category="c8"), Selector(category="c9"))),
    Rule("margin", margin=Margin(0.5)),
    Rule("mixed", diversify=Diversify("category")),
)  # fmt: skip


def catalogue(products: int) -> CatalogueState:
    """Return a state of products with all facts. One of them has a brand of its own."""
    drawn = random.Random(SEED)
    editor = CatalogueEditor()
    for number in range(products):
        rare = {"brand": RARE} if number == products // 2 else {}
        editor.change(f"item-{number}", facts(number, drawn) | rare)
    return editor.state(NOW_MS)


def facts(number: int, drawn: random.Random) -> dict[str, Any]:
    """Return all facts of a product."""
    return {
        "availability": "out_of_stock" if drawn.random() < 0.05 else "in_stock",
        "price": drawn.uniform(1, 200),
        "cost": drawn.uniform(1, 60),
        "category": f"c{drawn.randrange(12)}/s{drawn.randrange(20)}",
        "brand": f"b{drawn.randrange(60)}",
        "item_group_id": f"g{number // 3}",
        "attributes": {"color": drawn.choice("rgbw"), "size": drawn.choice("sml")},
    }


def report(name: str, call: Callable[[], object], repeats: int) -> None:
    """Print p50 and p99 of a call."""
    times_ms = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - began) * 1000)
    times_ms.sort()
    p99 = times_ms[min(len(times_ms) - 1, round(0.99 * len(times_ms)))]
    print(
        f"{name:<44} p50 {statistics.median(times_ms):8.2f} ms   p99 {p99:8.2f} ms   n {repeats}", flush=True
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python -m benchmarks.rules --products 500000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--products", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=1000)
    args = parser.parse_args()
    state = catalogue(args.products)
    drawn = random.Random(SEED)
    twenty = Rules(RuleSet("shop", "twenty", TWENTY))

    # Requests ask for popular items again and again: these are the model's candidates.
    popular = [f"item-{drawn.randrange(args.products)}" for _ in range(POPULAR)]

    def answer(rules: Rules, known: Catalogue, k: int, candidates: int) -> None:
        ids = drawn.sample(popular, candidates)
        scored: list[Scored] = [(item_id, 1 / (place + 2)) for place, item_id in enumerate(ids)]
        request = Request(["item-5", f"item-{drawn.randrange(args.products)}"], k, "product", NOW_MS)
        arrange(rules, known, request, [scored])

    kept = KeptProducts(state)
    for item_id in popular:
        kept.product(item_id, NOW_MS)
    report("20 rules, 200 candidates, k 10", lambda: answer(twenty, kept, 10, CANDIDATES), args.repeats)
    report(
        "the same, none of them asked for before", lambda: answer(twenty, state, 10, CANDIDATES), args.repeats
    )
    report("20 rules, 100 candidates, k 10", lambda: answer(twenty, kept, 10, CANDIDATES // 2), args.repeats)
    report("no rules, 30 candidates, k 10", lambda: answer(NO_RULES, kept, 10, 30), args.repeats)

    def searched(*rules: Rule) -> Callable[[], object]:
        prepared = Rules(RuleSet("shop", "narrow", rules))
        request = Request(["item-5"], 10, "product", NOW_MS)
        return lambda: arrange(prepared, state, request, [], Reserve(state))

    report("search without rules", searched(), 20)
    report("search for a rare brand", searched(Rule("rare", only=Selector(brand=RARE))), 20)
    report("search with the removing rules of the 20", searched(*TWENTY[:7]), 20)
    report("search with all removing rules and limits", searched(*TWENTY[:7], *TWENTY[14:17]), 20)


if __name__ == "__main__":
    main()
