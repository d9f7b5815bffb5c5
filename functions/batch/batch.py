"""Batch, its last step: replace the lists of a shop in the warehouse by those of a run, all of them or none."""

from typing import Any, TypedDict

from functions.platform import warehouse
from functions.platform.contract import BATCH_PREFIX, BatchResult
from functions.platform.log import get_logger
from functions.platform.s3_keys import AFFINITIES, ANSWERS, batch_prefix, delete_below
from functions.platform.settings import WarehouseSettings

log = get_logger(__name__)

LISTS, SCORED = "MARTS.RECOMMENDATIONS_BATCH", "MARTS.CLIENT_AFFINITIES"
# FORCE: after a try whose rows were rolled back, Snowflake must not remember its files as loaded.
COPY = """
copy into {table} from @TRAINING.BATCH/{path}
file_format = (type = parquet) match_by_column_name = case_insensitive force = true
"""
LOADED = "select count(*), count(distinct CLIENT_KEY) from {table} where SHOP_ID = %s and RUN_ID = %s"


class BatchEvent(TypedDict):
    """The run, its shop, and the counts that its earlier steps returned."""

    run_id: str
    shop_id: str
    clients: int
    answered: int
    rows: int
    affinities: int
    model_version: str


class BatchIncomplete(Exception):
    """The files of the batch do not have what the earlier steps counted. The tables keep the batch before."""


def batch(event: BatchEvent, settings: WarehouseSettings, connection: Any, s3: Any) -> BatchResult:
    """Load the answers and the affinities of a run, then delete the files of the shop's batches.

    The rows of the run replace those of the batch before in one transaction, so it can be repeated.

    Raises:
        BatchIncomplete: a count differs from that of the earlier steps.
    """
    shop_id, run_id = event["shop_id"], event["run_id"]
    prefix = batch_prefix(shop_id, run_id)
    if event["answered"] != event["clients"]:
        raise BatchIncomplete(
            f"the histories have {event['clients']} clients and {event['answered']} were answered: make batch again"
        )
    wanted = (event["rows"], event["affinities"])
    # A retry after the commit finds the rows, and maybe no file. Without any row, the lists of the batch before must still go.
    if wanted == (0, 0) or _loaded(connection, event)[:2] != wanted:
        warehouse.rows(connection, "begin")
        try:
            _replace(connection, LISTS, ANSWERS, event, prefix)
            _replace(connection, SCORED, AFFINITIES, event, prefix)
            rows, affinities, _ = _loaded(connection, event)
            if (rows, affinities) != wanted:
                raise BatchIncomplete(
                    f"{rows} rows of lists and {affinities} of affinities were loaded, {event['rows']} and "
                    f"{event['affinities']} were written below s3://{settings.models_bucket}/{prefix}: make batch again"
                )
        except BaseException:
            warehouse.rows(connection, "rollback")
            raise
        warehouse.rows(connection, "commit")
    rows, affinities, clients = _loaded(connection, event)
    # The tables are what is kept. A file less is one place less to erase a person from.
    delete_below(s3, settings.models_bucket, f"{BATCH_PREFIX}{shop_id}/")
    log.info("batch loaded", shop=shop_id, clients=clients, rows=rows, affinities=affinities)
    return {
        "run_id": run_id,
        "shop_id": shop_id,
        "clients": clients,
        "rows": rows,
        "affinities": affinities,
        "model_version": event["model_version"],
    }


def _replace(connection: Any, table: str, folder: str, event: BatchEvent, prefix: str) -> None:
    """Replace the rows of the shop."""
    warehouse.rows(connection, f"delete from {table} where SHOP_ID = %s", (event["shop_id"],))
    path = f"{prefix.partition('/')[2]}{folder}"
    warehouse.rows(connection, COPY.format(table=table, path=path))


def _loaded(connection: Any, event: BatchEvent) -> tuple[int, int, int]:
    """Return the rows of lists, the rows of affinities, and the clients with a list, of the run."""
    whose = (event["shop_id"], event["run_id"])
    rows, clients = warehouse.one(connection, LOADED.format(table=LISTS), whose)
    affinities, _ = warehouse.one(connection, LOADED.format(table=SCORED), whose)
    return int(rows), int(affinities), int(clients)
