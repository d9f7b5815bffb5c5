"""Expectations, limits per shop, overrides and the rows behind a finding, on the local Snowflake with its grants."""

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from snowflake.connector.errors import ProgrammingError

from deploy.quality.limit import MODELS, change, expectations, listing
from deploy.quality.override import override
from deploy.quality.steward import QualityError, Steward
from deploy.stages import read_stage
from deploy.warehouse_setup import setup_parameters
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.contract import ValidateResult
from functions.transform.transform import transform
from functions.validate import summary as summaries
from functions.validate.history import index_key
from functions.validate.limits import read_limits
from functions.validate.summary import CheckResult, Summary
from functions.validate.validate import validate
from local import environment
from sql import docs, run_dbt
from testing.warehouse_stack import ACCOUNT, Stack, connected, connected_as_sysadmin
from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, deliver, raw_event
from tests.integration.warehouse.shop_days import day_events

NAME = "quality"
# Rows that SQL writes, because no sender can break what SQL computes.
OVERLAP = """
    insert into MARTS.SESSIONS
    select * replace ('planted' as SESSION_KEY, STARTED_AT_MS + 1 as STARTED_AT_MS, ENDED_AT_MS - 1 as ENDED_AT_MS)
    from MARTS.SESSIONS
    order by SESSION_KEY
    limit 1
"""
SECOND_DAY = """
    insert into MARTS.DAILY_KPIS
    select * replace ('planted' as DAILY_KPI_KEY, 2 as CONVERSION_RATE) from MARTS.DAILY_KPIS order by DAY limit 1
"""
# The expectations that the faulty day breaks.
WARNED = {
    "device_is_known",
    "order_value_is_plausible",
    "currency_has_three_letters",
    "receipt_slot_is_a_position",
    "feed_has_prices",
    "feed_price_is_plausible",
    "feed_title_is_a_title",
    "sale_price_is_no_higher_than_the_price",
    "product_price_is_plausible",
    "sessions_of_a_client_do_not_overlap",
}
FAILED = {"one_row_per_shop_and_day", "conversion_rate_is_a_share"}


def product(item: str, **fields: Any) -> dict[str, Any]:
    feed = {"feed_id": "f", "imported_at_ms": MIDNIGHT_MS, "complete": True}
    return {"shop_id": "demo", "item_id": item, "title": f"Boot {item}", "price": 9.5, "feed": feed, **fields}


def deliver_feed(stack: Stack, name: str, products: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(one) + "\n" for one in products)
    key = f"catalogue/demo/{name}.gz"
    stack.s3.put_object(Bucket=stack.settings.events_bucket, Key=key, Body=gzip.compress(lines.encode()))


def days(first: int, last: int) -> list[dict[str, Any]]:
    """Return events of 30 networks."""
    events = [event for day in range(first, last + 1) for event in day_events(day, sessions=40, visitors=160)]
    for number, event in enumerate(events):
        event["server"]["ip_prefix"] = f"10.0.{number % 30}.0/24"
    return events


def faulty(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a day whose events break one expectation each, and of whose views a quarter has no items."""
    for number, event in enumerate(events):
        if number % 10 == 0:
            event["server"]["device"] = "toaster"
        if event["event_name"] == "purchase":
            event["value"], event["currency"] = -5, "euro"
        if event["event_name"] == "view_item" and number % 4 == 0:
            event["items"] = []
    answer = {"recommendation_id": "r", "model_version": "m1", "variant": "v", "issued_at_ms": MIDNIGHT_MS}
    listed = [{"item_id": "i1", "slot": 777}]
    events[0]["server"]["receipts"] = [{"verdict": "expired", **answer, "items": listed}]
    return events


class Shop:
    """The shop of this module, and the commands of people at it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.stage = replace(read_stage("local"), name=NAME)
        self.good: tuple[ValidateResult, Summary]
        self.bad: tuple[ValidateResult, Summary]

    def night(self, run_id: str) -> None:
        with connected(self.stack) as connection:
            load({"run_id": run_id}, self.stack.settings, connection)
        transform({"run_id": run_id}, self.stack.settings, self.stack.credentials)

    def validate(self, run_id: str) -> tuple[ValidateResult, Summary]:
        with connected(self.stack) as connection:
            event = {"run_id": run_id, "full": True}
            result = validate(event, self.stack.settings, self.stack.credentials, connection, self.stack.s3)
        return result, summaries.decode(self.read(summaries.run_key(run_id)))

    def read(self, key: str) -> bytes:
        content: bytes = self.stack.s3.get_object(Bucket=self.stack.settings.models_bucket, Key=key)[
            "Body"
        ].read()
        return content

    def raw_line(self, check: CheckResult, at: int = 0) -> dict[str, Any]:
        """Return the line of S3 at the address of a row."""
        row = check.rows[at]
        bucket, key = (row.file or "").removeprefix("s3://").split("/", 1)
        packed = io.BytesIO(self.stack.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        line: dict[str, Any] = json.loads(
            gzip.GzipFile(fileobj=packed).read().splitlines()[(row.line or 0) - 1]
        )
        return line

    @contextmanager
    def steward(self) -> Iterator[Steward]:
        values = setup_parameters(self.stage, ACCOUNT, self.stack.credentials)
        login = replace(
            self.stack.credentials, role=f"{values['prefix']}_STEWARD", warehouse=values["reader_warehouse"]
        )
        with warehouse.connect(login) as connection:
            yield Steward(self.stage, connection, "ann", "arn:aws:sts::1:assumed-role/steward/ann")


@pytest.fixture(scope="module")
def shop(new_stack: Any) -> Shop:
    """Return a shop after six good days and a bad one."""
    made = Shop(new_stack(NAME))
    bucket = made.stack.settings.events_bucket
    deliver(made.stack.s3, bucket, "good", days(1, 6))
    deliver_feed(made.stack, "good", [product(f"i{n}") for n in range(40)])
    made.night("q1")
    made.good = made.validate("q1")
    bad = faulty(days(7, 7))
    lost = raw_event("nameless", at_ms=MIDNIGHT_MS + 6 * DAY_MS)
    lost.pop("client_id")
    deliver(made.stack.s3, bucket, "bad", [*bad, lost])
    odd = [product(f"o{n}", price=None) for n in range(20)]
    odd += [product("dear", price=2_000_000.0), product("sale", sale_price=20.0), product("short", title="x")]
    deliver_feed(made.stack, "bad", odd)
    made.night("q2")
    with connected_as_sysadmin(made.stack) as connection:
        warehouse.rows(connection, OVERLAP)
        warehouse.rows(connection, SECOND_DAY)
    made.bad = made.validate("q2")
    with connected_as_sysadmin(made.stack) as connection:
        warehouse.rows(connection, "delete from MARTS.SESSIONS where SESSION_KEY = 'planted'")
        warehouse.rows(connection, "delete from MARTS.DAILY_KPIS where DAILY_KPI_KEY = 'planted'")
    return made


def checks(found: tuple[ValidateResult, Summary]) -> dict[str, CheckResult]:
    return {check.name: check for check in found[1].checks}


def test_good_days_keep_to_every_expectation(shop: Shop) -> None:
    result, summary = shop.good
    assert result["failures"] == []
    assert summary.verdict == "passed"
    found = checks(shop.good)
    assert {found[name].verdict for name in expectations()} == {"passed"}
    assert {profile.model for profile in summary.profiles} > {"stg_events", "sessions"}
    assert summary.freshness.raw_loaded_at is not None
    latest = summaries.decode(shop.read(summaries.latest_key("demo")))
    assert latest.run_id == "q2", "the newest summary is the newest run's"


def test_each_planted_fault_of_a_day_is_found_with_its_raw_line(shop: Shop) -> None:
    found = checks(shop.bad)
    assert {name for name in expectations() if found[name].verdict == "warned"} == WARNED
    assert {name for name in expectations() if found[name].verdict == "failed"} == FAILED
    assert found["conversion_rate_is_a_share"].rows[0].note == "conversion_rate = 2"
    assert found["missing items"].verdict == "failed"
    assert shop.raw_line(found["device_is_known"])["server"]["device"] == "toaster"
    assert shop.raw_line(found["order_value_is_plausible"])["value"] == -5
    assert found["order_value_is_plausible"].rows[0].note == "value = -5"
    assert shop.raw_line(found["currency_has_three_letters"])["currency"] == "euro"
    assert (
        shop.raw_line(found["receipt_slot_is_a_position"])["server"]["receipts"][0]["items"][0]["slot"] == 777
    )
    assert shop.raw_line(found["feed_price_is_plausible"])["item_id"] == "dear"
    assert shop.raw_line(found["feed_title_is_a_title"])["title"] == "x"
    assert shop.raw_line(found["sale_price_is_no_higher_than_the_price"])["sale_price"] == 20
    assert shop.raw_line(found["feed_has_prices"])["price"] is None
    for at in range(10):
        line = shop.raw_line(found["missing items"], at)
        assert (line["event_name"], line["items"]) == ("view_item", [])
        assert line["event_id"] == found["missing items"].rows[at].event_id
    assert len(found["device_is_known"].rows) == 10


def test_an_expectation_says_how_many_rows_break_it(shop: Shop) -> None:
    check = checks(shop.bad)["device_is_known"]
    assert check.value == sum(event["server"]["device"] == "toaster" for event in faulty(days(7, 7)))
    assert check.n > check.value


def test_no_page_and_no_summary_names_a_person(shop: Shop) -> None:
    for name in ("q2.html", "q2.json"):
        text = shop.read(f"reports/validation/{name}").decode()
        assert not {event["client_id"] for event in days(7, 7)} & set(text.replace('"', " ").split())


def test_an_override_lets_one_check_of_one_run_pass(shop: Shop) -> None:
    failed = "conversion_rate_is_a_share, missing items, one_row_per_shop_and_day"
    with shop.steward() as by:
        with pytest.raises(QualityError, match=f"did not fail in run q2[.] Failed: {failed}"):
            override(by, "q2", "volume", "no reason")
        with pytest.raises(QualityError, match="no run 'q0' has been validated"):
            override(by, "q0", "missing items", "why")
        said = override(by, "q2", "missing items", "a list page, known")
    assert "make rerun STAGE=quality RUN=q2" in said
    result, summary = shop.validate("q2")
    assert (result["passed"], result["failures"]) == (True, [])
    assert result["overrides"] == ["missing items by ann: a list page, known"]
    assert summary.counts["overridden"] == 1
    assert "a list page, known" in shop.read("reports/validation/q2.html").decode()
    index = shop.read(index_key("demo")).decode()
    assert index.count('href="../q2.html"') == 4, "both tries are listed, in the strip and in the table"


def test_a_limit_in_the_table_changes_the_next_verdict_of_its_shop(shop: Shop) -> None:
    assert checks(shop.bad)["freshness"].verdict == "passed"
    with shop.steward() as by:
        said = change(by, "demo", "freshness", "0.000001", "a test")
        change(by, "demo", "device_is_known", "0.5", "a kiosk")
        text = listing(by, "demo")
    assert "freshness.largest_hours_since_load is 1e-06, was 48" in said
    assert "ann" in text
    _, summary = shop.validate("q4")
    found = {check.name: check for check in summary.checks}
    assert (found["freshness"].verdict, found["freshness"].bound) == ("failed", 0.000001)
    assert "set by ann" in (found["freshness"].limit or "")
    assert found["device_is_known"].verdict == "passed"
    assert found["order_value_is_plausible"].verdict == "warned"
    assert found["missing items"].verdict == "failed", "the override was for another run"
    assert "a kiosk" in shop.read("reports/validation/q4.html").decode()
    with shop.steward() as by:
        change(by, "demo", "freshness", None, "over")
        assert read_limits(by.connection, "demo").keys() == {"device_is_known"}
        with pytest.raises(QualityError, match="has no limit freshness"):
            change(by, "demo", "freshness", None, "again")


def test_the_steward_sees_no_event_and_changes_no_decision(shop: Shop) -> None:
    with shop.steward() as by:
        for sql in (
            "select * from RAW.EVENTS limit 1",
            "select * from MARTS.SESSIONS limit 1",
            "delete from QA.LIMITS",
            "update QA.OVERRIDES set REASON = 'better'",
        ):
            with pytest.raises(ProgrammingError):
                warehouse.rows(by.connection, sql)
    with connected(shop.stack) as connection, pytest.raises(ProgrammingError):
        warehouse.rows(connection, "insert into QA.LIMITS (SHOP_ID) values ('demo')")


def test_the_docs_have_every_model_with_lineage_and_load_in_a_browser(
    shop: Shop, local_stack: environment.Stack, chromium: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": local_stack.aws_url,
        "AWS_ACCESS_KEY_ID": environment.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": environment.SECRET_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(run_dbt, "read_stage", lambda _: shop.stage)
    monkeypatch.setattr(run_dbt, "BUILD", tmp_path)
    monkeypatch.setattr(docs, "BUILD", tmp_path)
    assert docs.main(["--stage", NAME, "--no-serve"]) == 0

    manifest = json.loads((tmp_path / "manifest.json").read_text())
    catalogue = json.loads((tmp_path / "catalog.json").read_text())
    models = {file.stem for file in MODELS.rglob("*.sql")}
    nodes = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    assert nodes.keys() == models
    # The local Snowflake lists no views in its information schema.
    tables = {name for name in models if nodes[name]["config"]["materialized"] in ("table", "incremental")}
    assert {name.split(".")[-1] for name in catalogue["nodes"]} == tables
    assert "EVENT_KEY" in catalogue["nodes"]["model.tugboat.stg_events"]["columns"]
    parents = manifest["parent_map"]
    assert parents["model.tugboat.stg_events"] == ["source.tugboat.raw.events"]
    assert "model.tugboat.int_session_events" in parents["model.tugboat.sessions"]
    assert "model.tugboat.training_sample" in parents["exposure.tugboat.recommender"]

    with chromium.new_context() as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "docs" / "index.html").as_uri() + "#!/model/model.tugboat.sessions")
        page.get_by_role("heading", name="sessions").first.wait_for(timeout=60_000)
        page.get_by_text("Key of the session, as in int_session_events.").first.wait_for(timeout=60_000)
        assert errors == []
