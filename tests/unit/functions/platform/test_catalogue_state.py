"""The packed state of a catalogue: what was put in comes out, and sales begin and end by the clock."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.platform import catalogue_editor, catalogue_state
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import Product, read_header, state_key, unpack

NOON_MS = 1_764_590_400_000
HOUR_MS = 3_600_000
TIMES = st.integers(946_684_800_000, 4_102_444_800_000)
AMOUNTS = st.floats(0, 1e9) | st.integers(0, 1_000_000_000)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "availability": st.sampled_from(["in_stock", "out_of_stock", "preorder", "backorder", None]),
        "price": st.none() | AMOUNTS,
        "sale_price": st.none() | AMOUNTS,
        "sale_starts_at_ms": st.none() | TIMES,
        "sale_ends_at_ms": st.none() | TIMES,
        "cost": st.none() | AMOUNTS,
        "category": st.none() | TEXTS,
        "brand": st.none() | TEXTS,
        "item_group_id": st.none() | TEXTS,
        "attributes": st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
        "title": TEXTS,
    },
)
IDS = st.sampled_from(["a", "b", "c", "ä/ö", "日本", " "]) | TEXTS.filter(bool)
STEPS = st.lists(
    st.tuples(st.just("change"), IDS, CHANGES) | st.tuples(st.just("remove"), IDS, st.just({})), max_size=20
)


def expected(known: dict[str, Any], now_ms: int) -> Product:
    """Return the product of plain fields, as docs/catalogue.md describes it."""
    starts, ends = known.get("sale_starts_at_ms"), known.get("sale_ends_at_ms")
    on_sale = (
        known.get("sale_price") is not None
        and (starts is None or starts <= now_ms)
        and (ends is None or now_ms < ends)
    )
    return Product(
        not known["removed"] and known.get("availability") != "out_of_stock",
        known["sale_price"] if on_sale else known.get("price"),
        known.get("price"),
        known.get("cost"),
        known.get("category") or "",
        known.get("brand") or "",
        known.get("item_group_id") or "",
        known.get("attributes") or {},
        known.get("first_seen_ms"),
    )


@given(batches=st.lists(STEPS, min_size=1, max_size=4), now_ms=TIMES)
@settings(max_examples=60, deadline=None)
def test_every_change_is_read_back_in_whatever_batches_it_comes(batches: list[Any], now_ms: int) -> None:
    model: dict[str, dict[str, Any]] = {}
    state = None
    for batch in batches:
        editor = CatalogueEditor(state)
        for kind, item_id, fields in batch:
            known = model.setdefault(item_id, {})
            if kind == "remove":
                editor.remove(item_id)
            else:
                editor.change(item_id, fields)
            known |= {**fields, "removed": kind == "remove"}
        state = editor.state(now_ms)
        assert len(state) == len(model)
        assert set(state.items()) == set(model)
        for item_id, known in model.items():
            assert state.product(item_id, now_ms) == expected(known, now_ms)
            assert state.is_available(item_id) == expected(known, now_ms).available


@given(lines=st.dictionaries(IDS, CHANGES, max_size=8), before=st.dictionaries(IDS, CHANGES, max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_whole_catalogue_replaces_the_one_before(lines: dict[str, Any], before: dict[str, Any]) -> None:
    editor = CatalogueEditor()
    editor.add_known("events-only", {"price": 2.0, "category": "Home"}, None, 5)
    for item_id, fields in before.items():
        editor.change(item_id, fields)
    editor = CatalogueEditor(editor.state(1))
    for item_id, fields in lines.items():
        editor.replace(item_id, fields)
    editor.remove_others(lines)
    state = editor.state(2)
    for item_id in before.keys() - lines.keys():
        assert not state.is_available(item_id)
    for item_id, fields in lines.items():
        found = state.product(item_id, NOON_MS)
        events = {name: before.get(item_id, {}).get(name) for name in catalogue_editor.FILLED_BY_EVENTS}
        assert found == expected({**events, **fields, "removed": False}, NOON_MS)
    if "events-only" not in lines:
        assert state.product("events-only", NOON_MS) == Product(True, 2.0, 2.0, None, "Home", "", "", {}, 5)


def test_a_sale_begins_at_noon_and_ends_with_the_hour() -> None:
    editor = CatalogueEditor()
    editor.change(
        "boot",
        {
            "price": 80,
            "sale_price": 60,
            "sale_starts_at_ms": NOON_MS,
            "sale_ends_at_ms": NOON_MS + HOUR_MS,
        },
    )
    state = editor.state(1)
    prices = [
        product.price
        for now_ms in (NOON_MS - 1, NOON_MS, NOON_MS + HOUR_MS - 1, NOON_MS + HOUR_MS)
        if (product := state.product("boot", now_ms))
    ]
    assert prices == [80, 60, 60, 80]


def test_an_unknown_item_has_no_product_and_is_available() -> None:
    state = CatalogueEditor().state(1)
    assert state.product("boot", NOON_MS) is None
    assert state.is_available("boot")
    assert state.is_available("\ud800")


def test_ids_with_the_same_hash_are_different_products(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (catalogue_state, catalogue_editor):
        monkeypatch.setattr(module, "hash_of", lambda _: 7)
    editor = CatalogueEditor()
    for price, item_id in enumerate("abcd"):
        editor.change(item_id, {"price": price})
    editor = CatalogueEditor(editor.state(1))
    editor.change("e", {"price": 4})
    editor.change("b", {"price": 10})
    state = editor.state(2)
    found = {item_id: state.product(item_id, 0) for item_id in "abcde"}
    assert {item_id: product and product.price for item_id, product in found.items()} == {
        "a": 0, "b": 10, "c": 2, "d": 3, "e": 4,
    }  # fmt: skip
    assert state.product("f", 0) is None


def test_the_header_is_read_from_the_first_bytes() -> None:
    packed = CatalogueEditor().packed(7, ("one", "two"))
    header, start = read_header(packed)
    assert (header["changed_at_ms"], header["folded"]) == (7, ["one", "two"])
    assert read_header(packed[:start])[0] == header
    with pytest.raises(ValueError, match="the header ends at byte"):
        read_header(packed[: start - 1])
    assert unpack(packed).folded == ("one", "two")


@pytest.mark.parametrize("damage", ["magic", "cut", "block"])
def test_a_damaged_file_is_refused(damage: str) -> None:
    editor = CatalogueEditor()
    editor.change("boot", {"price": 1})
    packed = editor.packed(1)
    _, start = read_header(packed)
    damaged = {
        "magic": b"TUGCAT00" + packed[8:],
        "cut": packed[:-4],
        "block": packed[:start] + bytes(8) + packed[start + 8 :],
    }
    with pytest.raises(ValueError, match=r"TUGCAT01|damaged"):
        unpack(damaged[damage])


def test_the_key_of_a_state_is_safe_for_every_shop_id() -> None:
    assert state_key("demo") == "serving/catalogue/demo.bin"
    assert state_key("a/b c") == "serving/catalogue/a%2Fb%20c.bin"
