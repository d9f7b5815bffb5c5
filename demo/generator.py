"""Generate a shop's history of events; the same seed always gives the same events.

The history contains what the pipeline must handle in real shops.
Popularity is skewed and drifts, and items are launched in the last days.
Shoppers have tastes, walk along the price order of a category, return to items, follow promotions, and search.
They put items into carts, buy, and click after a purchase. Sessions cross midnight.
Some events arrive late or twice, and some are by crawlers.

    python -m demo.generator --generate 1000 --seed 7 | head
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from demo.catalogue import Catalogue, make_catalogue
from demo.day import DAY_MS, Day
from demo.walks import make_day, make_shop

Event = dict[str, Any]

DEFAULT_EVENTS = 60_000
DEFAULT_DAYS = 14
DEVICES = (
    (0.60, "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36"),
    (0.95, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"),
    (1.00, "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1"),
)
BOT_USER_AGENT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BOT_PREFIX = "crawler-"
EVENT_NAMES = (
    "page_view",
    "search",
    "view_item_list",
    "view_item",
    "add_to_cart",
    "remove_from_cart",
    "begin_checkout",
    "purchase",
)


@dataclass(frozen=True)
class History:
    """The parameters of a history. `end` is the first day without events: they stop at its midnight, UTC."""

    events: int = DEFAULT_EVENTS
    seed: int = 1
    days: int = DEFAULT_DAYS
    end: date | None = None
    shop_id: str = "demo"
    items: int | None = None

    @property
    def end_ms(self) -> int:
        """Return the midnight at which the history ends; without an end, today's."""
        end = self.end or datetime.now(UTC).date()
        return int(datetime(end.year, end.month, end.day, tzinfo=UTC).timestamp() * 1000)

    @property
    def start_ms(self) -> int:
        """Return the midnight at which the history starts."""
        return self.end_ms - self.days * DAY_MS

    @property
    def catalogue_size(self) -> int:
        """Return the number of items: it grows with the square root of the history, 1,000 for the default one."""
        return self.items or int(1000 * math.sqrt(max(self.events, 4000) / DEFAULT_EVENTS))


def catalogue_of(history: History) -> Catalogue:
    """Make the shop's catalogue."""
    return make_catalogue(history.catalogue_size, history.seed)


def user_agent_of(client_id: str) -> str:
    """Return the user agent of a generated client, always the same for one client."""
    if client_id.startswith(BOT_PREFIX):
        return BOT_USER_AGENT
    share = int(hashlib.sha1(client_id.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return next(agent for up_to, agent in DEVICES if share <= up_to)


def generate(history: History) -> Iterator[Event]:
    """Yield contract events in order of arrival: by time, except for a few that are hours late."""
    catalogue = catalogue_of(history)
    shop = make_shop(catalogue, history.events, history.days, history.seed)
    prefix = hashlib.sha1(
        f"{history.seed}/{history.events}/{history.days}/{history.end_ms}/{history.items}".encode()
    ).hexdigest()[:10]
    waiting: Day | None = None
    for number in range(history.days):
        day = make_day(shop, history.start_ms, number)
        if waiting is not None:
            day = Day.joined(waiting, day)
        day = day.take(np.argsort(day.arrives_ms, kind="stable"))
        # Events after midnight wait, because they mix with the next day's events.
        until_ms = history.start_ms + (number + 1) * DAY_MS
        split = int(np.searchsorted(day.arrives_ms, until_ms))
        today, waiting = day.take(slice(0, split)), day.take(slice(split, None))
        yield from _events(today, catalogue, prefix, history.shop_id)


def _events(day: Day, catalogue: Catalogue, prefix: str, shop_id: str) -> Iterator[Event]:
    """Convert a day's columns to contract events."""
    item_blocks = catalogue.event_items()
    columns = (day.time_ms, day.kind, day.client, day.session, day.item, day.number, day.bot)
    carts: dict[int, list[int]] = {}
    for time_ms, kind, client, session, item, number, bot in zip(*(c.tolist() for c in columns), strict=True):
        name = EVENT_NAMES[kind]
        client_id = f"{BOT_PREFIX}{client}" if bot else f"shopper-{client:06d}"
        event: Event = {
            "schema_version": 1,
            "event_id": f"{prefix}-{number:x}",
            "event_name": name,
            "shop_id": shop_id,
            "client_id": client_id,
            "session_id": f"{prefix}-s{session:x}",
            "client_time_ms": time_ms,
        }
        if not bot and client % 5 == 0:
            event["user_id"] = f"user-{client:06d}"
        block = item_blocks[item]
        category = str(block["item_category"])
        if name == "page_view":
            event["page_location"] = "https://shop.example/"
        elif name == "search":
            event["search_term"] = f"{block['item_brand']} {category.rsplit('/', 1)[1]}".lower()
            event["page_location"] = "https://shop.example/search"
        elif name == "view_item_list":
            event["item_list_id"] = category
            event["page_location"] = f"https://shop.example/c/{category}"
        else:
            event["page_location"] = f"https://shop.example/p/{block['item_id']}"
            event["items"] = [block]
        if name in ("add_to_cart", "begin_checkout", "purchase"):
            event["items"] = [{**block, "quantity": 1}]
            event["currency"] = "USD"
            event["value"] = block["price"]
        if name == "add_to_cart":
            carts.setdefault(session, []).append(item)
        elif name == "remove_from_cart" and item in carts.get(session, ()):
            carts[session].remove(item)
        elif name in ("begin_checkout", "purchase"):
            bought = list(dict.fromkeys(carts.get(session) or [item]))
            event["items"] = [{**item_blocks[one], "quantity": 1} for one in bought]
            event["value"] = round(sum(catalogue.prices[one] for one in bought), 2)
            if name == "purchase":
                event["transaction_id"] = f"{prefix}-t{session:x}"
        yield event


def main(arguments: list[str] | None = None) -> int:
    """Write the events as JSON lines to standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.generator",
        description="Write a generated shop's events as JSON lines.",
        epilog="example: python -m demo.generator --generate 60000 --seed 7 > events.jsonl",
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        for event in generate(from_options(options)):
            sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
    except BrokenPipeError:
        sys.stderr.close()
    return 0


def _past_end(text: str) -> date:
    """Read the end of a history. The collector refuses events of the future, so an end in the future is refused at once."""
    try:
        end = date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-03-15") from error
    today = datetime.now(UTC).date()
    if end > today:
        raise argparse.ArgumentTypeError(
            f"{text} lies in the future, and the collector refuses such events: choose {today} or an earlier day"
        )
    return end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the generated shop."""
    parser.add_argument(
        "--generate", type=int, metavar="N", help=f"generate about N events (default {DEFAULT_EVENTS:,})"
    )
    parser.add_argument("--seed", type=int, default=1, help="same seed, same shop (default 1)")
    parser.add_argument(
        "--days", type=int, default=DEFAULT_DAYS, help="days of history (default %(default)s)"
    )
    parser.add_argument(
        "--end",
        type=_past_end,
        metavar="YYYY-MM-DD",
        help="first day without events; today, UTC, is the default and the latest",
    )
    parser.add_argument(
        "--items", type=int, metavar="N", help="size of the catalogue (the default grows with --generate)"
    )
    parser.add_argument("--shop", metavar="SHOP", help="shop of the events (the default depends on the data)")


def from_options(options: argparse.Namespace) -> History:
    """Build the history that the flags describe."""
    return History(
        events=options.generate or DEFAULT_EVENTS,
        seed=options.seed,
        days=options.days,
        end=options.end,
        shop_id=options.shop or "demo",
        items=options.items,
    )


if __name__ == "__main__":
    sys.exit(main())
