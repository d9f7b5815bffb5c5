"""CloudWatch log groups with the output of local processes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from moto.logs.models import logs_backends

from local.aws.settings import ACCOUNT_ID, REGION

# moto keeps events in memory, so old ones are dropped; the files under .local/logs are complete.
MAX_EVENTS_PER_STREAM = 5_000

_lock = threading.Lock()


def append_events(group: str, stream: str, lines: Sequence[str], time_ms: int) -> None:
    """Append lines to a stream; create group and stream if they are missing."""
    backend = logs_backends[ACCOUNT_ID][REGION]
    with _lock:
        backend.ensure_log_group(group)
        if stream not in backend.groups[group].streams:
            backend.create_log_stream(group, stream)
        events = [{"timestamp": time_ms, "message": line} for line in lines if line]
        if events:
            backend.put_log_events(group, stream, events)
        kept = backend.groups[group].streams[stream].events
        del kept[:-MAX_EVENTS_PER_STREAM]
