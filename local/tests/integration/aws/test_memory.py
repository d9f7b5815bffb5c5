"""Memory of the AWS process: it returns the memory of large requests."""

from __future__ import annotations

import io
import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.testing import aws_service
from local.tests.integration.aws.clients import Aws

pytestmark = [
    pytest.mark.local_stack,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's memory from /proc"),
]

MB = 1 << 20


def resident_mb(aws: Aws) -> int:
    """Return the resident memory of the process in MiB, without its children."""
    process = aws_service(aws.stack).running()
    assert process is not None
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process['pid']}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def test_objects_put_read_and_deleted_leave_no_memory_behind(aws: Aws) -> None:
    s3, bucket, body = aws.client("s3"), aws.make_bucket(), os.urandom(12 * MB)

    def put_and_get(number: int) -> None:
        s3.put_object(Bucket=bucket, Key=str(number), Body=body)
        assert len(s3.get_object(Bucket=bucket, Key=str(number))["Body"].read()) == len(body)

    put_and_get(0)
    before = resident_mb(aws)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put_and_get, range(10)))
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=body)[
                "ETag"
            ],
        }
        for number in range(1, 4)
    ]
    s3.complete_multipart_upload(
        Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    for number in range(10):
        s3.delete_object(Bucket=bucket, Key=str(number))
    # 168 MB were written and 132 MB were read.
    assert resident_mb(aws) - before < 60


def test_functions_of_one_bundle_deployed_repeatedly_leave_no_memory_behind(aws: Aws) -> None:
    client = aws.client("lambda")
    names = [aws.make_function("def handler(event, context): return 'first'") for _ in range(3)]
    before = resident_mb(aws)
    for version in ("second", "third"):
        bundle = io.BytesIO()
        with zipfile.ZipFile(bundle, "w") as archive:
            archive.writestr("app.py", f"def handler(event, context): return '{version}'")
            archive.writestr("weight", os.urandom(8 * MB))
        for name in names:
            client.update_function_code(FunctionName=name, ZipFile=bundle.getvalue())
    assert aws.invoke(names[0])[0] == "third"
    assert len({client.get_function_configuration(FunctionName=name)["CodeSha256"] for name in names}) == 1
    # The requests contained 48 MB of zips, as bytes and as base64.
    assert resident_mb(aws) - before < 40
