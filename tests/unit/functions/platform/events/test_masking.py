# ruff: noqa: RUF001  the look-alikes are what is tested
"""Masking: personal data is found however it is written, and what is none stays as it is."""

import json
import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.platform.events import masking
from functions.platform.events.contract import Timing, accept, encode, line
from functions.platform.events.masking import (
    is_suspect,
    keyed_pseudonym,
    masked_address,
    masked_body,
    masked_catalogue_text,
    masked_id,
    masked_json,
    masked_person_id,
    masked_text,
)
from functions.platform.events.personal_data import canonical, without_personal_data

NOW_MS = 1_772_359_200_000
MAILS = [
    "jane@example.com",
    "JANE.DOE@EXAMPLE.COM",
    "jane+tag@example.co.uk",
    "o'hara@example.ie",
    "jörg@münchen.de",
    "jane@xn--mnchen-3ya.de",
    "用户@例え.テスト",
    "jane@[192.0.2.1]",
    '"jane doe"@example.com',
    "jane%40example.com",
    "jane%2540example.com",
    "jane%252540example.com",
    "%6Aane%40example%2Ecom",
    "jane＠example.com",
    "jane﹫example．com",
    "jane%EF%BC%A0example.com",
    "jane&#64;example.com",
    "jane&commat;example.com",
    "jane%u0040example.com",
    "jane\u200b@example.com",
    "jane@exam\x00ple.com",
    "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ",
    "mailto:jane@example.com",
    "jane:secret@shop.example",
    "x" * 100 + "@example.com",
]
CARDS = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111.1111.1111.1111",
    "4111_1111_1111_1111",
    "4111 - 1111 - 1111 - 1111",
    "4111\u00a01111\u00a01111\u00a01111",
    "4111\u20131111\u20131111\u20131111",
    "4111%201111%201111%201111",
    "4111%2D1111%2D1111%2D1111",
    "%34111111111111111",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "４１１１１１１１１１１１１１１１",
    "٤١١١١١١١١١١١١١١١",
    "378282246310005",
    "3782 822463 10005",
    "30569309025904",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "6011 0009 9013 9424",
    "3530111333300000",
    "6304000000000000",
    "6250941006528599",
    "4000000000000000006",
]
PHONES_WITH_PLUS = [
    "+491701234567",
    "+49 170 1234567",
    "+49 (0)170 123 45-67",
    "+1 (555) 123-4567",
    "+33 6 12 34 56 78",
    "%2B491701234567",
    "＋４９１７０１２３４５６７",
    "+45 12345678",
]
NATIONAL_PHONES = [
    "0049 170 1234567",
    "0170 1234567",
    "0170-1234567",
    "06 12 34 56 78",
    "06.12.34.56.78",
    "020 7946 0958",
    "07911 123456",
    "(030) 123456",
    "(555) 123-4567",
    "555-123-4567",
    "555.123.4567",
    "1-555-123-4567",
]
HARMLESS = [
    "GTX-1650-4711",
    "rtx 4090 24gb",
    "4006381333931",
    "4 006381 333931",
    "0012345678905",
    "036000291452",
    "10012345678902",
    "978-3-16-148410-0",
    "978 0 306 40615 7",
    "0-306-40615-2",
    "0306406152",
    "0986494524",
    "0 986 494 524",
    "1K0 615 301 AA",
    "iphone 15 128 256 512",
    "regal 800 400 1800",
    "120x200 cm",
    "36 37 38 39 40 41 42 43",
    "128 256 512 1024 2048",
    "2023 2024 2025 2026",
    "01.02.2024 10:30",
    "2024-01-15",
    "EN 388:2016",
    "100% cotton & wool",
    "Größe 42/43, 3 für 2",
    "5@1.50",
    "smart @home",
    "@tugboat",
    "tent+4006381333931",
    "1772359200000",
    "2103807459595387724",
    "7982301905123",
    "523e5820-3024-4915-8d92-e191f68dee7f",
    "5 m² ½ ①",
    "A\\B C:\\temp",
    "50%25",
    "",
]


def stored(**fields: Any) -> dict[str, Any]:
    event = {
        "schema_version": 1,
        "event_id": "e",
        "event_name": "purchase",
        "shop_id": "demo",
        "client_id": "c",
        "session_id": "s",
        "client_time_ms": NOW_MS,
        **fields,
    }
    accepted, _ = accept(event, frozenset({"demo"}), Timing(NOW_MS))
    return dict(json.loads(line(accepted, b"{}", pseudonym)))


def pseudonym(text: str) -> str:
    return keyed_pseudonym(b"key", text)


@pytest.mark.parametrize("mail", MAILS)
def test_a_mail_address_is_masked_in_texts_addresses_and_ids(mail: str) -> None:
    assert masked_text(f"gift for {mail} please") == "gift for (mail) please"
    assert masked_catalogue_text(f"Mug {mail}") == "Mug (mail)"
    if "#" not in mail:
        address = masked_address(f"https://shop.example/account/{mail}/orders")
        assert address == "https://shop.example/account/(mail)/orders"
    if len(mail) <= 64 and "\x00" not in mail:
        assert re.fullmatch("pseudonym-[0-9a-f]{32}", masked_id(mail, pseudonym))
        assert masked_person_id(f"user {mail}", pseudonym).startswith("pseudonym-")


@pytest.mark.parametrize("card", CARDS)
def test_a_card_number_is_masked_in_texts_and_addresses(card: str) -> None:
    assert masked_text(f"pay {card} now") == "pay (card) now"
    assert masked_catalogue_text(f"pay {card}") == "pay (card)"
    assert masked_address(f"https://shop.example/pay/{card}/x") == "https://shop.example/pay/(card)/x"
    assert masked_text(f"{card} 12/26 123") == "(card) 12/26 123"


@pytest.mark.parametrize("phone", PHONES_WITH_PLUS)
def test_an_international_phone_number_is_masked_everywhere(phone: str) -> None:
    assert masked_text(f"call {phone}!") == "call (phone)!"
    assert masked_catalogue_text(f"call {phone}") == "call (phone)"
    assert masked_address(f"https://shop.example/tel/{phone}") == "https://shop.example/tel/(phone)"
    assert masked_person_id(phone, pseudonym).startswith("pseudonym-")


@pytest.mark.parametrize("phone", NATIONAL_PHONES)
def test_a_national_phone_number_is_masked_where_a_person_types(phone: str) -> None:
    assert masked_text(f"call {phone}") == "call (phone)"
    assert masked_address(f"https://shop.example/tel/{phone}") == "https://shop.example/tel/(phone)"
    assert masked_catalogue_text(f"part {phone}") == f"part {phone}"


def test_a_number_in_one_piece_is_a_phone_number_only_if_no_product_code_has_its_form() -> None:
    assert masked_text("01701234567") == "(phone)"
    assert masked_text("0170123456") == "0170123456"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_shops_sell_and_shoppers_search_for_stays(text: str) -> None:
    assert masked_text(text) == text
    assert masked_catalogue_text(text) == text
    path = f"https://shop.example/p/{text.replace('?', '').replace('#', '')}"
    assert masked_address(path) == path
    assert masked_person_id(text, pseudonym) == text


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("https://user:pw@s/account/jane@example.com/orders", "https://s/account/(mail)/orders"),
        ("https://user:pw@shop.example", "https://shop.example"),
        ("https://jane%40example.com:pw@shop.example/a", "https://shop.example/a"),
        ("https://user%3Apw%40shop.example/a", "https://shop.example/a"),
        ("https://user:p%2Fw@shop.example/a", "https://shop.example/a"),
        ("https://a@b@shop.example/a", "https://shop.example/a"),
        ("HTTPS:\\\\user:pw@shop.example\\a", "HTTPS:\\\\shop.example\\a"),
        ("//user:pw@shop.example/a", "//shop.example/a"),
        ("https://s/go/https://user:pw@other/x", "https://s/go/https://other/x"),
        ("https://s/go/https%3A%2F%2Fuser%3Apw%40other%2Fx", "https://s/go/https://other/x"),
        ("https://s/a%3Fmail=jane%40example.com", "https://s/a%3F(mail)"),
        ("https://s/a?mail=jane@example.com#jane@example.com", "https://s/a"),
        ("https://s/größe/jane@example.com/a b", "https://s/größe/(mail)/a%20b"),
        ("https://s/%C3%BCber/0123/456789/2024/01/15", "https://s/%C3%BCber/0123/456789/2024/01/15"),
        ("https://s/regal-450-320-1200-weiss", "https://s/regal-450-320-1200-weiss"),
        ("https://s:8443/p/4006381333931", "https://s:8443/p/4006381333931"),
        ("android-app://com.example/", "android-app://com.example/"),
    ],
)
def test_an_address_keeps_its_host_and_the_rest_of_its_path(address: str, wanted: str) -> None:
    assert masked_address(address) == wanted


def test_every_text_of_an_event_is_masked_and_its_catalogue_ids_and_amounts_are_not() -> None:
    item = {
        "item_id": "4111111111111111",
        "item_name": "Mug for jane@example.com",
        "item_category": "gifts/+49 170 1234567",
        "item_brand": "4111 1111 1111 1111",
        "price": 4111111.11,
        "quantity": 3,
    }
    event = stored(
        items=[item],
        page_location="https://user:pw@s/account/jane@example.com/orders",
        page_referrer="https://s/jane%40example.com",
        search_term="jane@example.com 4111111111111111",
        transaction_id="4111111111111111",
        item_list_id="4111111111111111",
        value=411111111.0,
    )
    assert event["items"] == [
        item | {"item_name": "Mug for (mail)", "item_category": "gifts/(phone)", "item_brand": "(card)"}
    ]
    assert event["page_location"] == "https://s/account/(mail)/orders"
    assert event["page_referrer"] == "https://s/(mail)"
    assert event["search_term"] == "(mail) (card)"
    assert (event["transaction_id"], event["item_list_id"]) == ("4111111111111111", "4111111111111111")
    assert event["value"] == 411111111.0


def test_an_id_with_a_mail_address_has_the_same_pseudonym_however_it_is_written() -> None:
    ids = dict.fromkeys(("client_id", "session_id", "user_id"), "Jane@Example.com")
    one, other = stored(**ids), stored(**dict.fromkeys(ids, "jane%40example.com"))
    assert {name: one[name] for name in ids} == {name: other[name] for name in ids}
    assert len({one[name] for name in ids}) == 1
    assert one["client_id"] != keyed_pseudonym(b"another key", "jane@example.com")
    event = stored(
        event_id="jane@example.com-1", transaction_id="1-jane@example.com", user_id="+491701234567"
    )
    assert all(event[name].startswith("pseudonym-") for name in ("event_id", "transaction_id", "user_id"))
    assert stored(transaction_id="+491701234567")["transaction_id"] == "+491701234567"


CODES = st.from_regex(r"\A[A-Z0-9+._-]{0,4}[0-9]{6,19}[A-Z0-9._-]{0,4}\Z")


@given(CODES, CODES, st.integers(-(10**9), 10**9))
@example("4111111111111111", "378282246310005", 10**9)
@settings(deadline=None, max_examples=50)
def test_item_ids_transaction_ids_and_prices_are_never_changed(item: str, order: str, price: int) -> None:
    # A client id with an international phone number has a pseudonym.
    client = "c-" + item.replace("+", ".")
    event = stored(
        items=[{"item_id": item, "price": price}], transaction_id=order, value=price, client_id=client
    )
    assert event["items"] == [{"item_id": item, "price": price}]
    assert (event["transaction_id"], event["value"], event["client_id"]) == (order, price, client)


PIECES = st.lists(
    st.sampled_from(
        [*MAILS, *CARDS, *PHONES_WITH_PLUS, *NATIONAL_PHONES, *HARMLESS, " ", "/", "%", "%2", "ﷺ", "x"]
    )
    | st.text(max_size=6)
    | st.from_regex(r"\A[0-9 +().%-]{0,20}\Z"),
    max_size=6,
).map("".join)


@given(PIECES)
@settings(deadline=None, max_examples=100)
def test_a_text_is_not_changed_twice_and_never_becomes_longer(text: str) -> None:
    for function in (masked_text, masked_catalogue_text, masked_address):
        once = function(text)
        assert function(once) == once
        assert len(once) <= len(text)


@given(PIECES)
@settings(deadline=None, max_examples=100)
def test_the_quick_look_misses_nothing(text: str) -> None:
    plain = canonical(text)
    assert is_suspect(text) or without_personal_data(plain, typed=True) == plain
    event = {"items": [{"item_id": "a", "item_name": text[:500]}], "search_term": text[:500]}
    full = {"schema_version": 1, "event_id": "e", "event_name": "search", "shop_id": "demo", "client_id": "c"}
    full |= {"session_id": "s", "client_time_ms": NOW_MS, **event}
    try:
        accepted, _ = accept(full, frozenset({"demo"}), Timing(NOW_MS))
        encoded = encode(accepted)
    except Exception:  # half a surrogate pair is refused
        return
    if not masking.may_hold_personal_data(accepted, encoded):
        masking.mask(accepted, pseudonym)
        assert encode(accepted) == encoded


@pytest.mark.parametrize(
    "text",
    [
        "a" * 16_000 + "@",
        "@" * 16_000,
        "a@" * 8_000,
        "a@b." * 4_000,
        ":" * 16_000 + "@",
        '"' * 16_000 + "@",
        "//" * 8_000 + "@",
        "1 " * 8_000,
        "4111 " * 3_200,
        "1" * 16_000,
        "0170-" * 3_200,
        "+" * 16_000,
        "+4" * 8_000,
        "(0" * 8_000,
        "%25" * 5_200 + "40",
        "&#" * 8_000,
        "４" * 16_000,
    ],
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    started = time.process_time()
    masked_body(text)
    masked_text(text)
    masked_address(text)
    assert time.process_time() - started < 2.0


def test_a_refused_event_is_masked_in_every_text_name_and_number() -> None:
    event = {
        "event_name": "dance",
        "shop_id": "demo",
        "client_id": "jane@example.com",
        "client_time_ms": NOW_MS,
        "page_location": "https://u:p@s/a?token=secret",
        "search_term": 4111111111111111,
        "jane@example.com": True,
        "unknown": {"deep": [["call +49 170 1234567"], None, 1.5]},
        "items": [
            {"item_id": "4111111111111111", "price": 4111111111111111, "item_name": "jane@example.com"}
        ],
        "receipt": "v1.4111111111111111",
    }
    masked = masked_json(event, pseudonym)
    assert masked.pop("(mail)") is True
    del event["jane@example.com"]
    assert masked == event | {
        "client_id": pseudonym("jane@example.com"),
        "page_location": "https://s/a",
        "search_term": "(card)",
        "unknown": {"deep": [["call (phone)"], None, 1.5]},
        "items": [{"item_id": "4111111111111111", "price": 4111111111111111, "item_name": "(mail)"}],
    }


def test_an_unreadable_body_keeps_its_brackets() -> None:
    body = '{"events": [{"search_term": "jane%40example.com%22", "n": "jane\\u0040example.com", "tel": "0170 1234567",'
    assert masked_body(body) == '{"events": [{"search_term": "(mail)", "n": "(mail)", "tel": "(phone)",'
    intact = '{"events": [{"page_location": "https://s/%22%C3%BC", "client_time_ms": 1772359200000}'
    assert masked_body(intact) == intact
