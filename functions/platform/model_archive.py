"""Read the small files of a model archive as a stream, and copy an archive within S3. No part of a Lambda holds an archive."""

import hashlib
import json
import tarfile
import zlib
from contextlib import closing
from typing import Any, NamedTuple

from functions.platform.contract import (
    ARCHIVE_CARD,
    ARCHIVE_FALLBACK,
    ARCHIVE_FILES_SHA256,
    ARCHIVE_GOLDEN,
    ARCHIVE_PLACEMENTS,
)
from functions.platform.errors import GoldenMismatch
from functions.platform.s3_keys import split_s3_uri

# The fallback of 20,000 items with ids of 200 characters has 80 MB. A larger file does not fit into prove's memory as JSON.
FILE_MAX_BYTES = 128 * 2**20
# CopyObject copies 5 GB at most. Larger objects are copied in parts, and so are smaller ones that take long as a whole:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/copy-object.html
_COPY_PART_BYTES = 256 * 2**20


class ModelArchive(NamedTuple):
    """The archive without its weights. `placements` is None for an archive of before the tables of placements."""

    model_version: str
    golden: list[dict[str, Any]]
    fallback: dict[str, Any]
    placements: dict[str, Any] | None = None


def read_model_archive(model_data_uri: str, s3: Any) -> ModelArchive:
    """Read `model.json`, `golden.json`, `fallback.json` and `placements.json` of a model.tar.gz.

    Streams, because the weights of a large catalogue do not fit into a Lambda. SageMaker packs the archive, in an order of its
    own, so the files may stand behind the weights. Reading stops after the last of them. model.json lists all files, so it
    says if there is a `placements.json`.

    Raises:
        GoldenMismatch: a file is damaged, missing or too large, or there are no golden sessions.
    """
    bucket, key = split_s3_uri(model_data_uri)
    wanted = {ARCHIVE_CARD, ARCHIVE_GOLDEN, ARCHIVE_FALLBACK, ARCHIVE_PLACEMENTS}
    found: dict[str, bytes] = {}
    try:
        with closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            _read_members(body, wanted, found, model_data_uri)
    except (tarfile.TarError, zlib.error, EOFError, TypeError) as error:
        # A gzip that is damaged or cut, also behind the files. tarfile raises TypeError for one that ends in its header.
        raise GoldenMismatch(f"{model_data_uri} cannot be unpacked ({error}): train again") from error
    missing = wanted - found.keys()
    if missing:
        raise GoldenMismatch(f"{model_data_uri} has no {', '.join(sorted(missing))}: train again")
    try:
        card, golden, fallback = (
            json.loads(found[name]) for name in (ARCHIVE_CARD, ARCHIVE_GOLDEN, ARCHIVE_FALLBACK)
        )
        placements = json.loads(found[ARCHIVE_PLACEMENTS]) if ARCHIVE_PLACEMENTS in found else None
        _verify(found, card.get(ARCHIVE_FILES_SHA256, {}))
        if not isinstance(fallback, dict):
            raise ValueError(f"{ARCHIVE_FALLBACK} is no object")
        if not golden or not all(session["expected"] for session in golden):
            raise ValueError("it has no golden sessions")
        return ModelArchive(card["model_version"], golden, fallback, placements)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GoldenMismatch(f"{model_data_uri} is damaged ({error}): train again") from error


def _verify(found: dict[str, bytes], checksums: dict[str, str]) -> None:
    """Compare the files with their checksums in model.json. An archive of before the checksums lists none.

    Raises:
        ValueError: a file differs from its checksum.
    """
    for name in found.keys() - {ARCHIVE_CARD} if checksums else ():
        if checksums.get(name) != hashlib.sha256(found[name]).hexdigest():
            raise ValueError(f"{name} differs from its checksum")


def _read_members(body: Any, wanted: set[str], found: dict[str, bytes], model_data_uri: str) -> None:
    """Read the wanted files of a gzipped tar into `found`, and stop after the last of them."""
    with tarfile.open(fileobj=body, mode="r|gz") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if name in wanted else None
            if content is not None and member.size > FILE_MAX_BYTES:
                raise GoldenMismatch(
                    f"{name} of {model_data_uri} has {member.size:,} bytes, at most {FILE_MAX_BYTES:,} fit into the Lambda: "
                    "lower RELATED_ITEMS in training_jobs/training/job.py and train again"
                )
            if content is not None:
                found[name] = content.read()
            if name == ARCHIVE_CARD and not _has_placements(found[name]):
                wanted.discard(ARCHIVE_PLACEMENTS)
            if wanted <= found.keys():
                break


def _has_placements(card: bytes) -> bool:
    """Return True if model.json lists the tables of placements. A damaged one is reported later."""
    try:
        return ARCHIVE_PLACEMENTS in json.loads(card).get(ARCHIVE_FILES_SHA256, {})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return False


def copy_archive(model_data_uri: str, bucket: str, key: str, s3: Any) -> None:
    """Copy an archive of any size to another key. S3 copies the bytes, and none of them pass through this process."""
    from boto3.s3.transfer import TransferConfig

    source_bucket, source_key = split_s3_uri(model_data_uri)
    config = TransferConfig(multipart_threshold=_COPY_PART_BYTES, multipart_chunksize=_COPY_PART_BYTES)
    s3.copy({"Bucket": source_bucket, "Key": source_key}, bucket, key, Config=config)
