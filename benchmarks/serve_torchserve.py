"""A TorchServe handler for the same model in torch eager; serve_http.py packs it, and MODEL_DIR is the archive."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serve_peers import torch_eager
from training_jobs.serving.model_files import load_recommender

_loaded: dict[str, Any] = {}


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[Any] | None:
    """Handle a batch; TorchServe calls this once without data when a worker starts."""
    if not _loaded:
        recommender, _ = load_recommender(Path(os.environ["MODEL_DIR"]))
        _loaded.update(ask=torch_eager(recommender.weights), recommender=recommender)
    if data is None:
        return None
    answers = []
    for row in data:
        body: Any = row.get("body") or row.get("data")
        items = (body if isinstance(body, dict) else json.loads(body))["items"]
        recommender = _loaded["recommender"]
        best = _loaded["ask"](np.array([recommender.rows[item] for item in items], np.int32))
        answers.append({"items": [recommender.vocabulary[at] for at in best[0]]})
    return answers
