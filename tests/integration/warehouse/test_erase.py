"""Erase on the local S3 and Snowflake: the tables become those of a shop that never saw the persons."""

import gzip
import json
from typing import Any

import pytest

from functions.batch.histories import histories
from functions.erase.erase import erase
from functions.erase.rows import erase_rows
from functions.export.export import export
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.contract import CATALOGUE_STATES_PREFIX, SHOPS_PREFIX, EraseResult
from local import environment
from testing.batches import EveryItem, make_batch, model_of, release
from testing.leftovers import files_with, tables_with
from testing.warehouse_stack import Stack, connected, connected_as_sysadmin, erase_settings
from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, deliver
from tests.integration.warehouse.test_experiments import TABLES as EXPERIMENT_TABLES
from tests.integration.warehouse.test_experiments import exposure
from tests.integration.warehouse.test_orders import order
from tests.integration.warehouse.test_pipeline import TABLES, golden_events, run_to_tables

PERSONS = ("c2", "c4", "k1")
# Ids of their own, so that a search of all bytes finds these persons and nobody else.
NAMES = {client: f"erased-person-{client}" for client in PERSONS}
MORE_TABLES = {
    "products": """
        select SHOP_ID, ITEM_ID, ITEM_NAME, PRICE, FIRST_SEEN_MS, LAST_SEEN_MS, VIEWS, CARTS, PURCHASES
        from MARTS.PRODUCTS order by 1, 2
    """,
    "order_reports": "select ORDER_KEY, EVENT_KEY from INTERMEDIATE.INT_ORDER_REPORTS order by 1, 2",
    "order_lines": "select SHOP_ID, ITEM_ID, ORDER_LINE_KEY from INTERMEDIATE.INT_ORDER_LINES order by 1, 2, 3",
    "orders": "select ORDER_KEY, CLIENT_KEY, AMOUNT, REFUNDS from INTERMEDIATE.INT_ORDERS order by 1",
    "credited": "select CREDITED_LINE_KEY, TOUCH_KEY, REVENUE from INTERMEDIATE.INT_CREDITED_LINES order by 1",
    "touches": "select TOUCH_KEY, VERDICT, ORDER_KEY from INTERMEDIATE.INT_TOUCHES order by 1",
    "events": "select EVENT_KEY from STAGING.STG_EVENTS order by 1",
    **{f"experiment {name}": sql for name, sql in EXPERIMENT_TABLES.items()},
    "raw": "select FILENAME, ROW_NUMBER, PAYLOAD:event_id::varchar from RAW.EVENTS order by 1, 2, 3",
}

# Days with exposures of erased persons only, of others only, and of both.
EXPOSURES = [
    exposure(f"x-{client}-{day}", client, MIDNIGHT_MS + day * DAY_MS, arm)
    for client, day, arm in (
        ("c2", 0, "A"),
        ("c4", 1, "B"),
        ("somebody", 1, "A"),
        ("k1", 2, "A"),
        ("else", 3, "B"),
    )
]
# Orders that an erased person and somebody else reported. The other report counts afterwards.
SHARED_ORDERS = [
    order("s1", "shared-1", {"A": 10}, 10, client="c2", shop="demo"),
    order("s2", "shared-1", {"A": 11}, 11, client="somebody", minute=1, shop="demo"),
    order("s3", "shared-2", {"B": 20}, 20, client="c4", minute=2, shop="demo", trusted=True),
    order("s4", "shared-2", {"C": 21}, 21, client="somebody", minute=3, shop="demo"),
]


def events(number: int, erased: bool) -> list[dict[str, Any]]:
    """Return golden events with the persons' own names, or without the persons."""
    renamed = [
        {**event, "client_id": NAMES.get(event["client_id"], event["client_id"])}
        for event in [*golden_events(number), *((SHARED_ORDERS + EXPOSURES) if number == 3 else ())]
    ]
    return [event for event in renamed if event["client_id"] not in NAMES.values()] if erased else renamed


def all_tables(stack: Stack, run_id: str) -> dict[str, Any]:
    tables: dict[str, Any] = run_to_tables(stack, run_id)
    with connected(stack) as connection:
        return tables | {name: warehouse.rows(connection, sql) for name, sql in MORE_TABLES.items()}


def erased(stack: Stack, **person: str) -> EraseResult:
    """Erase a person call by call, as deploy/erase.py does."""
    settings, event = erase_settings(stack), {**person, "seconds": 0}
    eraser = stack.credentials.__class__(**{**stack.credentials.__dict__, "role": settings.eraser_role})
    result = erase({**event, "action": "look"}, settings, stack.s3, "key")
    while result["phase"] != "done":
        if result["phase"] in ("find", "rows"):
            with warehouse.connect(eraser) as connection:
                result = erase_rows(event, settings, connection, stack.s3, "key")
        else:
            result = erase(event, settings, stack.s3, "key")
    return result


@pytest.fixture(scope="module")
def stack(new_stack: Any) -> Stack:
    made: Stack = new_stack("erase")
    for bucket in (made.settings.events_bucket, made.settings.models_bucket):
        made.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return made


def test_after_an_erasure_the_tables_are_those_of_a_shop_that_never_saw_the_persons(
    stack: Stack, new_stack: Any, local_stack: environment.Stack
) -> None:
    other: Stack = new_stack("unseen")
    bucket = stack.settings.events_bucket
    for number in (1, 2, 3):
        deliver(stack.s3, bucket, str(number), events(number, erased=False))
        deliver(other.s3, other.settings.events_bucket, str(number), events(number, erased=True))
    run_to_tables(stack, "e1")
    with connected(stack) as connection:
        export({"run_id": "e1"}, stack.settings, connection, stack.s3)
        release(stack.s3, stack.settings.models_bucket, "demo", ["A"])
        make_batch(stack.s3, stack.settings, connection, "b1", model_of(EveryItem(["A", "B", "C"])))
        # A batch that failed leaves its files.
        histories({"run_id": "b2"}, stack.settings, connection, stack.s3)
    # Not loaded, and not readable for COPY: the load log quotes the line.
    half = gzip.compress(b'{"client_id": "' + NAMES["c2"].encode() + b'", oops\n')
    stack.s3.put_object(Bucket=bucket, Key="raw/2026/01/02/00/half.gz", Body=half)
    with connected(stack) as connection:
        load({"run_id": "e2"}, stack.settings, connection)
    assert files_with("erased-person", local_stack.state) != []
    listed, scored = [], []
    for name in NAMES.values():
        result = erased(stack, client=name)
        certificate = result["certificate"]
        assert certificate is not None
        assert certificate["erased"]["RAW.EVENTS rows"] > 0
        assert certificate["erased"]["STAGING.STG_EVENTS rows"] > 0
        listed.append(certificate["erased"]["MARTS.RECOMMENDATIONS_BATCH rows"])
        scored.append(certificate["erased"]["MARTS.CLIENT_AFFINITIES rows"])
        assert name not in json.dumps(result)
    # A client without an event about an item has no list.
    assert sum(listed) > 0
    assert sum(scored) > 0
    versions = stack.s3.list_object_versions(Bucket=stack.settings.models_bucket).get("Versions", [])
    # The state of the catalogue and the release have products, and no person.
    kept = (CATALOGUE_STATES_PREFIX, SHOPS_PREFIX)
    assert [one["Key"] for one in versions if not one["Key"].startswith(kept)] == []
    assert files_with("erased-person", local_stack.state) == []
    with connected_as_sysadmin(stack) as connection:
        assert tables_with("erased-person", connection, stack.credentials.database) == []
    assert all_tables(stack, "e3") == all_tables(other, "e3")
    assert list(TABLES) != []


def test_a_load_after_the_erasure_loads_nothing_again(stack: Stack) -> None:
    with connected(stack) as connection:
        result = load({"run_id": "e4", "full": True}, stack.settings, connection)
    assert (result["rows_loaded"], result["files_failed"]) == (0, [])


def test_before_the_first_transform_there_are_no_tables_to_erase(new_stack: Any) -> None:
    early: Stack = new_stack("early")
    deliver(early.s3, early.settings.events_bucket, "1", events(1, erased=False))
    with connected(early) as connection:
        load({"run_id": "b1"}, early.settings, connection)
    result = erased(early, client=NAMES["c2"])["certificate"]
    assert result is not None
    # sql/setup makes the tables of batches, and dbt all others.
    of_setup = {"RAW.EVENTS rows", "MARTS.RECOMMENDATIONS_BATCH rows", "MARTS.CLIENT_AFFINITIES rows"}
    assert {name for name in result["erased"] if "." in name} == of_setup
