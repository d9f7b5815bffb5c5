"""Privacy at the door: nothing personal in storage or logs, and Global Privacy Control is obeyed."""

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from functions.collect.routes import REFUSED_HEADER
from functions.platform.errors import Reason, StorageUnavailable
from functions.platform.events.intake import Intake
from functions.platform.log import JsonFormatter, get_logger
from functions.platform.receipt_keys import ReceiptKeys
from testing.fakes import FakeFirehose, FakeS3, FakeSecrets
from tests.unit.contracts.test_document import KEY, Shop, shop
from tests.unit.functions.collect.test_collect import REMAINING_MS, SETTINGS, event, send

__all__ = ["shop"]  # a fixture

MAIL, CARD, PHONE = "jane@example.com", "4111 1111 1111 1111", "+49 170 1234567"
PERSONAL = f"{MAIL} {CARD} {PHONE}"
TRACES = ("jane", "secret", "4111", "1234567")


def personal_event(**changes: Any) -> dict[str, Any]:
    """Return an event with personal data in every field that may have text."""
    return event(
        **{
            "client_id": MAIL,
            "session_id": MAIL,
            "user_id": MAIL,
            "page_location": f"https://jane:secret@s/account/{MAIL}/orders?token=secret",
            "page_referrer": "https://s/jane%2540example.com",
            "search_term": PERSONAL,
            "items": [{"item_id": "i1", "item_name": PERSONAL, "item_brand": MAIL, "item_category": CARD}],
            **changes,
        }
    )


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    get_logger("functions.test")
    handlers = logging.getLogger("functions").handlers
    [handler] = [one for one in handlers if isinstance(one.formatter, JsonFormatter)]
    assert isinstance(handler, logging.StreamHandler)
    printed = io.StringIO()
    before = handler.setStream(printed)
    yield printed
    handler.setStream(before)


def traces(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text]


def test_nothing_personal_of_an_accepted_event_is_stored() -> None:
    firehose = FakeFirehose()
    assert send([personal_event()], firehose).accepted == 1
    assert traces(firehose.streams["events"][0].decode()) == []
    [stored] = firehose.lines("events")
    assert stored["page_location"] == "https://s/account/(mail)/orders"
    assert stored["search_term"] == "(mail) (card) (phone)"
    assert stored["items"][0]["item_id"] == "i1"


def test_the_events_of_one_mail_address_stay_one_client_and_the_key_is_read_once() -> None:
    firehose, secrets = FakeFirehose(), FakeSecrets()
    keys = ReceiptKeys("receipts", lambda: secrets)
    events = [event(event_id="a", client_id=MAIL), event(event_id="b", client_id=MAIL.upper()), event()]
    send(events, firehose, receipt_keys=keys)
    first, second, other = (line["client_id"] for line in firehose.lines("events"))
    assert first == second != other == "c1"
    assert secrets.calls == 2, "the current and the previous version, once"


def test_without_a_key_events_are_stored_and_their_pseudonyms_are_temporary() -> None:
    firehose, secrets = FakeFirehose(), FakeSecrets()
    for secrets.down in (True, False):
        keys = ReceiptKeys("receipts", lambda: secrets)
        send([event(client_id=MAIL), event(client_id=MAIL)], firehose, receipt_keys=keys)
    first, second, *others = (line["client_id"] for line in firehose.lines("events"))
    assert first == second not in others
    assert first.startswith("pseudonym-")


@pytest.mark.parametrize("changes", [{"event_name": f"dance {MAIL}"}, {"value": MAIL}, {"shop_id": MAIL}])
def test_nothing_personal_of_a_refused_event_is_stored_and_its_sender_is_answered_in_full(
    changes: dict[str, Any],
) -> None:
    firehose = FakeFirehose()
    refused = personal_event(**{"event_id": MAIL, "unknown": {MAIL: PERSONAL}, **changes})
    collected = send([refused, MAIL, [CARD]], firehose)
    assert collected.refused[0].event_id == MAIL
    text = b"".join(firehose.streams["rejected"]).decode()
    assert traces(text) == []


def test_nothing_personal_of_an_unreadable_body_is_stored(shop: Shop) -> None:
    body = json.dumps({"events": [personal_event()]})[:-3] + "x" * 65_000 + MAIL
    answer = shop.request("POST", f"/events?key={KEY}", {}, body.encode())
    assert answer.status == 400
    assert traces(b"".join(shop.firehose.streams["rejected"]).decode()) == []


def test_an_address_that_the_limit_of_a_kept_body_cuts_is_masked(shop: Shop) -> None:
    for before in range(65_500, 65_537):
        shop.request("POST", f"/events?key={KEY}", {}, b"x" * before + b" jane.secret@example.com")
    assert traces(b"".join(shop.firehose.streams["rejected"]).decode()) == []


def test_a_pixel_is_masked_as_well(shop: Shop) -> None:
    query = {
        "key": KEY,
        "shop_id": "demo",
        "event_name": "search",
        "client_id": MAIL,
        "search_term": PERSONAL,
    }
    answer = shop.request("GET", f"/pixel.gif?{urlencode(query)}", {}, b"")
    assert REFUSED_HEADER not in answer.headers
    [stored] = shop.firehose.lines("events")
    assert traces(json.dumps(stored)) == []
    assert stored["session_id"] == stored["client_id"], "a picture's session is its client"


def test_logs_hold_nothing_personal_whatever_fails(logged: io.StringIO) -> None:
    keys = ReceiptKeys("receipts", FakeSecrets)
    refused = personal_event(event_name="dance")
    body = [personal_event(event_id="a"), refused, MAIL]
    send(body, FakeFirehose(), receipt_keys=keys)
    send(body, FakeFirehose(break_next=9, refuse_next=9), receipt_keys=keys)
    s3 = FakeS3()
    s3.down = True
    with pytest.raises(StorageUnavailable):
        send(body, FakeFirehose(break_next=9), s3, receipt_keys=keys)
    assert "parked" in logged.getvalue()
    assert traces(logged.getvalue()) == []


def opted_out(shop: Shop, value: str = "1", name: str = "sec-gpc") -> tuple[Any, Any]:
    """Return the answers to a batch and to a pixel with this header."""
    body = json.dumps([event(client_time_ms=time.time_ns() // 1_000_000)]).encode()
    query = urlencode({"key": KEY, "shop_id": "demo", "event_name": "search", "client_id": "c"})
    return (
        shop.request("POST", f"/events?key={KEY}", {name: value}, body),
        shop.request("GET", f"/pixel.gif?{query}", {name: value}, b""),
    )


@pytest.mark.parametrize("name", ["sec-gpc", "Sec-GPC"])
def test_nothing_of_a_person_who_opted_out_is_stored_and_no_sender_tries_again(shop: Shop, name: str) -> None:
    batch, pixel = opted_out(shop, name=name)
    assert batch.status == 200
    answer = batch.json
    assert answer.pop("request_id")
    assert answer == {"accepted": 0, "refused": [], "not_stored": Reason.GLOBAL_PRIVACY_CONTROL.value}
    assert (pixel.status, pixel.headers[REFUSED_HEADER]) == (200, Reason.GLOBAL_PRIVACY_CONTROL.value)
    unreadable = shop.request("POST", "/events", {"sec-gpc": "1"}, b"not json, and no key")
    assert (unreadable.status, unreadable.json["accepted"]) == (200, 0)
    assert (shop.firehose.streams, shop.s3.objects) == ({}, {})


@pytest.mark.parametrize("value", ["0", "true", "11", "1;a", ""])
def test_the_header_has_no_other_value(shop: Shop, value: str) -> None:
    batch, pixel = opted_out(shop, value)
    assert batch.json["accepted"] == 1
    assert REFUSED_HEADER not in pixel.headers


def test_one_of_several_headers_is_enough(shop: Shop) -> None:
    batch, _ = opted_out(shop, "0, 1")
    assert batch.json["not_stored"] == Reason.GLOBAL_PRIVACY_CONTROL.value


def test_a_stage_can_store_such_events_for_a_reason_of_its_own(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.platform import settings

    ignoring = msgspec.structs.replace(settings.collect_settings(), global_privacy_control="ignore")
    monkeypatch.setattr("functions.platform.settings.collect_settings", lambda: ignoring)
    batch, pixel = opted_out(shop)
    assert batch.json["accepted"] == 1
    assert REFUSED_HEADER not in pixel.headers


def test_the_intake_names_a_person_by_the_current_key() -> None:
    secrets = FakeSecrets()
    intake = Intake(SETTINGS, FakeFirehose(), FakeS3(), ReceiptKeys("r", lambda: secrets), REMAINING_MS)
    assert intake.pseudonym(MAIL) == intake.pseudonym(MAIL) != intake.pseudonym("x" + MAIL)
