import pytest

from functions.export import export
from functions.platform.settings import WarehouseSettings
from testing.fakes import FakeS3
from testing.warehouse_fakes import FakeConnection

SETTINGS = WarehouseSettings("local", "events", "models", "secret", "demo", 60)


def warehouse(sessions: int = 2, gone: tuple[str, ...] = ()) -> FakeConnection:
    return FakeConnection(
        ("IS_AVAILABLE = false", [(item_id,) for item_id in gone]),
        ("STG_CATALOGUE", [(None,)]),
        ("MARTS.PRODUCTS", []),
        ("count(distinct SESSION_KEY)", [(sessions, 1_767_312_000_000 if sessions else None)]),
        ("/interactions/", [(5, 0, 0)]),
        ("/items/", [(3, 0, 0)]),
    )


def bucket(objects: dict[str, bytes]) -> FakeS3:
    s3 = FakeS3()
    s3.objects = {("models", key): body for key, body in objects.items()}
    return s3


def test_a_snapshot_has_a_manifest_beside_it() -> None:
    s3 = FakeS3()
    result = export.export({"run_id": "run-1"}, SETTINGS, warehouse(), s3)
    assert result == {
        "run_id": "run-1",
        "shop_id": "demo",
        "snapshot_id": "run-1",
        "interactions_uri": "s3://models/exports/run-1/interactions/",
        "items_uri": "s3://models/exports/run-1/items/",
        "manifest_uri": "s3://models/exports/run-1/manifest.json",
        "interactions": 5,
        "sessions": 2,
        "items": 3,
        "last_event_time_ms": 1_767_312_000_000,
    }
    manifest = s3.json("models", "exports/run-1/manifest.json")
    assert manifest["interaction_columns"]["POSITION"] == "int"
    assert manifest["sessions"] == 2


def test_a_retry_deletes_the_files_of_the_earlier_try() -> None:
    s3 = bucket(
        {"exports/run-1/items/data_0_7_0.snappy.parquet": b"old", "exports/run-10/manifest.json": b"{}"}
    )
    export.export({"run_id": "run-1"}, SETTINGS, warehouse(), s3)
    assert sorted(key for _, key in s3.objects if key.startswith("exports/")) == [
        "exports/run-1/manifest.json",
        "exports/run-10/manifest.json",
    ]


def test_an_empty_snapshot_is_an_error_with_the_next_step() -> None:
    with pytest.raises(export.EmptySnapshot, match="send events with two items or more"):
        export.export({"run_id": "run-1"}, SETTINGS, warehouse(sessions=0), FakeS3())


def test_the_shop_s_out_of_stock_list_is_part_of_the_snapshot() -> None:
    s3 = bucket({"stock/demo.json": b'["boot-7", "boot-9"]', "stock/demo.json.old": b"[]"})
    export.export({"run_id": "run-1"}, SETTINGS, warehouse(), s3)
    assert s3.json("models", "exports/run-1/items/out_of_stock.json") == ["boot-7", "boot-9"]
    assert s3.json("models", "exports/run-1/manifest.json")["out_of_stock"] == 2


def test_the_feed_s_gone_products_join_the_shop_s_own_list() -> None:
    s3 = bucket({"stock/demo.json": b'["boot-7"]'})
    export.export({"run_id": "run-1"}, SETTINGS, warehouse(gone=("boot-7", "hat-1")), s3)
    assert s3.json("models", "exports/run-1/items/out_of_stock.json") == ["boot-7", "hat-1"]


def test_the_feed_s_gone_products_are_excluded_without_a_list_of_the_shop() -> None:
    s3 = FakeS3()
    export.export({"run_id": "run-1"}, SETTINGS, warehouse(gone=("hat-1",)), s3)
    assert s3.json("models", "exports/run-1/items/out_of_stock.json") == ["hat-1"]


def test_a_shop_without_a_list_has_everything_in_stock() -> None:
    s3 = bucket({"stock/demo.json.old": b"[]", "stock/other.json": b"[]"})
    export.export({"run_id": "run-1"}, SETTINGS, warehouse(), s3)
    assert ("models", "exports/run-1/items/out_of_stock.json") not in s3.objects
    assert s3.json("models", "exports/run-1/manifest.json")["out_of_stock"] is None


def test_the_shop_s_embeddings_are_copied_into_the_snapshot() -> None:
    s3 = bucket({"embeddings/demo.arrow": b"arrow", "embeddings/other.arrow": b"else"})
    export.export({"run_id": "run-1"}, SETTINGS, warehouse(), s3)
    assert s3.objects[("models", "exports/run-1/items/embeddings.arrow")] == b"arrow"
    assert s3.json("models", "exports/run-1/manifest.json")["embeddings"] is True


def test_a_snapshot_of_a_shop_without_embeddings_has_none() -> None:
    s3 = bucket({"embeddings/other.arrow": b"else", "embeddings/demo.arrow.old": b"else"})
    export.export({"run_id": "run-1"}, SETTINGS, warehouse(), s3)
    assert ("models", "exports/run-1/items/embeddings.arrow") not in s3.objects
    assert s3.json("models", "exports/run-1/manifest.json")["embeddings"] is False


@pytest.mark.parametrize("text", [b"", b"boot-7", b'{"boot-7": 0}', b"[7]", b"\xff"])
def test_an_unreadable_list_is_an_error_that_names_its_key(text: bytes) -> None:
    s3 = bucket({"stock/demo.json": text})
    with pytest.raises(export.StockUnreadable, match=r"s3://models/stock/demo\.json is no"):
        export.export({"run_id": "run-1"}, SETTINGS, warehouse(), s3)


@pytest.mark.parametrize(("asked", "exported"), [({}, "demo"), ({"shop_id": "o'shop"}, "o'shop")])
def test_the_stage_s_shop_or_the_event_s_shop_is_exported(asked: dict[str, str], exported: str) -> None:
    connection = warehouse()
    export.export({"run_id": "run-1", **asked}, SETTINGS, connection, FakeS3())
    assert {parameters for _, parameters in connection.statements} == {(exported,)}


@pytest.mark.parametrize("run_id", ["", "a/b", "a b", "x'; drop table RAW.EVENTS --", "a" * 81])
def test_a_run_id_that_is_not_a_path_element_is_refused(run_id: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a path"):
        export.export({"run_id": run_id}, SETTINGS, warehouse(), FakeS3())
