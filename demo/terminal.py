"""Progress lines and tables for people: redrawn on a terminal, appended elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import TextIO

REDRAW_EVERY_S = 0.2
APPEND_EVERY_S = 5.0


def duration(seconds: float) -> str:
    """Seconds as a person says them: 0.8 s, 42 s, 3 min 05 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Progress:
    """One line that says how far long work is, how fast it goes and when it should end."""

    def __init__(
        self, label: str, total: int | None, unit: str = "events", out: TextIO | None = None
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._out = out or sys.stderr
        self._tty = self._out.isatty()
        self._started_s = self._drawn_s = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Draw again if enough time has passed since the last drawing."""
        now_s = time.monotonic()
        if now_s - self._drawn_s >= (REDRAW_EVERY_S if self._tty else APPEND_EVERY_S):
            self._drawn_s = now_s
            self._draw(done, note)

    def finish(self, done: int, note: str = "") -> None:
        """Draw the last state and leave the line."""
        self._total = done
        self._draw(done, note)
        if self._tty:
            self._out.write("\n")

    def _draw(self, done: int, note: str) -> None:
        elapsed_s = max(time.monotonic() - self._started_s, 1e-6)
        rate = done / elapsed_s
        parts = [f"{self._label}: {done:,}"]
        if self._total:
            parts[0] += f" of {self._total:,}"
        parts[0] += f" {self._unit}"
        parts.append(f"{rate:,.0f}/s")
        if self._total and rate > 0 and done < self._total:
            parts.append(f"about {duration((self._total - done) / rate)} left")
        else:
            parts.append(duration(elapsed_s))
        if note:
            parts.append(note)
        line = ", ".join(parts)
        self._out.write(f"\r\x1b[K{line}" if self._tty else f"{line}\n")
        self._out.flush()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns in step: the first to the left, the others to the right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "   ".join(padded).rstrip())
    lines.insert(1, "  " + "   ".join("-" * width for width in widths))
    return "\n".join(lines)
