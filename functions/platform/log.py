"""Logs as JSON lines: level, message, the given keys, and the request or execution they belong to."""

import json
import logging
import sys
from contextvars import ContextVar
from typing import Any

_bound: ContextVar[dict[str, Any] | None] = ContextVar("tugboat_log_keys", default=None)


def bind(**keys: Any) -> None:
    """Set the keys of every later log line of this invocation, such as `request_id` or `run_id`."""
    _bound.set(keys)


def bind_ids(event: Any, get_response: Any) -> Any:
    """Bind the ids of the invocation and of its execution; Chalice middleware for pipeline Lambdas."""
    run_id = event.event.get("run_id") if isinstance(event.event, dict) else None
    bind(request_id=event.context.aws_request_id, **({"run_id": run_id} if run_id else {}))
    return get_response(event)


class Logger:
    """A logger whose calls take keys: `log.info("rows loaded", rows=3)`."""

    def __init__(self, name: str) -> None:
        """Log under `name`, which must be below `functions`."""
        self._logger = logging.getLogger(name)

    def info(self, message: str, **keys: Any) -> None:
        """Log a normal event."""
        self._write(logging.INFO, message, keys)

    def warning(self, message: str, **keys: Any) -> None:
        """Log a problem that the code handled."""
        self._write(logging.WARNING, message, keys)

    def exception(self, message: str, **keys: Any) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, message, keys, exc_info=True)

    def _write(self, level: int, message: str, keys: dict[str, Any], exc_info: bool = False) -> None:
        self._logger.log(level, message, extra={"tugboat_keys": keys}, exc_info=exc_info)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
            **(_bound.get() or {}),
            **getattr(record, "tugboat_keys", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def get_logger(name: str) -> Logger:
    """Return the JSON-lines logger of a module below `functions`."""
    root = logging.getLogger("functions")
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        # Lambda's own handler sits on the root logger and would print every line a second time.
        root.propagate = False
    return Logger(name)
