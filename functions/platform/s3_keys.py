"""Keys and prefixes in the buckets that more than one step uses."""

RAW_PREFIX = "raw/"
REJECTED_PREFIX = "rejected/"
CURRENT_KEY = "serving/current.json"
FALLBACK_KEY = "serving/fallback.json"
CHAMPION_PREFIX = "serving/champion/"
CHAMPION_KEY = f"{CHAMPION_PREFIX}model.tar.gz"


def release_key(release: str) -> str:
    """Return the key of a release's archive. Training outputs expire, so each kept release has a copy here."""
    return f"serving/releases/{release}/model.tar.gz"


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`.

    Raises:
        ValueError: the text is not such a URI.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ValueError(f"{uri!r} is not a URI of the form s3://bucket/key")
    return bucket, key
