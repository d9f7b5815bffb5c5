"""A planted cause is named first, chance is named as chance, and every report adds up."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from deploy.why import page, text
from deploy.why.analysis import Report, analyze
from deploy.why.data import Data, WhyError
from deploy.why.figures import FIGURES
from deploy.why.queries import Periods, Span
from deploy.why.words import cause_sentence, headline, verdict
from tests.unit.deploy.why.simulated import (
    PERIODS,
    Change,
    Day,
    both,
    constant,
    from_day,
    new_model,
    simulate,
)

PLANTED: list[tuple[str, str, Change, tuple[str, ...]]] = [
    ("a model whose clicks fall", "revenue", new_model(0.3), ("model_version", "m2")),
    ("a model whose clicks fall", "click_rate", new_model(0.3), ("model_version", "m2")),
    ("a price cut", "revenue", constant(price=26.0), ("price",)),
    ("less traffic", "revenue", constant(sessions=1900.0), ("traffic",)),
    ("a removed placement", "revenue", constant(placements=(("product", 0.6),)), ("placement", "home")),
    ("the fallback", "revenue", constant(fallback=0.5), ("variant", "fallback")),
    ("the fallback", "click_rate", constant(fallback=0.5), ("variant", "fallback")),
    ("refused purchases", "revenue", constant(accepted_purchases=0.5), ("purchases",)),
    ("refused purchases", "conversion", constant(accepted_purchases=0.5), ("purchases",)),
    ("refused clicks", "click_rate", constant(accepted_clicks=0.6), ("clicks",)),
    ("a broken checkout", "conversion", constant(ordering=0.2), ("ordered",)),
    ("carts that break", "conversion", from_day(2, carting=0.1), ("carted",)),
    ("pages without views", "conversion", constant(viewing=0.4), ("viewed",)),
    ("purchases without a cart", "revenue", constant(bought=0.1), ("bought",)),
]


def adds_up(report: Report) -> None:
    assert sum(line.effect for line in report.lines) == pytest.approx(report.change, rel=1e-6, abs=1e-9)
    for table in report.tables:
        line = next(one for one in report.lines if one.stage is table.stage)
        parts = sum(segment.effect for segment in table.segments)
        assert parts == pytest.approx(line.effect, rel=1e-6, abs=1e-6 * abs(report.change) + 1e-12)


@pytest.mark.parametrize(
    ("figure", "change", "key"),
    [(figure, change, key) for _, figure, change, key in PLANTED],
    ids=[f"{name} in {figure}" for name, figure, _, _ in PLANTED],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_planted_cause_is_first_and_no_other_is_large(
    figure: str, change: Change, key: tuple[str, ...], seed: int
) -> None:
    report = analyze(simulate(change, seed), FIGURES[figure])
    assert not report.is_usual
    assert report.causes[0].key == key
    assert all(abs(report.share(other.effect)) < 0.3 for other in report.causes[1:])
    adds_up(report)


@pytest.mark.parametrize("figure", sorted(FIGURES))
@pytest.mark.parametrize("weeks", [2, 5])
def test_two_samples_of_the_same_shop_have_no_cause(figure: str, weeks: int) -> None:
    reports = [analyze(simulate(None, seed, weeks), FIGURES[figure]) for seed in range(200, 220)]
    assert sum(bool(report.causes) for report in reports) <= 1
    for report in reports:
        adds_up(report)
        assert report.causes or "no cause" in verdict(report) or "spread over" in verdict(report)


def test_two_planted_causes_are_both_named_the_larger_first() -> None:
    change = both([constant(sessions=2000.0), constant(price=16.0)])
    report = analyze(simulate(change), FIGURES["revenue"])
    assert [cause.key for cause in report.causes[:2]] == [("price",), ("traffic",)]


def test_opposite_causes_within_a_usual_change_are_found() -> None:
    """One model's clicks double while another's fall: the click rate is the same."""
    usual = Day(models=(("a", 0.5, 1.0), ("b", 0.5, 1.0)))
    change = constant(models=(("a", 0.5, 1.6), ("b", 0.5, 0.4)))
    report = analyze(simulate(change, usual=usual), FIGURES["click_rate"])
    assert report.is_usual
    assert {cause.key for cause in report.causes} == {
        ("clicked", "model_version", "a"),
        ("clicked", "model_version", "b"),
    }
    assert "cancel each other out" in verdict(report)


def test_a_model_that_replaces_another_overnight_is_not_blamed_for_what_all_days_share() -> None:
    """Nothing serves both periods, so the stage is named and not the model."""
    change = both([constant(click_rate=0.02), constant(models=(("m2", 1.0, 1.0),))])
    report = analyze(simulate(change), FIGURES["click_rate"])
    assert report.causes[0].key == ("clicked",)
    table = next(one for one in report.tables if one.dimension == "model_version")
    assert not table.is_comparable


def test_the_day_on_which_a_stage_moved_is_named() -> None:
    report = analyze(simulate(from_day(4, ordering=0.1)), FIGURES["conversion"])
    assert report.causes[0].since == date(2026, 11, 26)
    assert "It began on 2026-11-26." in cause_sentence(report.causes[0], report)


def test_a_figure_that_falls_to_nothing_is_the_first_stage_that_does() -> None:
    report = analyze(simulate(constant(recommendations=0.0)), FIGURES["revenue"])
    assert report.now == 0
    assert report.causes[0].key == ("recommended",)
    assert report.share(report.causes[0].effect) == pytest.approx(1.0)
    assert headline(report).startswith("Recommendation revenue fell 100 %")


def test_purchases_that_are_all_refused_are_the_cause() -> None:
    report = analyze(simulate(constant(accepted_purchases=0.0)), FIGURES["conversion"])
    assert report.causes[0].key == ("purchases",)
    sentence = cause_sentence(report.causes[0], report)
    assert "(100 %) of the purchases" in sentence
    assert "field_invalid" in sentence


def test_a_shop_that_sends_no_carts_has_no_stage_for_them() -> None:
    report = analyze(simulate(constant(ordering=0.2)), FIGURES["conversion"])
    data = simulate(constant(ordering=0.2))
    for row in data.days.values():
        row["carting_sessions"] = 0.0
    without = analyze(data, FIGURES["conversion"])
    assert [line.key for line in without.lines] == ["viewed", "ordering_sessions"]
    assert without.change == pytest.approx(report.change)
    assert "carting sessions is no stage: it is 0 in a period" in without.notes
    adds_up(without)


def test_periods_of_different_lengths_are_compared_per_day() -> None:
    periods = Periods(PERIODS.now, Span(date(2026, 11, 8), date(2026, 11, 21)))
    data = simulate(None, weeks=3, periods=periods)
    data.earlier = []
    report = analyze(data, FIGURES["revenue"])
    adds_up(report)
    assert "per day" in headline(report)
    assert report.is_usual


def test_a_period_without_data_is_an_error_that_names_the_days_with_data() -> None:
    data = simulate(None)
    empty = Data("shop", Periods(Span(date(2027, 1, 8), date(2027, 1, 14)), PERIODS.now), days=data.days)
    with pytest.raises(
        WhyError, match=r"no sessions in the period 2027-01-08 to 2027-01-14.*2026-11-15 to 2026-11-28"
    ):
        analyze(empty, FIGURES["revenue"])


def test_the_text_and_the_page_have_every_cause_and_each_lines_statement() -> None:
    data = simulate(constant(fallback=0.5))
    data.shop = "<b>shop</b>"
    report = analyze(data, FIGURES["revenue"])
    shown, document = text.render(report, with_sql=True), page.render(report, "prod")
    for cause in report.causes:
        assert cause_sentence(cause, report) in shown
    assert shown.count("from MARTS.DAILY_FUNNEL") > len(report.lines)
    assert "'<b>shop</b>'" in shown
    assert "<b>shop" not in document
    assert "The fallback had " in document
    assert "select" not in text.render(report)


def test_a_refusal_of_other_events_is_a_note() -> None:
    data = simulate(None)
    data.refused[date(2026, 11, 25), "page_view", "text_invalid"] = 5000.0
    report = analyze(data, FIGURES["conversion"])
    assert any("5,000 other events were refused" in note for note in report.notes)
    without = replace(data, refused={})
    assert any(
        "no refused events of 14 of the 14 days" in note
        for note in analyze(without, FIGURES["revenue"]).notes
    )


def test_a_shop_without_recommendations_has_no_change_and_no_cause() -> None:
    data = simulate(constant(recommendations=0.0), usual=Day(recommendations=0.0))
    report = analyze(data, FIGURES["revenue"])
    assert (report.before, report.now, report.causes) == (0.0, 0.0, [])
    assert headline(report) == "Recommendation revenue did not change: 0.00 USD."
    assert "no cause" in text.render(report)
    assert "Recommendation revenue did not change" in page.render(report, "dev")
    with pytest.raises(WhyError, match="has no items shown in the period 2026-11-22 to 2026-11-28"):
        analyze(data, FIGURES["click_rate"])


def test_a_shop_whose_first_carousel_is_of_today_is_told_when_to_ask_again() -> None:
    data = simulate(constant(recommendations=0.0), usual=Day(recommendations=0.0))
    today = data.periods.now.last + timedelta(days=1)
    shown = data.days[data.periods.now.last] | {"recommendations": 700.0, "items_shown": 5000.0}
    data.days[today] = shown
    report = analyze(data, FIGURES["revenue"])
    assert "The first day with recommendations is 2026-11-29, after both periods" in report.notes
    with pytest.raises(WhyError, match="FROM=2026-11-30 TO=2026-11-30 AGAINST=2026-11-29"):
        analyze(data, FIGURES["click_rate"])


def test_one_day_can_be_compared_with_another() -> None:
    periods = Periods(
        Span(date(2026, 11, 28), date(2026, 11, 28)), Span(date(2026, 11, 21), date(2026, 11, 21))
    )
    report = analyze(simulate(from_day(6, price=10.0), periods=periods), FIGURES["revenue"])
    assert report.causes[0].key == ("price",)
    assert any("fewer than three days" in note for note in report.notes)


def test_a_cause_that_two_segments_share_is_the_stage_with_both_as_its_parts() -> None:
    report = analyze(simulate(both([constant(fallback=0.4), new_model(0.4)])), FIGURES["click_rate"])
    assert report.causes[0].key == ("clicked",)
    assert {part.key for part in report.causes[0].parts} == {("model_version", "m2"), ("variant", "fallback")}
    assert "In it, " in text.render(report)
