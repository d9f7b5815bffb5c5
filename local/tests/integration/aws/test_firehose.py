"""Firehose: buffers by size and age, GZIP objects under the configured prefix, the real API's limits."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.testing import wait_for
from local.tests.integration.aws.clients import ROLE, Aws

pytestmark = pytest.mark.local_stack


def make_stream(aws: Aws, bucket: str, *, seconds: int = 1, megabytes: int = 1) -> str:
    name = bucket.replace("bucket", "stream")
    aws.client("firehose").create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": ROLE,
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "Prefix": "raw/",
            "ErrorOutputPrefix": "errors/",
            "BufferingHints": {"IntervalInSeconds": seconds, "SizeInMBs": megabytes},
            "CompressionFormat": "GZIP",
        },
    )
    return name


def objects(aws: Aws, bucket: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = aws.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return found


def lines(aws: Aws, bucket: str, key: str) -> list[bytes]:
    return gzip.decompress(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()).splitlines()


def test_records_of_several_requests_become_one_object_after_the_interval(aws: Aws) -> None:
    bucket = aws.make_bucket()
    stream, firehose = make_stream(aws, bucket), aws.client("firehose")
    firehose.put_record(DeliveryStreamName=stream, Record={"Data": b'{"n":0}\n'})
    answer = firehose.put_record_batch(
        DeliveryStreamName=stream, Records=[{"Data": b'{"n":%d}\n' % n} for n in range(1, 501)]
    )
    assert answer["FailedPutCount"] == 0
    assert len(answer["RequestResponses"]) == 500
    assert not objects(aws, bucket)
    (found,) = wait_for(lambda: objects(aws, bucket))
    assert re.fullmatch(rf"raw/\d{{4}}/\d\d/\d\d/\d\d/{stream}-1-[\d-]{{20}}[\da-f-]{{36}}\.gz", found["Key"])
    assert lines(aws, bucket, found["Key"]) == [b'{"n":%d}' % n for n in range(501)]


def test_a_full_buffer_does_not_wait_for_the_interval(aws: Aws) -> None:
    bucket = aws.make_bucket()
    stream = make_stream(aws, bucket, seconds=300)
    record = {"Data": b"x" * 600_000}
    for _ in range(2):
        aws.client("firehose").put_record(DeliveryStreamName=stream, Record=record)
    wait_for(lambda: objects(aws, bucket))


def test_requests_over_the_limits_are_refused(aws: Aws) -> None:
    bucket = aws.make_bucket()
    stream, firehose = make_stream(aws, bucket), aws.client("firehose")
    too_many = [{"Data": b"x"}] * 501
    too_much = [{"Data": b"x" * 900_000}] * 5
    too_long = [{"Data": b"x" * 1_024_001}]
    for records in (too_many, too_much, too_long):
        with pytest.raises(ClientError, match=r"Validation|InvalidArgument"):
            firehose.put_record_batch(DeliveryStreamName=stream, Records=records)
    with pytest.raises(firehose.exceptions.ResourceNotFoundException):
        firehose.put_record(DeliveryStreamName="none", Record={"Data": b"x"})


def test_a_deleted_stream_delivers_its_buffer(aws: Aws) -> None:
    bucket = aws.make_bucket()
    stream = make_stream(aws, bucket, seconds=300)
    aws.client("firehose").put_record(DeliveryStreamName=stream, Record={"Data": b"last\n"})
    aws.client("firehose").delete_delivery_stream(DeliveryStreamName=stream)
    (found,) = wait_for(lambda: objects(aws, bucket))
    assert lines(aws, bucket, found["Key"]) == [b"last"]
