"""The boards in a real Superset on the local Snowflake: imported twice, drawn by Chromium, equal to SQL, closed by shop."""

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from dashboards import access, assets
from dashboards.__main__ import post
from dashboards.server import ENVIRONMENT, Server
from dashboards.superset_api import Superset, SupersetError
from deploy import reader_login
from deploy.stages import read_stage
from functions.load.load import load
from functions.platform import warehouse
from functions.transform.transform import transform
from functions.validate.validate import KEEP_RESULT, validate
from local import environment
from local.clients import aws_client
from local.ports import free_port
from testing.warehouse_stack import ACCOUNT, Stack, connected
from tests.integration.warehouse.carousel_shops import DAY_MS, SHOPS, Period, history, lines
from tests.missing import missing

NAME = "boards"
PERIOD = Period(midnight_ms=1_767_571_200_000, days=4, sessions_per_day=40)
CHECKED_AT = datetime(2026, 1, 9)
FAILED = (
    *("bad-night", "serenade", CHECKED_AT),
    *("data", "freshness", "shop", "absolute", 9, 1, 40.0, 24.0, "<=", "failed", "Too old."),
)
# Experiments take days: their marts have tests of their own, and a board needs only rows.
RESULTS = """
insert into MARTS.EXPERIMENT_RESULTS (
    shop_id, experiment, arm, day, is_control, is_complete, visitors, click_rate, revenue_per_visitor, revenue_lift,
    revenue_lift_low, revenue_lift_high, sample_ratio_p_value, verdict
)
select
    shops.shop_id, 'holdout', arms.arm, days.day, arms.arm = 'none', true, 900, 0.05, 2.5, iff(arms.arm = 'none', null, 0.12),
    iff(arms.arm = 'none', null, 0.02), iff(arms.arm = 'none', null, 0.22), 0.6, iff(arms.arm = 'none', 'control', 'earns more')
from (select distinct shop_id from MARTS.DAILY_KPIS) as shops
cross join (select 'none' as arm union all select 'carousel' as arm) as arms
cross join (select distinct day from MARTS.DAILY_KPIS) as days
"""
OWN = assets.read()
DRAWN_WITHIN_S = 300
# One entry per chart of the open board: its title, its big number, whether it is drawn, and what a person reads in its place.
CHARTS = """() => [...document.querySelectorAll("[data-test='chart-grid-component']")].map(one => ({
    title: one.dataset.testChartName,
    number: one.querySelector(".header-line")?.innerText,
    drawn: !!one.querySelector("canvas, table, .header-line"),
    fault: one.querySelector("[data-test='error-alert'], .ant-alert-error, .error-alert, .ant-empty")?.innerText,
}))"""

pytestmark = [pytest.mark.local_stack, pytest.mark.browser, pytest.mark.timeout(3000)]


@dataclass(frozen=True)
class Boards:
    """A running Superset with the boards, and the stack behind it."""

    stack: Stack
    server: Server
    superset: Superset
    exported: list[bytes]

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with connected(self.stack) as connection:
            return warehouse.rows(connection, statement)


@pytest.fixture(scope="module")
def boards(
    new_stack: Any, local_stack: environment.Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Boards]:
    """Fill a database with two shops, run Superset against it, and import the boards twice."""
    if not (ENVIRONMENT / ".installed").exists():
        missing(str(ENVIRONMENT), "make build/superset/.installed")
    stack: Stack = new_stack(NAME)
    for day in range(PERIOD.days):
        events = [
            event
            for event in history(PERIOD)
            if (event["server"]["event_time_ms"] - PERIOD.midnight_ms) // DAY_MS == day
        ]
        key = f"raw/2026/01/05/00/{day}.gz"
        stack.s3.put_object(Bucket=stack.settings.events_bucket, Key=key, Body=gzip.compress(lines(events)))
    with connected(stack) as connection:
        load({"run_id": "night"}, stack.settings, connection)
    transform({"run_id": "night", "full_refresh": False}, stack.settings, stack.credentials)
    with connected(stack) as connection:
        validate(
            {"run_id": "night", "shop_id": "demo"}, stack.settings, stack.credentials, connection, stack.s3
        )
        connection.cursor().execute(KEEP_RESULT, FAILED)
        connection.cursor().execute(RESULTS)
    stage = replace(read_stage("local"), name=NAME, shops={shop: [] for shop in SHOPS})
    secrets = aws_client("secretsmanager", local_stack.aws_url)
    login = reader_login.ensure(stage, ACCOUNT, secrets, print)
    server = Server(tmp_path_factory.mktemp("superset"), free_port())
    with server.running(print) as process:
        superset = Superset(server.url)
        superset.log_in(server.login().user, server.login().password)
        exported = []
        for _ in range(2):
            post(superset, login, stage, print)
            exported.append(superset.export_assets())
        yield Boards(stack, server, superset, exported)
    assert process.returncode is not None


def test_a_second_import_changes_nothing_and_an_export_gives_the_files_again(boards: Boards) -> None:
    for packed in boards.exported:
        assert assets.unpacked(packed, OWN) == OWN
    for kind, path in (("datasets", "dataset/"), ("charts", "chart/"), ("dashboards", "dashboard/")):
        assert len(boards.superset.every(path)) == len([one for one in OWN if assets.kind_of(one) == kind])
    assert len(boards.superset.every("rowlevelsecurity/")) == len(SHOPS)


def test_superset_reads_as_the_reader_and_its_key_is_in_no_export(boards: Boards) -> None:
    (database,) = boards.superset.every("database/")
    address = boards.superset.get(f"database/{database['id']}/connection")["result"]
    assert "role=TUGBOAT_BOARDS_READER" in address["sqlalchemy_uri"]
    assert assets.MASK in address["masked_encrypted_extra"]
    assert "PRIVATE KEY" not in json.dumps(address)
    assert all(b"PRIVATE KEY" not in packed for packed in boards.exported)


@pytest.fixture(scope="module")
def page(chromium: Any, boards: Boards) -> Iterator[Any]:
    """Sign in to Superset once, and record errors and addresses that a page asks for."""
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(180_000)
    opened = context.new_page()
    login = boards.server.login()
    opened.goto(f"{boards.server.url}/login/")
    opened.fill("#username", login.user)
    opened.fill("#password", login.password)
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/welcome/**")
    yield opened
    context.close()


# Per board: SQL whose values its numbers must show, by the title of the chart.
NUMBERS = {
    "shop": """
        select sum(sessions), sum(purchases), sum(revenue) / sum(purchases), sum(net_revenue), sum(refunds)
        from MARTS.DAILY_KPIS where shop_id = 'demo'
    """,
    "recommendations": """
        select sum(items_shown), sum(items_bought), sum(revenue), 1000 * sum(revenue) / sum(items_shown)
        from MARTS.DAILY_RECOMMENDATIONS where shop_id = 'demo'
    """,
    "data_quality": """
        select count(distinct run_id), count_if(verdict = 'failed'), count_if(verdict = 'skipped') from QA.CHECK_RESULTS
    """,
    "pipeline": "select sum(ROWS_LOADED), sum(ROWS_PARSED - ROWS_LOADED), 0, count(distinct RUN_ID) from RAW.LOAD_LOG",
}
TITLES = {
    "shop": ["Sessions", "Orders", "Average order", "Net revenue", "Refunds"],
    "recommendations": ["Items shown", "Items bought", "Carousel revenue", "Per 1,000 shown"],
    "data_quality": ["Runs checked", "Failed checks", "Skipped"],
    "pipeline": ["Rows loaded", "Rows refused", "Files that failed", "Loads"],
}


@pytest.mark.parametrize("board", sorted(NUMBERS))
def test_chromium_draws_every_chart_and_the_numbers_equal_sql(boards: Boards, page: Any, board: str) -> None:
    asset = OWN[f"dashboards/{board}.yaml"]
    asked: list[str] = []
    failed: list[str] = []
    broken: list[str] = []
    page.on("response", lambda response: asked.append(response.url))
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(f"{boards.server.url}/superset/dashboard/{asset['slug']}/")
    shown = _drawn(page, len(assets.charts_of(asset)))
    assert [chart for chart in shown.values() if chart.get("fault") or not chart["drawn"]] == []
    assert (failed, broken) == ([], [])
    assert [
        address for address in asked if not address.startswith((boards.server.url, "blob:", "data:"))
    ] == []
    (expected,) = boards.sql(NUMBERS[board])
    for title, value in zip(TITLES[board], expected, strict=True):
        text = shown[title]["number"]
        decimals = len(text.partition(".")[2])
        assert text == f"{float(value or 0):,.{decimals}f}", title


def _drawn(page: Any, charts: int) -> dict[str, dict[str, Any]]:
    """Scroll through a board until each chart is drawn or has a fault; return the charts by title.

    The policy of the page forbids eval, so Playwright's own waiting for a function fails.
    """
    deadline = time.monotonic() + DRAWN_WITHIN_S
    while True:
        for step in (600, 600, 600, 600, -5000):
            page.mouse.wheel(0, step)
            page.wait_for_timeout(150)
        found = page.evaluate(CHARTS)
        if len(found) == charts and all(chart["drawn"] or chart.get("fault") for chart in found):
            return {chart["title"]: chart for chart in found}
        assert time.monotonic() < deadline, f"not drawn within {DRAWN_WITHIN_S} s: {found}"


def _as_shop(boards: Boards, shop: str) -> Superset:
    name, password = access.add_login(boards.superset, shop)
    superset = Superset(boards.server.url)
    superset.log_in(name, password)
    return superset


def _dataset_numbers(boards: Boards) -> dict[str, int]:
    return {entry["table_name"]: entry["id"] for entry in boards.superset.every("dataset/")}


def _rows(superset: Superset, dataset: int, where: str = "") -> list[dict[str, Any]]:
    query = {
        "columns": ["shop_id"],
        "metrics": [],
        "row_limit": 10_000,
        "extras": {"where": where} if where else {},
    }
    body = {
        "datasource": {"id": dataset, "type": "table"},
        "queries": [query],
        "result_format": "json",
        "result_type": "full",
    }
    (result,) = superset.send("POST", "chart/data", body)["result"]
    rows: list[dict[str, Any]] = result["data"]
    return rows


@pytest.mark.parametrize("shop", sorted(SHOPS))
def test_a_shop_sees_no_row_of_another_shop_in_any_dataset(boards: Boards, shop: str) -> None:
    superset = _as_shop(boards, shop)
    seen = set()
    for table, number in _dataset_numbers(boards).items():
        if table == "LOADS":
            with pytest.raises(SupersetError, match="403"):
                _rows(superset, number)
            continue
        schema = "QA" if table == "CHECK_RESULTS" else "MARTS"
        everything = {row[0] for row in boards.sql(f"select distinct SHOP_ID from {schema}.{table}")}
        assert everything == set(SHOPS), table
        assert {row["shop_id"] for row in _rows(boards.superset, number)} == everything, table
        for where in ("", "1 = 1) or (1 = 1", f"shop_id != '{shop}' or 1 = 1"):
            try:
                found = {row["shop_id"] for row in _rows(superset, number, where)}
            except SupersetError:  # Superset refuses a clause that closes its brackets
                assert where
                continue
            assert found == {shop}, (table, where)
        seen.add(table)
    assert len(seen) == 5


def test_a_shop_can_neither_query_by_sql_nor_change_its_rule(boards: Boards) -> None:
    superset = _as_shop(boards, "demo")
    (database,) = boards.superset.every("database/")
    statement = {
        "database_id": database["id"],
        "sql": "select * from MARTS.DAILY_KPIS",
        "client_id": "abcdefghijk",
    }
    for method, path, body in (
        ("POST", "sqllab/execute/", statement),
        ("GET", "rowlevelsecurity/", None),
        ("GET", "security/roles/", None),
        ("GET", "assets/export/", None),
    ):
        with pytest.raises(SupersetError, match=r"status (401|403|404)"):
            superset.send(method, path, body)


def test_who_has_the_roles_of_two_shops_sees_both(boards: Boards) -> None:
    name, password = access.add_login(boards.superset, "demo")
    roles = {entry["name"]: entry["id"] for entry in boards.superset.every("security/roles/")}
    (user,) = [entry for entry in boards.superset.every("security/users/") if entry["username"] == name]
    both = [roles["Gamma"], *(roles[f"Tugboat shop {shop}"] for shop in SHOPS)]
    boards.superset.send("PUT", f"security/users/{user['id']}", {"roles": both})
    superset = Superset(boards.server.url)
    superset.log_in(name, password)
    for table, number in _dataset_numbers(boards).items():
        if table != "LOADS":
            assert {row["shop_id"] for row in _rows(superset, number)} == set(SHOPS), table
