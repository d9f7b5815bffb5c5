"""Generate requests of browsers, emails and tools, also with the damage of bugs, proxies and attackers, by seed and number."""

import copy
import gzip
import json
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

import contracts
from deploy.stages import read_stage
from local.aws.proxy_event import Request

Headers = list[tuple[str, str]]

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
SENDERS: list[Headers] = [
    [("User-Agent", CHROME), ("Accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8")],
    [
        ("User-Agent", CHROME),
        ("Accept", "*/*"),
        ("Origin", "https://shop.example"),
        ("Sec-Fetch-Mode", "cors"),
    ],
    [
        ("User-Agent", "Mozilla/5.0 (X11; rv:132.0) Gecko/20100101 Firefox/132.0"),
        ("Accept", "image/png,*/*;q=0.5"),
    ],
    [("User-Agent", "GoogleImageProxy"), ("Accept-Encoding", "gzip,deflate,br")],
    [("User-Agent", "curl/8.5.0"), ("Accept", "*/*")],
    [],
]
ODD_HEADERS: Headers = [
    ("Accept", ""),
    ("Accept", 'text/html;level=1;q="x'),
    ("Accept", "image/gif"),
    ("Accept", "," * 50),
    ("Accept", "a" * 5000),
    ("Accept-Encoding", "gzip;q=nan, br;q=-1"),
    ("Authorization", "Bearer " + "x" * 2000),
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "gzip, gzip, deflate"),
    ("Content-Encoding", "\xff"),
    ("Content-Type", ""),
    ("Content-Type", "application/json; charset=utf-16"),
    ("Content-Type", 'text/plain;charset="\xe9'),
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("Content-Type", "multipart/form-data; boundary="),
    ("Content-Type", "image/gif"),
    ("Content-Type", "*/*"),
    ("Cookie", "a=b; " * 300),
    ("If-None-Match", '"' + "e" * 3000),
    ("If-None-Match", "*, W/, ,"),
    ("Origin", "null"),
    ("User-Agent", ""),
    ("User-Agent", "\xf0\x9f\x9a\xa2" * 300),
    ("User-Agent", "(" * 4000),
    ("X-Forwarded-For", "::ffff:1.2.3.4, unknown, 999.1.1.1"),
    ("X-Amzn-Trace-Id", "Root=;;=\xfe"),
]
ODD_TEXTS = [
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff\ud800",
        "\ufeff",
        "\u202e",
        "\\u0000",
        "null",
        "NaN",
        "-Infinity",
    ),
    *(
        "x" * 64,
        "x" * 65,
        "x" * 20_000,
        "\U0001f6a2" * 64,
        "é" * 300,
        "a\nb",
        "\x7f",
        "'; drop table x; --",
        "${jndi:x}",
    ),
    *(
        "1e999",
        "0x10",
        "١٢٣",
        "9" * 400,
        "9" * 5000,
        "1_000",
        "--1",
        "../../x",
        "%00",
        "<script>",
        "https://a?b#c?d#",
    ),
]
ODD_VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1e308,
        float("nan"),
        float("inf"),
        10**18,
        -(10**400),
        4_102_444_800_001,
    ),
    *(
        [],
        {},
        [[]],
        [None],
        {"": None},
        [1] * 300,
        {"item_id": "i"},
        [{"item_id": "i"}] * 201,
        {"__proto__": {}},
    ),
]
FIELDS = [
    *(
        "schema_version",
        "event_id",
        "event_name",
        "shop_id",
        "client_id",
        "session_id",
        "client_time_ms",
        "items",
        "receipt",
    ),
    *(
        "page_location",
        "page_referrer",
        "search_term",
        "transaction_id",
        "value",
        "currency",
        "user_id",
        "price",
    ),
    *("quantity", "item_id", "item_name", "recommendation_id", "sent_at_ms", "events", "__class__", "server"),
]

RECOMMEND_FIELDS = ["items", "k", "exclude", "shop", "session", "placement", "because"]
CATALOGUE = "PUT /catalogue"
SECRET_KEY = "the-secret-key-of-the-fuzz"
PRODUCT: dict[str, list[Any]] = {
    "availability": ["in_stock", "out_of_stock", "preorder", "backorder"],
    "price": [19.9, 0.01, 5, None],
    "sale_price": [9.9, None],
    "currency": ["EUR"],
    "category": ["Outdoor > Tents", None],
    "brand": ["Bramwell", "Böot", None],
    "title": ["A tent", "テント"],
    "item_group_id": ["tents", None],
    "attributes": [{"colour": "red"}, {}, None],
}
PRODUCT_FIELDS = [*PRODUCT, *FIELDS, "delete", "sale_price_effective_date", "image", "url", "gtin", "cost"]


class Maker:
    """The requests to one endpoint. The same seed and number give the same request, independent of earlier ones."""

    def __init__(self, endpoint: str, seed: int) -> None:
        self.endpoint, self._seed = endpoint, seed
        self._shop, (self._key, *_) = next(iter(read_stage("local").shops.items()))
        self._make: Callable[[random.Random], Request] = {
            "GET /pixel.gif": self._pixel,
            "POST /events": self._events,
            "GET /recommend": self._recommend_by_query,
            "POST /recommend": self._recommend_by_body,
            "GET /tugboat.js": self._script,
            CATALOGUE: self._catalogue,
            "OPTIONS /events": self._preflight,
            "OPTIONS /recommend": self._preflight,
        }[endpoint]

    def request(self, number: int) -> Request:
        return self._make(random.Random(f"{self._seed} {self.endpoint} {number}"))

    def _pixel(self, dice: random.Random) -> Request:
        event = self.event(dice)
        item = event.pop("items")[0]
        flat = {**event, **item}
        for name in dice.sample(sorted(flat), dice.randrange(4)):
            flat.pop(name)
        pairs = [*flat.items(), *self.keys(dice)]
        for _ in range(dice.choice([0, 0, 1, 2, 4])):
            pairs.insert(dice.randrange(len(pairs) + 1), (dice.choice(FIELDS), self.odd_value(dice)))
        return self._built("GET", "/pixel.gif", dice, query=self.query(dice, pairs))

    def _events(self, dice: random.Random) -> Request:
        events: list[Any] = [self.event(dice) for _ in range(dice.choice([1, 1, 2, 3, 8]))]
        for _ in range(dice.choice([0, 0, 1, 1, 3])):
            self.spoil(dice, events)
        envelope: Any = {"events": events, "sent_at_ms": time.time_ns() // 1_000_000}
        chance = dice.random()
        if chance < 0.1:
            envelope = events
        elif chance < 0.2:
            envelope = events[0]
        elif chance < 0.25:
            envelope["sent_at_ms"] = self.odd_value(dice)
        elif chance < 0.27:
            envelope = self.odd_value(dice)
        elif chance < 0.272:
            envelope["events"] = events * 501
        kind = dice.choice(["application/json", "text/plain;charset=UTF-8"])
        query = self.query(dice, self.keys(dice))
        headers: Headers = []
        if dice.random() < 0.02:  # a secret key that no shop has
            headers.append(("Authorization", dice.choice(["", "Bearer", "Bearer key", "Basic a2V5"])))
        body = self.body(dice, envelope)
        return self._built("POST", "/events", dice, query=query, body=body, kind=kind, headers=headers)

    def _recommend_by_query(self, dice: random.Random) -> Request:
        pairs: list[tuple[str, Any]] = [("items", "i1,i2"), ("k", dice.randrange(1, 101)), ("exclude", "i3")]
        if dice.random() < 0.5:
            pairs += [("shop", "demo"), ("session", "s1")]
        for _ in range(dice.choice([0, 1, 2])):
            pairs.append((dice.choice(RECOMMEND_FIELDS), self.odd_value(dice)))
        return self._built("GET", "/recommend", dice, query=self.query(dice, pairs))

    def _recommend_by_body(self, dice: random.Random) -> Request:
        asked: Any = {"items": [f"i{dice.randrange(50)}" for _ in range(dice.randrange(60))], "k": 10}
        if dice.random() < 0.5:
            asked |= {"shop": "demo", "session": "s1"}
        if dice.random() < 0.5:
            asked[dice.choice(RECOMMEND_FIELDS)] = self.odd_value(dice)
        if dice.random() < 0.1:
            asked = self.odd_value(dice)
        return self._built("POST", "/recommend", dice, body=self.body(dice, asked), kind="application/json")

    def _catalogue(self, dice: random.Random) -> Request:
        lines = [self.product(dice) for _ in range(dice.choice([1, 1, 2, 3, 8]))]
        for _ in range(dice.choice([0, 0, 1, 1, 3])):
            line = dice.choice(lines)
            line[dice.choice(PRODUCT_FIELDS)] = self.odd_value(dice)
        whole = b"\n".join(json.dumps(line).encode() for line in lines)
        body = (
            whole
            if dice.random() < 0.7
            else self.body(dice, dice.choice([lines, lines[0], self.odd_value(dice)]))
        )
        # The last header of a name counts, and the others must do no harm.
        headers = [("Authorization", f"Bearer {SECRET_KEY}")]
        if dice.random() < 0.05:
            headers = dice.choice(
                [[], [("Authorization", dice.choice(["", "Bearer", "Bearer key", "Basic a2V5"]))]]
            )
        if dice.random() < 0.3:
            headers.append(("Idempotency-Key", str(dice.choice([*range(20), *ODD_TEXTS]))))
        return self._built("PUT", "/catalogue", dice, body=body, kind="application/x-ndjson", headers=headers)

    def product(self, dice: random.Random) -> dict[str, Any]:
        """Return a valid change of a product."""
        change: dict[str, Any] = {"item_id": f"i{dice.randrange(50)}"}
        if dice.random() < 0.1:
            return {**change, "delete": True}
        for name in dice.sample(sorted(PRODUCT), dice.randrange(1, len(PRODUCT))):
            change[name] = dice.choice(PRODUCT[name])
        return change

    def _script(self, dice: random.Random) -> Request:
        pairs: list[tuple[str, Any]] = [("v", self.odd_value(dice))] if dice.random() < 0.3 else []
        return self._built("GET", "/tugboat.js", dice, query=self.query(dice, pairs))

    def _preflight(self, dice: random.Random) -> Request:
        headers = [
            ("Origin", dice.choice(["https://shop.example", "null", "x" * 3000])),
            ("Access-Control-Request-Method", dice.choice(["POST", "GET", "", "DELETE"])),
            ("Access-Control-Request-Headers", dice.choice(["content-type", "x-a,x-b", "," * 40])),
        ]
        return self._built("OPTIONS", self.endpoint.split()[1], dice, headers=headers)

    def keys(self, dice: random.Random) -> list[tuple[str, Any]]:
        """Return the shop's key, in most cases once and correct."""
        chance = dice.random()
        if chance < 0.95:
            return [("key", self._key)]
        wrong = ("key", self.odd_value(dice))
        return dice.choice(
            [[], [wrong], [wrong, ("key", self._key)], [("key", self._key), wrong], [("KEY", self._key)]]
        )

    def event(self, dice: random.Random) -> dict[str, Any]:
        """Return a valid event."""
        return {
            "schema_version": 1,
            "event_id": f"{dice.getrandbits(128):032x}",
            "event_name": dice.choice(contracts.event_kinds()),
            "shop_id": self._shop,
            "client_id": f"c{dice.randrange(1000)}",
            "session_id": f"s{dice.randrange(1000)}",
            "client_time_ms": time.time_ns() // 1_000_000 - dice.randrange(3 * 10**8),
            "page_location": "https://shop.example/boots?utm=1#top",
            "items": [
                {"item_id": f"i{dice.randrange(50)}", "item_name": "Böot", "price": 129.95, "quantity": 1}
            ],
        }

    def spoil(self, dice: random.Random, events: list[Any]) -> None:
        """Add one error somewhere in a batch."""
        at = dice.randrange(len(events))
        event = events[at]
        chance = dice.random()
        if chance < 0.1 or not isinstance(event, dict):
            events[at] = self.odd_value(dice)
        elif chance < 0.2:
            event.pop(dice.choice(sorted(event)), None) if event else None
        elif chance < 0.3 and isinstance(event.get("items"), list) and event["items"]:
            event["items"][0] = {**{"item_id": "i"}, dice.choice(FIELDS): self.odd_value(dice)}
        else:
            event[dice.choice(FIELDS)] = self.odd_value(dice)

    def odd_value(self, dice: random.Random) -> Any:
        """Return a value of any type, sometimes nested much too deep."""
        chance = dice.random()
        if chance < 0.5:
            return dice.choice(ODD_TEXTS)
        if chance < 0.97:
            return copy.deepcopy(dice.choice(ODD_VALUES))  # copied, because later steps may change it
        nested: Any = "deep"
        for _ in range(dice.choice([5, 31, 40, 200])):
            nested = [nested] if dice.random() < 0.5 else {"a": nested}
        return nested

    def query(self, dice: random.Random, pairs: list[tuple[str, Any]]) -> str:
        """Return a query string, in most cases correctly escaped."""
        parts = []
        for name, value in pairs:
            text = str(value)[:2000]
            parts.append(f"{name}={quote_plus(text, errors='surrogatepass')}")
        if parts and dice.random() < 0.2:
            odd = [
                "&&",
                "=",
                "a",
                "%",
                "%zz=%e2%82",
                "%ed%a0%80=1",
                "items[]=x",
                "k=1&k=2",
                ";x=1",
                "\xe9=\xe9",
            ]
            parts.insert(dice.randrange(len(parts)), dice.choice(odd))
        if parts and dice.random() < 0.1:
            parts.append(dice.choice(parts))
        return "&".join(parts)

    def body(self, dice: random.Random, value: Any) -> bytes:
        """Return JSON in most cases, otherwise damaged by truncation, encodings and bugs."""
        text = json.dumps(value, ensure_ascii=dice.random() < 0.7)
        raw = text.encode("utf-8", "surrogatepass")
        chance = dice.random()
        if chance < 0.6:
            return raw
        at = dice.randrange(len(raw) + 1)
        spoilt: list[Callable[[], bytes]] = [
            lambda: raw[:at],
            lambda: raw[:at] + bytes([dice.randrange(256)]) + raw[at:],
            lambda: raw[:at] + b"\x00" + raw[at:],
            lambda: raw[:at] + b"\xff\xfe\xc3" + raw[at:],
            lambda: b"\xef\xbb\xbf" + raw,
            lambda: text.encode("utf-16", "surrogatepass"),
            lambda: text.encode("utf-32-be", "surrogatepass"),
            lambda: gzip.compress(raw, 1),
            lambda: gzip.compress(raw, 1)[: at or 1],
            lambda: raw.replace(b'"event_id"', b'"event_name": "dance", "event_id": 7, "event_id"', 1),
            lambda: raw.replace(b"1", b"1" + b"0" * dice.choice([20, 400, 5000]), 1),
            lambda: b"[" * dice.choice([40, 5000, 200_000]),
            lambda: b'{"a":' * 3000 + b"1" + b"}" * 3000,
            lambda: b"",
            lambda: raw + raw,
            lambda: b" " * dice.choice([10, 70_000, 1_100_000]) + raw,
            lambda: b"events=" + raw,
        ]
        return dice.choice(spoilt)()

    def _built(
        self,
        method: str,
        path: str,
        dice: random.Random,
        *,
        query: str = "",
        body: bytes = b"",
        kind: str | None = None,
        headers: Headers | None = None,
    ) -> Request:
        given = [*dice.choice(SENDERS), *(headers or [])]
        if kind is not None and dice.random() < 0.95:
            given.append(("Content-Type", kind))
        for _ in range(dice.choice([0, 0, 0, 1, 2])):
            odd = dice.choice(ODD_HEADERS)
            if dice.random() < 0.7:  # otherwise the header would appear twice
                given = [pair for pair in given if pair[0] != odd[0]]
            given.append(odd)
        return Request(method, path, query, given, body, "203.0.113.9")
