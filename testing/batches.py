"""A batch without a job: the candidates of the unloaded histories, by any recommender, where the job writes them."""

import io
import json
import threading
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from functions.batch.batch import BatchEvent, batch
from functions.batch.histories import histories
from functions.platform.contract import (
    BATCH_MANIFEST,
    AnswersResult,
    BatchResult,
    HistoriesResult,
)
from functions.platform.s3_keys import current_key, fallback_key, split_s3_uri
from functions.platform.settings import AnswersSettings, WarehouseSettings
from functions.recommend.batch import answers
from training_jobs.batch import SCHEMA, candidates
from training_jobs.serving.because import Recommends
from training_jobs.serving.inference import Model
from training_jobs.serving.recommendation import Recommendation

VERSION = "m1"


class EveryItem:
    """Recommends all items of a shop in their order, but the last one of the session and the excluded ones."""

    def __init__(self, vocabulary: list[str]) -> None:
        self.vocabulary = vocabulary
        self.rows = {item: row for row, item in enumerate(vocabulary)}

    def recommend(self, items: Any, k: int, exclude: Any = ()) -> Recommendation:
        """Score an item lower the later it stands, and higher for each view of it."""
        hidden = {*exclude, *items[-1:]}
        scores = {
            item: 1.0 / (row + 2) + list(items).count(item)
            for item, row in self.rows.items()
            if item not in hidden
        }
        best = sorted(scores, key=lambda item: -scores[item])[:k]
        return Recommendation(best, [scores[item] for item in best], "session", "every item")


def model_of(recommender: Recommends) -> Model:
    """Return a loaded model."""
    return Model(recommender, VERSION, threading.Lock())


def release(s3: Any, bucket: str, shop_id: str, popular: list[str]) -> None:
    """Put a release on record, and its fallback."""
    record = {
        "release": {
            "endpoint": "e",
            "endpoint_config": "c",
            "model_name": "m",
            "model_version": VERSION,
            "model_data_uri": f"s3://{bucket}/serving/releases/r/model.tar.gz",
            "snapshot_id": "e1",
            "run_id": "e1",
            "published_at": "2026-01-03T00:00:00+00:00",
            "shop_id": shop_id,
        },
        "previous": None,
    }
    fallback = {"popular": popular, "related": {}, "model_version": VERSION}
    for key, stored in ((current_key(shop_id), record), (fallback_key(shop_id), fallback)):
        s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(stored).encode())


def score(s3: Any, found: HistoriesResult, model: Model, clients_per_part: int = 3) -> None:
    """Write the candidates of the unloaded histories, as training_jobs/batch.py does."""
    bucket, prefix = split_s3_uri(found["histories_uri"])
    _, target = split_s3_uri(found["candidates_uri"])
    number = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Contents", []):
            body = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
            for part in pq.ParquetFile(io.BytesIO(body)).iter_batches(batch_size=clients_per_part):
                out = io.BytesIO()
                pq.write_table(pa.Table.from_batches([candidates(part, model)], SCHEMA), out)
                s3.put_object(Bucket=bucket, Key=f"{target}part-{number:06}.parquet", Body=out.getvalue())
                number += 1
    manifest = {"model_version": model.model_version, "clients": found["clients"]}
    s3.put_object(Bucket=bucket, Key=target + BATCH_MANIFEST, Body=json.dumps(manifest).encode())


def answer(
    s3: Any, found: HistoriesResult, settings: AnswersSettings, remaining_ms: int = 10**9
) -> AnswersResult:
    """Call the Lambda answers until it has finished."""
    event: Any = {
        "run_id": found["run_id"],
        "shop_id": found["shop_id"],
        "made_at_ms": found["made_at_ms"],
        "placement": "home",
    }
    while True:
        result = answers(event, settings, s3, lambda: remaining_ms)
        if result["finished"]:
            return result
        event |= {name: result[name] for name in ("after", "clients", "rows", "affinities")}  # type: ignore[literal-required]


def loaded_event(found: HistoriesResult, answered: AnswersResult) -> BatchEvent:
    """Return the event of the last step, as the state machine makes it."""
    return {
        "run_id": found["run_id"],
        "shop_id": found["shop_id"],
        "clients": found["clients"],
        "answered": answered["clients"],
        "rows": answered["rows"],
        "affinities": answered["affinities"],
        "model_version": answered["model_version"],
    }


def make_batch(
    s3: Any, settings: WarehouseSettings, connection: Any, run_id: str, model: Model, items: int = 5
) -> BatchResult:
    """Make a batch, step by step."""
    found = histories({"run_id": run_id}, settings, connection, s3)
    score(s3, found, model)
    answered = answer(s3, found, AnswersSettings(settings.models_bucket, items))
    return batch(loaded_event(found, answered), settings, connection, s3)
