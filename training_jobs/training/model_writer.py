"""Write the files of a model: the arrays, the kernels, the golden answers, the fallback and the endpoint's code.

`serving/model_files.py` lists the files and reads them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.checksums import with_checksums
from training_jobs.serving.contract import ARCHIVE_CARD, ARCHIVE_VOCABULARY
from training_jobs.serving.encoder_numpy import save_weights
from training_jobs.serving.kernels.compile import write_library
from training_jobs.serving.knn import KnnIndex
from training_jobs.serving.model_files import ModelCard
from training_jobs.serving.ranker import save_network
from training_jobs.serving.session_recommender import Recommender, top

_PACKAGE = Path(__file__).resolve().parent.parent
GOLDEN_K = 20


def save_recommender(directory: Path, recommender: Recommender, card: ModelCard) -> None:
    """Write one recommender's files into `directory`, model.json last."""
    directory.mkdir(parents=True, exist_ok=True)
    blend = asdict(recommender.settings)
    card = ModelCard(**{**_shallow(card), "settings": {**card.settings, "blend": blend}})
    (directory / ARCHIVE_CARD).unlink(missing_ok=True)
    write_json(directory / ARCHIVE_VOCABULARY, recommender.vocabulary)
    weights = recommender.weights
    codes, scales = recommender.codes
    for name, array in (("vectors", weights.vectors), ("codes", codes), ("scales", scales)):
        _save_array(directory / f"{name}.npy", array)
    write_library(directory, weights.dim)
    save_weights(directory / "encoder.npz", weights)
    for field in fields(KnnIndex):
        _save_array(directory / "knn" / f"{field.name}.npy", getattr(recommender.index, field.name))
    _save_array(directory / "popularity.npy", recommender.popularity)
    if recommender.ranker is None:
        (directory / "ranker.npz").unlink(missing_ok=True)
    else:
        save_network(directory / "ranker.npz", recommender.ranker.network)
        _save_array(directory / "facts.npy", recommender.ranker.facts)
    write_json(directory / ARCHIVE_CARD, with_checksums(directory, _shallow(card)))


def write_checksums(directory: Path) -> None:
    """Add the checksums of all files to model.json. Call it last: a file that is written later is refused."""
    card = json.loads((directory / ARCHIVE_CARD).read_text("utf-8"))
    write_json(directory / ARCHIVE_CARD, with_checksums(directory, card))


def golden_sessions(recommender: Recommender, sessions: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return sessions with the recommender's answers, which the endpoint must reproduce."""
    return [
        {"items": list(items), "k": GOLDEN_K, "expected": recommender.recommend(items, GOLDEN_K).items}
        for items in sessions
    ]


def fallback_answers(recommender: Recommender, rows: Sequence[int], popular: int = 200) -> dict[str, Any]:
    """Return the answers for when no endpoint can answer: the most popular items, and 20 related to each of `rows`."""
    vocabulary = recommender.vocabulary
    related: dict[str, list[str]] = {}
    for begin in range(0, len(rows), 256):
        part = np.asarray(rows[begin : begin + 256], np.int32)
        scores = recommender.scores([np.array([row], np.int32) for row in part])
        scores[np.arange(len(part)), part] = -np.inf
        for at, row in enumerate(part):
            related[vocabulary[row]] = [vocabulary[item] for item in top(scores[at], 20)]
    return {"popular": recommender.recommend([], popular).items, "related": related}


def write_json(path: Path, value: Any) -> None:
    """Write compact JSON in UTF-8: the same bytes for the same value."""
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")), "utf-8")


def _save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array under another name first: a model in use may map the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    partial.replace(path)


def _shallow(card: ModelCard) -> dict[str, Any]:
    return {field.name: getattr(card, field.name) for field in fields(ModelCard)}


def copy_serving_code(directory: Path) -> None:
    """Copy the server's entry point and the folder serving/, which has all its imports, into a model's code/ directory."""
    package = directory / "training_jobs"
    package.mkdir(parents=True, exist_ok=True)
    for name in ("__init__.py", "server.py"):
        shutil.copyfile(_PACKAGE / name, package / name)
    shutil.rmtree(package / "serving", ignore_errors=True)
    shutil.copytree(_PACKAGE / "serving", package / "serving", ignore=shutil.ignore_patterns("__pycache__"))
