"""SageMaker's handlers: a session of item ids in, the carousel's items out. Numpy only.

A ValueError of `input_fn` is the caller's error (400); any other exception is the server's (500).
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_jobs.serving.because import Because, Recommends, because
from training_jobs.serving.contract import (
    ENDPOINT_CANDIDATES_MAX,
    ENDPOINT_EXCLUDE_MAX,
    ENDPOINT_ID_MAX_CHARACTERS,
    ENDPOINT_ITEMS_MAX,
    ENDPOINT_K_DEFAULT,
    ENDPOINT_K_MAX,
)
from training_jobs.serving.model_files import load_recommender
from training_jobs.serving.recommendation import Recommendation

# What the endpoint does: items that come next, items like the last one, or the given candidates in order.
TASKS = ("next", "similar", "rerank")


@dataclass(frozen=True)
class Query:
    """A validated request."""

    items: list[str]
    k: int
    exclude: list[str]
    because: bool = False
    task: str = "next"
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A loaded archive. `kernels` names their implementation."""

    recommender: Recommends
    model_version: str
    lock: threading.Lock
    kernels: str = ""


def model_fn(model_dir: str) -> Model:
    """Load the archive, and answer once, so that the first request does not wait for cold pages."""
    recommender, card = load_recommender(Path(model_dir))
    recommender.recommend(recommender.vocabulary[:2], 1)
    return Model(recommender, card.model_version, threading.Lock(), recommender.kernels.name)


def input_fn(body: str | bytes, content_type: str | None = "application/json") -> Query:
    """Read and validate a request.

    Raises:
        ValueError: the request is invalid. The message goes to the caller.
    """
    if (content_type or "").split(";")[0].strip().lower() not in ("application/json", ""):
        raise ValueError(f"content type {content_type!r} is not supported: send application/json")
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError('the body must be an object such as {"items": ["a", "b"], "k": 20}')
    k = raw.get("k", ENDPOINT_K_DEFAULT)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= ENDPOINT_K_MAX:
        raise ValueError(f"k must be a whole number from 1 to {ENDPOINT_K_MAX}, not {repr(k)[:40]}")
    wants_because = raw.get("because", False)
    if not isinstance(wants_because, bool):
        raise ValueError(f"because must be true or false, not {repr(wants_because)[:40]}")
    items, exclude = _ids(raw, "items", ENDPOINT_ITEMS_MAX), _ids(raw, "exclude", ENDPOINT_EXCLUDE_MAX)
    task = raw.get("task", "next")
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {repr(task)[:40]}")
    candidates = tuple(_ids(raw, "candidates", ENDPOINT_CANDIDATES_MAX))
    if task == "rerank" and not candidates:
        raise ValueError("rerank needs candidates: the items to put in order")
    if task == "similar" and not items:
        raise ValueError("similar needs items: the last one is compared with all others")
    return Query(items, k, exclude, wants_because, task, candidates)


def predict_fn(data: Query, model: Model) -> dict[str, Any]:
    """Recommend. The lock serves callers with several threads, because a recommender answers one request at a time."""
    with model.lock:
        found = _found(data, model.recommender)
        items: list[dict[str, Any]] = [
            {"item_id": item, "score": round(score, 6)}
            for item, score in zip(found.items, found.scores, strict=True)
        ]
        if data.because:
            reasons = _reasons(data, model.recommender, found)
            for shown, reason in zip(items, reasons, strict=True):
                shown["because"] = reason.fields()
    return {
        "task": data.task,
        "items": items,
        "model_version": model.model_version,
        "source": found.source,
        "reason": found.reason,
    }


def _found(data: Query, recommender: Recommends) -> Recommendation:
    if data.task == "similar":
        return recommender.similar(data.items[-1], data.k, data.exclude)
    if data.task == "rerank":
        found = recommender.rerank(data.items, data.candidates, data.exclude)
        return Recommendation(found.items[: data.k], found.scores[: data.k], found.source, found.reason)
    return recommender.recommend(data.items, data.k, data.exclude)


def _reasons(data: Query, recommender: Recommends, found: Recommendation) -> list[Because]:
    """Return the reason of each item. Similar items have the one that they are like, and those of a list are measured."""
    if data.task == "similar" and found.source == "similar":
        return [Because("related", data.items[-1])] * len(found.items)
    candidates = data.candidates if data.task == "rerank" else ()
    return because(recommender, data.items, data.exclude, found, candidates)


def output_fn(prediction: dict[str, Any], accept: str = "application/json") -> tuple[str, str]:
    """Return the answer as JSON, whatever `accept` is: the caller reads nothing else."""
    return json.dumps(prediction, ensure_ascii=False), "application/json"


def _ids(raw: dict[str, Any], name: str, limit: int) -> list[str]:
    value = raw.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} must be a list of item ids (strings)")
    if len(value) > limit:
        raise ValueError(f"{name} has {len(value)} ids, at most {limit} are allowed: send the last ones")
    if any(len(item) > ENDPOINT_ID_MAX_CHARACTERS or not item for item in value):
        raise ValueError(
            f"{name} contains an id that is empty or longer than {ENDPOINT_ID_MAX_CHARACTERS} characters"
        )
    return value
