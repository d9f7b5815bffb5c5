"""Request fields that moto 5.2.5 does not pass from its HTTP layer to its models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.sagemaker.responses import SageMakerResponse


class RequestFields:
    """Fields of the request that the current thread handles."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._current = threading.local()

    def get(self, name: str) -> Any:
        """Return a field of the current request, or None if the request lacks it."""
        return getattr(self._current, "fields", {}).get(name)

    @contextmanager
    def set(self, **fields: Any) -> Iterator[None]:
        """Set the fields for the duration of the block."""
        self._current.fields = fields
        try:
            yield
        finally:
            self._current.fields = {}

    def around(self, respond: Callable[[SageMakerResponse], Any]) -> Callable[[SageMakerResponse], Any]:
        """Return a handler that sets the fields from its request, then calls `respond`."""

        def handler(self_: SageMakerResponse) -> Any:
            with self.set(**{name: self_._get_param(name) for name in self._names}):
                return respond(self_)

        return handler
