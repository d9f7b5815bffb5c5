"""A report as text for a terminal."""

from collections.abc import Iterator

from deploy.command import table
from deploy.why.analysis import Report, Table
from deploy.why.queries import Statement
from deploy.why.words import DIMENSIONS, cause_sentence, effect, headline, number, percent, verdict

LARGEST_SEGMENTS = 6


def render(report: Report, with_sql: bool = False) -> str:
    """Return the whole text; `with_sql` adds the statement of each line."""
    return "\n".join(_lines(report, with_sql))


def _lines(report: Report, with_sql: bool) -> Iterator[str]:
    periods, currency = report.data.periods, report.data.currency
    yield headline(report)
    yield verdict(report)
    yield f"  shop {report.data.shop}, {periods.now} against {periods.before}, days in UTC"
    yield from _sql(report.statement, with_sql)
    if report.causes:
        yield ""
        yield "causes"
    for place, cause in enumerate(report.causes, 1):
        against = " (against the change)" if cause.effect * report.change < 0 else ""
        yield f"  {place}. {percent(report.share(cause.effect))} of it{against}, {effect(cause.effect, report)}:"
        yield f"     {cause_sentence(cause, report)}"
        for part in cause.parts:
            yield f"     In it, {percent(report.share(part.effect))}: {cause_sentence(part, report)}"
        yield from _sql(cause.statement, with_sql)
    yield ""
    yield "stages: their effects add up to the change"
    rows = [
        [
            line.title,
            number(line.before, line.unit, currency),
            number(line.now, line.unit, currency),
            effect(line.effect, report),
            percent(report.share(line.effect)),
            "" if line.is_unusual else "usual",
        ]
        for line in report.lines
    ]
    rows.append(
        [
            report.figure.title,
            number(report.before, report.figure.unit, currency),
            number(report.now, report.figure.unit, currency),
            effect(report.change, report),
            percent(1.0 if report.change else 0.0),
            "usual" if report.is_usual else "",
        ]
    )
    yield table(["", "before", "now", "effect", "share", "variation"], rows)
    for line in report.lines:
        if with_sql:
            yield f"\n  -- {line.title}"
        yield from _sql(line.statement, with_sql)
    for one in report.tables if with_sql else report.moved_tables:
        yield from _segments(one, report, with_sql)
    if report.notes:
        yield ""
        yield "notes"
        yield from (f"  {note}." for note in report.notes)


def _segments(one: Table, report: Report, with_sql: bool) -> Iterator[str]:
    currency = report.data.currency
    yield ""
    yield f"{one.stage.title} by {DIMENSIONS[one.dimension]}"
    yield table(
        ["", "share before", "share now", "before", "now", "by its value", "by its share"],
        [
            [
                segment.name,
                percent(segment.share_before),
                percent(segment.share_now),
                number(segment.before, one.stage.unit, currency),
                number(segment.now, one.stage.unit, currency),
                effect(segment.by_rate, report),
                effect(segment.by_share, report),
            ]
            for segment in one.segments[:LARGEST_SEGMENTS]
        ],
    )
    if not one.is_comparable:
        yield "  Nothing served both periods, so time and segment have the same effect."
    yield from _sql(one.statement, with_sql)


def _sql(statement: Statement, with_sql: bool) -> Iterator[str]:
    if with_sql:
        yield from (f"       {line}" for line in f"{statement};".splitlines())
