"""Memory of the AWS process: it returns freed memory to the operating system.

Requests carry archives of tens of megabytes, each in a thread of its own. When such blocks are freed, glibc raises the size of
blocks that it maps separately up to 32 MB. It then keeps smaller blocks, in up to eight arenas per core: unused gigabytes.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from typing import Any

# malloc.h of glibc. After the threshold is set, glibc no longer raises it: mallopt(3).
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 1 << 20


def return_freed_memory() -> None:
    """Configure malloc of this process.

    Environment variables would also reach child processes, where training allocates large blocks all the time.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has no mallopt and needs none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 2)


def collect_after_large_requests(app: Any) -> Any:
    """Return a WSGI application that forwards to `app` and collects garbage after large requests.

    moto's requests and their bodies are part of reference cycles. Full collections are rare, because many objects are alive.
    Before a large request, gc.freeze() excludes all living objects, so the collection after it takes milliseconds.
    """
    gc.collect()
    gc.freeze()
    lock, in_flight = threading.Lock(), 0

    def collecting_app(environ: dict[str, Any], start_response: Any) -> Any:
        nonlocal in_flight
        if int(environ.get("CONTENT_LENGTH") or 0) < _LARGE_BYTES:
            return app(environ, start_response)
        with lock:
            # A frozen cycle is never freed: no large request may be alive, in flight or uncollected.
            if not in_flight:
                gc.collect()
                gc.freeze()
            in_flight += 1
        try:
            return app(environ, start_response)
        finally:
            with lock:
                in_flight -= 1
            gc.collect()

    return collecting_app
