"""API Gateway's content codings: compressed requests are decompressed before the integration sees them, and responses of an API
with a minimum compression size are compressed for clients that accept it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gzip-compression-decompression.html
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace

from local.aws.proxy_event import Request, Response

# zlib's window: 16 more for gzip's header and trailer.
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class UnsupportedCoding(ValueError):
    """API Gateway answers 415: the coding is unknown, or the body is not of it."""


class TooLarge(ValueError):
    """The body is larger than API Gateway takes once it is decompressed."""


def decompress(request: Request, max_bytes: int) -> Request:
    """The request as its integration sees it."""
    coding = (request.header("Content-Encoding") or "identity").strip().lower()
    if coding == "identity" or not request.body:
        return request
    if coding not in _WINDOWS:
        raise UnsupportedCoding(coding)
    reader = zlib.decompressobj(_WINDOWS[coding])
    try:
        body = reader.decompress(request.body, max_bytes + 1)
    except zlib.error as error:
        raise UnsupportedCoding(str(error)) from None
    if len(body) > max_bytes:
        raise TooLarge
    if not reader.eof:
        raise UnsupportedCoding("the body ends too soon")
    headers = [pair for pair in request.headers if pair[0].lower() != "content-encoding"]
    return replace(request, body=body, headers=headers)


def compress(response: Response, accept_encoding: str | None, minimum_bytes: int | None) -> Response:
    """The response as the client gets it; `minimum_bytes` is the API's minimum compression size, None where it is off."""
    accepted = {part.partition(";")[0].strip().lower() for part in (accept_encoding or "").split(",")}
    encoded = any(name.lower() == "content-encoding" for name, _ in response.headers)
    if minimum_bytes is None or len(response.body) < minimum_bytes or "gzip" not in accepted or encoded:
        return response
    headers = [*response.headers, ("Content-Encoding", "gzip")]
    return Response(response.status, gzip.compress(response.body, mtime=0), headers)
