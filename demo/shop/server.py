"""The demo shop on this machine.

make shop                                  # against the local stack, which `make up` starts
python -m demo.shop.server --port 8095 --api http://127.0.0.1:4567/api
"""

import argparse
import json
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from demo import environment, generator
from demo.shop import pages, pictures
from demo.shop.landing import Landing

HOST = "127.0.0.1"
DEFAULT_PORT = 8095
STATIC = Path(__file__).parent / "static"
SCRIPTS_AND_STYLES = ("shop.css", "dom.js", "shop.js", "walk.js", "drawer.js", "early.js")
# What the drawer's walk links to.
DOCS = Path(__file__).parents[2] / "docs"
DOCS_SHOWN = ("architecture.md", "events.md", "storefront.md")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CARDS_MAX = 100


class Answer(NamedTuple):
    """A response: status, type, body, and for how long a browser may keep it."""

    status: int
    kind: str
    body: str
    max_age_s: int = 0


class Shop:
    """Every page of the shop, made when it is asked for."""

    def __init__(self, shelf: pages.Shelf, api: pages.Api, landing: Landing | None = None) -> None:
        self.shelf = shelf
        self.api = api
        self.landing = landing

    def headers(self) -> dict[str, str]:
        """A policy as strict as a careful shop's: what the SDK needs is one host in three places."""
        host = "{0.scheme}://{0.netloc}".format(urlsplit(self.api.url))
        return {
            "Content-Security-Policy": (
                f"default-src 'none'; script-src 'self' {host}; connect-src 'self' {host}; img-src 'self' {host};"
                " style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
                " require-trusted-types-for 'script'"
            ),
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }

    def answer(self, path: str, query: str) -> Answer:
        """The response to a GET."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        head, _, rest = unquote(path).strip("/").partition("/")
        match head:
            case "":
                return self._page(pages.home(self.shelf, self.api))
            case "c" if rest in self.shelf.by_category:
                return self._page(pages.category(self.shelf, self.api, rest))
            case "p" if rest in self.shelf.items:
                return self._page(pages.product(self.shelf, self.api, rest))
            case "search":
                return self._page(pages.results(self.shelf, self.api, asked.get("q", "")[:80]))
            case "cart":
                return self._page(pages.cart(self.shelf, self.api))
            case "done":
                return self._page(pages.done(self.shelf, self.api))
            case "pictures" if rest.removesuffix(".svg") in self.shelf.items:
                item = self.shelf.items[rest.removesuffix(".svg")]
                drawn = pictures.picture(
                    item["item_id"], item["item_name"], item["item_category"], item["item_brand"]
                )
                return Answer(200, TYPES[".svg"], drawn, 86_400)
            case "cards.json":
                wanted = asked.get("ids", "").split(",")[:CARDS_MAX]
                cards = {id_: self.shelf.card(id_) for id_ in wanted if id_ in self.shelf.items}
                return Answer(200, "application/json", json.dumps(cards))
            case "landed.json" if self.landing:
                return self._landed(self.landing, asked.get("event_id", ""))
            case "docs" if rest in DOCS_SHOWN:
                return Answer(200, "text/plain; charset=utf-8", (DOCS / rest).read_text())
            case "hero.svg" | "icon.svg":
                return Answer(200, TYPES[".svg"], (STATIC / head).read_text(), 86_400)
            case _ if head in SCRIPTS_AND_STYLES:
                return Answer(200, TYPES[Path(head).suffix], (STATIC / head).read_text())
            case _:
                return Answer(404, "text/html; charset=utf-8", pages.missing(self.shelf, self.api))

    @staticmethod
    def _landed(landing: Landing, event_id: str) -> Answer:
        try:
            found = landing.find(event_id)
        except (BotoCoreError, ClientError) as failed:
            return Answer(503, "application/json", json.dumps({"error": str(failed)}))
        return Answer(200, "application/json", json.dumps(found._asdict() if found else {"key": None}))

    @staticmethod
    def _page(text: str) -> Answer:
        return Answer(200, "text/html; charset=utf-8", text)


def make_server(shop: Shop, port: int) -> ThreadingHTTPServer:
    """The shop on a port of this machine; 0 picks a free one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            answer = shop.answer(address.path, address.query)
            body = answer.body.encode()
            self.send_response(answer.status)
            keep = f"max-age={answer.max_age_s}" if answer.max_age_s else "no-cache"
            headers = {"Content-Type": answer.kind, "Content-Length": str(len(body)), "Cache-Control": keep}
            for name, value in {**headers, **shop.headers()}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The drawer in the page says what happens."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A browser that hangs up is no news."""

    return Server((HOST, port), Handler)


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.shop.server",
        description="Serve the demo shop on 127.0.0.1, over the catalogue that the generated events are about.",
        epilog="example: make shop ARGS='--port 8100'",
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="default %(default)s; 0 for a free one"
    )
    parser.add_argument(
        "--api", metavar="URL", help="default: the API of TUGBOAT_STAGE, as `make shop` finds it"
    )
    generator.add_arguments(parser)
    options = parser.parse_args(arguments)
    history = generator.from_options(options)
    try:
        where = environment.from_variables()
    except environment.NotDeployed as failed:
        print(f"shop: {failed}", file=sys.stderr)
        return 1
    api = (options.api or where.api_url).rstrip("/")
    # What lies under raw/ can be told of the stage's own API only.
    landing = None if options.api else Landing(where.client("s3"), where.events_bucket())
    key = where.shop_keys.get(history.shop_id)
    if key is None:
        print(
            f"shop: {history.shop_id!r} has no key in statemachine/stages.toml: give it one", file=sys.stderr
        )
        return 1
    shelf = pages.Shelf.of(generator.catalogue_of(history))
    try:
        server = make_server(Shop(shelf, pages.Api(api, history.shop_id, key), landing), options.port)
    except OSError as error:
        print(f"shop: port {options.port} is taken ({error}): give --port another", file=sys.stderr)
        return 1
    say(f"{len(shelf.items):,} products on http://{HOST}:{server.server_port}, events to {api}")
    say("Open “Behind the scenes” in a corner of any page. Ctrl-C ends.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("")
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
