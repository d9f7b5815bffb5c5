"""Checkpoints of a training job that changes files during the upload."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws.sagemaker import files, training


def test_a_file_that_is_renamed_during_the_upload_does_not_fail_the_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent: dict[str, bytes] = {}

    def write(session: Any, uri: str, value: bytes) -> None:
        sent[uri] = value
        # The job finishes its file after the upload of the first one.
        if (tmp_path / "b.pt.partial").exists():
            (tmp_path / "b.pt.partial").rename(tmp_path / "b.pt")

    monkeypatch.setattr(files, "write", write)
    monkeypatch.setattr(files, "download", lambda session, uri, folder: None)
    job = SimpleNamespace(checkpoint_config={"S3Uri": "s3://bucket/checkpoints/"})
    container = SimpleNamespace(
        path=lambda name: tmp_path, session=SimpleNamespace(require=lambda call: None)
    )
    checkpoints = training._Checkpoints(job, container)  # type: ignore[arg-type]
    checkpoints.download()
    (tmp_path / "a.pt").write_bytes(b"a")
    (tmp_path / "b.pt.partial").write_bytes(b"b")
    monkeypatch.setattr(training._Checkpoints, "_listed", _in_order(training._Checkpoints._listed))
    checkpoints.upload()
    checkpoints.upload()
    assert sent == {"s3://bucket/checkpoints/a.pt": b"a", "s3://bucket/checkpoints/b.pt": b"b"}


def _in_order(listed: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    return lambda self: dict(sorted(listed(self).items()))
