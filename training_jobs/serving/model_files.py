"""The files of a model: written by training, read by the endpoint and the gate. No torch, no pickle.

The files of an archive:

    model.json         version, snapshot, settings, cut times, metrics, checksums of all files (checksums.py)
    vocabulary.json    item ids by row
    vectors.npy        item vectors in float32, mapped into memory: only the rows in use are read
    codes.npy          the vectors in int8, which each request scans; scales.npy has one scale per item
    kernels-*.so       kernels/native compiled for this model's dimension, if a compiler was there
    encoder.npz        the encoder's weights
    knn/               the session-kNN index, one array per file
    out_of_stock.json  ids that are never shown, if the shop has a list
    popularity.npy     the popularity of each item
    ranker.npz         the ranker's network, if there is one; facts.npy has its features of each item
    holdout/           the same files of the model without the held-out day, which the gate measures
    golden.json        sessions with this model's answers
    fallback.json      the answers while no endpoint answers
    placements.json    the tables of placements that need no model
    code/              the server and its imports
"""

from __future__ import annotations

import json
import sys
import tarfile
import tokenize
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.archive_values import (
    check_index,
    check_ranker,
    check_settings,
    check_vocabulary,
    check_weights,
)
from training_jobs.serving.checksums import verify
from training_jobs.serving.contract import (
    ARCHIVE_CARD,
    ARCHIVE_GOLDEN,
    ARCHIVE_OUT_OF_STOCK,
    ARCHIVE_VOCABULARY,
)
from training_jobs.serving.encoder_numpy import encode, load_weights
from training_jobs.serving.kernels.load import load_kernels
from training_jobs.serving.knn import KnnIndex
from training_jobs.serving.ranker import Ranker, load_network
from training_jobs.serving.session_recommender import BlendSettings, Recommender

FORMAT = 5
# What reading a damaged file raises: json, zipfile, zlib and numpy's parser of headers are not of one mind.
UNREADABLE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, SyntaxError),
    *(ArithmeticError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


class ArchiveError(ValueError):
    """A model archive cannot be read. The message names the file and the problem."""


@dataclass(frozen=True)
class ModelCard:
    """model.json. Times are milliseconds since 1970; `trained_until_ms` is the end of the newest session learnt."""

    model_version: str
    snapshot_id: str
    settings: dict[str, Any]
    trained_until_ms: int
    holdout_start_ms: int
    metrics: dict[str, float]
    items: int
    format: int = FORMAT


def load_recommender(directory: Path, *, stock: bool = True) -> tuple[Recommender, ModelCard]:
    """Read the files of `save_recommender`. Without `stock`, items that are out of stock are shown too.

    Nothing is used before its checksum and its values are verified. An archive of before the checksums is read with a warning.

    Raises:
        ArchiveError: a file is damaged, missing, or has values that no model has.
    """
    raw = _read_card(directory)
    card = _card_of(directory, raw)
    try:
        if not verify(directory, raw):
            _warn_without_checksums(directory)
        vocabulary = json.loads((directory / ARCHIVE_VOCABULARY).read_text("utf-8"))
        check_vocabulary(vocabulary)
        weights = load_weights(directory / "encoder.npz", _load_array(directory / "vectors.npy"))
        codes, scales = _load_array(directory / "codes.npy"), _load_array(directory / "scales.npy")
        arrays = {
            field.name: _load_array(directory / "knn" / f"{field.name}.npy") for field in fields(KnnIndex)
        }
        out_of_stock = read_out_of_stock(directory) if stock else []
        index, popularity = KnnIndex(**arrays), _load_array(directory / "popularity.npy")
        settings = BlendSettings.from_json(card.settings["blend"])
        ranker = None
        if (directory / "ranker.npz").exists():
            ranker = Ranker(load_network(directory / "ranker.npz"), _load_array(directory / "facts.npy"))
        sizes = {
            "vocabulary": len(vocabulary),
            "vectors": len(weights.vectors),
            "codes": min(len(codes), len(scales)),
            "postings": index.items,
            "popularity": len(popularity),
            "facts": len(ranker.facts) if ranker else len(vocabulary),
        }
    except UNREADABLE as error:
        raise ArchiveError(f"{directory} does not contain a whole model ({error}): train it again") from error
    if len({card.items, *sizes.values()}) > 1:
        raise ArchiveError(
            f"{directory} has files of different numbers of items: {sizes}, model.json {card.items}. Train the model again"
        )
    if codes.shape != weights.vectors.shape or codes.dtype != np.int8 or scales.dtype != np.float32:
        raise ArchiveError(
            f"{directory}/codes.npy or scales.npy does not belong to vectors.npy: train the model again"
        )
    try:
        check_weights(weights, codes, scales, popularity)
        check_settings(settings)
        check_index(index, settings.knn)
        if ranker is not None:
            check_ranker(ranker, card.items)
        found = Recommender(
            *(vocabulary, weights, index, popularity, settings, (codes, scales), out_of_stock, ranker),
            load_kernels(directory, weights.dim),
        )
        # A tensor that does not fit, or whose numbers overflow, is an error here and not with the first request.
        with np.errstate(over="ignore", invalid="ignore"):
            query = encode(weights, [np.zeros(1, np.int32)])
        if not np.isfinite(query).all():
            raise ValueError("an encoder whose answer is not finite")
    except UNREADABLE as error:
        raise ArchiveError(f"{directory} contains {error}: train the model again") from error
    return found, card


def read_out_of_stock(directory: Path) -> list[str]:
    """Return the ids in a directory's out_of_stock.json; none where the file does not exist."""
    listed = directory / ARCHIVE_OUT_OF_STOCK
    ids = json.loads(listed.read_text("utf-8")) if listed.exists() else []
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise ValueError(f"{listed} is not a list of ids")
    return ids


def load_card(directory: Path) -> ModelCard:
    """Read model.json."""
    return _card_of(directory, _read_card(directory))


def _read_card(directory: Path) -> dict[str, Any]:
    try:
        raw = json.loads((directory / ARCHIVE_CARD).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArchiveError(
            f"{directory} has no readable model.json: pass the folder of a model archive"
        ) from error
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != FORMAT:
        raise ArchiveError(f"{directory} has format {found}, this code reads {FORMAT}: train it again")
    return dict(raw)


def _card_of(directory: Path, raw: dict[str, Any]) -> ModelCard:
    missing = [field.name for field in fields(ModelCard) if field.name not in raw]
    if missing:
        raise ArchiveError(f"{directory}/model.json has no {', '.join(missing)}: train the model again")
    return ModelCard(**{field.name: raw[field.name] for field in fields(ModelCard)})


def _warn_without_checksums(directory: Path) -> None:
    reason = "it was written by an earlier release, so only its values are verified"
    print(
        json.dumps({"event": "the archive has no checksums", "archive": str(directory), "reason": reason}),
        file=sys.stderr,
    )


def load_golden(directory: Path) -> list[dict[str, Any]]:
    """Return the golden sessions: sessions with the answers of this model."""
    try:
        golden: list[dict[str, Any]] = json.loads((directory / ARCHIVE_GOLDEN).read_text("utf-8"))
        for session in golden:
            if not (session["items"] and session["expected"] and session["k"] >= 1):
                raise ValueError("a session without items or answers")
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{directory} has no readable golden.json: train the model again") from error
    return golden


def unpack(path: Path, into: Path) -> Path | None:
    """Return `path` if it contains a model.json, else its model.tar.gz unpacked; None if it has neither."""
    if (path / ARCHIVE_CARD).exists():
        return path
    packed = path / "model.tar.gz"
    if not packed.exists():
        return None
    into.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(packed, "r:gz") as tar:
            tar.extractall(into, filter="data")
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ArchiveError(f"{packed} cannot be unpacked ({error}): copy it again") from error
    return into


def _load_array(path: Path) -> NDArray[Any]:
    """Map a file into memory and return it as a plain array: a memmap is slower to index."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
