"""docs/events.md: its examples return the documented answers, and its limits are the collector's."""

import contextlib
import json
import re
import shlex
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

import contracts
from contracts import openapi
from contracts.document import DOCUMENT, limits
from functions.collect.collect import collect_batch
from functions.collect.routes import GIF, REFUSED_HEADER
from functions.platform.errors import Reason, RequestRefused, http_status
from functions.platform.events.intake import Intake
from functions.platform.http import RETRY_AFTER_S, WRONG_KEY_RETRY_AFTER_S
from functions.platform.secret_keys import SecretKeys
from functions.platform.settings import CollectSettings
from local.aws.proxy_event import Request, build_response
from testing.api import invoke
from testing.fakes import FakeFirehose, FakeS3, FakeSecrets
from tests.unit.functions.collect.test_collect import (
    NOW_MS,
    ORIGIN,
    RECEIPT_KEYS,
    REMAINING_MS,
    SETTINGS,
    event,
    post,
)
from tests.unit.functions.platform.test_secret_keys import value

SECRET_KEY = "tugboat-secret-of-the-document"
TEXT = DOCUMENT.read_text()
BLOCKS = re.compile(r"```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)


class Example(NamedTuple):
    """A curl command of the document, and the answer that the document shows."""

    command: str
    answer: str


def examples() -> list[Example]:
    blocks = [(found["kind"], found["text"]) for found in BLOCKS.finditer(TEXT)]
    return [
        Example(text, following if following_kind in ("json", "http") else "")
        for (kind, text), (following_kind, following) in zip(blocks, [*blocks[1:], ("", "")], strict=True)
        if kind == "sh"
    ]


KEY = "key-of-demo"
# Fields of an answer whose values the document cannot show.
CHANGING = {"request_id", "received_at_ms"}


def intake(firehose: FakeFirehose) -> Intake:
    return Intake(SETTINGS, firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS)


class HttpAnswer(NamedTuple):
    """The response that curl prints."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Shop:
    """The collector behind API Gateway's translation, with Firehose and S3."""

    def __init__(self) -> None:
        self.firehose, self.s3 = FakeFirehose(), FakeS3()

    def curl(self, command: str) -> HttpAnswer:
        """Run a curl command."""
        program, *words = shlex.split(
            command.replace("$API", "").replace("$KEY", KEY).replace("$SECRET_KEY", SECRET_KEY)
        )
        assert program == "curl"
        headers = {"content-type": "application/x-www-form-urlencoded"}
        data: list[str] = []
        method, path = "POST", ""
        left = iter(words)
        for word in left:
            match word:
                case "-A":
                    headers["user-agent"] = next(left)
                case "-H":
                    name, _, value = next(left).partition(":")
                    headers[name.lower()] = value.strip()
                case "-d":
                    data.append(next(left))
                case "--data-urlencode":
                    name, _, value = next(left).partition("=")
                    data.append(urlencode({name: value}).replace("+", "%20"))
                case "-G":
                    method = "GET"
                case "-i":
                    pass
                case _:
                    path = word
        if method == "GET":
            del headers["content-type"]
            return self.request(method, f"{path}?{'&'.join(data)}", headers, b"")
        return self.request(method, path, headers, "&".join(data).encode())

    @staticmethod
    def request(method: str, path: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        """Send a request through API Gateway's translation to the Lambda."""
        resource, _, query = path.partition("?")
        request = Request(method, resource, query, list(headers.items()), body, peer="203.0.113.77")
        answer = build_response(invoke(request, resource), None, [])
        return HttpAnswer(answer.status, answer.body, dict(answer.headers))


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop()
    settings = CollectSettings(
        "test", {KEY: "demo"}, "events", "rejected", "bucket", "receipts", "secret-keys"
    )
    monkeypatch.setattr("functions.platform.settings.collect_settings", lambda: settings)
    keys = SecretKeys("secret-keys", lambda: FakeSecrets(value(demo=[SECRET_KEY])))
    monkeypatch.setattr("functions.platform.secret_keys.secret_keys", lambda _: keys)
    services = {"firehose": made.firehose, "s3": made.s3}
    monkeypatch.setattr("functions.wiring.time_boxed_client", lambda service, _: services[service])
    return made


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.command[:60])
def test_an_example_gives_the_answer_that_the_document_shows(example: Example, shop: Shop) -> None:
    answer = shop.curl(example.command)
    if "/pixel.gif" in example.command:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "image/gif"
        assert answer.body == GIF.encode()
        shown = dict(line.split(": ") for line in example.answer.splitlines())
        assert shown == ({REFUSED_HEADER: answer.headers[REFUSED_HEADER]} if shown else {})
    else:
        shown = json.loads(example.answer)
        assert answer.json == {**shown, **{name: answer.json[name] for name in shown.keys() & CHANGING}}
        assert answer.status == (http_status(Reason(shown["error"]["reason"])) if "error" in shown else 200)
    if REFUSED_HEADER not in answer.headers and "error" not in example.answer:
        [stored] = shop.firehose.lines("events")
        assert not stored["server"]["is_bot"]


def test_curl_s_default_content_type_is_accepted(shop: Shop) -> None:
    answer = shop.curl("""curl "$API/events?key=$KEY" -d '{"events": [1]}'""")
    assert answer.status == 200
    assert [line["reason"] for line in shop.firehose.lines("rejected")] == ["event_not_an_object"]


def test_the_pixel_fills_in_the_documented_fields(shop: Shop) -> None:
    shop.curl('curl -G "$API/pixel.gif" -d key=$KEY -d shop_id=demo -d client_id=c -d event_name=page_view')
    [stored] = shop.firehose.lines("events")
    assert stored["schema_version"] == 1
    assert stored["session_id"] == "c"
    assert stored["client_time_ms"] == stored["server"]["received_at_ms"]
    assert stored["event_id"] == stored["server"]["request_id"]


def test_the_server_adds_the_fields_that_the_table_lists(shop: Shop) -> None:
    command = examples()[0].command
    shop.curl(command)
    shop.curl(command + ' -H "Authorization: Bearer $SECRET_KEY"')
    stored, of_a_back_end = shop.firehose.lines("events")
    section = TEXT.split("### What the server adds")[1].split("**Not stored:**")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert listed == list(of_a_back_end["server"])
    assert [name for name in listed if name != "trusted"] == list(stored["server"])
    assert stored["page_location"] == "https://shop.example/boots/boot-7"


def test_every_event_type_is_explained_and_no_other() -> None:
    section = TEXT.split("\n## Event types")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == contracts.event_kinds()


DOCS = contracts.REPOSITORY / "docs"


@pytest.mark.parametrize(
    ("name", "line", "kinds"),
    [
        ("events.md", "as `receipt` of the item", contracts.event_kinds("carries_item_receipts")),
        ("storefront.md", "The SDK then adds receipts to", contracts.event_kinds("carries_item_receipts")),
        (
            "storefront.md",
            "and `view_search_results` as `search`",
            [*(kind for kind in contracts.event_kinds() if not kind.startswith("recommendation_")), "search"],
        ),
        ("storefront.md", "causes? one automatically", contracts.event_kinds("extends_session_items")),
    ],
)
def test_a_sentence_that_lists_event_types_lists_those_of_the_contract(
    name: str, line: str, kinds: list[str]
) -> None:
    [sentence] = [found for found in (DOCS / name).read_text().splitlines() if re.search(line, found)]
    assert [word for word in re.findall(r"`(\w+)`", sentence) if word in contracts.event_kinds()] == kinds


def test_every_reason_of_the_collector_is_explained_and_no_other() -> None:
    section = TEXT.split("| reason | of |")[1].split("\n## ")[0]
    of_recommend = {
        Reason.PARAMETER_INVALID,
        Reason.SHOP_NOT_SERVED,
        Reason.NO_MODEL_YET,
        Reason.MODEL_UNAVAILABLE,
    }
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [
        reason.value for reason in Reason if reason not in of_recommend | openapi.ONLY_OF_CATALOGUE
    ]


def test_every_reason_of_a_refused_change_is_explained_and_no_other() -> None:
    section = (DOCS / "catalogue.md").read_text().split("| reason | of |")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {
        reason.value for reason in openapi.OF_LINES | openapi.OF_CATALOGUE
    }


def test_unavailable_storage_is_a_503_with_retry_after(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.platform.events.delivery.FIRST_PAUSE_S", 0)
    shop.firehose.break_next, shop.s3.down = 99, True
    answer = shop.curl(examples()[0].command)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == str(RETRY_AFTER_S)
    assert answer.json["error"]["reason"] == "storage_unavailable"


# Per limit of the document: bodies at the limit and beyond it.
def batch(*events: dict[str, Any], **envelope: Any) -> bytes:
    return json.dumps({"events": events, **envelope}).encode()


def collect(body: bytes, trusted_shop: str | None = None) -> str | None:
    """Return the reason of the first refusal; None if every event was accepted."""
    firehose = FakeFirehose()
    try:
        collected = collect_batch(post(body), ORIGIN, intake(firehose), NOW_MS, trusted_shop)
    except RequestRefused as refused:
        return refused.reason.value
    return collected.refused[0].reason if collected.refused else None


def one(**changes: Any) -> bytes:
    return batch(event(**changes))


def item(**fields: Any) -> bytes:
    return one(items=[{"item_id": "i", **fields}])


def padded_to(size_bytes: int) -> bytes:
    body = one()
    return body + b" " * (size_bytes - len(body))


def nested(levels: int) -> bytes:
    """Return a batch of this depth: the body, its list of events and the event are three levels."""
    inner: Any = []
    for _ in range(levels - 4):
        inner = [inner]
    return one(unknown=inner)


def stored_bytes(size: int) -> bytes:
    """Return an event that is stored in exactly this many bytes, without `server`."""
    firehose = FakeFirehose()
    items = [{"item_id": "i", "item_name": "é" * 500} for _ in range(15)]
    body = one(items=items, search_term="")
    collect_batch(post(body), ORIGIN, intake(firehose), NOW_MS)
    stored = firehose.streams["events"][0].partition(b',"server":')[0] + b"}"
    left = size - len(stored)
    return one(items=items, search_term="é" * (left // 2) + "e" * (left % 2))


PROBES: dict[str, list[tuple[bytes, bytes]]] = {
    "body": [(padded_to(1_048_576), padded_to(1_048_577))],
    "events per request": [(batch(*[event()] * 500), batch(*[event()] * 501))],
    "nested objects and lists": [(nested(32), nested(33))],
    "an event as stored": [(stored_bytes(16_384), stored_bytes(16_385))],
    "items per event": [(one(items=[{"item_id": "i"}] * 200), one(items=[{"item_id": "i"}] * 201))],
    "ids": [
        (one(**{name: "x" * size}), one(**{name: bad}))
        for name in ("event_id", "client_id", "session_id", "user_id", "transaction_id", "item_list_id", "recommendation_id")
        for size in (1, 64)
        for bad in ("", "x" * 65, "a\tb")
    ],
    "names, categories, search terms": [
        (one(search_term="x" * 500), one(search_term="x" * 501)),
        *((item(**{name: "x" * 500}), item(**{name: "x" * 501})) for name in ("item_name", "item_category", "item_brand")),
    ],
    "addresses of pages": [
        (one(**{name: "x" * 2000}), one(**{name: "x" * 2001})) for name in ("page_location", "page_referrer")
    ],
    "receipts": [
        (one(receipt="x" * 2000), one(receipt="x" * 2001)),
        (item(receipt="x" * 2000), item(receipt="x" * 2001)),
    ],
    "`price`, `value`": [
        (item(price=sign * 1_000_000_000), one(value=sign * 1_000_000_001)) for sign in (-1, 1)
    ],
    "`quantity`": [(item(quantity=0), item(quantity=-1)), (item(quantity=1_000_000), item(quantity=1_000_001))],
    "`client_time_ms`": [
        (one(client_time_ms=946_684_800_000), one(client_time_ms=946_684_799_999)),
        (
            batch(event(client_time_ms=4_102_444_800_000), sent_at_ms=4_102_444_799_999),
            batch(event(client_time_ms=4_102_444_800_001), sent_at_ms=4_102_444_799_999),
        ),
    ],
    "an event's time, corrected by `sent_at_ms`": [
        (one(client_time_ms=NOW_MS + 3_600_000), one(client_time_ms=NOW_MS + 3_600_001)),
        (
            batch(event(client_time_ms=NOW_MS + 9_000_000), sent_at_ms=NOW_MS + 9_000_000),
            batch(event(client_time_ms=NOW_MS + 3_480_001), sent_at_ms=NOW_MS - 120_000),
        ),
    ],
}  # fmt: skip
AGE_OF_A_PAGE_S_EVENT = "the age of a page's event, corrected by `sent_at_ms`"
PROBES[AGE_OF_A_PAGE_S_EVENT] = [
    (one(client_time_ms=NOW_MS - 262_800_000), one(client_time_ms=NOW_MS - 262_800_001)),
    (
        batch(event(client_time_ms=NOW_MS - 500_000_000), sent_at_ms=NOW_MS - 250_000_000),
        batch(event(client_time_ms=NOW_MS - 500_000_000), sent_at_ms=NOW_MS - 237_199_999),
    ),
]
KEPT_OF_A_REFUSAL = "the stored part of a refused event or body"


def test_every_documented_limit_is_tested() -> None:
    assert [limit.name for limit in limits()] == [*PROBES, KEPT_OF_A_REFUSAL]


@pytest.mark.parametrize("name", PROBES)
def test_a_limit_is_at_its_documented_value(name: str) -> None:
    beyond = next(limit.consequence for limit in limits() if limit.name == name)
    trusted_shop = None if name == AGE_OF_A_PAGE_S_EVENT else "demo"
    for within, outside in PROBES[name]:
        assert collect(within, trusted_shop) is None
        reason = collect(outside, trusted_shop)
        assert f"`{reason}`" in beyond


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("body", ["1,048,576"]),
        ("events per request", ["500"]),
        ("nested objects and lists", ["32"]),
        ("an event as stored", ["16,384"]),
        ("items per event", ["200"]),
        ("ids", ["1", "64"]),
        ("names, categories, search terms", ["500"]),
        ("addresses of pages", ["2,000"]),
        ("receipts", ["2,000"]),
        ("`price`, `value`", ["1,000,000,000", "1,000,000,000"]),
        ("`quantity`", ["0", "1,000,000"]),
        ("`client_time_ms`", ["946,684,800,000", "2000", "4,102,444,800,000", "2100"]),
        ("an event's time, corrected by `sent_at_ms`", ["60"]),
        (AGE_OF_A_PAGE_S_EVENT, ["72", "60"]),
        (KEPT_OF_A_REFUSAL, ["65,536"]),
    ],
)
def test_the_tested_numbers_are_the_documented_ones(name: str, numbers: list[str]) -> None:
    value = next(limit.value for limit in limits() if limit.name == name)
    assert re.findall(r"\d[\d,]*", value.replace("UTF-8", "")) == numbers


def test_the_beginning_of_a_refused_event_or_body_is_kept() -> None:
    for body in (one(search_term="x" * 70_000), b"x" * 70_000):
        firehose = FakeFirehose()
        with contextlib.suppress(RequestRefused):
            collect_batch(post(body), ORIGIN, intake(firehose), NOW_MS)
        [kept] = firehose.lines("rejected")
        assert len(kept["payload"]) == 65_536


def test_a_wrong_key_gets_retry_after_and_still_gets_the_gif(shop: Shop) -> None:
    answer = shop.curl(examples()[0].command.replace("$KEY", "stolen"))
    assert (answer.status, answer.json["error"]["reason"]) == (403, "wrong_key")
    assert answer.headers["Retry-After"] == str(WRONG_KEY_RETRY_AFTER_S)
    picture = shop.curl('curl -G "$API/pixel.gif" -d shop_id=demo -d client_id=c -d event_name=page_view')
    assert (picture.status, picture.headers[REFUSED_HEADER]) == (200, "wrong_key")
    assert (shop.firehose.streams, shop.s3.objects) == ({}, {})
