"""The newest X-Ray traces as timelines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

# Read only the end of the file, which contains about ten thousand segments.
READ_BYTES = 8_000_000
# Repeated calls below one span are shown this often, then counted.
REPEATS_SHOWN = 3


@dataclass
class Span:
    """A segment or subsegment; times in seconds since 1970."""

    name: str
    began: float
    ended: float
    failed: bool
    parent: str | None
    below: list[Span] = field(default_factory=list)

    def walk(self) -> Iterator[Span]:
        """Yield this span and all spans below it."""
        yield self
        for span in self.below:
            yield from span.walk()


def read(path: Path) -> list[Span]:
    """Return the root spans of the traces in the file, the newest last."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - READ_BYTES))
        lines = file.read().splitlines()
    traces: dict[str, dict[str, Span]] = {}
    for line in lines:
        try:
            segment = json.loads(line)
        except ValueError:  # the first line may be cut off, the last may be incomplete
            continue
        if "end_time" in segment:
            _add(traces.setdefault(segment["trace_id"], {}), segment, segment.get("parent_id"))
    roots = [root for spans in traces.values() for root in _tree(spans)]
    return sorted(roots, key=lambda root: root.began)


def newest_of_each_kind(roots: Iterable[Span], word: str = "") -> list[Span]:
    """Return the newest trace per set of span names, in order of time; only traces that contain `word`."""
    newest = {}
    for root in roots:
        kind = (root.name, *sorted({span.name for span in root.walk()}))
        if word.lower() in " ".join(kind).lower():
            newest[kind] = root
    return sorted(newest.values(), key=lambda root: root.began)


def timeline(root: Span) -> str:
    """Return one trace as text: each span indented below its parent, with its offset from the trace's start and its duration."""
    started = datetime.fromtimestamp(root.began)
    header = f"{started:%Y-%m-%d %H:%M:%S}{'start':>60}{'took':>12}"
    return "\n".join([header, *_lines(root, root.began, 1)])


def _lines(span: Span, origin: float, depth: int) -> Iterator[str]:
    label = "  " * depth + span.name + (", failed" if span.failed else "")
    start_ms, took_ms = (span.began - origin) * 1000, (span.ended - span.began) * 1000
    yield f"{label:<64}{start_ms:>12,.1f} ms{took_ms:>9,.1f} ms"
    seen: Counter[str] = Counter()
    for below in sorted(span.below, key=lambda one: one.began):
        seen[below.name] += 1
        if seen[below.name] <= REPEATS_SHOWN:
            yield from _lines(below, origin, depth + 1)
    for name, count in seen.items():
        if count > REPEATS_SHOWN:
            yield "  " * (depth + 1) + f"{name}, {count - REPEATS_SHOWN} times more"


def _add(spans: dict[str, Span], segment: dict[str, Any], parent: str | None) -> None:
    operation = segment.get("aws", {}).get("operation")
    spans[segment["id"]] = Span(
        name=" ".join(filter(None, (segment["name"], operation))),
        began=segment["start_time"],
        ended=segment["end_time"],
        failed=bool(segment.get("fault") or segment.get("error") or segment.get("throttle")),
        parent=parent,
    )
    for inner in segment.get("subsegments", []):
        if isinstance(inner, dict) and "end_time" in inner:
            _add(spans, inner, segment["id"])


def _tree(spans: dict[str, Span]) -> list[Span]:
    """Link spans to their parents; return those without a parent in the file, for example below the caller's own span."""
    roots: list[Span] = []
    for span in spans.values():
        above = spans.get(span.parent or "")
        (above.below if above else roots).append(span)
    return roots
