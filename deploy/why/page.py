"""A report as one HTML file that needs nothing else."""

from pathlib import Path

from deploy.pages import environment
from deploy.why import words
from deploy.why.analysis import Report


def render(report: Report, stage: str) -> str:
    """Return the whole page."""
    templates = environment(Path(__file__).parent)
    largest = max((abs(line.effect) for line in report.lines), default=0.0) or 1.0
    moved = {line.key for line in report.lines if line.is_unusual}
    moved |= {cause.line.key for cause in report.causes}
    shown = [table for table in report.tables if table.stage.key in moved]
    return templates.get_template("page.html.jinja").render(
        report=report,
        stage=stage,
        words=words,
        currency=report.data.currency,
        periods=report.data.periods,
        tables=shown,
        largest=largest,
    )
