"""A model archive as publishing sees it."""

import io
import json
import tarfile
from typing import Any, NamedTuple

from functions.errors import GoldenMismatch
from functions.names import split_s3_uri


class Archive(NamedTuple):
    """The parts of a model archive that publishing needs, read without the weights."""

    model_version: str
    golden: list[dict[str, Any]]
    fallback: dict[str, Any]


def read_archive(model_data_uri: str, s3: Any) -> Archive:
    """Reads `model.json`, `golden.json` and `fallback.json` of a model.tar.gz.

    Raises:
        GoldenMismatch: one of them is missing, or there are no golden sessions to prove anything with.
    """
    bucket, key = split_s3_uri(model_data_uri)
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    wanted = {"model.json", "golden.json", "fallback.json"}
    found: dict[str, Any] = {}
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if name in wanted else None
            if content is not None:
                found[name] = json.loads(content.read())
    missing = wanted - found.keys()
    if missing or not found["golden.json"]:
        raise GoldenMismatch(
            f"{model_data_uri} holds no {', '.join(sorted(missing)) or 'golden sessions'}: train again"
        )
    return Archive(found["model.json"]["model_version"], found["golden.json"], found["fallback.json"])
