"""Find up to ten rows behind each check that failed or warned, each with the address of its raw line on S3.

The event_key or the session_key of a row leads to an event, and the event to the line of RAW.EVENTS that staging took.
The queries run only for such a check, and their bounds are constants. No id of a person is shown.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from functions.platform import warehouse
from functions.platform.contract import EVENTS_WITH_ITEMS
from functions.platform.dbt import NodeResult
from functions.validate.data_checks import EXPECTATION
from functions.validate.measures import DAY_MS, Measures
from functions.validate.rules import Check
from functions.validate.summary import FailingRow

SHOWN_ROWS = 10
# dbt's own tests select one column or a count. These conditions select the whole rows.
ROWS_OF_TEST = {
    "not_null": "{column} is null",
    "unique": "{column} in (select unique_field from ({compiled}) as found)",
    "accepted_values": "{column} in (select value_field from ({compiled}) as found)",
    "relationships": "{column} in (select from_field from ({compiled}) as found)",
}
# The filter that sql/macros/new_rows.sql puts around the tested table.
TESTED_TABLE = re.compile(r"\(select \* from .+? where .+?\) as dbt_subquery", re.DOTALL)

EVENTS = """
    select EVENT_KEY, EVENT_ID, EVENT_NAME, EVENT_TIME_MS, ITEMS[0]:item_id::varchar, LOADED_AT
    from STAGING.STG_EVENTS
    where EVENT_KEY in ({keys}) and EVENT_TIME_MS >= %s and EVENT_TIME_MS <= %s
"""
# The first line with the content that staging kept. The times are constants: Snowflake skips micro-partitions by them.
LINES = """
    select events.EVENT_KEY, min(lines.FILENAME || ' ' || lpad(lines.ROW_NUMBER::varchar, 12, '0'))
    from STAGING.STG_EVENTS as events
    inner join RAW.EVENTS as lines
        on
            lines.LOADED_AT = events.LOADED_AT
            and lines.PAYLOAD:shop_id::varchar = events.SHOP_ID
            and lines.PAYLOAD:client_id::varchar = events.CLIENT_ID
            and lines.PAYLOAD:event_name::varchar = events.EVENT_NAME
            and lines.PAYLOAD:event_id::varchar = events.EVENT_ID
            and coalesce(lines.PAYLOAD:value::float, 0) = coalesce(events.VALUE, 0)
    where
        events.EVENT_KEY in ({keys}) and events.EVENT_TIME_MS >= %s and events.EVENT_TIME_MS <= %s
        and lines.LOADED_AT >= %s and lines.LOADED_AT <= %s
    group by 1
"""
FIRST_EVENTS = """
    select SESSION_KEY, EVENT_KEY, EVENT_TIME_MS
    from INTERMEDIATE.INT_SESSION_EVENTS
    where SESSION_KEY in ({keys}) and EVENT_NUMBER = 1 {bounds}
"""
# Each names the key of an event and its time.
OF_NEWEST_DAY = """
    select EVENT_KEY, EVENT_TIME_MS
    from STAGING.STG_EVENTS
    where SHOP_ID = %s and not IS_BOT and EVENT_TIME_MS > %s and EVENT_TIME_MS <= %s and {condition}
    order by EVENT_TIME_MS desc
    limit 10
"""
OTHER_CURRENCIES = """
    select EVENT_KEY, ORDER_TIME_MS as EVENT_TIME_MS
    from INTERMEDIATE.INT_ORDERS
    where SHOP_ID = %s and ORDER_TIME_MS > %s and ORDER_TIME_MS <= %s and not IS_SHOP_CURRENCY and IS_TRUSTED
    order by ORDER_TIME_MS desc
    limit 10
"""
RAW_FIELDS = """
    select
        FILENAME, ROW_NUMBER, PAYLOAD:event_id::varchar, PAYLOAD:event_name::varchar,
        coalesce(PAYLOAD:server.event_time_ms::bigint, PAYLOAD:server.received_at_ms::bigint),
        PAYLOAD:items[0].item_id::varchar
    from RAW.EVENTS
    where LOADED_AT > %s and PAYLOAD:shop_id::varchar = %s
"""
UNUSABLE = (
    RAW_FIELDS
    + """
        and (
            PAYLOAD:event_id is null or PAYLOAD:client_id is null or PAYLOAD:event_name is null
            or coalesce(PAYLOAD:server.event_time_ms::bigint, PAYLOAD:server.received_at_ms::bigint) is null
        )
    order by LOADED_AT desc, FILENAME, ROW_NUMBER
    limit 10
"""
)
REPEATED = (
    RAW_FIELDS
    + """
    qualify row_number() over (
        partition by PAYLOAD:client_id::varchar, PAYLOAD:event_name::varchar, PAYLOAD:event_id::varchar
        order by LOADED_AT, FILENAME, ROW_NUMBER
    ) = 2
    order by LOADED_AT desc, FILENAME, ROW_NUMBER
    limit 10
"""
)

ABOUT_ITEMS = "EVENT_NAME in ({})".format(", ".join(f"'{name}'" for name in EVENTS_WITH_ITEMS))
# The events of the newest day that break a data check. Totals, such as the volume, have no such rows.
CONDITIONS = {
    "missing items": f"{ABOUT_ITEMS} and coalesce(array_size(ITEMS), 0) = 0",
    "missing storefront_session_id": "STOREFRONT_SESSION_ID is null",
    "missing device": "DEVICE is null",
    "lost price": f"{ABOUT_ITEMS} and coalesce(ITEMS[0]:price::float, 0) <= 0",
    "lost value": "EVENT_NAME = 'purchase' and coalesce(VALUE, 0) <= 0",
    "lost currency": "EVENT_NAME = 'purchase' and CURRENCY is null",
}


def of_test(connection: Any, bucket: str, result: NodeResult) -> list[FailingRow]:
    """Return the first rows that break a test of the dbt project."""
    sql = _rows_of_test(result)
    if sql is None:
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} limit {SHOWN_ROWS}")
        names = [column[0].lower() for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return _located(connection, bucket, rows, result.column)


def judged_rows(connection: Any, result: NodeResult) -> int:
    """Return the number of rows that a test judged, or 0 if its statement does not show them."""
    table = TESTED_TABLE.search(result.compiled)
    return int(warehouse.one(connection, f"select count(*) from {table[0]}")[0]) if table else 0


def of_data_check(
    connection: Any, bucket: str, check: Check, measures: Measures, since: datetime
) -> list[FailingRow]:
    """Return the first rows that break a data check. `since` bounds the loads, without a time zone."""
    shop_id = measures.shop_id
    if check.name == "rejected events":
        return list(measures.refusals.rows)
    if check.name == "unloaded files":
        return [
            FailingRow(file, at=_time(failed_at)) for file, failed_at in measures.unloaded_files[:SHOWN_ROWS]
        ]
    if check.name in ("unusable rows", "repeated rows"):
        sql = UNUSABLE if check.name == "unusable rows" else REPEATED
        return [
            FailingRow(f"s3://{bucket}/{file}", int(line), event_id, name, item, _time_of_ms(at_ms))
            for file, line, event_id, name, at_ms, item in warehouse.rows(connection, sql, (since, shop_id))
        ]
    if measures.shop is None or check.name not in (*CONDITIONS, "other currencies"):
        return []
    newest_ms = int(measures.shop.newest_at.timestamp() * 1000)
    sql, days = OTHER_CURRENCIES, 7
    if check.name in CONDITIONS:
        sql, days = OF_NEWEST_DAY.format(condition=CONDITIONS[check.name]), 1
    found = warehouse.rows(connection, sql, (shop_id, newest_ms - days * DAY_MS, newest_ms))
    return _located(
        connection, bucket, [{"event_key": key, "event_time_ms": at_ms} for key, at_ms in found], ""
    )


def _rows_of_test(result: NodeResult) -> str | None:
    """Return the query for the rows that break a test."""
    compiled = result.compiled.strip().rstrip(";")
    if not compiled:
        return None
    if result.check.startswith(EXPECTATION) or result.check not in ROWS_OF_TEST:
        return f"select * from ({compiled}) as broken"
    table = TESTED_TABLE.search(compiled)
    if table is None:
        return None
    condition = ROWS_OF_TEST[result.check].format(column=result.column, compiled=compiled)
    return f"select * from {table[0]} where {condition}"


def _located(connection: Any, bucket: str, rows: Sequence[dict[str, Any]], column: str) -> list[FailingRow]:
    """Return the rows with the events and the raw lines that they come from."""
    _add_first_events(connection, rows)
    keys = [row["event_key"] for row in rows if row.get("event_key")]
    times = [int(row["event_time_ms"]) for row in rows if row.get("event_time_ms") is not None]
    # Without a time in each row, the events of all times are searched.
    first_ms, last_ms = (min(times), max(times)) if len(times) == len(rows) else (-(2**53), 2**53)
    events = {
        key: (event_id, name, at_ms, item, loaded_at)
        for key, event_id, name, at_ms, item, loaded_at in _by_keys(
            connection, EVENTS, keys, first_ms, last_ms
        )
    }
    lines: dict[str, tuple[str, int]] = {}
    if events:
        loads = [loaded_at for *_, loaded_at in events.values()]
        # The connector returns microseconds, and the table has nanoseconds.
        bounds = (first_ms, last_ms, min(loads), max(loads) + timedelta(microseconds=1))
        for key, address in _by_keys(connection, LINES, list(events), *bounds):
            file, _, line = address.rpartition(" ")
            lines[key] = (file, int(line))
    return [_failing_row(bucket, row, column, events, lines) for row in rows]


def _failing_row(
    bucket: str,
    row: dict[str, Any],
    column: str,
    events: dict[str, tuple[Any, ...]],
    lines: dict[str, tuple[str, int]],
) -> FailingRow:
    key = row.get("event_key")
    event_id, name, at_ms, item, _ = events.get(
        str(key), (None, row.get("event_name"), row.get("event_time_ms"), None, None)
    )
    file, line = lines.get(str(key), (row.get("filename"), row.get("line_number")))
    if file is None and row.get("catalogue_row_key"):
        file, _, line = str(row["catalogue_row_key"]).rpartition("-")
        at_ms = row.get("imported_at_ms")
    value = row.get(column.lower()) if column else None
    # A text can name a person. The raw line has it.
    note = (
        f"{column} = {value:g}"
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
        else None
    )
    if column and column.lower() in row and value is None:
        note = f"{column} is null"
    return FailingRow(
        file=f"s3://{bucket}/{file}" if file else None,
        line=int(line) if line is not None else None,
        event_id=event_id,
        event_name=name,
        item_id=row.get("item_id") or item,
        at=_time_of_ms(at_ms),
        note=note,
    )


def _add_first_events(connection: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Add the first event of its session to each row that has a session and no event."""
    sessions = [row for row in rows if row.get("session_key") and not row.get("event_key")]
    if not sessions:
        return
    starts = [row["started_at_ms"] for row in sessions if row.get("started_at_ms") is not None]
    bounds, parameters = "", [row["session_key"] for row in sessions]
    if len(starts) == len(sessions):
        bounds = "and EVENT_TIME_MS >= %s and EVENT_TIME_MS <= %s"
        # An event that a browser numbered first may have a later time than another one.
        parameters += [min(starts), max(row.get("ended_at_ms") or row["started_at_ms"] for row in sessions)]
    sql = FIRST_EVENTS.format(keys=", ".join(["%s"] * len(sessions)), bounds=bounds)
    found = {key: (event, at_ms) for key, event, at_ms in warehouse.rows(connection, sql, tuple(parameters))}
    for row in sessions:
        if row["session_key"] in found:
            row["event_key"], row["event_time_ms"] = found[row["session_key"]]


def _by_keys(connection: Any, sql: str, keys: Sequence[str], *bounds: Any) -> list[tuple[Any, ...]]:
    if not keys:
        return []
    return warehouse.rows(connection, sql.format(keys=", ".join(["%s"] * len(keys))), (*keys, *bounds))


def _time_of_ms(at_ms: Any) -> str | None:
    # Years outside 1 to 9999 have no date. The raw line has the number.
    if at_ms is None or not -62_135_596_800_000 <= int(at_ms) <= 253_402_300_799_999:
        return None
    return _time(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(at_ms)))


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
