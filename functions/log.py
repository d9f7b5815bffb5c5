"""Logs as JSON lines: level, message, the keys given, and the request or execution they belong to."""

import json
import logging
import sys
from contextvars import ContextVar
from typing import Any

_bound: ContextVar[dict[str, Any] | None] = ContextVar("tugboat_log_keys", default=None)


def bind(**keys: Any) -> None:
    """Sets the keys that every later line of this invocation carries, such as `request_id` or `run_id`."""
    _bound.set(keys)


class Logger:
    """A logger whose calls take keys: `log.info("rows loaded", rows=3)`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, message: str, **keys: Any) -> None:
        self._write(logging.INFO, message, keys)

    def warning(self, message: str, **keys: Any) -> None:
        self._write(logging.WARNING, message, keys)

    def exception(self, message: str, **keys: Any) -> None:
        """An error, with the traceback of the exception being handled."""
        self._write(logging.ERROR, message, keys, exc_info=True)

    def _write(self, level: int, message: str, keys: dict[str, Any], exc_info: bool = False) -> None:
        self._logger.log(level, message, extra={"tugboat_keys": keys}, exc_info=exc_info)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
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
    """The JSON-lines logger of a module below `functions`."""
    root = logging.getLogger("functions")
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        # Lambda's own handler sits on the root logger and would print every line again.
        root.propagate = False
    return Logger(name)
