"""Keys in the models bucket that are made of a prefix of the contract."""

from functions.platform.contract import CHAMPION_PREFIX, PLACEMENTS_PREFIX, RELEASES_PREFIX, RULES_PREFIX

CHAMPION_KEY = f"{CHAMPION_PREFIX}model.tar.gz"


def release_key(release: str) -> str:
    """Return the key of a release's archive. Training outputs expire, so each kept release has a copy here."""
    return f"{RELEASES_PREFIX}{release}/model.tar.gz"


def rules_key(shop_id: str, revision: str | None = None) -> str:
    """Return the key of a shop's rules, or of a revision of them. Each revision stays, so that answers can be explained."""
    return f"{RULES_PREFIX}{shop_id}/{revision or 'current'}.json"


def placements_key(shop_id: str) -> str:
    """Return the key of the tables of a shop's placements."""
    return f"{PLACEMENTS_PREFIX}{shop_id}.json"


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`.

    Raises:
        ValueError: the text is not such a URI.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ValueError(f"{uri!r} is not a URI of the form s3://bucket/key")
    return bucket, key
