"""Content codings of API Gateway.

It decompresses requests before their integration receives them, and compresses responses for clients that accept it if the
API has a minimum compression size.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gzip-compression-decompression.html
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace

from local.aws.proxy_event import Request, Response

# 16 added to zlib's window selects the header and trailer of gzip.
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class UnsupportedCoding(ValueError):
    """Status 415: the coding is unknown, or the body does not have this coding."""


class TooLarge(ValueError):
    """Status 413: the decompressed body is larger than the limit of API Gateway."""


def decompress(request: Request, max_bytes: int) -> Request:
    """Return the request that the integration receives.

    Raises:
        UnsupportedCoding: the coding is unknown, or the body does not have it.
        TooLarge: the decompressed body is larger than `max_bytes`.
    """
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
        raise UnsupportedCoding("the body is incomplete")
    headers = [pair for pair in request.headers if pair[0].lower() != "content-encoding"]
    return replace(request, body=body, headers=headers)


def compress(response: Response, accept_encoding: str | None, minimum_bytes: int | None) -> Response:
    """Return the response that the client receives. `minimum_bytes` is None if the API does not compress."""
    accepted = {part.partition(";")[0].strip().lower() for part in (accept_encoding or "").split(",")}
    encoded = any(name.lower() == "content-encoding" for name, _ in response.headers)
    if minimum_bytes is None or len(response.body) < minimum_bytes or "gzip" not in accepted or encoded:
        return response
    headers = [*response.headers, ("Content-Encoding", "gzip")]
    return Response(response.status, gzip.compress(response.body, mtime=0), headers)
