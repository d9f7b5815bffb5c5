"""Fold: each file counts exactly once, whatever becomes of the events that announce it."""

import gzip
import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.catalogue.batch import Change
from functions.catalogue.catalogue import catalogue
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_files import apply_file, files_since, new_key, parsed_key
from functions.platform.catalogue_state import CatalogueState, Product, state_key, unpack
from functions.platform.catalogue_store import LATE_MS
from functions.platform.errors import StorageUnavailable
from functions.platform.settings import CatalogueSettings
from testing.fakes import FakeS3, client_error

SETTINGS = CatalogueSettings("events", "models")
NOW_MS = 1_767_400_000_000
ITEMS = st.sampled_from("abcde")
CHANGE = st.fixed_dictionaries(
    {},
    optional={
        "price": st.none() | st.integers(0, 9),
        "availability": st.none() | st.sampled_from(["in_stock", "out_of_stock"]),
        "brand": st.none() | st.sampled_from("XY"),
    },
)
LOGS = st.lists(
    st.tuples(
        st.integers(0, 9),  # the time: several files may have the same
        st.booleans(),
        st.dictionaries(ITEMS, st.tuples(CHANGE, st.booleans()), max_size=4),
    ),
    min_size=1,
    max_size=7,
)


class Killed(BaseException):
    """The end of a Lambda that no code can catch."""


def file_key(s3: FakeS3, at_ms: int, lines: list[dict[str, Any]], number: int, *, is_changes: bool) -> str:
    """Write a file of the shop, and return its key."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    key = new_key("demo", at, len(lines), f"{number:016x}", is_changes=is_changes)
    s3.objects["events", key] = gzip.compress(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return key


def changes(s3: FakeS3, at_ms: int, number: int = 0, **products: dict[str, Any] | None) -> str:
    """Write a batch of changes; None deletes a product."""
    lines = [
        Change(fields or {}, fields is None).stored("demo", item_id, at_ms)
        for item_id, fields in products.items()
    ]
    return file_key(s3, at_ms, lines, number, is_changes=True)


def whole(s3: FakeS3, at_ms: int, number: int = 0, **products: dict[str, Any]) -> str:
    """Write a whole catalogue."""
    lines = [{"item_id": item_id, "title": item_id, **fields} for item_id, fields in products.items()]
    return file_key(s3, at_ms, lines, number, is_changes=False)


def fold_key(s3: Any, key: str) -> int:
    return catalogue({"key": key}, SETTINGS, s3, wait=lambda _: None)["files"]


def state_of(s3: FakeS3) -> CatalogueState:
    return unpack(s3.objects["models", state_key("demo")])


def products(state: CatalogueState) -> dict[str, Product | None]:
    return {item_id: state.product(item_id, NOW_MS) for item_id in state.items()}


def from_scratch(s3: FakeS3) -> dict[str, Product | None]:
    """Return the products of the whole log, applied once and in order."""
    editor = CatalogueEditor()
    for file in files_since(s3, "events", "demo", 0):
        apply_file(editor, file, s3, "events")
    return products(editor.state(0))


def written(s3: FakeS3, log: list[Any]) -> list[str]:
    keys = []
    for number, (second, is_changes, content) in enumerate(log):
        at_ms = NOW_MS + second * 1000
        if is_changes:
            given = {item: None if deleted else fields for item, (fields, deleted) in content.items()}
            keys.append(changes(s3, at_ms, number, **given))
        else:
            keys.append(whole(s3, at_ms, number, **{item: fields for item, (fields, _) in content.items()}))
    return keys


@given(log=LOGS, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_events_may_be_late_lost_repeated_and_in_any_order(log: list[Any], seed: int) -> None:
    s3, chosen = FakeS3(), random.Random(seed)
    hidden: dict[tuple[str, str], bytes] = {}
    keys = written(s3, log)
    for key in keys:
        hidden["events", key] = s3.objects.pop(("events", key))
    deliveries = [key for key in keys for _ in range(chosen.choice((0, 1, 1, 2)))]
    chosen.shuffle(deliveries)
    for key in deliveries:
        # The file of an event is there; files without an event may come at any time.
        for name in [("events", key), *chosen.sample(sorted(hidden), len(hidden) // 3)]:
            if name in hidden:
                s3.objects[name] = hidden.pop(name)
        fold_key(s3, key)
    s3.objects |= hidden
    # The next batch repairs what lost events left out.
    fold_key(s3, changes(s3, NOW_MS + 60_000, 99, z={"price": 1}))
    assert products(state_of(s3)) == from_scratch(s3)


class Racing(FakeS3):
    """S3 where other calls fold between this call's reading of the state and its writing."""

    def __init__(self, others: list[str]) -> None:
        super().__init__()
        self.others = others

    def put_object(self, Bucket: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        if Bucket == "models" and self.others:
            fold_key(self, self.others.pop())
        return super().put_object(Bucket, *arguments, **options)


@given(log=LOGS)
@settings(max_examples=30, deadline=None)
def test_calls_at_once_lose_nothing(log: list[Any]) -> None:
    s3 = Racing([])
    keys = written(s3, log)
    s3.others = keys[1:]
    fold_key(s3, keys[0])
    for key in keys:
        fold_key(s3, key)
    assert products(state_of(s3)) == from_scratch(s3)


@given(log=LOGS, killed_at=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_a_killed_call_is_made_up_by_its_retry(log: list[Any], killed_at: int) -> None:
    s3 = FakeS3()
    keys = written(s3, log)
    requests = []

    def kill() -> None:
        requests.append(1)
        if len(requests) == killed_at:
            raise Killed

    s3.before_request = kill
    for key in keys:
        try:
            fold_key(s3, key)
        except Killed:
            fold_key(s3, key)
    s3.before_request = lambda: None
    assert products(state_of(s3)) == from_scratch(s3)


def test_an_event_again_writes_nothing() -> None:
    s3 = FakeS3()
    key = changes(s3, NOW_MS, a={"price": 1})
    assert fold_key(s3, key) == 1
    before = dict(s3.objects)
    assert fold_key(s3, key) == 0
    assert s3.objects == before


def test_a_file_that_is_older_than_the_remembered_ones_still_counts_in_its_place() -> None:
    s3 = FakeS3()
    fold_key(s3, changes(s3, NOW_MS, a={"price": 1}))
    fold_key(s3, changes(s3, NOW_MS + 3 * LATE_MS, a={"price": 3}))
    fold_key(s3, changes(s3, NOW_MS + LATE_MS, a={"price": 2, "brand": "X"}))
    found = state_of(s3).product("a", NOW_MS)
    assert found
    assert (found.price, found.brand) == (3, "X")
    assert len(state_of(s3).folded) == 1


def test_a_whole_catalogue_and_changes_of_the_same_millisecond_have_one_order() -> None:
    s3 = FakeS3()
    changes(s3, NOW_MS, 1, a={"price": 2})
    fold_key(s3, whole(s3, NOW_MS, 2, b={"price": 1}))
    found = products(state_of(s3))
    assert {item_id: product and product.available for item_id, product in found.items()} == {
        "a": True,
        "b": True,
    }


def test_a_first_or_a_damaged_state_is_built_from_the_whole_log() -> None:
    s3 = FakeS3()
    whole(s3, NOW_MS, 1, a={"price": 1}, b={"price": 1})
    last = changes(s3, NOW_MS + 9 * LATE_MS, 2, a={"availability": "out_of_stock"})
    assert fold_key(s3, last) == 2
    first = products(state_of(s3))
    s3.objects["models", state_key("demo")] = b"TUGCAT00 of another version"
    assert fold_key(s3, last) == 2
    assert products(state_of(s3)) == first == from_scratch(s3)


def test_a_file_of_another_writer_is_left_to_the_nightly_run() -> None:
    s3 = FakeS3()
    assert catalogue({"key": "catalogue/demo/2026/01/03/late.jsonl"}, SETTINGS, s3)["shop_id"] is None
    assert s3.objects == {}


def test_a_call_that_never_wins_asks_for_a_retry() -> None:
    class Busy(FakeS3):
        def put_object(self, *_: Any, **__: Any) -> dict[str, Any]:
            raise client_error("PreconditionFailed")

    s3 = Busy()
    with pytest.raises(StorageUnavailable, match="run the call again"):
        fold_key(s3, changes(s3, NOW_MS, a={"price": 1}))


def test_keys_are_read_as_they_are_written() -> None:
    at = datetime(2026, 1, 3, 8, tzinfo=UTC)
    for is_changes in (True, False):
        found = parsed_key(new_key("a/b c", at, 3, "0" * 16, is_changes=is_changes))
        assert found
        assert (found.shop_id, found.lines, found.is_changes) == ("a/b c", 3, is_changes)
        assert found.received_at_ms == int(at.timestamp() * 1000)
