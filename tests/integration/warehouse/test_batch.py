"""A batch on the local Snowflake and S3: histories, lists, segments, a second run, a failed run, and the data checks."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from deploy.batch.lists import About, about, lists, segment
from deploy.stages import read_stage
from functions.batch.batch import BatchIncomplete, batch
from functions.batch.histories import ModelLost, histories
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.contract import BATCH_PREFIX
from functions.platform.s3_keys import current_key, delete_below, fallback_key, split_s3_uri
from functions.platform.settings import AnswersSettings
from functions.transform.transform import transform
from functions.validate.batches import batch_checks
from functions.validate.thresholds import thresholds
from testing.batches import EveryItem, answer, loaded_event, make_batch, model_of, release, score
from testing.warehouse_stack import Stack, connected
from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, MINUTE_MS, deliver, raw_event

MODEL = model_of(EveryItem(["A", "B", "C", "D", "E"]))
LISTS = """
    select CLIENT_ID, USER_ID, ITEM_RANK, ITEM_ID, BECAUSE, MODEL_VERSION, RUN_ID
    from MARTS.RECOMMENDATIONS_BATCH where SHOP_ID = %s order by CLIENT_ID, ITEM_RANK
"""


def view(
    number: int, client: str, item: str, minute: int, name: str = "view_item", **more: Any
) -> dict[str, Any]:
    at_ms = MIDNIGHT_MS + minute * MINUTE_MS
    return raw_event(f"b{number}", name, client=client, at_ms=at_ms, items=[item], **more)


EVENTS = [
    view(1, "anna", "A", 0, user_id="u1"),
    view(2, "anna", "A", 1),
    view(3, "anna", "B", 2),
    # Another session of the same client, a day later: the history crosses sessions.
    view(4, "anna", "C", 1500, user_id="u2"),
    view(5, "anna", "B", 1501, "add_to_cart"),
    view(6, "bert", "D", 1000),
    # Longer ago than the days of the batch.
    view(7, "carl", "E", -10 * 1440),
    view(8, "anna", "E", -10 * 1440 + 1),
    view(9, "dora", "A", 1400, bot=True),
    view(10, "emil", "A", 1450, "view_item_list"),
    view(11, "other", "A", 1450, shop="other"),
    # It is in no history, so the days of the batch do not end here.
    view(12, "emil", "A", 10 * 1440, "remove_from_cart"),
]


@pytest.fixture(scope="module")
def stack(new_stack: Any) -> Stack:
    """A warehouse with events, and a release on record."""
    made: Stack = new_stack("batch")
    deliver(made.s3, made.settings.events_bucket, "1", EVENTS)
    with connected(made) as connection:
        load({"run_id": "r"}, made.settings, connection)
    transform({"run_id": "r"}, made.settings, made.credentials)
    release(made.s3, made.settings.models_bucket, "demo", ["A", "B", "C", "D", "E"])
    return replace(made, settings=msgspec.structs.replace(made.settings, batch_days=3, batch_nightly=True))


@pytest.fixture
def connection(stack: Stack) -> Iterator[Any]:
    with connected(stack) as connection:
        yield connection


def files(stack: Stack) -> list[str]:
    found = stack.s3.list_objects_v2(Bucket=stack.settings.models_bucket, Prefix=BATCH_PREFIX)
    return [one["Key"] for one in found.get("Contents", [])]


def test_a_history_has_the_last_items_of_a_client_over_its_sessions(stack: Stack, connection: Any) -> None:
    found = histories({"run_id": "h1"}, stack.settings, connection, stack.s3)
    assert (found["shop_id"], found["clients"]) == ("demo", 2)
    (key,) = files(stack)
    body = stack.s3.get_object(Bucket=stack.settings.models_bucket, Key=key)["Body"].read()
    rows = {row["CLIENT_ID"]: row for row in pq.read_table(io.BytesIO(body)).to_pylist()}
    assert json.loads(rows["anna"]["ITEMS"]) == ["A", "B", "C", "B"]
    assert json.loads(rows["bert"]["ITEMS"]) == ["D"]
    assert (rows["anna"]["USER_ID"], rows["bert"]["USER_ID"]) == ("u2", None)
    assert rows["anna"]["LAST_EVENT_TIME_MS"] == MIDNIGHT_MS + 1501 * MINUTE_MS
    longer = histories({"run_id": "h2", "days": 30}, stack.settings, connection, stack.s3)
    assert longer["clients"] == 3


def test_a_shop_before_its_first_model_has_no_histories_and_one_that_lost_its_record_is_an_error(
    stack: Stack, connection: Any
) -> None:
    before = files(stack)
    found = histories({"run_id": "h3", "shop_id": "other"}, stack.settings, connection, stack.s3)
    assert (found["has_model"], found["clients"]) == (False, 0)
    release(stack.s3, stack.settings.models_bucket, "other", ["A"])
    assert histories({"run_id": "h4", "shop_id": "other"}, stack.settings, connection, stack.s3)["has_model"]
    stack.s3.delete_object(Bucket=stack.settings.models_bucket, Key=current_key("other"))
    with pytest.raises(ModelLost, match=r"current.json names none: restore that object's last version"):
        histories({"run_id": "h5", "shop_id": "other"}, stack.settings, connection, stack.s3)
    stack.s3.delete_object(Bucket=stack.settings.models_bucket, Key=fallback_key("other"))
    assert {key.split("/")[2] for key in files(stack)} - {key.split("/")[2] for key in before} == {"h4"}
    delete_below(stack.s3, stack.settings.models_bucket, f"{BATCH_PREFIX}other/")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"shop_id": "a'b"}, "cannot be part of a path"),
        ({"days": -5}, "use 1 to 365"),
        ({"days": 366}, "use 1 to 365"),
    ],
)
def test_histories_that_cannot_be_unloaded_are_refused(
    stack: Stack, connection: Any, given: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        histories({"run_id": "h6", **given}, stack.settings, connection, stack.s3)


def test_a_repeated_unload_does_not_meet_the_files_of_the_try_before(stack: Stack, connection: Any) -> None:
    first = histories({"run_id": "h7"}, stack.settings, connection, stack.s3)
    # Snowflake chooses the number of files. Of this one, the second try has no file of the same name.
    _, folder = split_s3_uri(first["histories_uri"])
    bucket = stack.settings.models_bucket
    (key,) = (one for one in files(stack) if one.startswith(folder))
    stack.s3.copy_object(
        Bucket=bucket, Key=f"{folder}data_7.parquet", CopySource={"Bucket": bucket, "Key": key}
    )
    second = histories({"run_id": "h7"}, stack.settings, connection, stack.s3)
    score(stack.s3, second, MODEL)
    answered = answer(stack.s3, second, AnswersSettings(bucket, 5))
    assert answered["clients"] == second["clients"] == 2
    delete_below(stack.s3, bucket, f"{BATCH_PREFIX}demo/h7/")


def test_a_batch_fills_the_tables_and_the_next_one_replaces_it(stack: Stack, connection: Any) -> None:
    first = make_batch(stack.s3, stack.settings, connection, "r1", MODEL, items=3)
    assert (first["clients"], first["rows"], first["affinities"]) == (2, 6, 8)
    rows = warehouse.rows(connection, LISTS, ("demo",))
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
        # anna looks at B now, and has seen A and C.
        ("anna", "u2", 1, "A"),
        ("anna", "u2", 2, "C"),
        ("anna", "u2", 3, "D"),
        ("bert", None, 1, "A"),
        ("bert", None, 2, "B"),
        ("bert", None, 3, "C"),
    ]
    assert {row[4] for row in rows if row[0] == "anna"} == {"again", "popular"}
    assert {(row[5], row[6]) for row in rows} == {("m1", "r1")}
    assert files(stack) == []
    second = make_batch(stack.s3, stack.settings, connection, "r2", MODEL, items=2)
    assert second["rows"] == 4
    assert {row[6] for row in warehouse.rows(connection, LISTS, ("demo",))} == {"r2"}
    assert len(warehouse.rows(connection, LISTS, ("demo",))) == 4


def test_a_batch_that_is_incomplete_keeps_the_one_before_and_can_be_repeated(
    stack: Stack, connection: Any
) -> None:
    make_batch(stack.s3, stack.settings, connection, "good", MODEL)
    before = warehouse.rows(connection, LISTS, ("demo",))
    found = histories({"run_id": "bad"}, stack.settings, connection, stack.s3)
    score(stack.s3, found, MODEL, clients_per_part=1)
    answered = answer(stack.s3, found, AnswersSettings(stack.settings.models_bucket, 5))
    lost = next(key for key in files(stack) if "/answers/" in key)
    body = stack.s3.get_object(Bucket=stack.settings.models_bucket, Key=lost)["Body"].read()
    stack.s3.delete_object(Bucket=stack.settings.models_bucket, Key=lost)
    event = loaded_event(found, answered)
    with pytest.raises(
        BatchIncomplete, match="4 rows of lists and 8 of affinities were loaded, 8 and 8 were written"
    ):
        batch(event, stack.settings, connection, stack.s3)
    assert warehouse.rows(connection, LISTS, ("demo",)) == before
    with pytest.raises(BatchIncomplete, match="the histories have 3 clients and 2 were answered"):
        batch({**event, "clients": 3}, stack.settings, connection, stack.s3)
    stack.s3.put_object(Bucket=stack.settings.models_bucket, Key=lost, Body=body)
    done = batch(event, stack.settings, connection, stack.s3)
    assert files(stack) == []
    # Step Functions repeats a call whose answer was lost. There are no files any more.
    assert batch(event, stack.settings, connection, stack.s3) == done
    assert {row[6] for row in warehouse.rows(connection, LISTS, ("demo",))} == {"bad"}


def test_a_batch_without_any_recommendation_replaces_the_lists_too(stack: Stack, connection: Any) -> None:
    make_batch(stack.s3, stack.settings, connection, "full", MODEL)
    nothing = model_of(EveryItem([]))
    done = make_batch(stack.s3, stack.settings, connection, "none", nothing, items=0)
    assert (done["rows"], done["affinities"], done["clients"]) == (0, 0, 0)
    assert warehouse.rows(connection, LISTS, ("demo",)) == []


def test_a_user_with_two_devices_is_once_in_a_segment_of_users(stack: Stack, connection: Any) -> None:
    make_batch(stack.s3, stack.settings, connection, "two", MODEL)
    phone = (
        "select * replace (CLIENT_KEY || '2' as CLIENT_KEY, SCORE / 2 as SCORE) from MARTS.CLIENT_AFFINITIES"
    )
    warehouse.rows(connection, f"insert into MARTS.CLIENT_AFFINITIES {phone} where CLIENT_ID = 'anna'")
    (best,) = segment(connection, "demo", ["A"], 10, users_only=True)
    assert best == next(segment(connection, "demo", ["A"], 10, users_only=False))
    assert len(list(segment(connection, "demo", ["A"], 10, users_only=False))) == 3


def test_segments_and_exports_have_the_scores_and_the_order_of_the_batch(
    stack: Stack, connection: Any
) -> None:
    make_batch(stack.s3, stack.settings, connection, "seg", MODEL, items=2)
    newest: About = about(connection, "demo", read_stage("local"))
    assert (newest.run_id, newest.clients, newest.model_version) == ("seg", 2, "m1")
    found = list(segment(connection, "demo", ["A"], 10, users_only=False))
    scores = warehouse.rows(
        connection,
        "select CLIENT_ID, SCORE from MARTS.CLIENT_AFFINITIES where ITEM_ID = 'A' order by SCORE desc",
    )
    assert [(row[1], float(row[3])) for row in found] == [
        (client, round(value, 6)) for client, value in scores
    ]
    assert [row[1] for row in found] == ["anna", "bert"]
    assert [row[1] for row in segment(connection, "demo", ["A"], 1, users_only=False)] == ["anna"]
    assert [row[0] for row in segment(connection, "demo", ["A", "B"], 10, users_only=True)] == ["u2"]
    # Each client once, with its better item.
    both = list(segment(connection, "demo", ["D", "C"], 10, users_only=False))
    assert [(row[1], row[2]) for row in both] == [("anna", "C"), ("bert", "C")]
    assert list(segment(connection, "demo", ["' or 1=1 --"], 10, users_only=False)) == []
    exported = sorted(lists(connection, "demo", users_only=False))
    assert exported == [["", "bert", "A", "B"], ["u2", "anna", "A", "C"]]
    assert list(lists(connection, "demo", users_only=True)) == [["u2", "anna", "A", "C"]]


def test_the_data_checks_warn_of_old_lists_and_of_few(stack: Stack, connection: Any) -> None:
    make_batch(stack.s3, stack.settings, connection, "chk", MODEL)
    limits, now = thresholds(), datetime.now(UTC)
    few = msgspec.structs.replace(limits, batch=msgspec.structs.replace(limits.batch, fewest_clients=1))

    def verdicts(now: datetime, shop: str = "demo", **changed: Any) -> dict[str, str]:
        settings = msgspec.structs.replace(stack.settings, **changed)
        return {one.name: one.verdict for one in batch_checks(connection, settings, shop, now, few)}

    assert verdicts(now) == {"batch age": "passed", "batch clients": "passed"}
    later = datetime.fromtimestamp(now.timestamp() + 3 * DAY_MS / 1000, UTC)
    assert verdicts(later)["batch age"] == "warned"
    # One client of two is the least share. With the older events of a longer period, it is one of three.
    warehouse.rows(connection, "delete from MARTS.RECOMMENDATIONS_BATCH where CLIENT_ID = 'bert'")
    assert verdicts(now)["batch clients"] == "passed"
    assert verdicts(now, batch_days=30)["batch clients"] == "warned"
    assert verdicts(now, shop="other") == {"batch age": "skipped", "batch clients": "skipped"}
    assert verdicts(now, batch_nightly=False) == {"batch age": "skipped", "batch clients": "skipped"}
