"""The pixel for browsers, mail clients and tools, with their real headers, through API Gateway's translation.

Browsers: https://developer.mozilla.org/docs/Web/HTTP/Guides/Content_negotiation/List_of_default_Accept_values
"""

import time

import pytest

from benchmarks.fuzz_checks import Stored, expected
from benchmarks.fuzz_in_process import Door
from local.aws.proxy_event import Request

MOZILLA = "Mozilla/5.0"
SENDERS = {
    "chrome": {
        "User-Agent": f"{MOZILLA} (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
        "Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        "Accept-Encoding": "gzip, deflate, br, zstd",
        "Sec-Fetch-Dest": "image",
        "Sec-Fetch-Mode": "no-cors",
    },
    "safari": {
        "User-Agent": f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15",
        "Accept": "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,"
        "image/*;q=0.8,*/*;q=0.5",
        "Accept-Encoding": "gzip, deflate, br",
    },
    "older safari": {"Accept": "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"},
    "firefox": {
        "User-Agent": f"{MOZILLA} (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
        "Accept": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
        "Accept-Encoding": "gzip, deflate, br, zstd",
        "DNT": "1",
    },
    "older firefox": {"Accept": "image/avif,image/webp,*/*"},
    "internet explorer": {"Accept": "image/png, image/svg+xml, image/*;q=0.8, */*;q=0.5"},
    "a picture opened by its address": {
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    },
    "gmail": {
        "User-Agent": f"{MOZILLA} (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "Accept-Encoding": "gzip, deflate, br",
    },
    "apple mail": {"User-Agent": MOZILLA, "Accept": "*/*", "Accept-Encoding": "gzip, deflate, br"},
    "outlook": {
        "User-Agent": "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
    },
    "curl": {"User-Agent": "curl/8.5.0", "Accept": "*/*"},
    "only gif": {"Accept": "image/gif"},
    "any image": {"Accept": "image/*"},
    "only json": {"Accept": "application/json"},
    "a library that names a type for every request": {"Accept": "*/*", "Content-Type": "text/plain"},
    "an empty accept": {"Accept": ""},
    "nothing at all": {},
}


@pytest.fixture(scope="module")
def door() -> Door:
    return Door()


@pytest.mark.parametrize("sender", SENDERS)
def test_the_pixel_is_a_gif_for_every_header_set_and_its_event_is_stored(door: Door, sender: str) -> None:
    query = "key=local-demo&shop_id=demo&client_id=c1&event_name=view_item&item_id=i1"
    answered = door.ask(
        Request("GET", "/pixel.gif", query, list(SENDERS[sender].items()), b"", "203.0.113.9")
    )
    assert expected("GET /pixel.gif", answered.response) == Stored(1, ())
    assert door.take_stored(answered.request_id) == Stored(1, ())
    assert ("Cache-Control", "no-store") in answered.response.headers


@pytest.mark.parametrize(
    "kind",
    ["application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "image/gif", ""],
)
def test_a_batch_is_read_whatever_its_content_type(door: Door, kind: str) -> None:
    body = (
        b'{"schema_version": 1, "event_id": "e", "event_name": "page_view", "shop_id": "demo", "client_id": "c",'
        b' "session_id": "s", "client_time_ms": %d}' % (time.time_ns() // 1_000_000)
    )
    answered = door.ask(
        Request("POST", "/events", "key=local-demo", [("Content-Type", kind)], body, "203.0.113.9")
    )
    assert expected("POST /events", answered.response) == Stored(1, ())
    assert door.take_stored(answered.request_id) == Stored(1, ())
