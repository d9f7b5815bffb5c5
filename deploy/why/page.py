"""A report as one HTML file that needs nothing else."""

from pathlib import Path

from deploy.pages import environment
from deploy.why import words
from deploy.why.analysis import Report


def render(report: Report, stage: str) -> str:
    """Return the whole page."""
    templates = environment(Path(__file__).parent)
    largest = max((abs(line.effect) for line in report.lines), default=0.0) or 1.0
    most = max(report.lines, key=lambda line: abs(line.effect))
    shown = report.moved_tables or [table for table in report.tables if table.stage is most.stage]
    return templates.get_template("page.html.jinja").render(
        report=report,
        stage=stage,
        words=words,
        currency=report.data.currency,
        periods=report.data.periods,
        tables=shown,
        largest=largest,
    )
