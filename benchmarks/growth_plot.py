"""The plot of the growth benchmark: one column of panels per run, one row per figure, one line per step, as SVG."""

from statistics import mode
from typing import Any

COLORS = {"load": "#1b6ca8", "transform": "#c0392b", "validate": "#2e8b57", "export": "#8e6c00"}
PANELS = (
    ("rows", "rows scanned, millions", 1e-6),
    ("warehouse_cpu_s", "processor seconds of Snowflake", 1.0),
    ("listed_keys", "keys listed on S3", 1.0),
    ("memory_mb", "memory of the step, MB", 1.0),
)
WIDTH, HEIGHT, LEFT, TOP, GAP = 360, 150, 56, 46, 44


def plot(runs: list[dict[str, Any]]) -> str:
    """Return the SVG of the runs of a results file."""
    width = LEFT + len(runs) * (WIDTH + GAP)
    height = TOP + len(PANELS) * (HEIGHT + GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for column, run in enumerate(runs):
        left = LEFT + column * (WIDTH + GAP)
        parts.append(_text(left, 16, run["data"].removeprefix("benchmarks.growth_shop, ")))
        for row, (figure, title, factor) in enumerate(PANELS):
            parts.append(_panel(run["nights"], figure, title, factor, left, TOP + row * (HEIGHT + GAP)))
    for number, (step, color) in enumerate(COLORS.items()):
        parts.append(_text(LEFT + number * 90, height - 8, step, fill=color))
    return "\n".join([*parts, "</svg>"])


def _panel(nights: dict[str, Any], figure: str, title: str, factor: float, left: int, top: int) -> str:
    last = max(nights["day"])
    usual = mode(nights["days"])
    shown = [number for number, days in enumerate(nights["days"]) if days == usual]
    most = max(nights[step][figure][number] * factor for step in COLORS for number in shown) or 1
    parts = [
        _text(left, top - 6, title),
        f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>',
        _text(left - 4, top + 10, f"{most:.3g}", anchor="end"),
        _text(left - 4, top + HEIGHT, "0", anchor="end"),
        _text(left + WIDTH, top + HEIGHT + 14, f"day {last}", anchor="end"),
    ]
    for step, color in COLORS.items():
        points = " ".join(
            f"{left + day / last * WIDTH:.1f},{top + HEIGHT - value * factor / most * HEIGHT:.1f}"
            for day, days, value in zip(nights["day"], nights["days"], nights[step][figure], strict=True)
            if days == usual
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.3"/>')
    return "\n".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = "#222") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}">{text}</text>'
