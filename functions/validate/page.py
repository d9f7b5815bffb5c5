"""The gate's report: one self-contained HTML file, readable from S3 years later."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

from functions.validate.data_checks import Check

STYLE = """
:root { color-scheme: light dark; --ink: #16232f; --soft: #5b6b7a; --line: #dfe6ec; --card: #fff; --page: #f4f7f9;
  --passed: #16794b; --failed: #c0291f; --skipped: #8a6d1a; --bar: #2f6f9f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa9b7; --line: #2c3a47; --card: #16212b;
  --page: #0e161d; --passed: #4cc38a; --failed: #ff7a6e; --skipped: #d9b94e; --bar: #5aa6d8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.25rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
.soft { color: var(--soft); } .passed { color: var(--passed); } .failed { color: var(--failed); }
.skipped { color: var(--skipped); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem;
  margin-top: 1.25rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.status { font-weight: 600; white-space: nowrap; }
svg { width: 100%; height: auto; display: block; } svg rect { fill: var(--bar); }
svg text { fill: var(--soft); font-size: 11px; }
"""
ORDER = {"failed": 0, "skipped": 1, "passed": 2}
CHART_WIDTH, CHART_HEIGHT, LABEL_HEIGHT = 900, 160, 20


def page(run_id: str, now: datetime, checks: Sequence[Check], daily_events: Sequence[tuple[str, int]]) -> str:
    """Return the HTML of the report."""
    counts = {status: sum(1 for check in checks if check.status == status) for status in ORDER}
    verdict = "failed" if counts["failed"] else "passed"
    failures = "".join(f"<li>{escape(check.sentence)}</li>" for check in checks if check.status == "failed")
    why = f"<section><h2>Why the pipeline stopped</h2><ul>{failures}</ul></section>" if failures else ""
    data = [check for check in checks if check.kind == "data"]
    tests = [check for check in checks if check.kind == "dbt"]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data validation {escape(run_id)}: {verdict}</title><style>{STYLE}</style></head><body>
<h1>Data validation <span class="{verdict}">{verdict}</span></h1>
<p class="soft">Run {escape(run_id)}, {now:%Y-%m-%d %H:%M} UTC. {counts["passed"]} checks passed,
{counts["failed"]} failed, {counts["skipped"]} skipped.</p>
{why}
<section><h2>Events per day</h2>{_chart(daily_events)}</section>
<section><h2>The data</h2>{_table(data)}</section>
<section><h2>The tables (dbt tests)</h2>{_table(tests)}</section>
</body></html>
"""


def _table(checks: Sequence[Check]) -> str:
    rows = "".join(
        f'<tr><td class="status {check.status}">{check.status}</td><td>{escape(check.subject)}</td>'
        f"<td>{escape(check.name)}</td><td>{_number(check.value)}</td><td>{escape(check.threshold)}</td>"
        f"<td>{escape(check.sentence)}</td></tr>"
        for check in sorted(checks, key=lambda check: ORDER[check.status])
    )
    heads = "".join(
        f"<th>{head}</th>" for head in ("Result", "Subject", "Check", "Measured", "Allowed", "In words")
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def _chart(daily_events: Sequence[tuple[str, int]]) -> str:
    if not daily_events:
        return '<p class="soft">No events yet.</p>'
    most = max(events for _, events in daily_events)
    step = CHART_WIDTH / len(daily_events)
    bars = []
    for index, (day, events) in enumerate(daily_events):
        height = max(1.0, events / most * CHART_HEIGHT)
        bars.append(
            f'<rect x="{index * step:.1f}" y="{CHART_HEIGHT - height:.1f}" width="{max(1.0, step * 0.8):.1f}" '
            f'height="{height:.1f}" rx="2"><title>{escape(day)}: {events}</title></rect>'
        )
    baseline = CHART_HEIGHT + LABEL_HEIGHT - 4
    return (
        f'<svg viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT + LABEL_HEIGHT}" role="img" '
        f'aria-label="Events per day, at most {most}">{"".join(bars)}'
        f'<text x="0" y="{baseline}">{escape(daily_events[0][0])}</text>'
        f'<text x="{CHART_WIDTH}" y="{baseline}" text-anchor="end">{escape(daily_events[-1][0])}</text></svg>'
        f'<p class="soft">At most {most} events per day. The first and the last day may be partial.</p>'
    )
