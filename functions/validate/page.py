"""The gate's report: one self-contained HTML file, readable from S3 years later. Its words are in page.html.jinja."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from functions.validate.measures import Measures
from functions.validate.rules import Check

ORDER = {"failed": 0, "skipped": 1, "passed": 2}
LISTED_SENDERS = 20
CHART_WIDTH, BARS_HEIGHT, LABEL_HEIGHT = 900, 160, 20


def page(run_id: str, checks: Sequence[Check], measures: Measures) -> str:
    """Return the HTML of the report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["number"] = _number
    counts = Counter(check.verdict for check in checks)
    return environment.get_template("page.html.jinja").render(
        run_id=run_id,
        shop_id=measures.shop_id,
        now=measures.now,
        verdict="failed" if counts["failed"] else "passed",
        counts=counts,
        checks=sorted(checks, key=lambda check: ORDER[check.verdict]),
        chart=_chart(measures.daily_events),
        refusals=measures.refusals,
        refusing=measures.refusals.most(LISTED_SENDERS),
        networks=measures.networks,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def _chart(daily_events: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Return one bar per day, scaled to the day with the most events."""
    most = max((events for _, events in daily_events), default=0)
    step = CHART_WIDTH / max(len(daily_events), 1)
    bars = []
    for index, (day, events) in enumerate(daily_events):
        height = max(1.0, events / most * BARS_HEIGHT if most else 0.0)
        place = {"x": index * step, "y": BARS_HEIGHT - height}
        bars.append({"day": day, "events": events, **place, "width": max(1.0, step * 0.8), "height": height})
    return {"width": CHART_WIDTH, "height": BARS_HEIGHT + LABEL_HEIGHT, "most": most, "bars": bars}
