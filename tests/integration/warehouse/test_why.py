"""make why on the local Snowflake: from events with a planted cause to its name, with statements that give the same numbers."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.stages import read_stage
from deploy.warehouse_setup import setup_parameters
from deploy.why.__main__ import ONE_ROLE, report_of
from deploy.why.analysis import Report, analyze
from deploy.why.data import WhyError, choose_periods, read
from deploy.why.figures import FIGURES
from deploy.why.queries import Statement
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.dbt import run_dbt
from functions.validate.refusals import keep_refused, read_refused
from local import environment
from local.clients import aws_client
from testing.warehouse_stack import ACCOUNT, Stack, connected
from tests.integration.warehouse.events import deliver
from tests.integration.warehouse.planted_shops import CAUSE_DAY, DAYS, SHOPS, day_of, events_of

PLANTED = [
    ("model", "revenue", ("model_version", "m2")),
    ("model", "click_rate", ("model_version", "m2")),
    ("price", "revenue", ("price",)),
    ("traffic", "revenue", ("traffic",)),
    ("fallback", "revenue", ("variant", "fallback")),
    ("fallback", "click_rate", ("variant", "fallback")),
    ("placement", "revenue", ("placement", "cart")),
    ("rules", "revenue", ("rules", "r2")),
    ("rules", "click_rate", ("rules", "r2")),
    ("refused", "revenue", ("purchases",)),
    ("refused", "conversion", ("purchases",)),
    ("checkout", "revenue", ("bought",)),
    ("checkout", "conversion", ("ordered",)),
]


@pytest.fixture(scope="module")
def stack(new_stack: Any) -> Stack:
    """One night of all shops."""
    made: Stack = new_stack("why")
    bucket, accepted = made.settings.events_bucket, []
    for shop in SHOPS:
        events, files = events_of(shop)
        accepted += events
        for key, content in files.items():
            made.s3.put_object(Bucket=bucket, Key=key, Body=content)
    deliver(made.s3, bucket, "planted", accepted)
    with connected(made) as connection:
        load({"run_id": "why"}, made.settings, connection)
    run_dbt(["run", "--select", "+daily_funnel", "+daily_recommendations", "+daily_kpis"], made.credentials)
    now = datetime.now(UTC)
    days = [datetime.combine(day_of(number), datetime.min.time(), UTC) for number in range(DAYS)]
    with connected(made) as connection:
        refused = read_refused(made.s3, bucket, "refused", days)
        # Validate counts a day again the next night. The newest count of a day is the one that holds.
        for run in range(2):
            keep_refused(connection, f"run {run}", "refused", now.replace(microsecond=run), refused)
    return made


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Iterator[Any]:
    """A connection of a reader: the only rights that the command has."""
    values = setup_parameters(replace(read_stage("local"), name="why"), ACCOUNT, stack.credentials)
    login = replace(
        stack.credentials, role=f"{values['prefix']}_READER", warehouse=values["reader_warehouse"]
    )
    with warehouse.connect(login) as connection:
        warehouse.rows(connection, ONE_ROLE)
        yield connection


def report(reader: Any, shop: str, figure: str) -> Report:
    periods = choose_periods(reader, shop, day_of(CAUSE_DAY), day_of(DAYS - 1), None)
    return analyze(read(reader, shop, periods), FIGURES[figure])


@pytest.mark.parametrize(("shop", "figure", "key"), PLANTED)
def test_the_planted_cause_is_named_first(reader: Any, shop: str, figure: str, key: tuple[str, ...]) -> None:
    found = report(reader, shop, figure)
    assert not found.is_usual
    assert found.causes[0].key == key
    assert all(abs(found.share(other.effect)) < 0.3 for other in found.causes[1:])
    assert sum(line.effect for line in found.lines) == pytest.approx(found.change)


@pytest.mark.parametrize("figure", sorted(FIGURES))
def test_a_shop_without_a_cause_has_none(reader: Any, figure: str) -> None:
    found = report(reader, "same", figure)
    assert found.is_usual
    assert found.causes == []


@pytest.mark.parametrize(
    ("shop", "figure"), [("refused", "revenue"), ("model", "click_rate"), ("fallback", "revenue")]
)
def test_the_printed_statements_give_the_numbers_of_their_lines(reader: Any, shop: str, figure: str) -> None:
    found = report(reader, shop, figure)

    def both(statement: Statement) -> tuple[float, float]:
        values = {str(period): float(value) for period, value in warehouse.rows(reader, str(statement))}
        return values["before"], values["now"]

    assert both(found.statement) == pytest.approx((found.before, found.now))
    for line in found.lines:
        assert both(line.statement) == pytest.approx((line.before, line.now)), line.title
    for table in found.tables:
        rows = {
            (str(segment), str(period)): (share, value)
            for segment, period, share, value in warehouse.rows(reader, str(table.statement))
        }
        for one in table.segments:
            share, value = rows.get((one.name, "now"), (0, None))
            assert share == pytest.approx(one.share_now)
            if table.stage.key == "clicked":
                assert value == pytest.approx(one.now)
    for cause in found.causes:
        if cause.change in ("rate", "sum"):
            assert cause.segment is not None
            assert both(cause.statement) == pytest.approx((cause.segment.before, cause.segment.now))


def test_the_funnel_has_the_totals_of_the_other_marts(stack: Stack) -> None:
    with connected(stack) as connection:
        funnel = warehouse.rows(
            connection,
            "select SHOP_ID, sum(RECOMMENDATIONS), sum(ITEMS_SHOWN), sum(ITEMS_CLICKED), sum(ITEMS_BOUGHT), "
            "sum(RECOMMENDATION_REVENUE) from MARTS.DAILY_FUNNEL group by SHOP_ID order by 1",
        )
        daily = warehouse.rows(
            connection,
            "select SHOP_ID, sum(RECOMMENDATIONS), sum(ITEMS_SHOWN), sum(ITEMS_CLICKED), sum(ITEMS_BOUGHT), sum(REVENUE) "
            "from MARTS.DAILY_RECOMMENDATIONS group by SHOP_ID order by 1",
        )
        sessions = warehouse.rows(
            connection,
            "select SHOP_ID, sum(SESSIONS), sum(ORDERS), sum(ORDER_REVENUE) from MARTS.DAILY_FUNNEL group by 1 order by 1",
        )
        kpis = warehouse.rows(
            connection,
            "select SHOP_ID, sum(SESSIONS), sum(PURCHASES), sum(REVENUE) from MARTS.DAILY_KPIS group by 1 order by 1",
        )
    assert [row[0] for row in funnel] == sorted(SHOPS)
    assert [tuple(map(str, row[:5])) for row in funnel] == [tuple(map(str, row[:5])) for row in daily]
    assert [row[5] for row in funnel] == pytest.approx([row[5] for row in daily])
    assert [tuple(map(float, row[1:])) for row in sessions] == [
        pytest.approx(tuple(map(float, row[1:]))) for row in kpis
    ]


def test_an_unknown_shop_is_an_error_that_names_the_known_ones(reader: Any) -> None:
    with pytest.raises(
        WhyError, match=r"no session of shop 'nobody'. It has: checkout \(2026-01-02 to 2026-01-15\)"
    ):
        choose_periods(reader, "nobody", None, None, None)


def test_a_data_set_is_explained_up_to_its_newest_day(reader: Any) -> None:
    periods = choose_periods(reader, "same", None, None, None)
    assert (periods.now.first, periods.now.last) == (day_of(7), day_of(13))
    assert (periods.before.first, periods.before.last) == (day_of(0), day_of(6))


def test_the_command_reads_as_a_reader_and_names_the_statements_role(
    stack: Stack, local_stack: environment.Stack
) -> None:
    class Session:
        def client(self, name: str) -> Any:
            return aws_client(name, local_stack.aws_url)

    args = Namespace(shop="price", figure="revenue", first=day_of(7), last=day_of(13), against=None)
    stage = replace(read_stage("local"), name="why")
    found, use = report_of(stage, ACCOUNT, Session(), args)
    assert found.causes[0].key == ("price",)
    assert "use role TUGBOAT_WHY_READER;" in use
    assert "use database TUGBOAT_WHY;" in use
