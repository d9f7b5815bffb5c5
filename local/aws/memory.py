"""Memory of the AWS process: what is freed goes back to the system.

Requests carry archives of tens of megabytes through threads of their own. glibc raises the size from which it maps a block
by itself to 32 MB as such blocks are freed, and then keeps them, in up to eight arenas a core: gigabytes that nothing uses.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

# malloc.h of glibc; mallopt(3): setting the threshold ends its growth.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 1 << 20


def return_freed_memory() -> None:
    """For this process alone: in the environment, children would inherit it, and training allocates large blocks all the time."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and needs none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 2)


def collect_after_large_requests(app: Any) -> Any:
    """A WSGI application in front of `app`.

    moto's requests, their bodies among them, sit in reference cycles and would wait for a full collection, which comes
    seldom: so many objects are alive. Those of the start, which stay for ever, are left out, so it takes milliseconds here.
    """
    gc.collect()
    gc.freeze()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            return app(environ, start_response)
        finally:
            if int(environ.get("CONTENT_LENGTH") or 0) >= _LARGE_BYTES:
                gc.collect()

    return answer
