"""Measure the time from PUT /catalogue to a carousel, and that changes sent at once and repeatedly count exactly once.

    python -m benchmarks.catalogue_freshness --trials 5

It deploys the local stage on a stack of its own, where /recommend answers from a fallback. It prints one JSON line, and exits
with 1 if a change is lost or doubled, or takes longer than 5 minutes.
"""

import json
import random
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.conditions import conditions, parser
from benchmarks.own_stack import deployed_stack
from functions.platform.catalogue_files import files_since
from functions.platform.catalogue_state import CatalogueState
from functions.platform.catalogue_store import read_state
from functions.platform.s3_keys import fallback_key
from local.testing import wait_for
from testing.stage import EVENTS_BUCKET, MODELS_BUCKET, Stage

LIMIT_S = 300.0
POLL_S = 0.5
SENDERS = 8
PRODUCTS = [f"p{number}" for number in range(40)]
FALLBACK = {"popular": PRODUCTS, "related": {}, "model_version": "benchmark"}


class Shop:
    """The back end of the shop demo, and its storefront."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._secret_key = stage, stage.secret_key("demo")
        self.s3 = stage.client("s3")
        self.s3.put_object(Bucket=MODELS_BUCKET, Key=fallback_key("demo"), Body=json.dumps(FALLBACK).encode())

    def put(self, lines: list[dict[str, Any]], key: str) -> int:
        """Send changes, and return the time of their receipt."""
        request = urllib.request.Request(
            f"{self._stage.api_url}/catalogue",
            "\n".join(map(json.dumps, lines)).encode(),
            {"Authorization": f"Bearer {self._secret_key}", "Idempotency-Key": key},
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert answer["accepted"] == len(lines), answer
        return int(answer["received_at_ms"])

    def carousel(self) -> list[str]:
        """Return the ids of a carousel."""
        return [item["item_id"] for item in self._stage.recommend(k=10, shop="demo")["items"]]

    def state(self) -> CatalogueState:
        """Return the stored state."""
        found = read_state(self.s3, MODELS_BUCKET, "demo").state
        assert found
        return found


def seconds_to_carousel(shop: Shop, item_id: str, *, sold_out: bool) -> float:
    """Change the availability of a product, and return the time until a carousel follows."""
    began = time.monotonic()
    shop.put(
        [{"item_id": item_id, "availability": "out_of_stock" if sold_out else "in_stock"}], str(uuid.uuid4())
    )
    while (item_id in shop.carousel()) is sold_out:
        if time.monotonic() - began > LIMIT_S:
            raise SystemExit(
                f"{item_id} is not {'out of' if sold_out else 'in'} the carousel after {LIMIT_S} s"
            )
        time.sleep(POLL_S)
    return time.monotonic() - began


def exactly_once(shop: Shop, batches: int, seed: int) -> dict[str, Any]:
    """Send batches from several senders at once, many of them more than once, and compare the state with the answers."""
    dice = random.Random(seed)
    sent: list[tuple[int, list[dict[str, Any]]]] = []
    before = len(files_since(shop.s3, EVENTS_BUCKET, "demo", 0))
    work = [
        ([{"item_id": item, "price": number} for item in dice.sample(PRODUCTS, 5)], dice.choice((1, 1, 2, 3)))
        for number in range(1, batches + 1)
    ]

    def send(job: tuple[list[dict[str, Any]], int]) -> None:
        lines, times = job
        key = str(uuid.uuid4())
        with ThreadPoolExecutor(times) as at_once:
            received = set(at_once.map(lambda _: shop.put(lines, key), range(times)))
        assert len(received) == 1, "a repeated batch has the time of the first"
        sent.append((received.pop(), lines))

    began = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as senders:
        list(senders.map(send, work))
    sent_s = time.monotonic() - began
    files = files_since(shop.s3, EVENTS_BUCKET, "demo", 0)[before:]
    wait_for(lambda: shop.state().changed_at_ms >= files[-1].received_at_ms, LIMIT_S)
    newest: dict[str, tuple[int, set[int]]] = {}
    for at_ms, lines in sent:
        for line in lines:
            known_ms, prices = newest.get(line["item_id"], (0, set()))
            # Two batches of one millisecond have an order too, but their senders do not know it.
            if at_ms >= known_ms:
                newest[line["item_id"]] = at_ms, {line["price"]} | (prices if at_ms == known_ms else set())
    state = shop.state()
    wrong = [
        item_id
        for item_id, (_, prices) in newest.items()
        if (product := state.product(item_id, 0)) is None or product.price not in prices
    ]
    return {
        "batches": batches,
        "requests": sum(times for _, times in work),
        "files": len(files),
        "sent_s": round(sent_s, 1),
        "folded_s": round(time.monotonic() - began, 1),
        "wrong_products": wrong,
    }


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line; return 1 if a change is late, lost or doubled."""
    command = parser(
        "catalogue_freshness",
        "Measure the time from PUT /catalogue to a carousel on a local stack, and count changes exactly once.",
        "--trials 5",
    )
    command.add_argument(
        "--trials", type=int, default=5, help="products that sell out and come back (default %(default)s)"
    )
    command.add_argument(
        "--batches", type=int, default=100, help="batches sent at once (default %(default)s)"
    )
    command.add_argument("--seed", type=int, default=7, help="default %(default)s")
    options = command.parse_args(arguments)
    with deployed_stack() as stage:
        shop = Shop(stage)
        dice = random.Random(options.seed)
        took = []
        for _ in range(options.trials):
            item_id = shop.carousel()[0]
            for sold_out in (True, False):
                # At any moment of the minute between two readings of the state.
                time.sleep(dice.uniform(0, 60))
                took.append(round(seconds_to_carousel(shop, item_id, sold_out=sold_out), 1))
        counted = exactly_once(shop, options.batches, options.seed)
    found = {"seconds_to_carousel": sorted(took), "exactly_once": counted}
    print(json.dumps(conditions("catalogue_freshness", seed=options.seed) | found))
    return int(bool(counted["wrong_products"]) or counted["files"] != options.batches)


if __name__ == "__main__":
    raise SystemExit(main())
