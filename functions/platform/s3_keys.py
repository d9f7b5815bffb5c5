"""Keys in the models bucket that are made of a prefix of the contract."""

import re
from typing import Any

from functions.platform.contract import (
    BATCH_PREFIX,
    EMBEDDINGS_PREFIX,
    EVALUATIONS_PREFIX,
    PLACEMENTS_PREFIX,
    RELEASES_PREFIX,
    RULES_PREFIX,
    SHOP_LOCKS_PREFIX,
    SHOPS_PREFIX,
)

# The folders of one batch, in the order of its steps.
HISTORIES, CANDIDATES, ANSWERS, AFFINITIES = "histories/", "candidates/", "answers/", "affinities/"
# They become part of a stage path, which cannot be a bound parameter.
SHOP_IN_PATH = re.compile(r"[A-Za-z0-9_.-]{1,64}")
RUN_IN_PATH = re.compile(r"[A-Za-z0-9_-]{1,80}")


def current_key(shop_id: str) -> str:
    """Return the key of a shop's release record."""
    return f"{SHOPS_PREFIX}{shop_id}/current.json"


def fallback_key(shop_id: str) -> str:
    """Return the key of the lists that answer while a shop's endpoint does not."""
    return f"{SHOPS_PREFIX}{shop_id}/fallback.json"


def champion_prefix(shop_id: str) -> str:
    """Return the prefix below which a shop's next candidate finds the model that it is compared with."""
    return f"{SHOPS_PREFIX}{shop_id}/champion/"


def champion_key(shop_id: str) -> str:
    """Return the key of the archive of a shop's served model."""
    return f"{champion_prefix(shop_id)}model.tar.gz"


def champion_evaluation_key(shop_id: str) -> str:
    """Return the key of the gate's evaluation of a shop's served model. The next evaluation continues its record of leads."""
    return f"{champion_prefix(shop_id)}evaluation.json"


def evaluation_key(run_id: str) -> str:
    """Return the key of the gate's evaluation of a run's model."""
    return f"{EVALUATIONS_PREFIX}{run_id}/evaluation.json"


def lock_key(shop_id: str) -> str:
    """Return the key of the lock that lets one run at a time publish for a shop."""
    return f"{SHOP_LOCKS_PREFIX}{shop_id}.json"


def release_key(release: str) -> str:
    """Return the key of a release's archive. Training outputs expire, so each kept release has a copy here."""
    return f"{RELEASES_PREFIX}{release}/model.tar.gz"


def rules_key(shop_id: str, revision: str | None = None) -> str:
    """Return the key of a shop's rules, or of a revision of them. Each revision stays, so that answers can be explained."""
    return f"{RULES_PREFIX}{shop_id}/{revision or 'current'}.json"


def placements_key(shop_id: str) -> str:
    """Return the key of the tables of a shop's placements."""
    return f"{PLACEMENTS_PREFIX}{shop_id}.json"


def embeddings_key(shop_id: str) -> str:
    """Return the key of a shop's own embeddings of its products, which `python -m catalogue.embeddings` stores."""
    return f"{EMBEDDINGS_PREFIX}{shop_id}.arrow"


def batch_prefix(shop_id: str, run_id: str) -> str:
    """Return the prefix of the files of one batch.

    Raises:
        ValueError: the run or the shop cannot be part of a path.
    """
    if not SHOP_IN_PATH.fullmatch(shop_id) or not RUN_IN_PATH.fullmatch(run_id):
        raise ValueError(
            f"shop {shop_id!r} or run {run_id!r} cannot be part of a path: use letters, digits, - and _"
        )
    return f"{BATCH_PREFIX}{shop_id}/{run_id}/"


def delete_below(s3: Any, bucket: str, prefix: str) -> None:
    """Delete every object below a prefix."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        keys = [{"Key": found["Key"]} for found in page.get("Contents", [])]
        if keys:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`.

    Raises:
        ValueError: the text is not such a URI.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ValueError(f"{uri!r} is not a URI of the form s3://bucket/key")
    return bucket, key
