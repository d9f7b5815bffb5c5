"""Rows that cannot be read: counted, shown and written to a file, never dropped silently."""

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TextIO

SHOWN = 5
SHOWN_REASONS = 12
SHOWN_CHARACTERS = 2000


class Reject(NamedTuple):
    """One bad row: its place, the contract's code of the reason, a sentence, and the row's text."""

    file: str
    line: int
    code: str
    reason: str
    text: str


class Rejects:
    """A count of the bad rows, and an error file with one JSON line per row."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []
        self._file: TextIO | None = None

    def add(self, reject: Reject) -> None:
        """Record one bad row."""
        self.count += 1
        self.reasons[
            reject.reason if reject.code == "unknown_event_name" else reject.reason.split(":")[0]
        ] += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{reject.file} line {reject.line}: {reject.reason}")
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8")
        record = {**reject._asdict(), "text": reject.text[:SHOWN_CHARACTERS]}
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

    def by_reason(self) -> str:
        """List the most frequent reasons with their counts, one per line."""
        lines = [f"  {count:,} x {reason}" for reason, count in self.reasons.most_common(SHOWN_REASONS)]
        if len(self.reasons) > SHOWN_REASONS:
            lines.append(f"  ... and {len(self.reasons) - SHOWN_REASONS:,} more reasons")
        return "\n".join(lines)
