"""Serve the storefront's scripts and the API's description, with headers that let caches keep them.

storefront/sdk/build.py builds the scripts, contracts/openapi.py the description.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from chalice.app import Response

# storefront/ is beside functions/, in the repository and in the Lambda's zip.
DIST = Path(__file__).resolve().parents[2] / "storefront" / "dist"
# Visitors get a new version within the hour, and no request waits for the revalidation.
CACHE_CONTROL = "public, max-age=3600, stale-while-revalidate=86400"


DESCRIPTION = Path(__file__).with_name("openapi.json")


class File(NamedTuple):
    """A file's text and the ETag of its content."""

    text: str
    etag: str


@lru_cache(maxsize=4)
def read_file(name: str) -> File:
    """Read a file, once per execution environment."""
    text = (DESCRIPTION if name == DESCRIPTION.name else DIST / name).read_text("utf-8")
    return File(text, f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"')


def serve(name: str, if_none_match: str | None) -> Response:
    """Return 200 with the file, or 304 if the client's ETag matches."""
    file = read_file(name)
    media_type = "application/json" if name == DESCRIPTION.name else "text/javascript; charset=utf-8"
    headers: dict[str, str | list[str]] = {
        "Cache-Control": CACHE_CONTROL,
        "Content-Type": media_type,
        "ETag": file.etag,
        # Pages load it with crossorigin, which integrity= requires; others are isolated from foreign origins.
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    # A compressing proxy turns the ETag into a weak one.
    known = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    if file.etag in known or "*" in known:
        return Response(body="", status_code=304, headers=headers)
    return Response(body=file.text, status_code=200, headers=headers)
