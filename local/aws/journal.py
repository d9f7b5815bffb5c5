"""Resources of a service on disk."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any


class Journal:
    """One JSON file of all resources by kind and name, replaced atomically at every change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._state: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def all(self, kind: str) -> dict[str, Any]:
        """Return all resources of a kind by name."""
        return dict(self._state.get(kind, {}))

    def put(self, kind: str, name: str, properties: Any) -> None:
        """Store a resource."""
        with self._lock:
            self._state.setdefault(kind, {})[name] = properties
            self._write()

    def remove(self, kind: str, name: str) -> None:
        """Remove a resource; a missing one is not an error."""
        with self._lock:
            self._state.get(kind, {}).pop(name, None)
            self._write()

    def _write(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self._state, indent=1))
        part.replace(self.path)
