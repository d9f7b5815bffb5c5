"""The shop's rules, catalogue and fallback for the candidates of a batch: what /recommend makes of the endpoint's answer.

A training job scores the candidates with the code of the endpoint (training_jobs/batch.py). This step runs the code of
/recommend behind it, so both give a client the same list.
"""

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NotRequired, TypedDict

from botocore.exceptions import BotoCoreError, ClientError

from functions.platform.contract import (
    BATCH_MANIFEST,
    CANDIDATE_COLUMNS,
    HISTORY_COLUMNS,
    PLACEMENTS,
    RECOMMEND_K_MAX,
    AnswersResult,
)
from functions.platform.errors import StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.refreshed import Refreshed
from functions.platform.s3_keys import AFFINITIES, ANSWERS, CANDIDATES, batch_prefix
from functions.platform.settings import AnswersSettings
from functions.platform.time_box import Deadline
from functions.recommend.fallback import Fallback, stored_fallback
from functions.recommend.recommend import steered
from functions.recommend.recommendation import Recommendation
from functions.recommend.request import RecommendRequest
from functions.recommend.steering import Steering, stored_products, stored_rules

log = get_logger(__name__)

# A part of 2,000 clients takes seconds. With less time than this, the next call continues.
STOP_BEFORE_END_MS = 180_000
CLIENTS_AT_ONCE = 500
READ_S = 30.0


class AnswersEvent(TypedDict):
    """The run and its shop. `after` and the counts are those of the call before, which had too little time."""

    run_id: str
    shop_id: str
    made_at_ms: int
    placement: str
    items: NotRequired[int]
    after: NotRequired[str]
    clients: NotRequired[int]
    rows: NotRequired[int]
    affinities: NotRequired[int]


class World(NamedTuple):
    """The facts that are the same for every client of a batch."""

    k: int
    placement: str
    shop_id: str
    now_ms: int
    steering: Steering | None
    fallback: Fallback


def answers(
    event: AnswersEvent,
    settings: AnswersSettings,
    s3: Any,
    remaining_ms: Callable[[], int] = lambda: sys.maxsize,
) -> AnswersResult:
    """Write the lists and the affinities of the clients whose candidates are below batch/<shop>/<run>/candidates/.

    Returns:
        The counts so far. `finished` is False if the time was too short: the next call continues behind `after`.

    Raises:
        ValueError: the event is invalid.
        StorageUnavailable: S3 did not answer, or the rules or products of the shop cannot be read. Without them, a list
            could contain items that the shop excluded.
    """
    if event["placement"] not in PLACEMENTS:
        raise ValueError(f"no placement is {event['placement']!r}: use one of {', '.join(PLACEMENTS)}")
    if not 0 <= event.get("items", 0) <= RECOMMEND_K_MAX:
        raise ValueError(f"a list cannot have {event['items']} items: use 1 to {RECOMMEND_K_MAX}")
    bucket, prefix = settings.models_bucket, batch_prefix(event["shop_id"], event["run_id"])
    manifest = json.loads(_read(s3, bucket, f"{prefix}{CANDIDATES}{BATCH_MANIFEST}"))
    world = _world(event, settings, s3)
    result: AnswersResult = {
        "after": event.get("after", ""),
        "clients": event.get("clients", 0),
        "rows": event.get("rows", 0),
        "affinities": event.get("affinities", 0),
        "finished": True,
        "model_version": str(manifest["model_version"]),
    }
    began_after = result["after"]
    for key in _parts(s3, bucket, f"{prefix}{CANDIDATES}", began_after):
        # A call finishes one part at least.
        if result["after"] != began_after and remaining_ms() < STOP_BEFORE_END_MS:
            result["finished"] = False
            break
        columns = {"RUN_ID": event["run_id"], "MODEL_VERSION": result["model_version"]}
        written = _answer_part(_read(s3, bucket, key), world, columns)
        for folder, body in ((ANSWERS, written.answers), (AFFINITIES, written.affinities)):
            s3.put_object(Bucket=bucket, Key=f"{prefix}{folder}{key.rpartition('/')[2]}", Body=body)
        result["after"] = key
        result["clients"] += written.clients
        result["rows"] += written.answer_rows
        result["affinities"] += written.affinity_rows
        log.info("part answered", part=key, of_clients=manifest["clients"], **result)
    return result


def answer_of(found: Recommendation, items: list[str], world: World) -> Recommendation:
    """Return the answer of /recommend to a client's history. `found` are the model's best items for it."""
    request = RecommendRequest(items, world.k, [], None, world.placement, True, world.shop_id)
    if world.steering is None:
        return found._replace(items=found.items[: world.k])
    candidates = found._replace(items=found.items[: world.steering.candidates(world.k)])
    return steered(candidates, world.steering, request, request, lambda: world.fallback, world.now_ms)


def _world(event: AnswersEvent, settings: AnswersSettings, s3: Any) -> World:
    bucket, shop_id = settings.models_bucket, event["shop_id"]
    rules = _value(stored_rules(s3, bucket, shop_id))
    products = _value(stored_products(s3, bucket, shop_id))
    # A shop with neither has no steering in /recommend either.
    steering = Steering(rules, products) if rules.prepared or products.catalogue is not None else None
    k = event.get("items") or settings.batch_items
    fallback = _value(stored_fallback(s3, bucket, shop_id))
    return World(k, event["placement"], shop_id, event["made_at_ms"], steering, fallback)


def _value(stored: Refreshed[Any]) -> Any:
    value = stored.get(Deadline.after(READ_S))
    if value is None:
        raise StorageUnavailable(f"{stored.name} cannot be read ({stored.failure or 'it does not exist'})")
    return value


class _Written(NamedTuple):
    answers: bytes
    affinities: bytes
    clients: int
    answer_rows: int
    affinity_rows: int


def _answer_part(body: bytes, world: World, columns: dict[str, str]) -> _Written:
    """Return the rows of one part as parquet files."""
    import pyarrow.parquet

    lists, scored = _Rows(ANSWER_KINDS), _Rows(AFFINITY_KINDS)
    clients = 0
    with pyarrow.parquet.ParquetFile(io.BytesIO(body)) as file:
        names = [*HISTORY_COLUMNS, *CANDIDATE_COLUMNS]
        for batch in file.iter_batches(batch_size=CLIENTS_AT_ONCE, columns=names):
            for client in batch.to_pylist():
                _add(client, world, columns, lists, scored)
            clients += batch.num_rows
            lists.flush()
            scored.flush()
    return _Written(lists.close(), scored.close(), clients, lists.count, scored.count)


def _add(
    client: dict[str, Any], world: World, columns: dict[str, str], lists: "_Rows", scored: "_Rows"
) -> None:
    """Add the rows of one client."""
    found = _found(client, columns["MODEL_VERSION"])
    answer = answer_of(found, json.loads(client["ITEMS"]), world)
    revision = answer.rules_revision or None
    whose = {
        "SHOP_ID": world.shop_id,
        "CLIENT_KEY": client["CLIENT_KEY"],
        "CLIENT_ID": client["CLIENT_ID"],
        "USER_ID": client["USER_ID"],
        "LAST_EVENT_TIME_MS": client["LAST_EVENT_TIME_MS"],
        "MADE_AT_MS": world.now_ms,
        **columns,
    }
    for rank, item in enumerate(answer.items, start=1):
        because = item.get("because", {})
        lists.add(
            {
                **whose,
                "ITEM_RANK": rank,
                "ITEM_ID": item["item_id"],
                "SCORE": item["score"],
                "BECAUSE": because.get("kind"),
                "BECAUSE_ITEM_ID": because.get("item_id"),
                "PINNED_BY": item.get("pinned_by"),
                "EXPLORED_BY": item.get("explored_by"),
                "RULES_REVISION": revision,
            }
        )
    for item in found.items:
        scored.add({**whose, "ITEM_ID": item["item_id"], "SCORE": item["score"]})


def _found(client: dict[str, Any], model_version: str) -> Recommendation:
    """Return the candidates of one client in the form of the endpoint's answer."""
    items = [
        {"item_id": item, "score": score, "because": {"kind": kind} | ({"item_id": view} if view else {})}
        for item, score, kind, view in zip(
            *(client[name] for name in ("CANDIDATES", "SCORES", "BECAUSE", "BECAUSE_ITEMS")), strict=True
        )
    ]
    return Recommendation(items, "model", client["REASON"], model_version, "batch")


WHOSE_KINDS = {
    "SHOP_ID": "string",
    "CLIENT_KEY": "string",
    "CLIENT_ID": "string",
    "USER_ID": "string",
    "LAST_EVENT_TIME_MS": "int64",
    "MODEL_VERSION": "string",
    "RUN_ID": "string",
    "MADE_AT_MS": "int64",
    "ITEM_ID": "string",
    "SCORE": "float64",
}
AFFINITY_KINDS = WHOSE_KINDS
ANSWER_KINDS = WHOSE_KINDS | {
    "ITEM_RANK": "int32",
    "BECAUSE": "string",
    "BECAUSE_ITEM_ID": "string",
    "PINNED_BY": "string",
    "EXPLORED_BY": "string",
    "RULES_REVISION": "string",
}


class _Rows:
    """Rows of a parquet file in memory, written some at a time."""

    def __init__(self, kinds: dict[str, str]) -> None:
        import pyarrow
        import pyarrow.parquet

        self.count = 0
        self._rows: list[dict[str, Any]] = []
        self._body = io.BytesIO()
        self._schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in kinds.items()])
        self._writer = pyarrow.parquet.ParquetWriter(self._body, self._schema, compression="zstd")

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)

    def flush(self) -> None:
        import pyarrow

        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, self._schema))
        self.count += len(self._rows)
        self._rows.clear()

    def close(self) -> bytes:
        self._writer.close()
        return self._body.getvalue()


def _parts(s3: Any, bucket: str, prefix: str, after: str) -> Iterator[str]:
    """Yield the keys of the parts behind `after`, in order."""
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            keys = (one["Key"] for one in page.get("Contents", []))
            yield from (key for key in keys if key.endswith(".parquet") and key > after)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{prefix} could not be listed: {error}") from error


def _read(s3: Any, bucket: str, key: str) -> bytes:
    try:
        body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be read: {error}") from error
    return body
