"""The sentences of a report."""

import math

from deploy.why.analysis import Cause, Report, Segment, Table

DIMENSIONS = {
    "model_version": "model",
    "variant": "variant",
    "rules": "rules",
    "placement": "placement",
    "device": "device",
    "item_category": "category",
}
FALLBACK = "fallback"
NO_RULES = "none"


def number(value: float | None, unit: str, currency: str | None = None) -> str:
    """Return a value of a unit as text."""
    if value is None:
        return "-"
    if unit == "rate":
        digits = 0 if abs(value) >= 0.1 or not value else 1 if abs(value) >= 0.01 else 2
        return f"{100 * value:.{digits}f} %"
    if unit == "money":
        money = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}"
        return f"{money} {currency}" if currency else money
    if unit == "count":
        return f"{value:,.0f}"
    return f"{value:.3g}"


def effect(value: float, report: Report) -> str:
    """Return an effect on the figure with its sign: money, or percentage points of a rate."""
    if report.figure.unit == "rate":
        return f"{100 * value:+.2f} points"
    return ("+" if value >= 0 else "-") + number(abs(value), "money", report.data.currency)


def percent(share: float) -> str:
    """Return a share in whole percent."""
    return f"{round(100 * share)} %"


def relative(before: float, now: float) -> str:
    """Return the change in percent; a figure that was 0 has none."""
    return f"{abs(now / before - 1) * 100:.0f} %" if before else "from nothing"


def headline(report: Report) -> str:
    """Return the change of the figure as one sentence."""
    unit, currency = report.figure.unit, report.data.currency
    values = f"{number(report.before, unit, currency)} to {number(report.now, unit, currency)}"
    per_day = "" if _same_length(report) or not report.figure.is_level else " per day"
    if report.change == 0:
        return f"{report.figure.title} did not change: {number(report.now, unit, currency)}{per_day}."
    verb = "rose" if report.change > 0 else "fell"
    return f"{report.figure.title} {verb} {relative(report.before, report.now)} ({values}{per_day})."


def verdict(report: Report) -> str:
    """Return what the report concludes, as one or two sentences."""
    usual = ""
    if report.bound:
        usual = f"-{percent(-math.expm1(-report.bound))} to +{percent(math.expm1(report.bound))}"
    if report.is_usual:
        within = "This is within its usual variation" + (f", {usual}." if usual else ".")
        if not report.causes:
            return f"{within} The data names no cause."
        return f"{within} But causes that are larger than that cancel each other out."
    unusual = "This is more than its usual variation" + (f", {usual}." if usual else ".")
    if report.causes:
        return unusual
    return f"{unusual} But no stage moved more than its own: the change is spread over several stages."


def cause_sentence(cause: Cause, report: Report) -> str:
    """Return a cause as a sentence, with its values in both periods."""
    currency, line = report.data.currency, cause.line
    if cause.change == "loss":
        return _loss(cause, report)
    if cause.segment is None or cause.dimension is None:
        change = _moved(line.before, line.now, line.unit, currency)
        return f"{_capital(line.title)} {change}.{_since(cause, report)}"
    name = place(cause.dimension, cause.segment.name)
    if cause.change == "share":
        return _share(cause, cause.segment, report) + _since(cause, report)
    change = _moved(cause.segment.before or 0.0, cause.segment.now or 0.0, line.unit, currency)
    of = "by" if cause.dimension == "device" and line.key == "traffic" else "of"
    return f"{_capital(line.title)} {of} {name} {change}.{_since(cause, report)}"


def place(dimension: str, segment: str) -> str:
    """Return the name of a segment, such as `model 20261129-1`."""
    if dimension == "variant" and segment == FALLBACK:
        return "the fallback"
    if dimension == "rules" and segment == NO_RULES:
        return "answers that no rule changed"
    return f"{DIMENSIONS[dimension]} {segment}"


def table_of(cause: Cause, report: Report) -> Table | None:
    """Return the table that a cause comes from."""
    return next(
        (one for one in report.tables if one.stage is cause.line.stage and one.dimension == cause.dimension),
        None,
    )


def _share(cause: Cause, segment: Segment, report: Report) -> str:
    table, unit, currency = table_of(cause, report), cause.line.unit, report.data.currency
    assert table is not None
    assert table.stage.whole is not None
    rest_now = [one for one in table.segments if one.name != segment.name and one.share_now > 0]
    # Where nothing else is left, the others are those of the period before.
    others = (
        [(one.share_now, one.now or 0.0) for one in rest_now]
        if rest_now
        else [(one.share_before, one.before or 0.0) for one in table.segments if one.name != segment.name]
    )
    volume = sum(share for share, _ in others) or 1.0
    usual = sum(share * value for share, value in others) / volume
    own = segment.now if segment.share_now > 0 else segment.before
    had = "of the {} ({} before)".format(table.stage.whole.replace("_", " "), percent(segment.share_before))
    return (
        f"{_capital(place(table.dimension, segment.name))} had {percent(segment.share_now)} {had}. "
        f"Its {cause.line.title} is {number(own, unit, currency)}, that of the others {number(usual, unit, currency)}."
    )


def _loss(cause: Cause, report: Report) -> str:
    loss, data = cause.line.loss, report.data
    assert loss is not None
    before, now = (
        f"{data.lost(span, loss):,.0f} ({percent(1 - data.share_kept(span, loss))})"
        for span in (data.periods.before, data.periods.now)
    )
    if loss.event_name is None:
        return f"Receipts that came too late or could not be verified: {now}, before {before}."
    reasons: dict[str, float] = {}
    for (day, name, reason), events in data.refused.items():
        if name == loss.event_name and data.periods.now.first <= day <= data.periods.now.last:
            reasons[reason] = reasons.get(reason, 0.0) + events
    most = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    why = ", ".join(f"{reason} {events:,.0f}" for reason, events in most)
    return f"The collector refused {now} of the {loss.key}, before {before}{f', by reason: {why}' if why else ''}."


def _moved(before: float, now: float, unit: str, currency: str | None) -> str:
    verb = "rose" if now > before else "fell" if now < before else "stayed"
    return f"{verb} from {number(before, unit, currency)} to {number(now, unit, currency)}"


def _since(cause: Cause, report: Report) -> str:
    if cause.since is None:
        return ""
    if cause.dimension == "model_version":
        return f" It was first served on {cause.since}."
    served = [model for model, day in report.data.first_served if day == cause.since]
    return f" It began on {cause.since}." + (
        f" Model {', '.join(served)} was first served on that day." if served else ""
    )


def _same_length(report: Report) -> bool:
    return len(report.data.periods.now.days) == len(report.data.periods.before.days)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
