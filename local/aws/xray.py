"""X-Ray: the UDP daemons that receive segments from SDKs, one per role, and the segments of the Lambda service itself.

Segments are appended to logs/xray.jsonl and stored in moto's X-Ray. Only the file
contains segments in progress: moto 5.2.5 drops them, because they have no end.
"""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.xray.exceptions import BadSegmentException
from moto.xray.models import xray_backends

from local.aws.authorization import documented
from local.aws.authorization.sessions import AccessDenied, Session
from local.aws.settings import ACCOUNT_ID, HOST, REGION, Settings

if TYPE_CHECKING:
    from local.aws.lambda_workers import Outcome

log = logging.getLogger(__name__)
# moto keeps traces in memory, so old ones are dropped; the file is complete.
MAX_TRACES = 1_000
_lock = threading.Lock()
_file: Path | None = None
_daemons: dict[str, str] = {}


@dataclass(frozen=True)
class Trace:
    """The trace header of one invocation: `Root=..;Parent=..;Sampled=..`."""

    root: str
    parent: str
    inbound_parent: str | None
    sampled: bool

    def __str__(self) -> str:
        return f"Root={self.root};Parent={self.parent};Sampled={int(self.sampled)}"


def new_trace_id() -> str:
    """Return a trace id in X-Ray's format: version, time, 96 random bits."""
    return f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"


def continue_trace(header: str | None, active: bool) -> Trace:
    """Return the caller's trace with a new segment id, or a new trace; without a decision in it, sample if tracing is active."""
    fields = dict(part.strip().split("=", 1) for part in (header or "").split(";") if "=" in part)
    sampled = fields["Sampled"] == "1" if fields.get("Sampled") in ("0", "1") else active
    return Trace(
        root=fields.get("Root") or new_trace_id(),
        parent=secrets.token_hex(8),
        inbound_parent=fields.get("Parent"),
        sampled=sampled,
    )


def install(settings: Settings) -> None:
    """Set the file of all segments."""
    global _file
    _file = settings.logs / "xray.jsonl"
    _file.parent.mkdir(parents=True, exist_ok=True)


def daemon(session: Session) -> str:
    """Return the address of the daemon that sends segments under a role, for AWS_XRAY_DAEMON_ADDRESS."""
    with _lock:
        if session.role_arn not in _daemons:
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            receiver.bind((HOST, 0))
            threading.Thread(target=_listen, args=(receiver, session), daemon=True).start()
            _daemons[session.role_arn] = f"{HOST}:{receiver.getsockname()[1]}"
        return _daemons[session.role_arn]


def put_lambda_segment(session: Session, trace: Trace, name: str, arn: str, outcome: Outcome) -> None:
    """Store the segment that the Lambda service writes for an invocation, if the role of the function may send it."""
    segment: dict[str, Any] = {
        "name": name,
        "id": trace.parent,
        "trace_id": trace.root,
        "start_time": outcome.began,
        "end_time": outcome.ended,
        "origin": "AWS::Lambda::Function",
        "resource_arn": arn,
        "aws": {"request_id": outcome.request_id, "function_arn": arn},
    }
    if trace.inbound_parent:
        segment["parent_id"] = trace.inbound_parent
    if outcome.failed:
        segment["fault"] = True
    _send(session, segment)


def put_segment(segment: dict[str, Any]) -> None:
    """Store one segment document."""
    document = json.dumps(segment)
    assert _file is not None, "call install() first"
    with _lock:
        with _file.open("a") as file:
            file.write(document + "\n")
        if "end_time" in segment:
            try:
                xray_backends[ACCOUNT_ID][REGION].process_segment(document)
            except BadSegmentException as error:
                log.warning("X-Ray refused a segment: %s", error)
            traces = xray_backends[ACCOUNT_ID][REGION]._segment_collection._traces
            while len(traces) > MAX_TRACES:
                del traces[next(iter(traces))]


def _send(session: Session, segment: dict[str, Any]) -> None:
    try:
        session.require(*documented.daemon_traces())
    except AccessDenied:  # recorded by require(); as on AWS, the trace is lost
        return
    put_segment(segment)


def _listen(receiver: socket.socket, session: Session) -> None:
    while True:
        packet = receiver.recv(65_536)
        _header, _, document = packet.partition(b"\n")
        try:
            segment = json.loads(document)
        except ValueError:
            log.warning("the X-Ray daemon received a packet that is not a segment: %r", packet[:100])
            continue
        _send(session, segment)
