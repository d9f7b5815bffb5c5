"""Serve the demo shop on this machine.

make shop                                  # against the local stack, which `make up` starts
python -m demo.shop.server --port 8095 --api http://127.0.0.1:4567/local
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
from functions.platform.contract import RECOMMEND_K_MAX

HOST = "127.0.0.1"
DEFAULT_PORT = 8095
STATIC = Path(__file__).parent / "static"
SCRIPTS_AND_STYLES = ("shop.css", "dom.js", "shop.js", "walk.js", "drawer.js", "early.js")
# The drawer's walk links to these.
DOCS = Path(__file__).parents[2] / "docs"
DOCS_SHOWN = ("architecture.md", "events.md", "storefront.md")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Response(NamedTuple):
    """A response: status, type, body, and its cache lifetime in a browser."""

    status: int
    kind: str
    body: str
    max_age_s: int = 0


class Shop:
    """The shop's pages, built per request."""

    def __init__(self, index: pages.CatalogueIndex, api: pages.Api, landing: Landing | None = None) -> None:
        self.index = index
        self.api = api
        self.landing = landing

    def headers(self) -> dict[str, str]:
        """Return headers with a strict policy, in which the SDK needs one host in three places."""
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

    def answer(self, path: str, query: str) -> Response:
        """Answer a GET request."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        head, _, rest = unquote(path).strip("/").partition("/")
        match head:
            case "":
                return self._page(pages.home(self.index, self.api))
            case "c" if rest in self.index.by_category:
                return self._page(pages.category(self.index, self.api, rest))
            case "p" if rest in self.index.items:
                return self._page(pages.product(self.index, self.api, rest))
            case "search":
                return self._page(pages.results(self.index, self.api, asked.get("q", "")[:80]))
            case "cart":
                return self._page(pages.cart(self.index, self.api))
            case "done":
                return self._page(pages.done(self.index, self.api))
            case "pictures" if rest.removesuffix(".svg") in self.index.items:
                item = self.index.items[rest.removesuffix(".svg")]
                drawn = pictures.picture(
                    item["item_id"], item["item_name"], item["item_category"], item["item_brand"]
                )
                return Response(200, TYPES[".svg"], drawn, 86_400)
            case "cards.json":
                wanted = asked.get("ids", "").split(",")[:RECOMMEND_K_MAX]
                cards = {id_: self.index.card(id_) for id_ in wanted if id_ in self.index.items}
                return Response(200, "application/json", json.dumps(cards))
            case "landed.json" if self.landing:
                return self._landed(self.landing, asked.get("event_id", ""))
            case "docs" if rest in DOCS_SHOWN:
                return Response(200, "text/plain; charset=utf-8", (DOCS / rest).read_text())
            case "hero.svg" | "icon.svg":
                return Response(200, TYPES[".svg"], (STATIC / head).read_text(), 86_400)
            case _ if head in SCRIPTS_AND_STYLES:
                return Response(200, TYPES[Path(head).suffix], (STATIC / head).read_text())
            case _:
                return Response(404, "text/html; charset=utf-8", pages.missing(self.index, self.api))

    @staticmethod
    def _landed(landing: Landing, event_id: str) -> Response:
        try:
            found = landing.find(event_id)
        except (BotoCoreError, ClientError) as failed:
            return Response(503, "application/json", json.dumps({"error": str(failed)}))
        return Response(200, "application/json", json.dumps(found._asdict() if found else {"key": None}))

    @staticmethod
    def _page(text: str) -> Response:
        return Response(200, "text/html; charset=utf-8", text)


def make_server(shop: Shop, port: int) -> ThreadingHTTPServer:
    """Make the shop's server on a port of this machine; 0 picks a free one."""

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
            """Log nothing: the drawer in the page shows the requests."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Ignore browsers that close their connection."""

    return Server((HOST, port), Handler)


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Serve until Ctrl-C; return 1 if the shop cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.shop.server",
        description="Serve the demo shop on 127.0.0.1, with the catalogue of the generated events.",
        epilog="example: make shop ARGS='--port 8100'",
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="default %(default)s; 0 for a free one"
    )
    parser.add_argument("--api", metavar="URL", help="address of an API (default: the API of TUGBOAT_STAGE)")
    generator.add_arguments(parser)
    options = parser.parse_args(arguments)
    history = generator.from_options(options)
    try:
        where = environment.from_variables()
    except environment.NotDeployed as failed:
        print(f"shop: {failed}", file=sys.stderr)
        return 1
    api = (options.api or where.api_url).rstrip("/")
    # Only the stage's own API writes to the stage's raw/.
    landing = None if options.api else Landing(where.client("s3"), where.events_bucket())
    key = where.shop_keys.get(history.shop_id)
    if key is None:
        print(
            f"shop: {history.shop_id!r} has no key in deploy/stages.toml: add one there and deploy",
            file=sys.stderr,
        )
        return 1
    index = pages.CatalogueIndex.of(generator.catalogue_of(history))
    try:
        server = make_server(Shop(index, pages.Api(api, history.shop_id, key), landing), options.port)
    except OSError as error:
        print(f"shop: port {options.port} is taken ({error}): choose another with --port", file=sys.stderr)
        return 1
    say(f"{len(index.items):,} products on http://{HOST}:{server.server_port}, events to {api}")
    say("Open “Behind the scenes” in a corner of any page. Press Ctrl-C to stop.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("")
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
