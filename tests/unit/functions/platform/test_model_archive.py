"""The archive's small files are read from a stream, whatever the size of the weights and the order of the files."""

import gzip
import hashlib
import io
import json
import random
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.platform import model_archive
from functions.platform.errors import GoldenMismatch
from functions.platform.model_archive import copy_archive, read_model_archive
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


class Zeros(io.RawIOBase):
    """An archive that is packed while it is read: weights of zeros, then the wanted files."""

    def __init__(self, weights_bytes: int) -> None:
        self.packer, self.rest, self.weights_left = zlib.compressobj(1, wbits=31), b"", weights_bytes
        header = tarfile.TarInfo("vectors.npy")
        header.size = weights_bytes
        self.parts = iter(self._parts(header))

    def _parts(self, header: tarfile.TarInfo) -> Iterator[bytes]:
        yield self.packer.compress(header.tobuf())
        block = bytes(4 * MEGABYTE)
        for _ in range(header.size // len(block)):
            yield self.packer.compress(block)
        small = gzip.decompress(archive(list(SMALL)))
        yield self.packer.compress(small) + self.packer.flush()

    def read(self, size: int = -1) -> bytes:
        while len(self.rest) < size and (part := next(self.parts, None)) is not None:
            self.rest += part
        given, self.rest = self.rest[:size], self.rest[size:]
        return given


def test_an_archive_that_arrives_in_parts_is_read_in_a_tenth_of_its_size() -> None:
    class Huge(FakeS3):
        def get_object(self, Bucket: str, Key: str, Range: str = "", **_: Any) -> dict[str, Any]:
            return {"Body": Zeros(160 * MEGABYTE)}

    tracemalloc.start()
    found = read_model_archive("s3://models/model.tar.gz", Huge())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.model_version == "v1"
    assert peak < 16 * MEGABYTE


def test_a_file_that_would_not_fit_into_memory_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_archive, "FILE_MAX_BYTES", 30)
    with pytest.raises(
        GoldenMismatch, match=r"fallback.json of s3://models/model.tar.gz has .* RELATED_ITEMS"
    ):
        read_model_archive("s3://models/model.tar.gz", stored(archive(["fallback.json", "golden.json"])))


class CopyingS3:
    """A boto3 client whose requests are recorded and answered here. The source has `size` bytes."""

    def __init__(self, size: int) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        answers: dict[str, dict[str, Any]] = {
            "HeadObject": {"ContentLength": size, "ETag": "e"},
            "CreateMultipartUpload": {"UploadId": "u"},
            "UploadPartCopy": {"CopyPartResult": {"ETag": "e"}},
        }

        def answer(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
            self.requests.append((operation, parameters))
            return answers.get(operation, {})

        self.client._make_api_call = answer

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.requests]


def test_an_archive_above_the_limit_of_one_copy_is_copied_in_parts() -> None:
    size = 6 * 10**9
    s3 = CopyingS3(size)
    copy_archive("s3://models/training/model.tar.gz", "models", "serving/model.tar.gz", s3.client)
    ranges = [request["CopySourceRange"] for name, request in s3.requests if name == "UploadPartCopy"]
    copied = [tuple(map(int, part.removeprefix("bytes=").split("-"))) for part in ranges]
    assert sum(last - first + 1 for first, last in copied) == size
    assert s3.operations()[-1] == "CompleteMultipartUpload"
    assert "CopyObject" not in s3.operations()


def test_a_small_archive_is_copied_in_one_request() -> None:
    s3 = CopyingS3(10**6)
    copy_archive("s3://models/training/model.tar.gz", "models", "serving/model.tar.gz", s3.client)
    assert s3.operations() == ["HeadObject", "CopyObject"]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(GoldenMismatch, match=r"model.tar.gz has no golden.json: train again"):
        read_model_archive("s3://models/model.tar.gz", stored(archive(["model.json", "fallback.json"])))


def with_checksums(**changed: Any) -> dict[str, bytes]:
    """The small files as training writes them, with checksums in model.json. `changed` replaces files afterwards."""
    files = {name: json.dumps(value).encode() for name, value in SMALL.items()}
    checksums = {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "model.json"
    }
    files["model.json"] = json.dumps({"model_version": "v1", "files_sha256": checksums}).encode()
    return files | changed


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_files_are_compared_with_their_checksums() -> None:
    uri = "s3://models/model.tar.gz"
    assert read_model_archive(uri, stored(packed(with_checksums()))).model_version == "v1"
    other = json.dumps([{"items": ["a"], "k": 1, "expected": ["c"]}]).encode()
    for changed in ({"golden.json": other}, {"fallback.json": b"{}"}):
        with pytest.raises(GoldenMismatch, match="differs from its checksum"):
            read_model_archive(uri, stored(packed(with_checksums(**changed))))


TABLES = {"popular": {"": ["a"]}, "rising": {}, "bought_together": {}, "again": {}}


@pytest.mark.parametrize("order", [("model.json", "placements.json"), ("placements.json", "model.json")])
def test_the_tables_of_placements_are_read_if_model_json_lists_them(order: tuple[str, ...]) -> None:
    tables = json.dumps(TABLES).encode()
    files = with_checksums()
    card = json.loads(files["model.json"])
    card["files_sha256"]["placements.json"] = hashlib.sha256(tables).hexdigest()
    files |= {"model.json": json.dumps(card).encode(), "placements.json": tables}
    rest = {name: files[name] for name in files if name not in order}
    uri = "s3://models/model.tar.gz"
    found = read_model_archive(uri, stored(packed({name: files[name] for name in order} | rest)))
    assert found.placements == TABLES
    with pytest.raises(GoldenMismatch, match=r"placements\.json differs from its checksum"):
        read_model_archive(uri, stored(packed({**files, "placements.json": b"{}"})))
    del files["placements.json"]
    with pytest.raises(GoldenMismatch, match=r"has no placements\.json"):
        read_model_archive(uri, stored(packed(files)))


def test_an_archive_of_before_the_tables_has_none() -> None:
    assert read_model_archive("s3://models/model.tar.gz", stored(packed(with_checksums()))).placements is None


@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(0, 255))
@example(place=0.01171875, mask=0)  # three bytes
@settings(max_examples=100, deadline=None)
def test_a_damaged_or_cut_archive_is_a_golden_mismatch_or_reads_the_same(place: float, mask: int) -> None:
    content = bytearray(packed(with_checksums()))
    at = int(place * len(content))
    if mask:
        content[at] ^= mask
    else:
        del content[at:]
    try:
        found = read_model_archive("s3://models/model.tar.gz", stored(bytes(content)))
    except GoldenMismatch:
        return
    assert (found.golden, found.fallback) == (SMALL["golden.json"], SMALL["fallback.json"])
