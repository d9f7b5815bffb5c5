"""The state that Export writes: the warehouse's products, and every change that came since."""

from collections.abc import Callable
from typing import Any

from functions.catalogue.catalogue import catalogue
from functions.export.catalogue import UNLOADED_MS, write_state
from functions.platform.catalogue_state import Product, state_key, unpack
from functions.platform.settings import CatalogueSettings, WarehouseSettings
from testing.fakes import FakeS3
from testing.warehouse_fakes import FakeConnection
from tests.unit.functions.catalogue.test_catalogue import NOW_MS, changes, whole

SETTINGS = WarehouseSettings("local", "events", "models", "secret", "demo", 60)
BOOT = (
    "boot", "in_stock", 80.0, 60.0, NOW_MS, NOW_MS + 1000, 30.0, "Shoes/Boots", "Acme", "g1", '{"color": "red"}', True, 5
)  # fmt: skip
SEEN = ("seen", None, 7.0, None, None, None, None, "Hats", None, None, None, None, 6)
GONE = ("gone", "in_stock", 9.0, None, None, None, None, None, None, None, None, False, None)


def written(s3: FakeS3, *rows: tuple[Any, ...], newest_ms: int | None = None) -> dict[str, Product | None]:
    """Write the state, and return its products."""
    connection = FakeConnection(("STG_CATALOGUE", [(newest_ms,)]), ("MARTS.PRODUCTS", list(rows)))
    assert write_state(connection, s3, SETTINGS, "demo") >= len(rows)
    state = unpack(s3.objects["models", state_key("demo")])
    return {item_id: state.product(item_id, NOW_MS) for item_id in state.items()}


def test_a_product_is_as_the_warehouse_has_it_also_without_a_feed() -> None:
    assert written(FakeS3(), BOOT, SEEN, GONE) == {
        "boot": Product(True, 60.0, 80.0, 30.0, "Shoes/Boots", "Acme", "g1", {"color": "red"}, 5),
        "seen": Product(True, 7.0, 7.0, None, "Hats", "", "", {}, 6),
        "gone": Product(False, 9.0, 9.0, None, "", "", "", {}, None),
    }


def test_a_damaged_state_is_replaced() -> None:
    s3 = FakeS3()
    s3.objects["models", state_key("demo")] = b"damaged"
    assert list(written(s3, SEEN)) == ["seen"]


def test_the_first_changes_of_a_shop_that_only_events_know_are_folded() -> None:
    s3 = FakeS3()
    written(s3, SEEN)
    key = changes(s3, NOW_MS, seen={"availability": "out_of_stock"})
    assert catalogue({"key": key}, CatalogueSettings("events", "models"), s3)["files"] == 1
    seen = unpack(s3.objects["models", state_key("demo")]).product("seen", NOW_MS)
    assert seen == Product(False, 7.0, 7.0, None, "Hats", "", "", {}, 6)


def test_changes_that_the_warehouse_lacks_are_applied_and_older_ones_are_not() -> None:
    s3 = FakeS3()
    changes(s3, NOW_MS - UNLOADED_MS - 1, 1, boot={"price": 1})
    changes(s3, NOW_MS - UNLOADED_MS, 2, boot={"price": 2, "brand": "Late"})
    changes(s3, NOW_MS + 60_000, 3, boot={"price": 3}, new={"availability": "out_of_stock"})
    found = written(s3, BOOT, newest_ms=NOW_MS)
    boot, new = found["boot"], found["new"]
    assert boot
    assert new
    assert (boot.regular_price, boot.brand, new.available) == (3, "Late", False)


def test_a_whole_catalogue_after_the_load_removes_what_it_lacks_but_not_what_only_events_know() -> None:
    s3 = FakeS3()
    whole(s3, NOW_MS + 1, hat={"price": 1})
    found = written(s3, BOOT, SEEN, newest_ms=NOW_MS)
    assert {item_id: product and product.available for item_id, product in found.items()} == {
        "boot": False,
        "seen": True,
        "hat": True,
    }


class Meanwhile(FakeS3):
    """S3 where something happens between Export's reading of the state and its writing."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: Callable[[], None] | None = None

    def put_object(self, Bucket: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        if Bucket == "models" and self.happens:
            happens, self.happens = self.happens, None
            happens()
        return super().put_object(Bucket, *arguments, **options)


def test_changes_that_come_while_export_writes_are_kept() -> None:
    s3 = Meanwhile()

    def change() -> None:
        key = changes(s3, NOW_MS + 5, boot={"availability": "out_of_stock"})
        catalogue({"key": key}, CatalogueSettings("events", "models"), s3)

    s3.happens = change
    boot = written(s3, BOOT, newest_ms=NOW_MS)["boot"]
    assert boot
    assert (boot.available, boot.brand) == (False, "Acme")
