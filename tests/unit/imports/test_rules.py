"""The rules in SQL against the collector's own check, on the same rows."""

import csv
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import contracts
from functions.platform.errors import RequestRefused
from functions.platform.events.contract import Timing, accept, encode
from functions.platform.events.masking import keyed_pseudonym, mask, masked_catalogue_text, masked_person_id
from imports.ids import short_id
from imports.layouts import OWN_COLUMNS
from imports.own_rows import ALIASES, ORDERED, REQUIRES_ITEMS, RETURNED
from imports.values import NO_VALUE
from tests.unit.functions.platform.events.test_masking import CARDS, HARMLESS, MAILS, PHONES_WITH_PLUS
from tests.unit.imports.reading import read

KEY = b"key"
NOW_MS = 1_772_359_200_000
TIMES = {"2026-03-01T10:00:00Z": NOW_MS, "1772359200000": NOW_MS, "1": 1000, "4102444800": 4_102_444_800_000}
TIMES |= {"4102444801": 4_102_444_801_000, "946684799": 946_684_799_000, "-5": -5000}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"), max_size=70)
PERSONAL = st.sampled_from([*MAILS, *CARDS, *PHONES_WITH_PLUS, *HARMLESS]).filter(
    lambda text: "\0" not in text
)
ID = (
    TEXT
    | PERSONAL
    | st.sampled_from(["a", "x" * 64, "x" * 65, "ä" * 64, "a\x1fb", "NULL", "", " a ", "\x7f"])
)
AMOUNT = st.sampled_from(["", "1", "12.50", "-3", "1000000000", "1000000001", "cheap", "1e3", "nan"])
ROW = st.fixed_dictionaries(
    {
        "event_time": st.sampled_from([*TIMES, "soon", "", "NULL", "\x1f"]),
        "event_name": st.sampled_from([*contracts.event_kinds(), *ALIASES, "nap", "", "VIEW", "nan"]),
        "item_id": ID,
        "client_id": ID,
        "session_id": ID,
        "event_id": ID,
        "price": AMOUNT,
        "quantity": AMOUNT,
        "currency": st.sampled_from(["", "EUR", "eur", "E", "EURO", "12E"]),
        "category": TEXT | PERSONAL,
        "brand": TEXT | PERSONAL,
        "item_name": TEXT | st.just("x" * 600) | st.tuples(TEXT, PERSONAL).map(" ".join),
        "user_id": ID,
        "transaction_id": st.just(""),
    }
)


def value(text: str) -> str | None:
    clean = text.strip(" \t\v\f\u00a0\u2007\u202f\ufeff")
    return None if clean.lower() in NO_VALUE or clean == "NA" else clean


def pseudonym(text: str) -> str:
    return keyed_pseudonym(KEY, text)


def as_sent(row: dict[str, str]) -> dict[str, Any]:
    """Return the required fields of a row as a storefront would send them: what is unreadable stays as it is."""
    given_time, name = value(row["event_time"]), value(row["event_name"])
    client, item = value(row["client_id"]), value(row["item_id"])
    event: dict[str, Any] = {"schema_version": 1, "event_id": "e", "shop_id": "demo", "session_id": "s"}
    if given_time is not None:
        event["client_time_ms"] = TIMES.get(given_time, given_time)
    if name is not None:
        event["event_name"] = ALIASES.get(name.lower(), name.lower())
        if event["event_name"] == ORDERED and row["quantity"] == "-3":
            event["event_name"] = RETURNED
    if client is not None:
        event["client_id"] = short_id(masked_person_id(client, pseudonym))
    if item is not None:
        event["items"] = [{"item_id": item}]
    return event


def collected(event: dict[str, Any]) -> str:
    """Return the collector's code for an event, or an empty text."""
    try:
        accept(event, frozenset({"demo"}), Timing(4_102_444_800_000))
    except RequestRefused as refusal:
        return refusal.reason.value
    # The one rule that the collector does not have: an event about products needs one.
    return "field_missing" if event["event_name"] in REQUIRES_ITEMS and "items" not in event else ""


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, min_size=1, max_size=30))
def test_a_row_is_accepted_or_rejected_as_the_collector_would_and_for_the_same_reason(
    tmp_path: Path, generated: list[dict[str, str]]
) -> None:
    out = io.StringIO(newline="")
    # A time that can be read keeps the file from being refused as a whole.
    good = dict.fromkeys(OWN_COLUMNS, "") | {"event_time": "1", "event_name": "nap", "client_id": "c"}
    writer = csv.DictWriter(out, OWN_COLUMNS, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows([good, *generated])
    found = read(tmp_path, out.getvalue(), pseudonym_key=KEY)
    wanted = {line: code for line, row in enumerate(generated, start=3) if (code := collected(as_sent(row)))}
    assert {reject.line: reject.code for reject in found.rejects if reject.line > 2} == wanted
    for event in found.events:
        server = event.pop("server")
        stored, time_ms = accept(event, frozenset({"demo"}), Timing(server["received_at_ms"]))
        mask(stored, pseudonym)
        assert json.loads(encode(stored)) == event
        assert time_ms == server["event_time_ms"]
        assert re.fullmatch(r"[^\x00-\x1f\x7f]{1,64}", event["event_id"])


def test_ids_and_texts_are_masked_exactly_as_the_collector_masks_them(tmp_path: Path) -> None:
    out = io.StringIO(newline="")
    good = dict.fromkeys(OWN_COLUMNS, "") | {"event_time": "2026-03-01T10:00:00Z", "event_name": "view"}
    good["item_id"] = "4111111111111111"
    texts = [text for text in (*MAILS, *CARDS, *PHONES_WITH_PLUS, *HARMLESS) if "\0" not in text]
    rows = [
        good | {"client_id": f"c{n} {text}", "item_name": text, "user_id": text}
        for n, text in enumerate(texts)
    ]
    writer = csv.DictWriter(out, OWN_COLUMNS, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    found = read(tmp_path, out.getvalue(), pseudonym_key=KEY)
    assert not found.rejects
    wanted = {}
    for row in rows:
        name, user = value(row["item_name"]), value(row["user_id"])
        client = short_id(masked_person_id(row["client_id"].strip(), pseudonym))
        wanted[client] = (
            masked_catalogue_text(_without_control(name or "")) or None,
            None if user is None else short_id(masked_person_id(user, pseudonym)),
        )
    stored = {e["client_id"]: (e["items"][0].get("item_name"), e.get("user_id")) for e in found.events}
    assert stored == wanted
    assert {event["items"][0]["item_id"] for event in found.events} == {"4111111111111111"}


def _without_control(text: str) -> str:
    return "".join(one for one in text if not unicodedata.category(one).startswith("C"))
