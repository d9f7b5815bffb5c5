"""The shifted clock: statements and defaults of columns use it, and a second shift replaces the first."""

from datetime import timedelta

import duckdb

from local.warehouse.clock import Shifted, shift_defaults

DAY_S = 86_400


def test_statements_and_defaults_use_the_shifted_time() -> None:
    machine = duckdb.connect()
    machine.execute("SET TimeZone = 'UTC'")
    machine.execute("CREATE TABLE T (A INTEGER, B TIMESTAMP DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'))")
    for days in (-30, -29):
        shift_defaults(machine, days * DAY_S)
        machine.execute("INSERT INTO T (A) VALUES (?)", [days])
        now = Shifted(machine, days * DAY_S).execute("SELECT CURRENT_TIMESTAMP AT TIME ZONE 'UTC'").fetchone()
        behind = machine.execute(
            "SELECT (now() AT TIME ZONE 'UTC') - B, (now() AT TIME ZONE 'UTC') - ? FROM T WHERE A = ?",
            [now[0], days],
        ).fetchone()
        assert behind is not None
        for each in behind:
            assert abs(each - timedelta(days=-days)) < timedelta(minutes=1)
