"""The page of a run: one self-contained HTML file, readable from S3 years later. Its words are in page.html.jinja."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from functions.validate.measures import Measures
from functions.validate.profiles import QUANTILES
from functions.validate.refusals import SHOWN_ROWS
from functions.validate.summary import Day, Summary
from functions.validate.thresholds import Thresholds

ORDER = {"failed": 0, "overridden": 1, "warned": 2, "skipped": 3, "passed": 4}
LISTED_SENDERS = 20
CHART_WIDTH, BARS_HEIGHT, LABEL_HEIGHT = 900, 160, 20


def environment() -> jinja2.Environment:
    """Return the environment of this folder's templates."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    made.filters["number"] = _number
    return made


def page(summary: Summary, measures: Measures, limits: Thresholds, stage: str) -> str:
    """Return the HTML of the page."""
    checks = sorted(summary.checks, key=lambda check: ORDER[check.verdict])
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            summary=summary,
            of_kind=lambda kind: [check for check in checks if check.kind == kind],
            failed=[check for check in checks if check.verdict == "failed"],
            overridden=[check for check in checks if check.verdict == "overridden"],
            with_rows=[check for check in checks if check.rows],
            shown_rows=SHOWN_ROWS,
            # The local stage is the default of every command.
            stage_argument="" if stage == "local" else f" STAGE={stage}",
            drifted={
                check.slice
                for check in checks
                if check.kind == "profile" and check.verdict not in ("passed", "skipped")
            },
            largest_psi=limits.drift.largest_psi,
            quantiles=", ".join(f"{quantile:g}" for quantile in QUANTILES),
            chart=_chart(summary.daily_events),
            refusals=measures.refusals,
            refusing=measures.refusals.most(LISTED_SENDERS),
            networks=measures.networks,
        )
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def _chart(daily_events: Sequence[Day]) -> dict[str, Any]:
    """Return one bar per day, scaled to the day with the most events."""
    most = max((day.events for day in daily_events), default=0)
    step = CHART_WIDTH / max(len(daily_events), 1)
    bars = []
    for index, day in enumerate(daily_events):
        height = max(1.0, day.events / most * BARS_HEIGHT if most else 0.0)
        place = {"x": index * step, "y": BARS_HEIGHT - height}
        bars.append(
            {"day": day.day, "events": day.events, **place, "width": max(1.0, step * 0.8), "height": height}
        )
    return {"width": CHART_WIDTH, "height": BARS_HEIGHT + LABEL_HEIGHT, "most": most, "bars": bars}
