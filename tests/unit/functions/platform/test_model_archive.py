"""The archive's small files are read from a stream, whatever the size of the weights and the order of the files."""

import io
import json
import random
import tarfile
import tracemalloc
from typing import Any

import pytest

from functions.platform.errors import GoldenMismatch
from functions.platform.model_archive import read_model_archive
from testing.fakes import FakeS3

MEGABYTE = 1024 * 1024
SMALL = {
    "model.json": {"model_version": "v1"},
    "golden.json": [{"items": ["a"], "k": 1, "expected": ["b"]}],
    "fallback.json": {"popular": ["a"], "related": {}},
}


def archive(names: list[str], weights_megabytes: int = 0) -> bytes:
    """Return an archive with these files in this order. The weights do not compress."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name in names:
            body = (
                random.Random(0).randbytes(weights_megabytes * MEGABYTE)
                if name == "vectors.npy"
                else json.dumps(SMALL[name]).encode()
            )
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return out.getvalue()


class Bucket(FakeS3):
    """S3 that keeps the stream it gave last."""

    body: io.BytesIO

    def get_object(self, Bucket: str, Key: str, Range: str = "", **_: Any) -> dict[str, Any]:
        found = super().get_object(Bucket, Key, Range)
        self.body = found["Body"] = Counted(self.objects[Bucket, Key])
        return found


class Counted(io.BytesIO):
    """A stream that counts what was read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self.count += len(part)
        return part


def stored(content: bytes) -> Bucket:
    s3 = Bucket()
    s3.put_object("models", "model.tar.gz", content)
    return s3


@pytest.mark.parametrize("weights_first", [True, False])
def test_reading_needs_a_fraction_of_the_archive_s_size(weights_first: bool) -> None:
    names = ["vectors.npy", *SMALL] if weights_first else [*SMALL, "vectors.npy"]
    s3 = stored(archive(names, weights_megabytes=32))
    tracemalloc.start()
    found = read_model_archive("s3://models/model.tar.gz", s3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.model_version == "v1"
    assert found.golden == SMALL["golden.json"]
    assert peak < 2 * MEGABYTE
    assert s3.body.closed


def test_reading_stops_after_the_last_file_that_is_wanted() -> None:
    content = archive([*SMALL, "vectors.npy"], weights_megabytes=4)
    s3 = stored(content)
    read_model_archive("s3://models/model.tar.gz", s3)
    assert isinstance(s3.body, Counted)
    assert s3.body.count < MEGABYTE < len(content)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(GoldenMismatch, match=r"model.tar.gz has no golden.json: train again"):
        read_model_archive("s3://models/model.tar.gz", stored(archive(["model.json", "fallback.json"])))
