"""The shop's pages: plain HTML, complete when it arrives, so that nothing moves afterwards."""

import json
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

from demo.catalogue import Catalogue

NAME = "Tugboat Outfitters"
PAGE_SIZE = 24
CAROUSEL_CARDS = 12
Item = dict[str, Any]


class Api(NamedTuple):
    """Where the events go, whose they are, and the key that says so."""

    url: str
    shop_id: str
    key: str


@dataclass
class Shelf:
    """The catalogue as a shop needs it: by id, by category, by what is wanted most."""

    items: dict[str, Item]
    by_category: dict[str, list[str]]
    wanted: list[str]
    departments: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Shelf":
        items: dict[str, Item] = {item["item_id"]: item for item in catalogue.event_items()}
        wanted = [catalogue.item_ids[at] for at in catalogue.popularity.argsort()[::-1]]
        shelf = cls(items, {}, wanted)
        for item_id in wanted:
            shelf.by_category.setdefault(items[item_id]["item_category"], []).append(item_id)
        for category in sorted(shelf.by_category):
            department, _, leaf = category.partition("/")
            shelf.departments.setdefault(department, []).append(leaf)
        return shelf

    def search(self, term: str) -> list[str]:
        """The items whose name or category holds every word, the most wanted first."""
        words = term.lower().split()
        return [
            item_id
            for item_id in self.wanted
            if words
            and all(
                word in f"{self.items[item_id]['item_name']} {self.items[item_id]['item_category']}".lower()
                for word in words
            )
        ]

    def card(self, item_id: str) -> dict[str, str]:
        """What the carousel shows of an item."""
        item = self.items[item_id]
        return {
            "title": item["item_name"],
            "url": f"/p/{item_id}",
            "image": f"/pictures/{item_id}.svg",
            "price": money(item["price"]),
        }


def money(amount: float) -> str:
    """An amount as the shop prints it."""
    return f"${amount:,.2f}"


def home(shelf: Shelf, api: Api) -> str:
    """The first page."""
    departments = "".join(
        f'<a class="department" href="/c/{escape(department)}/{escape(leaves[0])}">'
        f'<img src="/pictures/{shelf.by_category[f"{department}/{leaves[0]}"][0]}.svg" alt="" width="240" height="240">'
        f"<span>{escape(department.title())}</span></a>"
        for department, leaves in shelf.departments.items()
    )
    body = f"""
<section class="hero"><img src="/hero.svg" alt="" width="1200" height="480" fetchpriority="high">
<div><p class="eyebrow">Everything for out there</p><h1>Small boat,<br>long way.</h1>
<p>Gear for people who get far with little.</p><a class="button" href="/c/outdoor/tents">Start with a tent</a></div></section>
<section><h2>Departments</h2><div class="departments">{departments}</div></section>
<section><h2>Most wanted</h2>{grid(shelf, shelf.wanted[:8], "most-wanted")}</section>"""
    return page(shelf, api, "home", body, {"list": "most-wanted", "items": shelf.wanted[:8]})


def category(shelf: Shelf, api: Api, path: str) -> str:
    """A category, with its neighbours."""
    department, _, leaf = path.partition("/")
    ids = shelf.by_category[path][:PAGE_SIZE]
    neighbours = "".join(
        f'<a href="/c/{department}/{other}"{" aria-current=page" if other == leaf else ""}>{escape(other.title())}</a>'
        for other in shelf.departments[department]
    )
    body = f"""
<nav class="trail" aria-label="Breadcrumb"><a href="/">Home</a> / {escape(department.title())}</nav>
<h1>{escape(leaf.title())}</h1><nav class="chips" aria-label="Categories">{neighbours}</nav>{grid(shelf, ids, path)}"""
    return page(shelf, api, f"{leaf.title()}", body, {"list": path, "items": ids})


def results(shelf: Shelf, api: Api, term: str) -> str:
    """What a search finds."""
    ids = shelf.search(term)
    found = (
        grid(shelf, ids[:PAGE_SIZE], "search")
        if ids
        else '<p class="nothing">Nothing by that name. Try “tent” or “wool sock”.</p>'
    )
    count = f"{len(ids)} product{'' if len(ids) == 1 else 's'}"
    if len(ids) > PAGE_SIZE:
        count += f", the {PAGE_SIZE} most wanted"
    body = f'<h1>“{escape(term)}”</h1><p class="muted">{count}</p>{found}'
    return page(
        shelf, api, f"Search: {term}", body, {"search": term, "list": "search", "items": ids[:PAGE_SIZE]}
    )


def product(shelf: Shelf, api: Api, item_id: str) -> str:
    """A product, and below it what the model thinks goes with the session."""
    item = shelf.items[item_id]
    path = item["item_category"]
    department, _, leaf = path.partition("/")
    body = f"""
<nav class="trail" aria-label="Breadcrumb"><a href="/">Home</a> / {escape(department.title())} /
<a href="/c/{path}">{escape(leaf.title())}</a></nav>
<article class="product">
<img src="/pictures/{item_id}.svg" alt="{escape(item["item_name"])}" width="480" height="480" fetchpriority="high">
<div><p class="eyebrow">{escape(item["item_brand"])}</p><h1>{escape(item["item_name"])}</h1>
<p class="price">{money(item["price"])}</p>
<p class="muted">{escape(prose(item))}</p>
<button class="button" id="add" type="button">Add to cart</button><p id="added" role="status"></p>
<ul class="promises"><li>Sent today if ordered before 3 pm</li><li>100 days to change your mind</li>
<li>Mended for life</li></ul></div></article>
{carousel("You may also like", item_id)}"""
    return page(shelf, api, item["item_name"], body, {"item": item})


def cart(shelf: Shelf, api: Api) -> str:
    """The cart, which the browser fills in: no server knows it."""
    body = f"""<h1>Your cart</h1><div id="cart" class="cart"></div>{carousel("Goes with your cart")}"""
    return page(shelf, api, "Cart", body, {"cart": True})


def done(shelf: Shelf, api: Api) -> str:
    """The order is placed."""
    body = """<section class="done"><p class="tick" aria-hidden="true">✓</p><h1>Thank you!</h1><p id="order" class="muted"> </p>
<p>No money moved and nothing will be sent: this shop sells only events.</p>
<a class="button" href="/">Back to the harbour</a></section>"""
    return page(shelf, api, "Order done", body, {"done": True})


def missing(shelf: Shelf, api: Api) -> str:
    """No such page."""
    body = '<section class="done"><h1>No such page</h1><a class="button" href="/">Back to the harbour</a></section>'
    return page(shelf, api, "No such page", body, {})


def prose(item: Item) -> str:
    """A sentence that sounds like a shop's."""
    endings = (
        "Light where it can be, strong where it must be.",
        "Made to be used often and mended twice.",
        "The one you take when you can take only one.",
        "Tested by people who are outside more than they are in.",
    )
    ending = endings[int(item["item_id"].rsplit("-", 1)[1]) % len(endings)]
    line = item["item_name"].split()[1]
    return f"From {item['item_brand']}'s {line} line. {ending}"


def grid(shelf: Shelf, ids: list[str], name: str) -> str:
    """Cards in rows."""
    cards = "".join(
        f'<li><a href="/p/{item_id}" data-select="{item_id}"><img src="/pictures/{item_id}.svg" alt="" width="240" height="240"'
        f'{"" if at < 8 else " loading=lazy"}><span class="title">{escape(shelf.items[item_id]["item_name"])}</span>'
        f'<span class="price">{money(shelf.items[item_id]["price"])}</span></a></li>'
        for at, item_id in enumerate(ids)
    )
    return f'<ul class="grid" data-list="{escape(name)}">{cards}</ul>'


def carousel(heading: str, item_id: str | None = None) -> str:
    """The element of the SDK. `item_id` is the page's own item."""
    own = f' item="{escape(item_id)}"' if item_id else ""
    return (
        f'<tugboat-carousel id="product-carousel" heading="{escape(heading)}" k="{CAROUSEL_CARDS}"{own}'
        ' cards="/cards.json?ids={ids}"></tugboat-carousel>'
    )


def page(shelf: Shelf, api: Api, title: str, body: str, about: dict[str, Any]) -> str:
    """The frame around every page. `about` is what shop.js tells the SDK."""
    if "items" in about:
        about = {**about, "items": [shelf.items[item_id] for item_id in about["items"]]}
    menu = "".join(
        f'<a href="/c/{department}/{leaves[0]}">{escape(department.title())}</a>'
        for department, leaves in shelf.departments.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · {NAME}</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/shop.css">
<script src="/early.js"></script>
<script async src="{escape(api.url)}/tugboat.js" data-shop="{escape(api.shop_id)}" data-key="{escape(api.key)}"></script>
<script async src="{escape(api.url)}/tugboat-carousel.js"></script>
<script type="module" src="/shop.js"></script>
<script type="module" src="/drawer.js"></script>
</head>
<body data-about="{escape(json.dumps(about))}">
<a class="skip" href="#main">To the content</a>
<header class="top"><a class="brand" href="/"><img src="/icon.svg" alt="" width="32" height="32">{NAME}</a>
<form action="/search" role="search">
<input type="search" name="q" placeholder="Search gear" aria-label="Search gear" required></form>
<a class="cart-link" href="/cart">Cart <b id="count">0</b></a>
<nav class="menu" aria-label="Departments">{menu}</nav></header>
<main id="main">{body}</main>
<footer><p>{NAME} sells nothing. It is the demo of Tugboat, and its pictures are drawn from their product numbers.</p></footer>
</body>
</html>
"""
