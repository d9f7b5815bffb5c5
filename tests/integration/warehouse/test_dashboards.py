"""The boards in a real Superset on the local Snowflake: imported, exported, drawn by Chromium, equal to SQL, closed by shop."""

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dashboards import access, assets
from dashboards.__main__ import post
from dashboards.server import ENVIRONMENT, Server
from dashboards.superset_api import Superset, SupersetError
from deploy import reader_login
from deploy.stages import Stage, read_stage
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.warehouse import Credentials
from functions.transform.transform import transform
from functions.validate.validate import KEEP_RESULT, validate
from local import environment
from local.clients import aws_client
from local.ports import free_port
from testing.warehouse_stack import ACCOUNT, Stack, connected, connected_as_sysadmin
from tests.integration.warehouse.carousel_shops import SHOPS, Period, history, lines
from tests.missing import missing

NAME = "boards"
PERIOD = Period(midnight_ms=1_767_571_200_000, days=3, sessions_per_day=40)
CHECKED_AT = datetime(2026, 1, 9)
FAILED = (
    *("bad-night", "serenade", CHECKED_AT),
    *("data", "freshness", "shop", "absolute", 9, 1, 40.0, 24.0, "<=", "failed", "Too old."),
)
# Two runs counted the same day. The boards show the newer count.
REFUSED = """
insert into QA.REFUSED_EVENTS (RUN_ID, CHECKED_AT, SHOP_ID, DAY, EVENT_NAME, REASON, EVENTS)
select runs.run_id, runs.checked_at, shops.shop_id, '2026-01-06'::date, 'purchase', 'field_missing', runs.events
from (select distinct SHOP_ID from MARTS.DAILY_KPIS) as shops
cross join (
    select 'early' as run_id, '2026-01-07 02:00'::timestamp_ntz as checked_at, 1000 as events
    union all select 'late', '2026-01-08 02:00'::timestamp_ntz, 7
) as runs
"""
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
DRAWN_WITHIN_MS = 600_000
# The whole board is visible at once, because Superset draws no chart outside the window.
WINDOW = {"width": 1400, "height": 4000}
# Wait until each chart of the board is drawn or has a fault. The page forbids eval, so Playwright's own wait would fail.
# Texts are read once, at the end: each reading computes the layout of the page.
DRAWN = """async ([charts, withinMs]) => {
    const drawn = "canvas, table, .header-line";
    const fault = "[data-test='error-alert'], .ant-alert-error, .error-alert, .ant-empty";
    const all = () => [...document.querySelectorAll("[data-test='chart-grid-component']")];
    const done = found => found.length === charts && found.every(one => one.querySelector(`${drawn}, ${fault}`));
    const end = performance.now() + withinMs;
    while (!done(all()) && performance.now() < end) await new Promise(resolve => setTimeout(resolve, 250));
    return all().map(one => ({
        title: one.dataset.testChartName,
        number: one.querySelector(".header-line")?.innerText,
        // A table whose head stays in place is drawn as two.
        table: [...one.querySelectorAll("table")].map(part => part.innerText).join("\\n"),
        drawn: !!one.querySelector(drawn),
        fault: one.querySelector(fault)?.innerText,
        text: one.innerText.slice(0, 200),
    }));
}"""

pytestmark = [pytest.mark.local_stack, pytest.mark.browser, pytest.mark.timeout(3000)]


@dataclass(frozen=True)
class Boards:
    """A running Superset with the boards, and the stack behind it."""

    stack: Stack
    server: Server
    superset: Superset
    login: Credentials
    stage: Stage

    def post(self) -> None:
        post(self.superset, self.login, self.stage, print)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with connected_as_sysadmin(self.stack) as connection:
            return warehouse.rows(connection, statement)


@pytest.fixture(scope="module")
def boards(
    new_stack: Any, local_stack: environment.Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Boards]:
    """Fill a database with two shops while Superset starts, and import the boards."""
    if not (ENVIRONMENT / ".installed").exists():
        missing(str(ENVIRONMENT), "make build/superset/.installed")
    server = Server(tmp_path_factory.mktemp("superset"), free_port())
    with ThreadPoolExecutor(1) as beside, ExitStack() as running:
        started = beside.submit(running.enter_context, server.running(print))
        stack: Stack = new_stack(NAME)
        filled(stack)
        process = started.result()
        stage = replace(read_stage("local"), name=NAME, shops={shop: [] for shop in SHOPS})
        secrets = aws_client("secretsmanager", local_stack.aws_url)
        login = reader_login.ensure(stage, ACCOUNT, secrets, print)
        superset = Superset(server.url)
        superset.log_in(server.login().user, server.login().password)
        served = Boards(stack, server, superset, login, stage)
        served.post()
        yield served
    assert process.returncode is not None


def filled(stack: Stack) -> None:
    """Load, transform and check the events of two shops, and add what takes more nights."""
    key = "raw/2026/01/05/00/all.gz"
    body = gzip.compress(lines(list(history(PERIOD))))
    stack.s3.put_object(Bucket=stack.settings.events_bucket, Key=key, Body=body)
    night = {"run_id": "night", "shop_id": "demo"}
    with connected(stack) as connection:
        load(night, stack.settings, connection)
    transform({**night, "full_refresh": False}, stack.settings, stack.credentials)
    with connected(stack) as connection:
        validate(night, stack.settings, stack.credentials, connection, stack.s3)
        for statement, values in ((KEEP_RESULT, FAILED), (REFUSED, ()), (RESULTS, ())):
            connection.cursor().execute(statement, values)


def test_an_export_brings_a_change_and_the_next_import_replaces_it(boards: Boards, tmp_path: Path) -> None:
    def exported() -> list[str]:
        packed = boards.superset.export_assets()
        assert b"PRIVATE KEY" not in packed
        return assets.write(assets.unpacked(packed, OWN), tmp_path)

    assert assets.write(OWN, tmp_path)
    assert exported() == []
    (chart,) = [one for one in boards.superset.every("chart/") if one["slice_name"] == "Refunds"]
    boards.superset.send("PUT", f"chart/{chart['id']}", {"slice_name": "Paid back"})
    assert exported() == ["changed charts/shop_refunds.yaml"]
    boards.post()
    assert exported() == ["changed charts/shop_refunds.yaml"]
    assert assets.read(tmp_path) == OWN
    for kind, path in (("datasets", "dataset/"), ("charts", "chart/"), ("dashboards", "dashboard/")):
        assert len(boards.superset.every(path)) == len([one for one in OWN if assets.kind_of(one) == kind])
    assert len(boards.superset.every("rowlevelsecurity/")) == len(SHOPS)


def test_superset_reads_as_the_reader_and_shows_its_key_to_nobody(boards: Boards) -> None:
    (database,) = boards.superset.every("database/")
    address = boards.superset.get(f"database/{database['id']}/connection")["result"]
    assert "role=TUGBOAT_BOARDS_READER" in address["sqlalchemy_uri"]
    assert assets.MASK in address["masked_encrypted_extra"]
    assert "PRIVATE KEY" not in json.dumps(address)


@pytest.fixture(scope="module")
def page(chromium: Any, boards: Boards) -> Iterator[Any]:
    """Sign in to Superset once, and record errors and addresses that a page asks for."""
    context = chromium.new_context(viewport=WINDOW)
    context.set_default_timeout(180_000)
    opened = context.new_page()
    login = boards.server.login()
    opened.goto(f"{boards.server.url}/login/")
    opened.fill("#username", login.user)
    opened.fill("#password", login.password)
    opened.keyboard.press("Enter")
    # The welcome page need not load: its lists of recent charts would take Superset's time.
    opened.wait_for_url("**/welcome/**", wait_until="commit")
    opened.goto("about:blank")
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
# Per board: the cells that a row of a table must have, by the title of the table.
CELLS = {
    "shop": {"Shops": ["demo", "serenade"]},
    "recommendations": {
        "Placements": ["product", "cart"],
        "Experiments: newest result per arm": [
            "carousel",
            "900",
            "+12.0%",
            "+2.0%",
            "+22.0%",
            "earns more",
            "0.600",
        ],
        "What moved, by device": ["mobile"],
        "What moved, by category of the item": ["Trail shoe"],
    },
    "data_quality": {"Refused events, by kind and reason": ["purchase", "field_missing", "14"]},
    "pipeline": {"Freshness, by shop": ["demo", "serenade", "2026-01-07"]},
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
    shown = {
        one["title"]: one for one in page.evaluate(DRAWN, [len(assets.charts_of(asset)), DRAWN_WITHIN_MS])
    }
    assert len(shown) == len(assets.charts_of(asset))
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
    for title, cells in CELLS[board].items():
        assert [cell for cell in cells if cell not in shown[title]["table"]] == [], shown[title]["table"]


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
        schema = OWN[f"datasets/{table.lower()}.yaml"]["schema"]
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
    assert len(seen) == len(assets.shop_datasets(OWN)) == 7


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
