"""Checkpoints of a local training job: what the job writes while its folder is sent."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from local.aws.sagemaker import training


def test_a_file_that_is_renamed_while_the_folder_is_sent_does_not_end_the_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent: dict[str, bytes] = {}

    def write(uri: str, value: bytes) -> None:
        sent[uri] = value
        # The job finishes what it was writing, after the first file is sent.
        if (tmp_path / "b.pt.partial").exists():
            (tmp_path / "b.pt.partial").rename(tmp_path / "b.pt")

    monkeypatch.setattr(training.files, "write", write)
    monkeypatch.setattr(training.files, "download", lambda uri, folder: None)
    job = SimpleNamespace(checkpoint_config={"S3Uri": "s3://bucket/checkpoints/"})
    container = SimpleNamespace(path=lambda name: tmp_path)
    checkpoints = training._Checkpoints(job, container)  # type: ignore[arg-type]
    checkpoints.download()
    (tmp_path / "a.pt").write_bytes(b"a")
    (tmp_path / "b.pt.partial").write_bytes(b"b")
    monkeypatch.setattr(training._Checkpoints, "_seen", _in_order(training._Checkpoints._seen))
    checkpoints.upload()
    checkpoints.upload()
    assert sent == {"s3://bucket/checkpoints/a.pt": b"a", "s3://bucket/checkpoints/b.pt": b"b"}


def _in_order(seen):  # type: ignore[no-untyped-def]
    return lambda self: dict(sorted(seen(self).items()))
