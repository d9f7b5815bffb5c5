"""The rows that a night scans: they follow the day's events, not the history before it."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from functions.export.export import export
from functions.load.load import load
from functions.platform import warehouse
from functions.transform.transform import transform
from functions.validate.validate import validate
from local import environment
from local.ports import free_port_base
from local.testing import running_stack
from testing.warehouse_stack import Stack, connected, connected_as_sysadmin, stack_maker, tables_as_text
from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, deliver
from tests.integration.warehouse.shop_days import day_events, delivery
from tests.integration.warehouse.test_experiments import TABLES as EXPERIMENT_TABLES
from tests.integration.warehouse.test_pipeline import run_to_tables

LARGEST_GROWTH = 1.2
DAY_20_MS = MIDNIGHT_MS + 19 * DAY_MS


class Nights:
    """Runs nights of one shop, and reads what each step scanned."""

    def __init__(self, make: Callable[[str], Stack], scans: Path) -> None:
        self.make = make
        # The window of training is full on day 2.
        made = make("nights")
        self.stack = replace(made, settings=structs.replace(made.settings, training_days=2))
        self._scans = scans
        self._played = False

    def play(
        self,
        first_day: int,
        last_day: int,
        later_days: int = 1,
        measured: tuple[str, ...] = (),
        validated: bool = True,
    ) -> dict[str, list[dict[str, Any]]]:
        """Deliver these days and run one night, `later_days` after the last one.

        Export leaves nothing that a later night reads, so it runs only if it is `measured`. Validate leaves the time
        until which the rows are tested, so it is needed on the night before one in which it is measured.

        Returns:
            The scans of each measured step.
        """
        self._age(later_days)
        night = f"n{last_day}"
        deliver(self.stack.s3, self.stack.settings.events_bucket, night, delivery(first_day, last_day))
        scanned = {}
        with connected(self.stack) as connection:
            load({"run_id": night}, self.stack.settings, connection)
            scanned["load"] = self._new()
        transform({"run_id": night}, self.stack.settings, self.stack.credentials)
        scanned["transform"] = self._new()
        with connected(self.stack) as connection:
            if validated:
                validate(
                    {"run_id": night}, self.stack.settings, self.stack.credentials, connection, self.stack.s3
                )
            scanned["validate"] = self._new()
            if "export" in measured:
                export({"run_id": night}, self.stack.settings, connection, self.stack.s3)
                scanned["export"] = self._new()
        self._played = True
        return {step: scanned[step] for step in measured}

    def _age(self, days: int) -> None:
        """Date what was loaded before back, as if these days had passed."""
        columns = (
            ("RAW.EVENTS", "LOADED_AT"),
            ("STAGING.STG_EVENTS", "LOADED_AT"),
            ("STAGING.STG_RECEIPTS", "LOADED_AT"),
            ("STAGING.STG_EXPOSURES", "LOADED_AT"),
            ("INTERMEDIATE.INT_SESSION_EVENTS", "LOADED_AT"),
            ("MARTS.SESSIONS", "LOADED_AT"),
            ("MARTS.DAILY_KPIS", "LOADED_AT"),
        )
        if not self._played:
            return
        with connected_as_sysadmin(self.stack) as connection:
            for table, column in columns:
                warehouse.rows(connection, f"update {table} set {column} = dateadd('day', -{days}, {column})")
            warehouse.rows(
                connection,
                f"update INTERMEDIATE.PROGRESS set READ_UNTIL = dateadd('day', -{days}, READ_UNTIL) "
                "where MODEL in ('stg_events', 'stg_receipts', 'stg_exposures')",
            )
        self._new()

    def _new(self) -> list[dict[str, Any]]:
        """Return the scans since the last call."""
        lines = self._scans.read_text().splitlines() if self._scans.exists() else []
        self._scans.write_text("")
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Run a local stack that counts scans."""
    state = tmp_path_factory.mktemp("nights")
    stack = environment.Stack(free_port_base(), state)
    with running_stack(stack.state, stack.port_base, scans=state / "scans.jsonl"):
        yield Nights(stack_maker(stack), state / "scans.jsonl")


def rows(scans: list[dict[str, Any]]) -> int:
    return sum(scan["rows"] for scan in scans)


def largest(scans: list[dict[str, Any]]) -> str:
    """Return the statements that scan most, for the message of a failure."""
    most = sorted(scans, key=lambda scan: -int(scan["rows"]))[:12]
    return "\n".join(
        f"{scan['rows']:>9} {scan['tables']} {' '.join(scan['sql'].split())[:300]}" for scan in most
    )


@pytest.mark.timeout(900)
def test_a_night_scans_as_much_on_day_30_as_on_day_2(nights: Nights) -> None:
    nights.play(1, 1, validated=False)
    second = nights.play(2, 2, measured=("load", "transform", "export"), validated=False)
    nights.play(3, 9)
    tenth = nights.play(10, 10, measured=("transform", "validate"))
    nights.play(11, 28, validated=False)
    # The events of many days that were loaded at once must not count as loaded lately.
    nights.play(29, 29, later_days=8)
    thirtieth = nights.play(30, 30, measured=("load", "transform", "validate", "export"))
    # Validate compares a day with the seven days before, and the outcome of an exposure takes seven days. These windows
    # are full on day 10.
    earlier = {"load": second, "transform": tenth, "validate": tenth, "export": second}
    new = len(delivery(30, 30))
    for step, before in earlier.items():
        allowed = LARGEST_GROWTH * rows(before[step]) + new
        assert rows(thirtieth[step]) <= allowed, (
            f"{step} scanned {rows(thirtieth[step])} rows on day 30, {rows(before[step])} before:\n"
            + largest(thirtieth[step])
        )
    assert rows(second["transform"]) > new, "the scans were not counted"


def test_any_order_of_delivery_gives_the_tables_of_a_full_refresh(nights: Nights) -> None:
    """Few visitors have many sessions, which late events join. Some events come again, later.

    Most events of days 1 to 3 come after day 20 began, beyond the window of training. At last, day 3 is replayed as a whole.
    Day 20 comes from a network that is new, so the sample that is exported has a part of it.
    """
    made = nights.make("order")
    stack = replace(made, settings=structs.replace(made.settings, training_days=7))
    days = {day: day_events(day, sessions=60, visitors=12) for day in (1, 2, 3, 18, 19, 20)}
    for event in days[20]:
        event["server"]["ip_prefix"] = "198.51.100.0/24"
    events = [event for of_day in days.values() for event in of_day]
    draw = random.Random(7)
    draw.shuffle(events)
    parts = [events[: len(events) // 2], events[len(events) // 2 : -40], events[-40:] + days[3]]
    for number, part in enumerate(parts):
        again = draw.sample(events, 50)
        deliver(stack.s3, stack.settings.events_bucket, f"part-{number}", part + again)
        tables = run_to_tables(stack, f"o{number}")
    assert len(tables["sessions"]) > 100
    assert sum(int(row[4]) for row in tables["daily_kpis"]) == len(events)
    starts = {int(row[2]) for row in tables["training_interactions"]}
    assert starts
    assert min(starts) > MIDNIGHT_MS + 12 * DAY_MS
    sampled = sample(stack)
    sessions = [
        {(row[1], row[2]) for row in tables["training_interactions"] if is_new == (int(row[2]) >= DAY_20_MS)}
        for is_new in (False, True)
    ]
    assert len({row[0] for row in sampled if row[3]}) == len(sessions[0]) + 30
    assert len(sessions[1]) > 30
    tested = tables_as_text(stack, EXPERIMENT_TABLES)
    assert len(tested["exposures"]) == 12
    assert tables == run_to_tables(stack, "full", full_refresh=True)
    assert sampled == sample(stack)
    assert tested == tables_as_text(stack, EXPERIMENT_TABLES)


def sample(stack: Stack) -> list[Any]:
    with connected(stack) as connection:
        return warehouse.rows(
            connection,
            "select SESSION_KEY, POSITION, ITEM_ID, NETWORK_KEY from TRAINING.TRAINING_SAMPLE order by 1, 2",
        )
