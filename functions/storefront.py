"""The storefront's scripts, as storefront/sdk/build.py made them, with what lets browsers and caches keep them."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from chalice.app import Response

# Beside functions/, in the repository as in the Lambda's zip.
DIST = Path(__file__).resolve().parent.parent / "storefront" / "dist"
# A shop's visitors get a new version within the hour, and none of them ever waits for it.
CACHE_CONTROL = "public, max-age=3600, stale-while-revalidate=86400"


class Script(NamedTuple):
    """A script and the ETag of its content."""

    text: str
    etag: str


@lru_cache(maxsize=4)
def read_script(name: str) -> Script:
    """One of the built scripts; read once an execution environment."""
    text = (DIST / name).read_text()
    return Script(text, f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"')


def serve_script(name: str, if_none_match: str | None) -> Response:
    """200 with the script, or 304 to who has it already."""
    script = read_script(name)
    headers: dict[str, str | list[str]] = {
        "Cache-Control": CACHE_CONTROL,
        "Content-Type": "text/javascript; charset=utf-8",
        "ETag": script.etag,
        # For pages that load it with crossorigin, as integrity= asks for, and for those isolated from other origins.
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    # A proxy that compresses turns an ETag into a weak one.
    known = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    if script.etag in known or "*" in known:
        return Response(body="", status_code=304, headers=headers)
    return Response(body=script.text, status_code=200, headers=headers)
