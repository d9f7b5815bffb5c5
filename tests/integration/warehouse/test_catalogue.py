"""Catalogue feeds on the local Snowflake: a feed in at one end, MARTS.PRODUCTS and its history at the other."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyarrow import parquet

from catalogue.formats import Options, recognized
from catalogue.imports import Feed, Imported, ids_by_choice, import_feed
from catalogue.known_ids import compare, event_items
from functions.catalogue.batch import parse_batch
from functions.catalogue.catalogue import catalogue
from functions.catalogue.intake import Intake, store
from functions.export.catalogue import write_state
from functions.export.export import export
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.catalogue_files import files_since
from functions.platform.catalogue_state import Product
from functions.platform.catalogue_store import read_state
from functions.platform.dbt import run_dbt
from functions.platform.settings import CatalogueSettings
from testing.warehouse_stack import Stack, connected, tables_as_text
from tests.integration.warehouse.events import MINUTE_MS, deliver, raw_event

GOLDEN = Path(__file__).parent / "golden"
CATALOGUE_MODELS = ("stg_catalogue", "catalogue_history", "products")
TABLES = {
    "products": """
        select shop_id, item_id, item_name, item_category, item_brand, price, regular_price, currency, url, image_url,
            availability, is_listed, is_available, condition, attributes, first_seen_ms, last_seen_ms, views, carts, purchases
        from MARTS.PRODUCTS order by shop_id, item_id
    """,
    "catalogue_history": """
        select shop_id, item_id, title, price, sale_price, availability, is_listed, valid_from_ms, valid_until_ms
        from MARTS.CATALOGUE_HISTORY order by shop_id, item_id, valid_from_ms
    """,
}


# The versions after the changes of 11, 12 and 13 o'clock, with the columns of `catalogue_history` above.
AT_11, AT_12, AT_13, ALWAYS = "1767438000000", "1767441600000", "1767445200000", "253402300799000"
CHANGED = [
    ["demo", "A", "Harbor boot", "70.0", "", "out_of_stock", "True", AT_12, AT_13],
    ["demo", "A", "Harbor boot", "99.5", "", "out_of_stock", "True", AT_13, ALWAYS],
    ["demo", "B", "Found", "20.5", "15.0", "in_stock", "True", AT_12, AT_13],
    ["demo", "B", "Found", "20.5", "15.0", "in_stock", "False", AT_13, ALWAYS],
    ["demo", "C", "", "", "", "", "True", AT_11, ALWAYS],
]


def feed(name: str, hour: int) -> Feed:
    path = GOLDEN / "feeds" / name
    form = recognized(path, None)
    return Feed(path, form, "demo", form.item_ids[0], Options(), datetime(2026, 1, 3, hour, tzinfo=UTC))


def night(stack: Stack, run_id: str, *arguments: str) -> dict[str, list[list[str]]]:
    """Load, build the catalogue's models or the selected ones, and return the tables as text."""
    with connected(stack) as connection:
        load({"run_id": run_id}, stack.settings, connection)
    selected = arguments if "--select" in arguments else (*arguments, "--select", *CATALOGUE_MODELS)
    results = run_dbt(["run", *selected], stack.credentials)
    assert [result.message for result in results if result.failed] == []
    return tables_as_text(stack, TABLES)


def golden() -> dict[str, list[list[str]]]:
    return {name: list(csv.reader((GOLDEN / f"{name}.csv").open()))[1:] for name in TABLES}


@pytest.fixture(scope="module")
def stack(new_stack: Any) -> Stack:
    made: Stack = new_stack("catalogue")
    events = [
        raw_event(
            f"e{number}", client=f"c{number // 3}", at_ms=1_767_312_000_000 + number * MINUTE_MS, items=[item]
        )
        for number, item in enumerate("ABCABC")
    ]
    deliver(made.s3, made.settings.events_bucket, "events", events)
    return made


class Fed(NamedTuple):
    """The imports of a feed at eight and again at nine o'clock, and the tables after another one of ten o'clock."""

    first: Imported
    again: Imported
    tables: dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def fed(stack: Stack) -> Fed:
    """Two feeds, each loaded by a night. The training tables exist."""

    def imported(name: str, hour: int) -> Imported:
        return import_feed(feed(name, hour), 0.5, stack.s3, stack.settings.events_bucket)

    first, again = imported("1.tsv", 8), imported("1.tsv", 9)
    night(stack, "n1", "--select", "+products", "+training_items", "+training_sample")
    imported("2.xml", 10)
    return Fed(first, again, night(stack, "n2"))


def test_feeds_give_the_golden_products_incrementally_late_and_from_scratch(stack: Stack, fed: Fed) -> None:
    assert (fed.first.counts.rows, fed.first.counts.products, fed.first.counts.rejected) == (4, 3, 1)
    assert fed.first.is_new
    assert not fed.again.is_new
    assert fed.again.key == fed.first.key
    assert fed.tables == golden()
    # The first feed again, with the content of 08:00: it holds until the feed of 10:00, whenever it is loaded.
    late = json.dumps(
        {
            "shop_id": "demo",
            "item_id": "A",
            "title": "Early name",
            "price": 1.0,
            "currency": "EUR",
            "feed": {"feed_id": "late", "imported_at_ms": feed("1.tsv", 9).imported_at_ms, "complete": False},
        }
    )
    stack.s3.put_object(
        Bucket=stack.settings.events_bucket, Key="catalogue/demo/2026/01/03/late.jsonl", Body=late.encode()
    )
    incremental = night(stack, "n3")
    assert [row[2] for row in incremental["catalogue_history"]][:3] == [
        "Harbor boot",
        "Early name",
        "Harbor boot",
    ]
    assert incremental["products"] == golden()["products"]
    assert night(stack, "n4", "--full-refresh") == incremental


def changed(stack: Stack, hour: int, *lines: dict[str, Any]) -> None:
    """Store changes as PUT /catalogue stores those that it receives at this hour."""
    body = "\n".join(map(json.dumps, lines)).encode()
    at = datetime(2026, 1, 3, hour, tzinfo=UTC)
    batch = parse_batch(body, "demo")
    assert batch.refused == []
    store(batch, "demo", int(at.timestamp() * 1000), None, Intake(stack.s3, stack.settings.events_bucket))


@pytest.fixture(scope="module")
def after_changes(stack: Stack, fed: Fed) -> dict[str, list[list[str]]]:
    """The tables after the changes of 11, 12 and 13 o'clock, of which those of 12 were loaded last."""
    changed(
        stack, 11, {"item_id": "A", "availability": "out_of_stock"}, {"item_id": "C", "brand": "Late & Co"}
    )
    changed(stack, 13, {"item_id": "A", "price": 99.5, "sale_price": None}, {"item_id": "B", "delete": True})
    night(stack, "c1")
    # Received between the two, loaded after them.
    changed(stack, 12, {"item_id": "A", "price": 70.0, "brand": "Acme"}, {"item_id": "B", "title": "Found"})
    return night(stack, "c2")


def test_changes_alter_only_what_they_state_incrementally_late_and_from_scratch(
    stack: Stack, after_changes: dict[str, list[list[str]]]
) -> None:
    history = [row for row in after_changes["catalogue_history"] if row[7] >= AT_11]
    assert history == CHANGED
    assert night(stack, "c3", "--full-refresh") == after_changes


@pytest.mark.usefixtures("after_changes")
def test_the_folded_state_and_that_of_export_are_the_same(stack: Stack) -> None:
    settings = CatalogueSettings(stack.settings.events_bucket, stack.settings.models_bucket)
    files = files_since(stack.s3, settings.events_bucket, "demo", 0)
    for file in reversed(files):
        catalogue({"key": file.key}, settings, stack.s3)
    by_files = products_of(stack)
    with connected(stack) as connection:
        write_state(connection, stack.s3, stack.settings, "demo")
    by_warehouse = products_of(stack)
    assert by_files.keys() <= by_warehouse.keys()
    # Only the warehouse knows what events say.
    assert None not in [by_warehouse[item_id].first_seen_ms for item_id in "ABC"]
    assert by_warehouse["C"].price == 9.5
    by_warehouse["C"] = by_warehouse["C"]._replace(price=None, regular_price=None)
    assert {
        item_id: product._replace(first_seen_ms=None)
        for item_id, product in by_warehouse.items()
        if item_id in by_files
    } == by_files


def products_of(stack: Stack) -> dict[str, Product]:
    state = read_state(stack.s3, stack.settings.models_bucket, "demo").state
    assert state
    found = {item_id: state.product(item_id, 1_767_430_000_000) for item_id in state.items()}
    return {item_id: product for item_id, product in found.items() if product}


@pytest.mark.usefixtures("after_changes")
def test_the_models_pass_their_tests(stack: Stack) -> None:
    tested = ["stg_catalogue", "catalogue_history", "products", "one_version_of_a_product_holds"]
    results = run_dbt(
        ["test", "--exclude-resource-type", "unit_test", "--select", *tested], stack.credentials
    )
    assert len(results) > 10
    assert [result.name for result in results if result.status != "pass"] == []


@pytest.mark.usefixtures("after_changes")
def test_the_snapshot_has_what_the_feed_lists_as_gone_and_its_attributes(stack: Stack) -> None:
    stack.s3.put_object(Bucket=stack.settings.models_bucket, Key="stock/demo.json", Body=b'["C", "A"]')
    with connected(stack) as connection:
        snapshot = export({"run_id": "x1"}, stack.settings, connection, stack.s3)

    def read(name: str) -> bytes:
        key = snapshot["items_uri"].split("/", 3)[3] + name
        body: bytes = stack.s3.get_object(Bucket=stack.settings.models_bucket, Key=key)["Body"].read()
        return body

    assert json.loads(read("out_of_stock.json")) == ["C", "A", "B"]
    items = parquet.read_table(io.BytesIO(read("data_0_0_0.snappy.parquet"))).to_pylist()
    attributes = {item["ITEM_ID"]: json.loads(item["ATTRIBUTES"] or "{}") for item in items}
    assert attributes == {"A": {"color": "blue"}, "B": {}, "C": {}}


@pytest.mark.usefixtures("fed")
def test_the_feed_is_compared_with_the_ids_of_the_last_week_of_events(stack: Stack) -> None:
    with connected(stack) as connection:
        items = event_items(connection, "demo")
        assert event_items(connection, "nobody") == {}
    assert items == {"A": 2, "B": 2, "C": 2}
    [best, *_] = compare(ids_by_choice(feed("2.xml", 10)), items)
    assert (best.known_items, best.items, best.known_events, best.events) == (1, 3, 2, 6)


def described(stack: Stack) -> list[str]:
    with connected(stack) as connection:
        found = warehouse.rows(connection, "select ITEM_ID from TRAINING.TRAINING_ITEMS order by ITEM_ID", ())
    return [item_id for (item_id,) in found]


TRAINING = ("--select", "+products", "daily_kpis", "training_items")


@pytest.fixture(scope="module")
def new_products(stack: Stack, fed: Fed) -> tuple[list[str], list[str]]:
    """The described items before and after the shop states two products that nobody has viewed, one of them available later."""
    night(stack, "u1", *TRAINING)
    before = described(stack)
    changed(stack, 14, {"item_id": "N", "availability": "in_stock"}, {"item_id": "P", "price": 5.0})
    changed(stack, 15, {"item_id": "P", "availability": "in_stock"})
    night(stack, "u2", *TRAINING)
    return before, described(stack)


def test_a_new_product_that_nobody_viewed_is_in_the_snapshot_while_it_is_available(
    stack: Stack, new_products: tuple[list[str], list[str]]
) -> None:
    assert new_products == (["A", "B", "C"], ["A", "B", "C", "N", "P"])
    night(stack, "u3", "--vars", json.dumps({"new_products": 1}), *TRAINING)
    assert described(stack) == ["A", "B", "C", "N"]


@pytest.mark.usefixtures("new_products")
def test_what_an_old_shop_has_not_sold_since_its_first_feed_is_not_new(stack: Stack) -> None:
    old = [raw_event(f"old{at}", client=f"o{at}", at_ms=1_764_720_000_000, items=["A"]) for at in range(2)]
    deliver(stack.s3, stack.settings.events_bucket, "old", old)
    night(stack, "u4", "--select", "+products", "+daily_kpis", "training_items")
    assert described(stack) == ["A", "B", "C", "P"]
