"""The shop's pages: plain HTML, complete on arrival, so that nothing moves afterwards."""

import json
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

from demo.catalogue import Catalogue

NAME = "Tugboat Outfitters"
PAGE_SIZE = 24
CAROUSEL_CARDS = 12
BECAUSE = "Because you viewed {title}"
Item = dict[str, Any]


class Api(NamedTuple):
    """The API's address, the shop's id and its sending key."""

    url: str
    shop_id: str
    key: str


@dataclass
class CatalogueIndex:
    """The catalogue by id, by category and by popularity."""

    items: dict[str, Item]
    by_category: dict[str, list[str]]
    by_popularity: list[str]
    departments: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue) -> "CatalogueIndex":
        """Index a catalogue."""
        items: dict[str, Item] = {item["item_id"]: item for item in catalogue.event_items()}
        wanted = [catalogue.item_ids[at] for at in catalogue.popularity.argsort()[::-1]]
        index = cls(items, {}, wanted)
        for item_id in wanted:
            index.by_category.setdefault(items[item_id]["item_category"], []).append(item_id)
        for category in sorted(index.by_category):
            department, _, leaf = category.partition("/")
            index.departments.setdefault(department, []).append(leaf)
        return index

    def search(self, term: str) -> list[str]:
        """Return the items whose name or category contains every word, the most popular first."""
        words = term.lower().split()
        return [
            item_id
            for item_id in self.by_popularity
            if words
            and all(
                word in f"{self.items[item_id]['item_name']} {self.items[item_id]['item_category']}".lower()
                for word in words
            )
        ]

    def card(self, item_id: str) -> dict[str, str]:
        """Return the fields of an item that the carousel shows."""
        item = self.items[item_id]
        return {
            "title": item["item_name"],
            "url": f"/p/{item_id}",
            "image": f"/pictures/{item_id}.svg",
            "price": money(item["price"]),
        }


def money(amount: float) -> str:
    """Format an amount."""
    return f"${amount:,.2f}"


def home(index: CatalogueIndex, api: Api) -> str:
    """Build the home page."""
    departments = "".join(
        f'<a class="department" href="/c/{escape(department)}/{escape(leaves[0])}">'
        f'<img src="/pictures/{index.by_category[f"{department}/{leaves[0]}"][0]}.svg" alt="" width="240" height="240">'
        f"<span>{escape(department.title())}</span></a>"
        for department, leaves in index.departments.items()
    )
    body = f"""
<section class="hero"><img src="/hero.svg" alt="" width="1200" height="480" fetchpriority="high">
<div><p class="eyebrow">Everything for out there</p><h1>Small boat,<br>long way.</h1>
<p>Gear for people who get far with little.</p><a class="button" href="/c/outdoor/tents">Start with a tent</a></div></section>
<section><h2>Departments</h2><div class="departments">{departments}</div></section>
<section><h2>Most wanted</h2>{grid(index, index.by_popularity[:8], "most-wanted")}</section>
{carousel("For your next trip", "home")}
{carousel("On the rise", "popular", rising="")}
{carousel("Viewed recently", "recently_viewed")}
{carousel("Time for another?", "buy_again")}"""
    return page(index, api, "home", body, {"list": "most-wanted", "items": index.by_popularity[:8]})


def category(index: CatalogueIndex, api: Api, path: str) -> str:
    """Build the page of a category, with links to its neighbours."""
    department, _, leaf = path.partition("/")
    ids = index.by_category[path][:PAGE_SIZE]
    neighbours = "".join(
        f'<a href="/c/{department}/{other}"{" aria-current=page" if other == leaf else ""}>{escape(other.title())}</a>'
        for other in index.departments[department]
    )
    body = f"""
<nav class="trail" aria-label="Breadcrumb"><a href="/">Home</a> / {escape(department.title())}</nav>
<h1>{escape(leaf.title())}</h1><nav class="chips" aria-label="Categories">{neighbours}</nav>{grid(index, ids, path)}
{carousel(f"Popular in {leaf.title()}", "popular", category=path)}"""
    return page(index, api, f"{leaf.title()}", body, {"list": path, "items": ids})


def results(index: CatalogueIndex, api: Api, term: str) -> str:
    """Build the page of a search's results."""
    ids = index.search(term)
    found = (
        grid(index, ids[:PAGE_SIZE], "search")
        if ids
        else '<p class="nothing">Nothing by that name. Try “tent” or “wool sock”.</p>'
    )
    count = f"{len(ids)} product{'' if len(ids) == 1 else 's'}"
    if len(ids) > PAGE_SIZE:
        count += f", the {PAGE_SIZE} most wanted"
    body = f'<h1>“{escape(term)}”</h1><p class="muted">{count}</p>{found}'
    if len(ids) > 1:
        body += carousel("Of these, for you", "rerank", candidates=",".join(ids[:PAGE_SIZE]))
    return page(
        index, api, f"Search: {term}", body, {"search": term, "list": "search", "items": ids[:PAGE_SIZE]}
    )


def product(index: CatalogueIndex, api: Api, item_id: str) -> str:
    """Build the page of a product, with recommendations for the session below it."""
    item = index.items[item_id]
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
{carousel("You may also like", "product", item=item_id, because=BECAUSE)}
{carousel("Similar products", "similar", item=item_id)}"""
    return page(index, api, item["item_name"], body, {"item": item})


def cart(index: CatalogueIndex, api: Api) -> str:
    """Build the cart page, which the browser fills: the cart exists only there."""
    body = f"""<h1>Your cart</h1><div id="cart" class="cart"></div>
{carousel("Goes with your cart", "cart", because=BECAUSE)}
{carousel("Often bought together", "bought_together", items="", because="With {title}")}"""
    return page(index, api, "Cart", body, {"cart": True})


def done(index: CatalogueIndex, api: Api) -> str:
    """Build the page after an order."""
    body = """<section class="done"><p class="tick" aria-hidden="true">✓</p><h1>Thank you!</h1><p id="order" class="muted"> </p>
<p>No money moved and nothing will be sent: this shop sells only events.</p>
<a class="button" href="/">Back to the harbour</a></section>"""
    return page(index, api, "Order done", body, {"done": True})


def missing(index: CatalogueIndex, api: Api) -> str:
    """Build the page for an unknown address."""
    body = '<section class="done"><h1>No such page</h1><a class="button" href="/">Back to the harbour</a></section>'
    return page(index, api, "No such page", body, {})


def prose(item: Item) -> str:
    """Make a product description in the style of a shop."""
    endings = (
        "Light where it can be, strong where it must be.",
        "Made to be used often and mended twice.",
        "The one you take when you can take only one.",
        "Tested by people who are outside more than they are in.",
    )
    ending = endings[int(item["item_id"].rsplit("-", 1)[1]) % len(endings)]
    line = item["item_name"].split()[1]
    return f"From {item['item_brand']}'s {line} line. {ending}"


def grid(index: CatalogueIndex, ids: list[str], name: str) -> str:
    """Build a grid of product cards."""
    cards = "".join(
        f'<li><a href="/p/{item_id}" data-select="{item_id}"><img src="/pictures/{item_id}.svg" alt="" width="240" height="240"'
        f'{"" if at < 8 else " loading=lazy"}><span class="title">{escape(index.items[item_id]["item_name"])}</span>'
        f'<span class="price">{money(index.items[item_id]["price"])}</span></a></li>'
        for at, item_id in enumerate(ids)
    )
    return f'<ul class="grid" data-list="{escape(name)}">{cards}</ul>'


def carousel(heading: str, placement: str, **attributes: str) -> str:
    """Build the carousel element of a placement, with further attributes."""
    more = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return (
        f'<tugboat-carousel id="{placement.replace("_", "-")}-carousel" heading="{escape(heading)}" k="{CAROUSEL_CARDS}"'
        f' placement="{placement}"{more} cards="/cards.json?ids={{ids}}"></tugboat-carousel>'
    )


def page(index: CatalogueIndex, api: Api, title: str, body: str, about: dict[str, Any]) -> str:
    """Build the frame around a page. shop.js passes `about` to the SDK."""
    if "items" in about:
        about = {**about, "items": [index.items[item_id] for item_id in about["items"]]}
    menu = "".join(
        f'<a href="/c/{department}/{leaves[0]}">{escape(department.title())}</a>'
        for department, leaves in index.departments.items()
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
