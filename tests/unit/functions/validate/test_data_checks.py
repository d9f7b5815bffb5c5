"""The gate: each fault fails its check, and a check without enough data is skipped."""

from collections import Counter
from collections.abc import Collection, Iterable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from functions.platform.dbt import NodeResult
from functions.platform.settings import WarehouseSettings
from functions.validate.batches import NAMES, batch_checks
from functions.validate.currencies import ShopOrders
from functions.validate.data_checks import (
    data_checks,
    dbt_check,
    population_stability_index,
)
from functions.validate.measures import Measures, Network, Share, ShopDays, Tally, measure
from functions.validate.page import page
from functions.validate.profiles import profile
from functions.validate.refusals import Refused
from functions.validate.report import check_result, summarize
from functions.validate.rules import RULES, Check
from functions.validate.senders import Cell
from functions.validate.thresholds import Thresholds, thresholds
from testing.fakes import FakeS3
from testing.warehouse_fakes import FakeConnection

NOW = datetime(2026, 1, 10, tzinfo=UTC)
MIX = {"page_view": 400, "view_item": 500, "add_to_cart": 100}
SENDERS = 20
FIELDS = ("items", "storefront_session_id", "device", "price", "value", "currency")
ITEM_EVENTS = ("view_item", "add_to_cart", "purchase")


def at(number: int) -> Cell:
    """Return the cell of an honest sender."""
    return Cell(number % 16, 5 * number % 16)


WAREHOUSE = WarehouseSettings("test", "events", "models", "snowflake", "demo", 60)


def tally(names: dict[str, int], sessions: int, without: Collection[str] = ()) -> Tally:
    """Return the counts of events that have all their fields but some."""
    about_items = sum(events for name, events in names.items() if name in ITEM_EVENTS)
    expected = Counter(
        storefront_session_id=sum(names.values()), device=sum(names.values()), items=about_items,
        price=about_items, value=names.get("purchase", 0), currency=names.get("purchase", 0),
    )  # fmt: skip
    found = Counter({field: 0 if field in without else events for field, events in expected.items()})
    return Tally(sum(names.values()), sessions, Counter(names), expected, found)


def shop(
    full_days: int = 8,
    newest: dict[str, int] | None = None,
    sessions_now: int = 200,
    hours_since_load: float = 1,
    newest_at: datetime | None = None,
    without: Collection[str] = (),
) -> ShopDays:
    """Return a shop whose events come from 20 networks in equal parts."""

    def part(names: dict[str, int]) -> dict[str, int]:
        return {name: events // SENDERS for name, events in names.items()}

    loaded_at = NOW - timedelta(hours=hours_since_load)
    made = ShopDays(full_days, newest_at=newest_at or loaded_at, last_loaded_at=loaded_at)
    for number in range(SENDERS):
        days = made.cells.setdefault(at(number), {})
        for day in range(1, 8):
            days.setdefault(day, Tally()).add(tally(part(MIX), 200 // SENDERS))
        today = tally(part(MIX if newest is None else newest), sessions_now // SENDERS, without)
        days.setdefault(0, Tally()).add(today)
        made.loaded_at[at(number)] = loaded_at
    return made


def shares(part: float, whole: float) -> dict[Cell, Share]:
    """Return a share that is the same in each network."""
    found: dict[Cell, Share] = {}
    for number in range(SENDERS):
        before = found.get(at(number), Share(0, 0))
        found[at(number)] = Share(before.part + part / SENDERS, before.whole + whole / SENDERS)
    return found


GOOD = Measures(
    shop_id="demo",
    now=NOW,
    events=9000,
    unloaded_files=(),
    shop=shop(),
    unusable=shares(20, 9000),
    copies=shares(30, 8980),
    refused=shares(10, 2000),
    refusals=Refused(),
    networks=(),
    daily_events=(("2026-01-09", 1000),),
    orders={"demo": ShopOrders("EUR", orders=100, confirmed=50)},
)


def failed(measures: Measures) -> list[str]:
    return [check.name for check in data_checks(measures, thresholds()) if check.verdict == "failed"]


def verdicts(measures: Measures) -> dict[str, str]:
    return {check.name: check.verdict for check in data_checks(measures, thresholds())}


def check_of(measures: Measures, name: str) -> Check:
    return next(check for check in data_checks(measures, thresholds()) if check.name == name)


def report(checks: Iterable[Check], measures: Measures) -> str:
    """Return the page of a run with these checks."""
    results = [check_result(check, None, {}, {}, []) for check in checks]
    summary = summarize(FakeConnection(("select max", [(None,)])), "run-1", results, measures, [], NOW)
    return page(summary, measures, thresholds(), "local")


SOLD = MIX | {"purchase": 200}


def selling(without: Collection[str] = ()) -> ShopDays:
    """Return a shop that sells something, so that the fields of purchases are judged."""
    made = shop(newest=SOLD, without=without)
    for number in range(SENDERS):
        for day in range(1, 8):
            made.cells[at(number)][day].add(tally({"purchase": 200 // SENDERS}, 0))
    return made


def test_a_usual_day_passes_every_check() -> None:
    found = verdicts(replace(GOOD, shop=selling()))
    assert set(found.values()) == {"passed"}


FAULTS = [
    (replace(GOOD, shop=shop(hours_since_load=49)), "freshness"),
    (replace(GOOD, shop=None, events=0), "freshness"),
    (replace(GOOD, refused=shares(600, 2000)), "rejected events"),
    (replace(GOOD, unusable=shares(1000, 9000)), "unusable rows"),
    (replace(GOOD, copies=shares(8890, 8980)), "repeated rows"),
    (replace(GOOD, shop=shop(without=["items"])), "missing items"),
    (replace(GOOD, shop=shop(without=["device"])), "missing device"),
    (replace(GOOD, shop=shop(without=["storefront_session_id"])), "missing storefront_session_id"),
    (replace(GOOD, shop=shop(without=["price"])), "lost price"),
    (replace(GOOD, shop=selling(without=["value"])), "lost value"),
    (replace(GOOD, shop=selling(without=["currency"])), "lost currency"),
    (replace(GOOD, shop=shop(newest={"view_item": 100}, sessions_now=20)), "volume"),
    (replace(GOOD, shop=shop(newest={name: n // 2 for name, n in MIX.items()}, sessions_now=100)), "volume"),
    (replace(GOOD, shop=shop(newest={name: 4 * n for name, n in MIX.items()})), "volume"),
    (replace(GOOD, shop=shop(hours_since_load=49)), "silence"),
    (replace(GOOD, shop=shop(sessions_now=1000)), "events per session"),
    (replace(GOOD, shop=shop(newest={"page_view": 980, "view_item": 20})), "event mix"),
]


@pytest.mark.parametrize(
    ("measures", "name"), FAULTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_fault_fails_its_check(measures: Measures, name: str) -> None:
    assert name in failed(measures)


def stranger(measures: Measures, where: Cell, attack: str) -> Measures:
    """Return the measures with what one network adds to them, from as many clients as it likes."""
    shop = deepcopy(measures.shop)
    assert shop is not None
    clients = [Cell(where.network, client) for client in range(16)] if attack.endswith("s") else [where]
    nonsense = {one: Share(20_000 / len(clients), 20_000 / len(clients)) for one in clients}

    def send(day: int, names: dict[str, int], sessions: int, without: Collection[str] = ()) -> None:
        for one in clients:
            some = {name: events // len(clients) for name, events in names.items()}
            days = shop.cells.setdefault(one, {})
            days.setdefault(day, Tally()).add(tally(some, sessions // len(clients), without))
            shop.loaded_at.setdefault(one, NOW)

    def added(before: dict[Cell, Share]) -> dict[Cell, Share]:
        return before | {
            one: Share(found.part + more.part, found.whole + more.whole)
            for one, more in nonsense.items()
            for found in [before.get(one, Share(0, 0))]
        }

    match attack.rstrip("s"):
        case "much today":
            send(0, {"view_item": 20_000}, 20_000)
        case "much a day before":
            send(3, {"view_item": 20_000}, 200)
        case "much each day but today":
            for day in range(1, 8):
                send(day, {"page_view": 20_000}, 20_000)
        case "much each day":
            for day in range(8):
                send(day, MIX, 200)
                send(day, {name: 20 * events for name, events in MIX.items()}, 4000)
        case "event without any field":
            send(0, {"view_item": 10_000, "purchase": 10_000}, 10, FIELDS)
        case "nonsense":
            measures = replace(measures, refused=added(measures.refused))
        case "unusable row":
            measures = replace(measures, unusable=added(measures.unusable))
        case "copie":
            measures = replace(measures, copies=added(measures.copies))
        case _:
            raise AssertionError(attack)
    return replace(measures, shop=shop)


ATTACKS = (
    *("much today", "much todays", "much a day before", "much a day befores", "much each day but today"),
    *("much each day but todays", "much each day", "much each days", "event without any field"),
    *(
        "event without any fields",
        "nonsense",
        "nonsenses",
        "unusable row",
        "unusable rows",
        "copie",
        "copies",
    ),
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_network_fails_no_check(attack: str) -> None:
    for where in (Cell(0, 3), Cell(9, 9)):
        assert failed(stranger(replace(GOOD, shop=selling()), where, attack)) == []


@pytest.mark.parametrize("attack", ["much todays", "much each day but todays", "much each days", "nonsenses"])
def test_one_network_hides_no_fault(attack: str) -> None:
    for measures, name in FAULTS:
        if measures.shop is not None:
            assert name in failed(stranger(measures, Cell(9, 9), attack)), name


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if not attack.endswith("s")])
def test_one_client_of_a_shop_behind_one_network_fails_no_check(attack: str) -> None:
    behind = selling()
    behind.cells = {}
    for number in range(16):
        days = behind.cells.setdefault(Cell(4, number), {})
        for day in range(8):
            days[day] = tally({name: events // 16 for name, events in SOLD.items()}, 12)
        behind.loaded_at[Cell(4, number)] = NOW - timedelta(hours=1)
    one_network = {Cell(4, number): Share(1, 500) for number in range(16)}
    measures = replace(GOOD, shop=behind, refused=one_network, unusable=one_network, copies=one_network)
    assert failed(measures) == []
    assert failed(stranger(measures, Cell(4, 7), attack)) == []


def test_a_flood_of_one_network_makes_no_small_shop_a_judged_one() -> None:
    """A shop with 50 events per day is too small to judge. A flood on all days before must not change that."""
    small = shop()
    for number in range(SENDERS):
        small.cells[at(number)] = {day: tally({"view_item": 4}, 2) for day in range(8)}
    flooded = stranger(replace(GOOD, shop=small), Cell(9, 9), "much each day but todays")
    assert failed(flooded) == []
    assert verdicts(flooded)["volume"] == "skipped"


def test_a_usual_sunday_is_no_loss() -> None:
    """The newest day has half the events of the median day, and as many as the same day of the week before."""
    sundays = shop(newest={name: n // 2 for name, n in MIX.items()}, sessions_now=100)
    for number in range(SENDERS):
        sundays.cells[at(number)][7] = deepcopy(sundays.cells[at(number)][0])
    assert failed(replace(GOOD, shop=sundays)) == []


def test_every_check_is_a_row_of_the_table_and_every_row_is_checked() -> None:
    _, drift = profile(None, "demo", None, thresholds())
    batches = batch_checks(None, WAREHOUSE, "demo", NOW, thresholds())
    checks = [*data_checks(GOOD, thresholds()), *drift, *batches]
    assert {check.name for check in checks} == RULES.keys()
    for check in checks:
        assert check in drift or check.name in NAMES or check.slice.startswith(RULES[check.name].slice)
        assert check.against == RULES[check.name].against


@pytest.mark.parametrize(
    ("newest", "comparator", "bound"), [({"view_item": 100}, ">=", 0.6), ({"view_item": 9000}, "<=", 3.0)]
)
def test_a_ratio_is_compared_with_the_bound_on_its_side(
    newest: dict[str, int], comparator: str, bound: float
) -> None:
    volume = check_of(replace(GOOD, shop=shop(newest=newest)), "volume")
    assert (volume.comparator, volume.bound, volume.verdict) == (comparator, bound, "failed")
    assert (volume.n, volume.minimum_n) == (1000, 100)


def test_without_history_a_shop_is_not_compared() -> None:
    found = verdicts(replace(GOOD, shop=shop(full_days=3)))
    assert found["volume"] == found["event mix"] == found["events per session"] == "skipped"
    assert found["silence"] == "skipped"


def test_a_shop_that_stopped_sending_is_judged_for_one_week() -> None:
    within = verdicts(
        replace(GOOD, shop=shop(newest={"view_item": 40}, sessions_now=20, hours_since_load=6 * 24))
    )
    after = verdicts(
        replace(GOOD, shop=shop(newest={"view_item": 40}, sessions_now=20, hours_since_load=8 * 24))
    )
    assert (within["silence"], within["volume"]) == ("failed", "failed")
    assert {after[name] for name in ("silence", "volume", "events per session", "event mix")} == {"skipped"}


def test_a_data_set_of_years_ago_is_not_silent() -> None:
    replayed = shop(hours_since_load=60, newest_at=datetime(2014, 9, 30, tzinfo=UTC))
    found = verdicts(replace(GOOD, shop=replayed))
    assert (found["silence"], found["volume"]) == ("skipped", "passed")


def test_a_shop_that_sends_little_may_be_silent() -> None:
    few = shop(hours_since_load=60)
    for number in range(SENDERS):
        few.cells[at(number)] = {day: tally({"page_view": number % 4 // 3}, 0) for day in range(8)}
    assert verdicts(replace(GOOD, shop=few))["silence"] == "skipped"


def test_a_skipped_check_says_why() -> None:
    sentence = check_of(replace(GOOD, shop=shop(full_days=3)), "volume").reason
    assert sentence == "Skipped: not enough history: 2 full days before the newest, 4 needed."


def test_a_new_event_kind_of_a_shop_is_no_fault() -> None:
    newest = MIX | {"search": 900, "recommendation_impression": 5000}
    assert "event mix" not in failed(replace(GOOD, shop=shop(newest=newest)))


def test_equal_mixes_have_index_zero_and_a_vanished_kind_a_large_one() -> None:
    assert population_stability_index({"a": 1, "b": 1}, {"a": 5, "b": 5}) == 0
    assert population_stability_index({"a": 1, "b": 1}, {"a": 2}) > 1


def test_a_failed_dbt_test_is_a_sentence_with_its_rows_and_column() -> None:
    result = NodeResult("unique_stg_x", "unique", "test", "fail", 0.1, 3, "Got 3 results", "x", "stg")
    assert dbt_check(result).reason == "3 rows of stg.x break the test unique (unique_stg_x)."


def test_a_dbt_test_that_could_not_run_fails_with_its_message() -> None:
    result = NodeResult("unique_stg_x", "unique", "test", "error", 0.1, 0, "no such table", "x", "stg")
    check = dbt_check(result)
    assert check.verdict == "failed"
    assert "could not run: no such table" in check.reason


def test_an_expectation_has_its_own_name_and_can_warn() -> None:
    result = NodeResult(
        *(
            "value_is_plausible",
            "expect_column_values_to_be_between",
            "test",
            "warn",
            0.1,
            4,
            "",
            "value",
            "stg",
        ),
        arguments={"min_value": 0},
    )
    check = dbt_check(result, n=200)
    assert (check.kind, check.name, check.verdict, check.n) == (
        "expectation",
        "value_is_plausible",
        "warned",
        200,
    )
    assert check.reason.startswith(
        "4 of 200 rows of stg.value break the test expect_column_values_to_be_between"
    )
    assert dbt_check(replace(result, status="fail")).verdict == "failed"


def test_an_expectation_that_could_not_run_is_no_result_that_a_person_could_accept() -> None:
    result = NodeResult("odd", "expect_x", "test", "error", 0.1, 0, "no such table", "x", "stg")
    assert (dbt_check(result).kind, dbt_check(result).verdict) == ("dbt", "failed")


def test_the_report_escapes_its_content_and_loads_nothing() -> None:
    check = Check(
        *("data", "volume", "shop <b>", "the days before", 800, 100, 0.1, 0.3, ">=", "failed"),
        reason="Shop <script>alert(1)</script> is silent.",
    )
    days = (("2026-01-09", 5), ("2026-01-10", 0))
    html = report([check], replace(GOOD, daily_events=days))
    assert "<script>" not in html
    assert "shop &lt;b&gt;" in html
    assert "http" not in html
    assert html.count("<rect") == 2
    assert "&gt;= 0.3" in html
    assert "800 of 100" in html


def test_the_report_names_who_sends_nonsense_and_who_sends_much() -> None:
    refusals = Refused(
        by_sender={("198.51.100.0/24", "field_invalid"): 20_000, ("192.0.2.0/24", "field_missing"): 3},
        examples={("198.51.100.0/24", "field_invalid"): "r-7", ("192.0.2.0/24", "field_missing"): "r-8"},
    )
    much = Network("0123abc", 20_000, 3, 0.95)
    measures = replace(GOOD, refused=shares(0, 2000), refusals=refusals, networks=(much,))
    html = report(data_checks(measures, thresholds()), measures)
    for said in ("198.51.100.0/24", "field_invalid", "20,000", "r-7", "0123abc", "95%"):
        assert said in html
    assert "most: network 198.51.100.0/24 field_invalid 20000" in check_of(measures, "rejected events").reason


def test_an_empty_warehouse_is_measured_without_error() -> None:
    connection = FakeConnection(
        ("MARTS.DAILY_KPIS", [(None, None, None)]),
        ("from RAW.EVENTS", []),
        ("from STAGING.STG_EVENTS", []),
        ("from RAW.LOAD_LOG", [(0,)]),
    )
    measures = measure(connection, FakeS3(), "events", "demo", NOW, trailing_days=7, judged_days=7)
    assert failed(measures) == ["freshness"]
    assert "No events yet" in report(data_checks(measures, thresholds()), measures)


@pytest.mark.parametrize(
    "change",
    [
        {"volumes": {}},
        {"rejected": {"largest_share": 2, "fewest_events": 1}},
        {"volume": {"lowest_ratio": 1.5, "highest_ratio": 3, "fewest_events_a_day": 1}},
    ],
)
def test_a_misspelt_threshold_or_one_outside_its_bounds_fails_at_start(change: dict[str, object]) -> None:
    written = msgspec.to_builtins(thresholds())
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**written, **change}, Thresholds)


def test_a_file_may_fail_for_two_weeks() -> None:
    recent = ("s3://events/raw/b.gz", NOW - timedelta(days=13))
    old = ("s3://events/raw/a.gz", NOW - timedelta(days=15))
    assert failed(replace(GOOD, unloaded_files=(recent,))) == []
    checks = data_checks(replace(GOOD, unloaded_files=(old, recent)), thresholds())
    sentence = next(check.reason for check in checks if check.name == "unloaded files")
    assert failed(replace(GOOD, unloaded_files=(old, recent))) == ["unloaded files"]
    assert sentence.startswith("2 files fail to load, the first for 15 days: s3://events/raw/a.gz.")
