"""Rows that cannot be read: counted, shown and written to a file, never dropped silently."""

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import TextIO

SHOWN = 5


class Rejects:
    """A count of the bad rows, and an error file with one JSON line per row."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []
        self._file: TextIO | None = None

    def add(self, source: str, line: int, reason: str, text: str) -> None:
        """Record one bad row: its place, the reason and its text."""
        self.count += 1
        self.reasons[reason.split(":")[0]] += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{source} line {line}: {reason}")
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8")
        record = {"file": source, "line": line, "reason": reason, "text": text[:2000]}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close the error file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "Rejects":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def summary(self) -> str:
        """Summarize the bad rows; return an empty text if there are none."""
        if not self.count:
            return ""
        lines = [f"{self.count:,} rows could not be read and were not sent:"]
        lines += [f"  {example}" for example in self.examples]
        if self.count > len(self.examples):
            lines.append(f"  ... and {self.count - len(self.examples):,} more")
        if self.path is not None:
            lines.append(f"  see all of them in {self.path}")
        return "\n".join(lines)
