"""Ask /recommend as many sessions, and show which release answers them: the traffic of a canary on a quiet stage.

Each session walks through its own carousels: it first asks without items, then as if it had viewed the items it was given.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from demo import environment
from demo.http import Http, RequestFailed
from demo.recommend import Carousel, Visitor, ask
from deploy.command import table

CONNECTIONS = 4


@dataclass(frozen=True)
class Answered:
    """The carousels of one variant."""

    variant: str
    carousels: list[Carousel]

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of the printed line."""
        empty = sum(not one.items for one in self.carousels)
        models = ", ".join(sorted({one.model_version for one in self.carousels}))
        milliseconds = statistics.median(one.milliseconds for one in self.carousels)
        return (self.variant, models, f"{len(self.carousels):,}", f"{empty:,}", f"{milliseconds:.0f} ms")


def walk(http: Http, api_url: str, shop_id: str, session_id: str, pages: int, k: int) -> Iterator[Carousel]:
    """Yield the carousels of one session.

    Raises:
        RequestFailed: the service does not answer.
    """
    items: list[str] = []
    for page in range(pages):
        carousel = ask(http, api_url, items, k, shop_id, Visitor(session_id, session_id))
        yield carousel
        if carousel.items:
            items.append(carousel.items[page % len(carousel.items)])


def by_variant(carousels: list[Carousel]) -> list[Answered]:
    """Group carousels by the variant that answered."""
    variants = sorted({one.variant for one in carousels})
    return [Answered(name, [one for one in carousels if one.variant == name]) for name in variants]


def main(arguments: list[str] | None = None) -> int:
    """Print which release answered how many carousels."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.canary",
        description=__doc__,
        epilog="example: make canary ARGS='--sessions 400', while make run waits in WaitForShoppers",
    )
    parser.add_argument("--sessions", type=int, default=400, help="default %(default)s")
    parser.add_argument(
        "--pages", type=int, default=2, help="carousels of each session (default %(default)s)"
    )
    parser.add_argument("--k", type=int, default=10, help="items of a carousel (default %(default)s)")
    parser.add_argument("--shop", metavar="SHOP", help="default: the only shop that the stage trains for")
    parser.add_argument("--name", default="canary", help="start of the session ids (default %(default)s)")
    options = parser.parse_args(arguments)
    http = Http(CONNECTIONS, max_attempts=4)
    try:
        where = environment.from_variables()
        shop = where.chosen_shop(options.shop)
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            sessions = threads.map(
                lambda number: list(
                    walk(
                        http,
                        where.api_url,
                        shop,
                        f"{options.name}-{number}",
                        options.pages,
                        options.k,
                    )
                ),
                range(options.sessions),
            )
            answered = by_variant(list(chain.from_iterable(sessions)))
    except (environment.NotDeployed, RequestFailed) as failed:
        print(f"canary: {failed}", file=sys.stderr)
        return 1
    head = ("variant", "model", "carousels", "empty", "median")
    print(table(head, [one.row for one in answered]))
    if not any(one.variant == "candidate" for one in answered):
        print("No candidate answered. A canary runs while make run waits in WaitForShoppers.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
