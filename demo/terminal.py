"""Progress lines: redrawn in place on a terminal, appended elsewhere.

Ours because rich and tqdm do not append progress lines to a log file, which is half of this module
(docs/decisions/0036-libraries.md).
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

REDRAW_EVERY_S = 0.2
APPEND_EVERY_S = 5.0
# An estimate of the rest comes from the last seconds only: work often begins slowly, for example with a cold start.
WINDOW_S = 4.0
SAMPLE_EVERY_S = 0.2
STEADY_WITHIN = 2.0


def duration(seconds: float) -> str:
    """Format seconds: 0.8 s, 42 s, 3 min 05 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Progress:
    """One line with the count, the rate and the time left of long work."""

    def __init__(
        self,
        label: str,
        total: int | None,
        unit: str = "events",
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._out, self._clock = out or sys.stderr, clock
        self._tty = self._out.isatty()
        self._started_s = self._drawn_s = clock()
        self._samples: deque[tuple[float, int]] = deque([(self._started_s, 0)])

    def update(self, done: int, note: str = "") -> None:
        """Draw the line if enough time has passed since the last drawing."""
        now_s = self._clock()
        if now_s - self._samples[-1][0] >= SAMPLE_EVERY_S:
            self._samples.append((now_s, done))
            while self._samples[1][0] <= now_s - WINDOW_S:
                self._samples.popleft()
        if now_s - self._drawn_s >= (REDRAW_EVERY_S if self._tty else APPEND_EVERY_S):
            self._drawn_s = now_s
            self._draw(done, note)

    def finish(self, done: int, note: str = "") -> None:
        """Draw the last state and end the line."""
        self._total = done
        self._draw(done, note)
        if self._tty:
            self._out.write("\n")

    def _draw(self, done: int, note: str) -> None:
        elapsed_s = max(self._clock() - self._started_s, 1e-6)
        parts = [f"{self._label}: {done:,}"]
        if self._total:
            parts[0] += f" of {self._total:,}"
        parts[0] += f" {self._unit}"
        steady_rate = self._steady_rate()
        if self._total and done < self._total:
            if steady_rate:
                parts += [
                    f"{steady_rate:,.0f}/s",
                    f"about {duration((self._total - done) / steady_rate)} left",
                ]
        else:
            parts += [f"{done / elapsed_s:,.0f}/s", duration(elapsed_s)]
        if note:
            parts.append(note)
        line = ", ".join(parts)
        self._out.write(f"\r\x1b[K{line}" if self._tty else f"{line}\n")
        self._out.flush()

    def _steady_rate(self) -> float | None:
        """Return the rate of the last seconds; None before there are enough, or while both halves of them differ."""
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        if last_s - first_s < WINDOW_S:
            return None
        middle_s, middle = min(self._samples, key=lambda sample: abs(2 * sample[0] - first_s - last_s))
        if not first_s < middle_s < last_s:
            return None
        slower, faster = sorted(
            ((middle - first) / (middle_s - first_s), (last - middle) / (last_s - middle_s))
        )
        if slower <= 0 or faster > STEADY_WITHIN * slower:
            return None
        return (last - first) / (last_s - first_s)
