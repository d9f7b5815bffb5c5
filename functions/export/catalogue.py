"""Write the current state of a shop's catalogue from MARTS.PRODUCTS, which also has the products that only events know.

Files that came since are applied again in their order, so no change is lost: functions/catalogue/catalogue.py says why.
"""

import json
from typing import Any

from functions.platform import warehouse
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_files import files_since
from functions.platform.catalogue_store import Stored, folded, replace_state
from functions.platform.settings import WarehouseSettings

# Where a feed states no price, that of the events counts. Outside a sale, the regular price.
PRODUCTS = """
select
    ITEM_ID, AVAILABILITY, coalesce(REGULAR_PRICE, EVENT_PRICE), SALE_PRICE, SALE_STARTS_AT_MS, SALE_ENDS_AT_MS, COST,
    ITEM_CATEGORY, ITEM_BRAND, ITEM_GROUP_ID, ATTRIBUTES, IS_LISTED, FIRST_SEEN_MS
from MARTS.PRODUCTS
where SHOP_ID = %s
"""
FIELDS = (
    "availability", "price", "sale_price", "sale_starts_at_ms", "sale_ends_at_ms", "cost", "category", "brand",
    "item_group_id", "attributes",
)  # fmt: skip
NEWEST_FILE = "select max(IMPORTED_AT_MS) from STAGING.STG_CATALOGUE where SHOP_ID = %s"
# The warehouse may lack a file that was received before the newest one that it has: an upload takes minutes.
UNLOADED_MS = 3_600_000


def write_state(connection: Any, s3: Any, settings: WarehouseSettings, shop_id: str) -> int:
    """Replace the state of the shop's catalogue, and return the number of its products.

    Raises:
        StorageUnavailable: other calls replaced the state each time.
    """
    newest_ms = warehouse.one(connection, NEWEST_FILE, (shop_id,))[0]
    since_ms = max(0, int(newest_ms or 0) - UNLOADED_MS)
    editor = CatalogueEditor()
    for item_id, *values, is_listed, first_seen_ms in warehouse.stream(connection, PRODUCTS, (shop_id,)):
        fields = dict(zip(FIELDS, values, strict=True))
        if fields["attributes"] is not None:
            fields["attributes"] = json.loads(fields["attributes"])
        editor.add_known(item_id, fields, is_listed, first_seen_ms)

    def build(_: Stored) -> bytes:
        # If the state changed meanwhile, the same files and the new ones are applied again.
        files = files_since(s3, settings.events_bucket, shop_id, since_ms)
        return folded(editor, files, None, s3, settings.events_bucket)

    replace_state(shop_id, s3, settings.models_bucket, build)
    return len(editor)
