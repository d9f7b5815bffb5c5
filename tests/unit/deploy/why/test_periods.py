"""The periods that a person names, and those that follow from the shop's data."""

from datetime import date

import pytest

from deploy.why.__main__ import main
from deploy.why.data import WhyError, choose_periods
from deploy.why.queries import Span, Statement
from testing.warehouse_fakes import FakeConnection

TODAY = date(2026, 11, 29)


def connection(
    newest: date | None, staged_on: date | None = None, oldest: date = date(2019, 1, 1)
) -> FakeConnection:
    shops = [("acme", date(2026, 1, 1), date(2026, 11, 28))]
    return FakeConnection(
        ("max(STAGED_AT)", [(oldest, newest, staged_on or TODAY)]), ("group by SHOP_ID", shops)
    )


def test_the_last_seven_complete_days_are_compared_with_the_seven_before() -> None:
    periods = choose_periods(connection(TODAY), "acme", None, None, None, TODAY)
    assert periods.now == Span(date(2026, 11, 22), date(2026, 11, 28))
    assert periods.before == Span(date(2026, 11, 15), date(2026, 11, 21))


def test_a_day_that_was_not_transformed_as_a_whole_is_not_complete() -> None:
    periods = choose_periods(
        connection(date(2026, 11, 28), date(2026, 11, 28)), "acme", None, None, None, TODAY
    )
    assert periods.now.last == date(2026, 11, 27)


def test_a_shop_that_fell_silent_yesterday_is_compared_up_to_yesterday() -> None:
    periods = choose_periods(connection(date(2026, 11, 26)), "acme", None, None, None, TODAY)
    assert periods.now.last == date(2026, 11, 28)


def test_a_data_set_ends_with_its_newest_day() -> None:
    periods = choose_periods(connection(date(2019, 5, 31)), "acme", None, None, None, TODAY)
    assert periods.now == Span(date(2019, 5, 25), date(2019, 5, 31))


def test_a_person_names_days() -> None:
    first, last, against = date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 13)
    periods = choose_periods(connection(TODAY), "acme", first, last, against, TODAY)
    assert (periods.now, periods.before) == (Span(first, last), Span(against, date(2026, 11, 14)))
    only_first = choose_periods(connection(TODAY), "acme", date(2026, 11, 10), None, None, TODAY)
    assert only_first.now == Span(date(2026, 11, 10), date(2026, 11, 16))


@pytest.mark.parametrize(
    ("first", "last", "against", "message"),
    [
        (date(2026, 11, 22), date(2026, 11, 21), None, "TO=2026-11-21 is before FROM=2026-11-22"),
        (
            date(2026, 11, 22),
            date(2026, 11, 28),
            date(2026, 11, 20),
            "which overlap the period.*Choose 2026-11-15",
        ),
    ],
)
def test_days_that_make_no_periods_are_refused(
    first: date, last: date, against: date | None, message: str
) -> None:
    with pytest.raises(WhyError, match=message):
        choose_periods(connection(TODAY), "acme", first, last, against, TODAY)


@pytest.mark.parametrize(
    ("first", "period"),
    [(date(2027, 1, 1), "2027-01-01 to 2027-01-07"), (date(2026, 11, 20), "2026-11-13 to 2026-11-19")],
)
def test_a_period_without_any_day_of_the_shop_is_an_error_that_names_its_days(
    first: date, period: str
) -> None:
    young = connection(TODAY, oldest=date(2026, 11, 20))
    with pytest.raises(
        WhyError, match=f"sessions from 2026-11-20 to 2026-11-29, and none in the period {period}"
    ):
        choose_periods(young, "acme", first, None, None, TODAY)


def test_an_unknown_shop_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(
        WhyError, match=r"It has: acme \(2026-01-01 to 2026-11-28\). Choose one: make why SHOP="
    ):
        choose_periods(connection(None), "nobody", None, None, None, TODAY)


def test_an_unknown_figure_and_a_wrong_day_name_the_right_ones(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, named in (
        (["--figure", "luck"], "click_rate"),
        (["--from", "yesterday"], "such as 2026-11-28"),
    ):
        with pytest.raises(SystemExit):
            main(["--stage", "local", *wrong])
        assert named in capsys.readouterr().err


def test_a_printed_statement_has_its_values_and_no_value_ends_it() -> None:
    statement = Statement("select 1 where SHOP_ID = %s and DAY = %s", ("o'neil\\", date(2026, 1, 2)))
    assert str(statement) == "select 1 where SHOP_ID = 'o''neil\\\\' and DAY = '2026-01-02'::date"
