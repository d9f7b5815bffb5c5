"""The record of decisions in logs/authorization.jsonl: what each role did, and what was refused.

A test removes each action of each policy and looks for a recorded call that would then be refused. So one line per role,
action and set of matching statements is enough, and the file stays small.
"""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.aws.authorization.policies import Call, Decision
from local.aws.settings import Settings

log = logging.getLogger(__name__)

FILE = "authorization.jsonl"
_lock = threading.Lock()
_seen: set[tuple[Any, ...]] = set()
_file: Path | None = None


def install(settings: Settings) -> None:
    """Start a record: set the file and forget what an earlier one contains."""
    global _file
    _seen.clear()
    _file = settings.logs / FILE
    _file.parent.mkdir(parents=True, exist_ok=True)


def decided(role_arn: str, call: Call, decision: Decision, statements: tuple[tuple[int, int], ...]) -> None:
    """Record a decision unless an equivalent one is recorded; log a refusal."""
    key = (role_arn, call.action, decision, statements)
    with _lock:
        if key in _seen or _file is None:
            return
        _seen.add(key)
        if decision is not Decision.ALLOWED:
            log.warning("%s may not %s on %s: %s", role_arn, call.action, call.resource, decision.value)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "role": role_arn,
            "action": call.action,
            "resource": call.resource,
            "context": dict(call.context),
            "decision": decision.value,
        }
        with _file.open("a") as file:
            file.write(json.dumps(line) + "\n")
