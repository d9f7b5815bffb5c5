"""Read the lists and the affinities of a shop's newest batch, row by row, and write them as CSV."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

from deploy.command import DeployError
from deploy.stages import Stage
from deploy.warehouse_setup import connection, setup_parameters
from functions.platform import warehouse

# One row per item. The lists of a client are adjacent, best item first.
LISTS = """
    select USER_ID, CLIENT_ID, ITEM_RANK, ITEM_ID
    from MARTS.RECOMMENDATIONS_BATCH
    where SHOP_ID = %s and (USER_ID is not null or not %s)
    {of_users}
    order by CLIENT_KEY, ITEM_RANK
"""
# A person with a phone and a laptop is two clients. The list of the client that was active last counts.
ONE_PER_USER = (
    "qualify dense_rank() over (partition by USER_ID order by LAST_EVENT_TIME_MS desc, CLIENT_KEY) = 1"
)
SEGMENT = """
    select USER_ID, CLIENT_ID, ITEM_ID, SCORE, LAST_EVENT_TIME_MS
    from MARTS.CLIENT_AFFINITIES
    where SHOP_ID = %s and ITEM_ID in ({items}) and (USER_ID is not null or not %s)
    qualify row_number() over (partition by {person} order by SCORE desc, CLIENT_KEY, ITEM_ID) = 1
    order by SCORE desc, CLIENT_KEY
    limit %s
"""
ABOUT = """
    select max(MADE_AT_MS), max(MODEL_VERSION), max(RUN_ID), count(distinct CLIENT_KEY)
    from MARTS.CLIENT_AFFINITIES
    where SHOP_ID = %s
"""


class NoBatch(DeployError):
    """There are no lists. The message ends with the next step."""


class About(NamedTuple):
    """The newest batch of a shop."""

    made_at: datetime
    model_version: str
    run_id: str
    clients: int

    def __str__(self) -> str:
        """Return one line."""
        return f"batch {self.run_id} of {self.made_at:%Y-%m-%d %H:%M} UTC: {self.clients:,} clients, model {self.model_version}"


@contextmanager
def reader(stage: Stage, account_id: str, secrets: Any) -> Iterator[Any]:
    """Connect under the role that only reads the marts, on the warehouse of people.

    Raises:
        NoBatch: Snowflake refuses the statement or the login.
    """
    from snowflake.connector.errors import Error

    login = warehouse.read_credentials(secrets, stage.secret_name)
    values = setup_parameters(stage, account_id, login)
    role = f"{values['prefix']}_READER"
    try:
        with connection(replace(login, role=role, warehouse=values["reader_warehouse"])) as connected:
            yield connected
    except Error as error:
        raise NoBatch(
            f"user {login.user} cannot read the lists as {role}: {error.msg}\nmake deploy STAGE={stage.name} creates the "
            f"tables, and make batch STAGE={stage.name} fills them"
        ) from error


def about(connected: Any, shop_id: str, stage: Stage) -> About:
    """Return the newest batch of a shop.

    Raises:
        NoBatch: there is none.
    """
    made_at_ms, version, run_id, clients = warehouse.one(connected, ABOUT, (shop_id,))
    if made_at_ms is None:
        raise NoBatch(f"shop {shop_id} has no batch: make batch STAGE={stage.name} SHOP={shop_id}")
    return About(datetime.fromtimestamp(int(made_at_ms) / 1000, UTC), version, run_id, int(clients))


def lists(connected: Any, shop_id: str, users_only: bool) -> Iterator[list[str]]:
    """Yield the user, the client and the items of each list.

    With `users_only`, the clients that never signed in are left out, and a user has one list.
    """
    query = LISTS.format(of_users=ONE_PER_USER if users_only else "")
    rows = warehouse.stream(connected, query, (shop_id, users_only))
    for (user, client), items in groupby(rows, lambda row: (row[0], row[1])):
        yield [user or "", client, *(str(item) for _, _, _, item in items)]


def segment(
    connected: Any, shop_id: str, items: Sequence[str], k: int, users_only: bool
) -> Iterator[list[str]]:
    """Yield the `k` clients with the highest score for one of the items, best first.

    With `users_only`, the clients that never signed in are left out, and a user counts once, with the best of the user's clients.
    """
    person = "USER_ID" if users_only else "CLIENT_KEY"
    query = SEGMENT.format(items=", ".join(["%s"] * len(items)), person=person)
    for user, client, item, score, last_ms in warehouse.stream(
        connected, query, (shop_id, *items, users_only, k)
    ):
        seen = datetime.fromtimestamp(int(last_ms) / 1000, UTC).isoformat(timespec="seconds")
        yield [user or "", client, item, f"{float(score):.6f}", seen]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write rows as CSV, and return their number. The file has its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        count = write_rows(file, header, rows)
    partial.replace(path)
    return count


def write_rows(file: IO[str], header: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write a header and rows, and return the number of rows."""
    writer = csv.writer(file)
    writer.writerow(header)
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return count
