"""The checksums of a model's files, in its model.json: written when the files are complete, verified before any is used.

`files_sha256` has a checksum per file, and `card_sha256` one of model.json's other fields. A damaged model.json therefore
cannot drop the checksums. An archive of before the checksums has neither field.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from training_jobs.serving.contract import ARCHIVE_CARD, ARCHIVE_CARD_SHA256, ARCHIVE_FILES_SHA256

HOLDOUT = "holdout"
_WRITTEN_BY_PYTHON = "__pycache__"


def with_checksums(directory: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of model.json with the checksums of all files that are in the directory now."""
    fields = {name: value for name, value in card.items() if name != ARCHIVE_CARD_SHA256}
    fields[ARCHIVE_FILES_SHA256] = {name: _of_file(directory / name) for name in _names(directory)}
    return {**fields, ARCHIVE_CARD_SHA256: of_fields(fields)}


def verify(directory: Path, card: dict[str, Any]) -> bool:
    """Compare every file with its checksum.

    Returns:
        False if the archive has no checksums.

    Raises:
        ValueError: a file is damaged, missing or not listed.
        OSError: a file cannot be read.
    """
    files, own = card.get(ARCHIVE_FILES_SHA256), card.get(ARCHIVE_CARD_SHA256)
    if files is None and own is None:
        return False
    if own != of_fields({name: value for name, value in card.items() if name != ARCHIVE_CARD_SHA256}):
        raise ValueError(f"{ARCHIVE_CARD} differs from its checksum")
    if not isinstance(files, dict):
        raise ValueError(f"{ARCHIVE_CARD} lists no files")
    unlisted = set(_names(directory)) - files.keys()
    if unlisted:
        raise ValueError(f"{', '.join(sorted(unlisted)[:3])} is not listed in {ARCHIVE_CARD}")
    for name, expected in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{ARCHIVE_CARD} lists {name}, which is outside the archive")
        if _of_file(directory / path) != expected:
            raise ValueError(f"{name} differs from its checksum")
    return True


def _names(directory: Path) -> list[str]:
    """Return the files that model.json lists. The model below holdout/ has a list of its own, so its model.json stands for it."""
    found = []
    for path in directory.rglob("*"):
        name = path.relative_to(directory)
        if path.is_dir() or _WRITTEN_BY_PYTHON in name.parts or name.as_posix() == ARCHIVE_CARD:
            continue
        if name.parts[0] != HOLDOUT or name.as_posix() == f"{HOLDOUT}/{ARCHIVE_CARD}":
            found.append(name.as_posix())
    return sorted(found)


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_fields(fields: dict[str, Any]) -> str:
    """Return the checksum of fields of model.json, whatever their order and spacing in the file."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
