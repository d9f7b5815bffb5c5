"""The parts of a model archive that publishing reads."""

import json
import tarfile
from contextlib import closing
from typing import Any, NamedTuple

from functions.platform.contract import ARCHIVE_CARD, ARCHIVE_FALLBACK, ARCHIVE_GOLDEN
from functions.platform.errors import GoldenMismatch
from functions.platform.s3_keys import split_s3_uri


class ModelArchive(NamedTuple):
    """The archive without its weights."""

    model_version: str
    golden: list[dict[str, Any]]
    fallback: dict[str, Any]


def read_model_archive(model_data_uri: str, s3: Any) -> ModelArchive:
    """Read `model.json`, `golden.json` and `fallback.json` of a model.tar.gz.

    Streams, because the weights of a large catalogue do not fit into a Lambda. SageMaker packs the archive, in an order of its
    own, so the three files may stand behind the weights. Reading stops after the last of them.

    Raises:
        GoldenMismatch: a file is missing, or there are no golden sessions.
    """
    bucket, key = split_s3_uri(model_data_uri)
    wanted = {ARCHIVE_CARD, ARCHIVE_GOLDEN, ARCHIVE_FALLBACK}
    found: dict[str, Any] = {}
    with (
        closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body,
        tarfile.open(fileobj=body, mode="r|gz") as tar,
    ):
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if name in wanted else None
            if content is not None:
                found[name] = json.loads(content.read())
            if wanted == found.keys():
                break
    missing = wanted - found.keys()
    if missing or not found[ARCHIVE_GOLDEN]:
        raise GoldenMismatch(
            f"{model_data_uri} has no {', '.join(sorted(missing)) or 'golden sessions'}: train again"
        )
    return ModelArchive(found[ARCHIVE_CARD]["model_version"], found[ARCHIVE_GOLDEN], found[ARCHIVE_FALLBACK])
