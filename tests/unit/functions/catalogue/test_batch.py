"""A batch of changes: each line is answered, and several lines about one product are one change in their order."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.catalogue.batch import FIELDS, Batch, Change, parse_batch
from functions.platform.contract import (
    CATALOGUE_BATCH_LINES_MAX,
    CATALOGUE_BATCH_MAX_BYTES,
    CATALOGUE_LINE_MAX_BYTES,
)
from functions.platform.errors import Reason, RequestRefused


def parsed(*lines: Any) -> Batch:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return parse_batch("\n".join(texts).encode("utf-8", "surrogatepass"), "demo")


def reason_of(body: bytes) -> Reason:
    with pytest.raises(RequestRefused) as refused:
        parse_batch(body, "demo")
    return refused.value.reason


def test_a_line_changes_only_what_it_states_and_null_clears() -> None:
    batch = parsed({"item_id": "boot", "price": 89.9, "sale_price": None}, {"item_id": "hat", "delete": True})
    assert batch == Batch(
        {"boot": Change({"price": 89.9, "sale_price": None}, False), "hat": Change({}, True)}, 2, []
    )


def test_several_lines_about_one_product_are_one_change_in_their_order() -> None:
    batch = parsed(
        {"item_id": "boot", "price": 1, "brand": "Acme"},
        {"item_id": "boot", "delete": True},
        {"item_id": "boot", "price": 2},
        {"item_id": "hat", "price": 3},
        {"item_id": "hat", "delete": True},
    )
    assert batch.changes == {
        "boot": Change({"price": 2, "brand": "Acme"}, False),
        "hat": Change({"price": 3}, True),
    }
    assert batch.accepted == 5


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        ("{", "line_not_json", "not JSON"),
        ("[" * 100_000, "line_too_large", "at most"),
        ("[" * 20_000, "line_not_json", "not JSON"),
        ('[{"item_id": "a", "price": 1}]', "line_not_json", "JSON object such as"),
        ('"text"', "line_not_json", "JSON object such as"),
        ('{"item_id": "a", "price": NaN}', "line_not_json", "not JSON"),
        ({"price": 1}, "field_missing", "item_id is missing"),
        ({"item_id": 7, "price": 1}, "field_invalid", "item_id is a text"),
        ({"item_id": "a" * 65, "price": 1}, "field_invalid", "item_id is a text"),
        ({"item_id": "a\n", "price": 1}, "field_invalid", "item_id"),
        ({"item_id": "a"}, "field_missing", "changes nothing"),
        ({"item_id": "a", "delete": False}, "field_invalid", "delete is true"),
        ({"item_id": "a", "delete": "yes"}, "field_invalid", "delete is true"),
        ({"item_id": "a", "delete": True, "price": 1}, "field_invalid", "no other field"),
        ({"item_id": "a", "avalability": "in_stock"}, "field_unknown", "'avalability' is no field"),
        ({"item_id": "a", "price": "1"}, "field_invalid", "$.price"),
        ({"item_id": "a", "price": -1}, "field_invalid", "$.price"),
        ({"item_id": "a", "availability": "soon"}, "field_invalid", "$.availability"),
        ({"item_id": "a", "attributes": {"color": 1}}, "field_invalid", "$.attributes"),
        ({"item_id": "a", "title": None}, "field_invalid", "cannot be cleared"),
        ({"item_id": "a", "title": ""}, "field_invalid", "$.title"),
        ({"item_id": "a", "price": 1, "shop_id": "other"}, "unknown_shop", "leave shop_id out"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_with_its_reason_and_the_others_count(
    line: Any, reason: str, words: str
) -> None:
    batch = parsed({"item_id": "good", "price": 1}, "", line)
    [refused] = batch.refused
    assert (refused.line, refused.reason) == (3, reason)
    assert words in refused.message
    assert (list(batch.changes), batch.accepted) == (["good"], 1)


def test_half_a_surrogate_pair_is_refused() -> None:
    batch = parsed('{"item_id": "a", "brand": "\\ud800"}')
    assert [one.reason for one in batch.refused] == ["line_not_json"]


def test_a_body_that_is_too_large_or_empty_is_refused_whole() -> None:
    assert reason_of(b"") is Reason.BODY_EMPTY
    assert reason_of(b"\n \r\n") is Reason.BODY_EMPTY
    assert reason_of(b"x" * (CATALOGUE_BATCH_MAX_BYTES + 1)) is Reason.BODY_TOO_LARGE
    assert reason_of(b"{}\n" * (CATALOGUE_BATCH_LINES_MAX + 1)) is Reason.TOO_MANY_LINES


def test_the_largest_line_that_the_contract_allows_is_taken() -> None:
    attributes = {f"{number:064}": "ä" * 500 for number in range(50)}
    line = json.dumps({"item_id": "a", "attributes": attributes}, ensure_ascii=False)
    assert len(line.encode()) < CATALOGUE_LINE_MAX_BYTES
    assert parsed(line).accepted == 1


def test_line_ends_and_a_byte_order_mark_of_windows_are_taken() -> None:
    body = b'\xef\xbb\xbf{"item_id": "a", "price": 1}\r\n{"item_id": "b", "price": 2}\r\n'
    assert parse_batch(body, "demo").accepted == 2


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b'{"item_id":"a","price":1}', b""]), max_size=8))
@settings(max_examples=100, deadline=None)
def test_every_line_is_accepted_or_refused(lines: list[bytes]) -> None:
    body = b"\n".join(lines)
    written = [line for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    if not written:
        assert reason_of(body) is Reason.BODY_EMPTY
        return
    batch = parse_batch(body, "demo")
    assert batch.accepted + len(batch.refused) == len(written)


def test_the_fields_are_those_of_the_contract() -> None:
    assert {"title", "availability", "price", "attributes"} <= FIELDS
    assert {"shop_id", "item_id", "delete"} & FIELDS == set()
