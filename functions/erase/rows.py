"""Erase the person's rows in the warehouse, and make the next Transform rebuild the totals that contained them.

Statements contain the MD5 of ids, as the tables do, and never an id: Snowflake keeps their text for a year.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from functions.erase.erase import next_phase, result
from functions.erase.journal import Journal, Store, versions_below
from functions.erase.person import Person, parse_task
from functions.platform import warehouse
from functions.platform.contract import PACKED_MANIFESTS_PREFIX, RAW_PREFIX, EraseResult
from functions.platform.copy_files import RAW_KEY, copy_statement
from functions.platform.log import get_logger
from functions.platform.packed_days import read_manifest
from functions.platform.settings import EraseSettings

log = get_logger(__name__)

# Keys per statement.
CLIENTS_AT_ONCE, FILES_AT_ONCE = 500, 500
TABLE = re.compile(r"\b(?:RAW|STAGING|INTERMEDIATE|MARTS|TRAINING)\.[A-Z_]+")
RAW_CLIENT = (
    "md5(coalesce(PAYLOAD:shop_id::varchar, '') || chr(31) || PAYLOAD:client_id::varchar) in ({clients})"
)
IN_RAW = """
select distinct PAYLOAD:shop_id::varchar, PAYLOAD:client_id::varchar
from RAW.EVENTS where md5(PAYLOAD:{field}::varchar) = %s and PAYLOAD:client_id::varchar is not null
"""
IN_STAGING = "select distinct SHOP_ID, CLIENT_ID from STAGING.STG_EVENTS where md5({field}) = %s"
FILES = f"select distinct FILENAME from RAW.EVENTS where {RAW_CLIENT}"
LOADED = "select distinct FILE from RAW.LOAD_LOG where STATUS = 'LOADED'"
TIMES = """
select SHOP_ID, min(EVENT_TIME_MS), max(EVENT_TIME_MS)
from STAGING.STG_EVENTS where CLIENT_KEY in ({clients}) group by SHOP_ID
"""
EVENTS = "select EVENT_KEY from STAGING.STG_EVENTS where CLIENT_KEY in ({clients})"
BY_CLIENT, BY_EVENT = "CLIENT_KEY in ({clients})", f"EVENT_KEY in ({EVENTS})"
OTHERS_EVENT = f"EVENT_KEY not in ({EVENTS})"
DAY, STARTED_ON = "SHOP_ID || chr(31) || DAY::varchar", "SHOP_ID || chr(31) || STARTED_ON::varchar"
PRODUCT = "md5(SHOP_ID || chr(31) || ITEM_ID)"
SESSION_DAYS = f"select {STARTED_ON} from MARTS.SESSIONS where {BY_CLIENT}"
EXPOSED_ON = "SHOP_ID || chr(31) || EXPOSED_ON::varchar"
EXPOSURE_DAYS = f"select {EXPOSED_ON} from MARTS.EXPERIMENT_EXPOSURES where {BY_CLIENT}"
EXPERIMENT = "SHOP_ID || chr(31) || EXPERIMENT"
EXPERIMENTS = f"select {EXPERIMENT} from MARTS.EXPERIMENT_EXPOSURES where {BY_CLIENT}"
PRODUCTS = f"select {PRODUCT} from INTERMEDIATE.INT_ITEM_EVENTS where {BY_EVENT}"
TOUCHED = f"from INTERMEDIATE.INT_TOUCHES where {BY_EVENT}"
TOUCH_DAYS = f"select {DAY} {TOUCHED}"
ORDERS = f"select ORDER_KEY from INTERMEDIATE.INT_ORDER_REPORTS where {BY_EVENT}"


class Rebuilt(NamedTuple):
    """Totals that contain the person. Their other sources get a time that the model of the totals has not read yet.

    The next Transform then computes the totals again, from what is left.
    """

    totals: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    deleted: tuple[tuple[str, str], ...]


REBUILT = (
    Rebuilt(
        ("MARTS.DAILY_KPIS", "MARTS.DAILY_FUNNEL"),
        (("MARTS.SESSIONS", f"{STARTED_ON} in ({SESSION_DAYS}) and CLIENT_KEY not in ({{clients}})"),),
        (
            ("MARTS.DAILY_KPIS", f"{DAY} in ({SESSION_DAYS})"),
            ("MARTS.DAILY_FUNNEL", f"{DAY} in ({SESSION_DAYS}) and PART = 'sessions'"),
        ),
    ),
    Rebuilt(
        ("INTERMEDIATE.INT_PRODUCT_EVENTS",),
        (("INTERMEDIATE.INT_ITEM_EVENTS", f"{PRODUCT} in ({PRODUCTS}) and {OTHERS_EVENT}"),),
        (
            ("INTERMEDIATE.INT_PRODUCT_EVENTS", f"PRODUCT_KEY in ({PRODUCTS})"),
            # Transform writes this table anew.
            ("MARTS.PRODUCTS", f"PRODUCT_KEY in ({PRODUCTS})"),
        ),
    ),
    Rebuilt(
        ("INTERMEDIATE.INT_EXPERIMENT_DAYS",),
        (
            (
                "MARTS.EXPERIMENT_EXPOSURES",
                f"{EXPOSED_ON} in ({EXPOSURE_DAYS}) and CLIENT_KEY not in ({{clients}})",
            ),
        ),
        (
            ("INTERMEDIATE.INT_EXPERIMENT_DAYS", f"{EXPOSED_ON} in ({EXPOSURE_DAYS})"),
            # Transform writes this table anew.
            ("MARTS.EXPERIMENT_RESULTS", f"{EXPERIMENT} in ({EXPERIMENTS})"),
        ),
    ),
    # An order that others reported too, such as the shop's back end, then counts by what is left.
    Rebuilt(
        (
            "INTERMEDIATE.INT_ORDER_LINES",
            "INTERMEDIATE.INT_ORDERS",
            "INTERMEDIATE.INT_CREDITED_LINES",
            "MARTS.SESSIONS",
            "MARTS.RECOMMENDATIONS",
            "TRAINING.TRAINING_INTERACTIONS",
        ),
        (("INTERMEDIATE.INT_ORDER_REPORTS", f"ORDER_KEY in ({ORDERS}) and {OTHERS_EVENT}"),),
        (
            ("INTERMEDIATE.INT_ORDER_LINES", f"ORDER_KEY in ({ORDERS})"),
            ("INTERMEDIATE.INT_ORDERS", f"ORDER_KEY in ({ORDERS})"),
            ("INTERMEDIATE.INT_CREDITED_LINES", f"ORDER_KEY in ({ORDERS})"),
        ),
    ),
    Rebuilt(
        ("MARTS.RECOMMENDATIONS", "MARTS.DAILY_RECOMMENDATIONS", "MARTS.DAILY_FUNNEL"),
        (
            (
                "INTERMEDIATE.INT_TOUCHES",
                f"({DAY} in ({TOUCH_DAYS}) or ORDER_KEY in (select ORDER_KEY {TOUCHED})) and {OTHERS_EVENT}",
            ),
        ),
        (
            ("MARTS.RECOMMENDATIONS", f"RECOMMENDATION_KEY in (select RECOMMENDATION_KEY {TOUCHED})"),
            ("MARTS.DAILY_RECOMMENDATIONS", f"{DAY} in ({TOUCH_DAYS})"),
            ("MARTS.DAILY_FUNNEL", f"{DAY} in ({TOUCH_DAYS}) and PART != 'sessions'"),
        ),
    ),
)
# The person's own rows. STG_EVENTS is last, because the conditions of the others read it.
OWN_ROWS = (
    ("TRAINING.TRAINING_INTERACTIONS", BY_CLIENT),
    ("MARTS.SESSIONS", BY_CLIENT),
    ("MARTS.RECOMMENDATIONS_BATCH", BY_CLIENT),
    ("MARTS.CLIENT_AFFINITIES", BY_CLIENT),
    ("MARTS.EXPERIMENT_EXPOSURES", BY_CLIENT),
    ("STAGING.STG_EXPOSURES", BY_CLIENT),
    ("INTERMEDIATE.INT_TOUCHES", BY_EVENT),
    ("STAGING.STG_RECEIPTS", BY_EVENT),
    ("INTERMEDIATE.INT_ORDER_REPORTS", BY_EVENT),
    ("INTERMEDIATE.INT_ITEM_EVENTS", BY_EVENT),
    ("INTERMEDIATE.INT_SESSION_EVENTS", BY_CLIENT),
    ("STAGING.STG_EVENTS", BY_CLIENT),
)


def erase_rows(
    event: Any,
    settings: EraseSettings,
    connection: Any,
    s3: Any,
    key: str,
) -> EraseResult:
    """Work on the phase `find` or `rows` of an erasure that the Lambda `erase` began.

    Raises:
        ValueError: the event is invalid.
        StorageUnavailable: S3 did not answer, or another call works on the same person. Run the same call again.
        WarehouseUnavailable: Snowflake did not answer.
    """
    task = parse_task(event)
    store = Store(s3, settings.events_bucket, task.person.digest(key))
    journal = store.read()
    if journal is None or journal.phase not in ("find", "rows"):
        return result(store, journal)
    if journal.phase == "find":
        _find(task.person, settings, connection, store, journal)
    else:
        _erase_rows(connection, settings, store, journal)
    log.info("erasing", person=store.digest, phase=journal.phase, clients=len(journal.clients))
    return result(store, journal)


def _find(person: Person, settings: EraseSettings, connection: Any, store: Store, journal: Journal) -> None:
    """Write the person's clients, and the raw files to read: those with their rows, and those that are not loaded."""
    tables = _tables(connection)
    hashed = hashlib.md5(person.id.encode(), usedforsecurity=False).hexdigest()
    found = warehouse.rows(connection, IN_RAW.format(field=f"{person.kind}_id"), (hashed,))
    if "STAGING.STG_EVENTS" in tables:
        found += warehouse.rows(connection, IN_STAGING.format(field=f"{person.kind.upper()}_ID"), (hashed,))
    clients = {(str(shop or ""), str(client)) for shop, client in found if person.shop in (None, shop)}
    journal.clients = sorted({(shop, client) for shop, client in journal.clients} | clients)
    journal.clients_searched = len(journal.clients)
    theirs = {str(name) for (name,) in _for_clients(connection, FILES, journal)}
    if "STAGING.STG_EVENTS" in tables:
        for shop, first, last in _for_clients(connection, TIMES, journal):
            known = journal.times.get(shop, (first, last))
            journal.times[shop] = (min(int(first), known[0]), max(int(last), known[1]))
    loaded = {_key(str(file)) for (file,) in warehouse.rows(connection, LOADED)}
    store.write_files(sorted(theirs | set(_not_loaded(store, loaded))))
    next_phase(store, journal, "discover" if person.kind == "user" else "raw")


def _key(file: str) -> str:
    """Return the key of a file in the load log, whose address starts with the bucket or below the stage."""
    _, found, rest = f"/{file}".partition(f"/{RAW_PREFIX}")
    return RAW_PREFIX + (rest if found else file)


def _not_loaded(store: Store, loaded: set[str]) -> Iterator[str]:
    """Yield each key below raw/ and in packed days with content that was never loaded: a new file, or a replaced one."""
    for stored in versions_below(store.s3, store.bucket, RAW_PREFIX):
        # A deleted file has a delete marker besides its content.
        replaced = len(stored.versions) > (1 if stored.current is not None else 2)
        if replaced or stored.key not in loaded:
            yield stored.key
    for stored in versions_below(store.s3, store.bucket, PACKED_MANIFESTS_PREFIX):
        day = stored.key.removeprefix(PACKED_MANIFESTS_PREFIX).removesuffix(".json")
        yield from read_manifest(store.s3, store.bucket, day)[0].by_key().keys() - loaded


def _erase_rows(connection: Any, settings: EraseSettings, store: Store, journal: Journal) -> None:
    tables = _tables(connection)
    if not journal.rows_counted:
        for table, condition in (("RAW.EVENTS", RAW_CLIENT), *OWN_ROWS):
            if _needed(condition, table) <= tables:
                counted = _for_clients(connection, f"select count(*) from {table} where {condition}", journal)
                journal.count(f"{table} rows", sum(int(count) for (count,) in counted))
        journal.rows_counted = True
        store.write(journal)
    _change(connection, journal, f"delete from RAW.EVENTS where {RAW_CLIENT}")
    _load_again(connection, settings, store, journal)
    for rebuilt in REBUILT:
        _mark_unread(connection, journal, rebuilt, tables)
    for table, condition in (*(one for rebuilt in REBUILT for one in rebuilt.deleted), *OWN_ROWS):
        if _needed(condition, table) <= tables:
            _change(connection, journal, f"delete from {table} where {condition}")
    next_phase(store, journal, "snapshots")


def _load_again(connection: Any, settings: EraseSettings, store: Store, journal: Journal) -> None:
    """Replace the rows of rewritten files by the files' rows.

    Snowflake loads a file with another checksum again. Without this, the next load would add a second row per line.
    """
    present = [key for key in journal.rewritten if RAW_KEY.fullmatch(key)]
    for start in range(0, len(present), FILES_AT_ONCE):
        keys = present[start : start + FILES_AT_ONCE]
        # The first error of a file that does not load can quote the line.
        addresses = [
            address
            for key in keys
            for address in (f"s3://{store.bucket}/{key}", key.removeprefix(RAW_PREFIX))
        ]
        named = _among("FILE", addresses)
        _execute(
            connection,
            f"update RAW.LOAD_LOG set FIRST_ERROR = null where {named} and FIRST_ERROR is not null",
            tuple(addresses),
        )
        found = warehouse.rows(
            connection,
            f"select distinct FILENAME from RAW.EVENTS where {_among('FILENAME', keys)}",
            tuple(keys),
        )
        if again := sorted(str(name) for (name,) in found):
            _execute(connection, f"delete from RAW.EVENTS where {_among('FILENAME', again)}", tuple(again))
            names = ", ".join(f"'{key.removeprefix(RAW_PREFIX)}'" for key in again)
            _execute(connection, copy_statement(files=f"files = ({names})\nforce = true\n"))


def _among(column: str, values: Sequence[str]) -> str:
    """Return the condition that a column has one of the values, which are bound later."""
    return f"{column} in ({', '.join(['%s'] * len(values))})"


def _mark_unread(connection: Any, journal: Journal, rebuilt: Rebuilt, tables: set[str]) -> None:
    """Set the sources' time just after the last time that the totals' models have read."""
    if not (set(rebuilt.totals) | {"INTERMEDIATE.PROGRESS"}) <= tables:
        return
    names = ", ".join(f"'{table.partition('.')[2].lower()}'" for table in rebuilt.totals)
    newest = " union all ".join(f"select max(STAGED_AT) as T from {table}" for table in rebuilt.totals)
    newest += f" union all select max(READ_UNTIL) as T from INTERMEDIATE.PROGRESS where MODEL in ({names})"
    read_until: datetime | None = warehouse.rows(connection, f"select max(T) from ({newest}) as times")[0][0]
    if read_until is None:
        return
    unread = (read_until + timedelta(milliseconds=1)).isoformat(sep=" ")
    for table, condition in rebuilt.sources:
        if _needed(condition, table) <= tables:
            _change(
                connection,
                journal,
                f"update {table} set STAGED_AT = '{unread}'::timestamp_ntz where {condition}",
            )


def _needed(condition: str, table: str) -> set[str]:
    return {table, *TABLE.findall(condition)}


def _tables(connection: Any) -> set[str]:
    """Return the tables that exist: before the first Transform, few do."""
    found = warehouse.rows(connection, "select TABLE_SCHEMA, TABLE_NAME from INFORMATION_SCHEMA.TABLES")
    return {f"{schema}.{name}" for schema, name in found}


def _client_keys(journal: Journal) -> Iterator[list[str]]:
    """Yield the clients' keys as the staging models compute them, some at a time."""
    keys = [
        hashlib.md5(f"{shop}\x1f{client}".encode(), usedforsecurity=False).hexdigest()
        for shop, client in journal.clients
    ]
    for start in range(0, len(keys), CLIENTS_AT_ONCE):
        yield keys[start : start + CLIENTS_AT_ONCE]


def _for_clients(connection: Any, sql: str, journal: Journal) -> list[tuple[Any, ...]]:
    found = []
    for keys in _client_keys(journal):
        statement = sql.replace("{clients}", ", ".join(["%s"] * len(keys)))
        found += warehouse.rows(connection, statement, tuple(keys) * sql.count("{clients}"))
    return found


def _change(connection: Any, journal: Journal, sql: str) -> None:
    for keys in _client_keys(journal):
        statement = sql.replace("{clients}", ", ".join(["%s"] * len(keys)))
        _execute(connection, statement, tuple(keys) * sql.count("{clients}"))


def _execute(connection: Any, sql: str, parameters: tuple[Any, ...] = ()) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
