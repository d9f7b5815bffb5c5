"""Keys in the models bucket that more than one step knows, and the names of what publish makes."""

CURRENT_KEY = "serving/current.json"
FALLBACK_KEY = "serving/fallback.json"
CHAMPION_PREFIX = "serving/champion/"
CHAMPION_KEY = f"{CHAMPION_PREFIX}model.tar.gz"


def release_key(release: str) -> str:
    """Where a release's archive lies for as long as the release is kept: training outputs expire."""
    return f"serving/releases/{release}/model.tar.gz"


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ValueError(f"{uri!r} is no s3://bucket/key")
    return bucket, key
