"""Zips of functions and layers, on disk, once for each content.

moto 5.2.5 keeps every zip in memory, as bytes and again as base64: nine functions of one bundle and their layers are most
of a gigabyte. Patched: where moto unpacks a zip, it gets the path of the file in its place, named by its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import uuid
from pathlib import Path
from typing import Any

from moto.awslambda import models

from local.aws.settings import Settings


def install(settings: Settings) -> None:
    """Patches moto's Lambda."""
    folder = settings.state / "lambda" / "archives"
    # Functions are deployed again after a restart: nothing names what an earlier process kept.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def of_request(zip_file: str | bytes) -> tuple[Path, int, str, str]:
        return _keep(folder, base64.b64decode(zip_file))

    def of_object(key: Any) -> tuple[Path, int, str, str]:
        return _keep(folder, key.value)

    models._zipfile_content = of_request
    models._s3_content = of_object
    _forget_base64()


def _keep(folder: Path, archive: bytes) -> tuple[Path, int, str, str]:
    """What moto notes of a zip: its content (here the file), size, SHA-256 in base64 and in hex."""
    digest = hashlib.sha256(archive)
    path = folder / f"{digest.hexdigest()}.zip"
    if not path.exists():
        part = folder / uuid.uuid4().hex
        part.write_bytes(archive)
        part.replace(path)
    return path, len(archive), base64.b64encode(digest.digest()).decode(), digest.hexdigest()


def _forget_base64() -> None:
    set_code, make_layer = models.LambdaFunction._set_function_code, models.LayerVersion.__init__

    def _set_function_code(self: models.LambdaFunction, updated_spec: dict[str, Any]) -> None:
        set_code(self, updated_spec)
        self.code.pop("ZipFile", None)

    def __init__(self: models.LayerVersion, *arguments: Any, **named: Any) -> None:
        make_layer(self, *arguments, **named)
        self.content.pop("ZipFile", None)

    models.LambdaFunction._set_function_code = _set_function_code
    models.LayerVersion.__init__ = __init__
