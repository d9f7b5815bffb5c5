"""CloudWatch log groups with the output of local processes, written under the role of the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from moto.logs.models import logs_backends

from local.aws.authorization import documented
from local.aws.authorization.policies import Call
from local.aws.authorization.sessions import AccessDenied, Session
from local.aws.cloudwatch import embedded
from local.aws.cloudwatch.store import STORE
from local.aws.settings import ACCOUNT_ID, REGION

# moto keeps events in memory, so old ones are dropped; the files under .local/logs are complete.
MAX_EVENTS_PER_STREAM = 5_000

_lock = threading.Lock()


def append_events(session: Session, group: str, stream: str, lines: Sequence[str], time_ms: int) -> None:
    """Append lines to a stream; create group and stream if they are missing.

    As on AWS, a process continues without a log if its role may not write one.
    """
    backend = logs_backends[ACCOUNT_ID][REGION]
    arn = documented.log_stream(group, stream)
    with _lock:
        try:
            if group not in backend.groups:
                session.require(Call("logs:CreateLogGroup", documented.log_group(group)))
                backend.ensure_log_group(group)
            if stream not in backend.groups[group].streams:
                session.require(Call("logs:CreateLogStream", arn))
                backend.create_log_stream(group, stream)
            session.require(Call("logs:PutLogEvents", arn))
        except AccessDenied:  # recorded by require()
            return
        events = [{"timestamp": time_ms, "message": line} for line in lines if line]
        if events:
            backend.put_log_events(group, stream, events)
        kept = backend.groups[group].streams[stream].events
        del kept[:-MAX_EVENTS_PER_STREAM]
    embedded.extract(STORE, lines)
