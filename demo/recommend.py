"""Request a carousel from /recommend.

python -m demo.recommend --items sku-00012,sku-00040
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode

from demo import environment
from demo.http import Http, RequestFailed

LONGEST_PREFIX = 50  # the service ignores older items


class Visitor(NamedTuple):
    """The session and the client that ask. Their carousels have receipts."""

    session_id: str
    client_id: str


@dataclass(frozen=True)
class Carousel:
    """One response of /recommend."""

    items: list[str]
    source: str
    reason: str
    model_version: str
    request_id: str
    milliseconds: float
    receipt: str = ""
    asked_at_ms: int = 0
    variant: str = ""

    @property
    def is_fallback(self) -> bool:
        """Return True if a fallback answered instead of the model."""
        return self.source != "model"


def ask(
    http: Http, api_url: str, items: Sequence[str], k: int, shop_id: str, visitor: Visitor | None = None
) -> Carousel:
    """Request the carousel for a session, given with its oldest item first.

    Raises:
        RequestFailed: the service does not answer, or answers without items.
    """
    recent = list(items)[-LONGEST_PREFIX:]
    asked_at_ms = int(time.time() * 1000)
    who = {"shop": shop_id} | (
        {"session": visitor.session_id, "client": visitor.client_id} if visitor else {}
    )
    if any("," in item for item in recent):
        body = json.dumps({"items": recent, "k": k, **who}).encode()
        answer = http.post(f"{api_url}/recommend", body, {})
    else:
        query = urlencode({"items": ",".join(recent), "k": k, **who}, safe=",")
        answer = http.get(f"{api_url}/recommend?{query}")
    body_of = answer.body
    try:
        ranked = [str(item["item_id"]) for item in body_of["items"]]
    except (KeyError, TypeError) as error:
        raise RequestFailed(f"{api_url}/recommend answered without items: {str(body_of)[:200]}") from error
    return Carousel(
        items=ranked,
        source=str(body_of.get("source", "")),
        reason=str(body_of.get("reason", "")),
        model_version=str(body_of.get("model_version", "")),
        request_id=str(body_of.get("request_id", "")),
        milliseconds=answer.milliseconds,
        receipt=str(body_of.get("receipt", "")),
        asked_at_ms=asked_at_ms,
        variant=str(body_of.get("variant", "")),
    )


def main(arguments: list[str] | None = None) -> int:
    """Print one carousel."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.recommend",
        description="Request recommendations for a session that viewed these items.",
        epilog="example: python -m demo.recommend --items sku-00012,sku-00040 --k 5",
    )
    parser.add_argument(
        "--items", required=True, metavar="A,B", help="items viewed, oldest first, separated by commas"
    )
    parser.add_argument("--k", type=int, default=10, help="number of recommendations (default %(default)s)")
    parser.add_argument("--shop", metavar="SHOP", help="default: the only shop that the stage trains for")
    parser.add_argument("--json", action="store_true", help="print the response as one JSON line")
    options = parser.parse_args(arguments)
    items = [item for item in options.items.split(",") if item]
    try:
        where = environment.from_variables()
        shop = where.chosen_shop(options.shop)
        carousel = ask(Http(1, max_attempts=4), where.api_url, items, options.k, shop)
    except (environment.NotDeployed, RequestFailed) as failed:
        print(f"recommend: {failed}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(vars(carousel)))
        return 0
    print(f"after {', '.join(items)}:")
    for rank, item in enumerate(carousel.items, 1):
        print(f"  {rank:2d}. {item}")
    print(
        f"from {carousel.source} ({carousel.reason}), model {carousel.model_version},"
        f" {carousel.milliseconds:.0f} ms, request {carousel.request_id}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
