"""Zips of functions and layers on disk, one file per content.

moto 5.2.5 keeps every zip in memory, as bytes and as base64. Nine functions of one bundle with their layers need almost one
gigabyte. The patches replace the bytes by the path of a file that is named by its SHA-256.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import shutil
import uuid
from pathlib import Path
from typing import Any

from moto.awslambda import models
from moto.core import parse

from local.aws.settings import Settings


def install(settings: Settings) -> None:
    """Patch moto's Lambda."""
    folder = settings.state / "lambda" / "archives"
    # After a restart functions are deployed again, so no function refers to files of an earlier process.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    # A deployment sends the same bundle once per function.
    parse.default_blob_parser = functools.lru_cache(1)(parse.default_blob_parser)

    @functools.lru_cache(1)
    def of_request(zip_file: str | bytes) -> tuple[Path, int, str, str]:
        return _keep(folder, base64.b64decode(zip_file))

    def of_object(key: Any) -> tuple[Path, int, str, str]:
        return _keep(folder, key.value)

    models._zipfile_content = of_request
    models._s3_content = of_object
    _drop_base64()


def _keep(folder: Path, archive: bytes) -> tuple[Path, int, str, str]:
    """Store a zip; return the values that moto keeps: content (here the path), size, SHA-256 in base64 and in hex."""
    digest = hashlib.sha256(archive)
    path = folder / f"{digest.hexdigest()}.zip"
    if not path.exists():
        part = folder / uuid.uuid4().hex
        part.write_bytes(archive)
        part.replace(path)
    return path, len(archive), base64.b64encode(digest.digest()).decode(), digest.hexdigest()


def _drop_base64() -> None:
    set_code, make_layer = models.LambdaFunction._set_function_code, models.LayerVersion.__init__

    def _set_function_code(self: models.LambdaFunction, updated_spec: dict[str, Any]) -> None:
        set_code(self, updated_spec)
        self.code.pop("ZipFile", None)

    def __init__(self: models.LayerVersion, *arguments: Any, **named: Any) -> None:
        make_layer(self, *arguments, **named)
        self.content.pop("ZipFile", None)

    models.LambdaFunction._set_function_code = _set_function_code
    models.LayerVersion.__init__ = __init__
