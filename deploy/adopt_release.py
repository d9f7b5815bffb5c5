"""Give the release of a stage from before it could serve several shops to its shop.

Such a stage has one record, at serving/current.json. /recommend reads the record of a shop only. So a deployment copies the
record, the fallback and the champion before the Lambdas change. The record names the old endpoint, which keeps serving. The next
run of the shop publishes on its own endpoint, and the run after that deletes the old one (functions/prove).
"""

import json
from typing import Any

from deploy.training_code import exists
from functions.platform.model_archive import copy_archive
from functions.platform.s3_keys import champion_key, current_key, fallback_key
from functions.platform.stored_json import MISSING, find_bytes, read_json

RECORD, FALLBACK = "serving/current.json", "serving/fallback.json"


def adopt(first_shop: str, bucket: str, s3: Any) -> str | None:
    """Copy the stage's record to its shop, unless the shop has one.

    A record from before releases named their shop is of the stage's first shop, whose model a night trained.

    Returns:
        The shop, or None if there was nothing to copy.
    """
    stored = read_json(s3, bucket, RECORD)
    if stored is None or not stored["release"]:
        return None
    shop = str(stored["release"].get("shop_id") or first_shop)
    if exists(s3, bucket, current_key(shop)):
        return None
    # The candidate of a canary has an endpoint that no later run knows by its name. Its run is rolled back or fails.
    stored.pop("canary", None)
    if stored["previous"] and stored["previous"].get("shop_id", shop) not in ("", shop):
        stored["previous"] = None
    for name in ("release", "previous"):
        if stored[name]:
            stored[name]["shop_id"] = shop
    fallback = find_bytes(s3, bucket, FALLBACK, MISSING)
    if fallback is not None:
        s3.put_object(Bucket=bucket, Key=fallback_key(shop), Body=fallback)
    copy_archive(stored["release"]["model_data_uri"], bucket, champion_key(shop), s3)
    s3.put_object(Bucket=bucket, Key=current_key(shop), Body=json.dumps(stored, indent=1).encode())
    return shop
