"""The person of an erasure: whose a line is, and which events are refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.erase.person import Lines, Person, parse_task

IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=64)


def lines(client: str, shop: str | None = None) -> Lines:
    return Lines(Person("client", client, shop), [])


@given(client=IDS, other=IDS, ascii_only=st.booleans())
def test_a_line_is_its_client_s_however_it_is_written(client: str, other: str, ascii_only: bool) -> None:
    text = json.dumps({"shop_id": "demo", "client_id": client}, ensure_ascii=ascii_only).encode()
    assert lines(client).owns(text)
    assert lines(other).owns(text) == (client == other)
    assert not lines(client, "elsewhere").owns(text)


@given(client=IDS, ascii_only=st.booleans())
def test_a_refused_line_is_its_client_s_as_json_within_json(client: str, ascii_only: bool) -> None:
    payload = json.dumps({"client_id": client}, ensure_ascii=ascii_only)
    record = json.dumps({"payload": payload, "sender": "demo"}, ensure_ascii=ascii_only)
    assert lines(client).refused(record.encode())
    assert not lines(client, "elsewhere").refused(record.encode())


def test_an_id_within_a_longer_one_is_another_id() -> None:
    assert not lines("17").refused(b'{"payload": "{\\"client_id\\": \\"117\\"}"}')
    assert not lines("c-1").refused(b'{"payload": "{\\"client_id\\": \\"c-1-2\\"}"}')
    assert lines("17").refused(b'{"payload": "{\\"client_id\\": \\"17\\"}"}')


def test_the_digest_needs_the_key_and_separates_kind_and_shop() -> None:
    persons = [Person("client", "a", None), Person("user", "a", None), Person("client", "a", "b")]
    assert len({person.digest(key) for person in persons for key in ("one", "two")}) == 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "not an object"),
        ({}, "either a client or a user"),
        ({"client": "a", "user": "b"}, "either a client or a user"),
        ({"client": ""}, "client is a text of 1 to 64"),
        ({"client": "x" * 65}, "client is a text of 1 to 64"),
        ({"client": "a\nb"}, "without control characters"),
        ({"client": 5}, "client is a text"),
        ({"user": "u", "shop": ""}, "shop is a text"),
        ({"client": "a", "who": 1}, "unknown: who"),
        ({"client": "a", "action": "drop"}, "action is one of look, work, abandon"),
        ({"client": "a", "seconds": -1}, "seconds is a number"),
    ],
)
def test_an_invalid_event_is_an_error_with_an_example(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_task(wrong)
    assert '{"client": ' in str(caught.value)
