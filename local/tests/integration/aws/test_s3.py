"""S3: objects, and notifications in a thread of their own. test_restart.py covers objects after kill -9."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from local.testing import wait_for
from local.tests.integration.aws.clients import Aws

pytestmark = pytest.mark.local_stack

FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function:"


def test_objects_keep_their_metadata_and_are_gone_when_deleted(aws: Aws) -> None:
    s3, bucket = aws.client("s3"), aws.make_bucket()
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"one", ContentType="text/plain", Metadata={"k": "v"})
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"two", ContentEncoding="gzip")
    s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/a/b")
    got = s3.get_object(Bucket=bucket, Key="c")
    assert (got["Body"].read(), got["ContentEncoding"]) == (b"two", "gzip")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "c"}, {"Key": "a/b"}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    s3.delete_bucket(Bucket=bucket)
    assert not (aws.stack.state / "s3" / bucket).exists()


def test_an_object_that_the_caller_has_is_not_sent_again(aws: Aws) -> None:
    s3, bucket = aws.client("s3"), aws.make_bucket()
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"one")["ETag"]
    with pytest.raises(ClientError) as raised:
        s3.get_object(Bucket=bucket, Key="a", IfNoneMatch=etag)
    assert raised.value.response["Error"]["Code"] == "304"
    s3.put_object(Bucket=bucket, Key="a", Body=b"two")
    assert s3.get_object(Bucket=bucket, Key="a", IfNoneMatch=etag)["Body"].read() == b"two"


def test_a_multipart_upload_is_one_object(aws: Aws) -> None:
    s3, bucket = aws.client("s3"), aws.make_bucket()
    part = b"x" * 5 * 1024 * 1024
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    etags = [
        s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        for number, body in ((1, part), (2, b"end"))
    ]
    parts = [{"ETag": etag, "PartNumber": number} for number, etag in enumerate(etags, start=1)]
    s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket=bucket, Key="big")
    assert got["Body"].read() == part + b"end"
    assert got["ETag"].endswith('-2"')
    assert s3.get_object(Bucket=bucket, Key="big", Range="bytes=-3")["Body"].read() == b"end"


def test_a_notification_reaches_its_lambda_without_blocking_the_writer(aws: Aws) -> None:
    s3, bucket = aws.client("s3"), aws.make_bucket()
    name = aws.make_function("import time\ndef handler(event, context):\n    time.sleep(1)\n    print(event)")
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {
                    "LambdaFunctionArn": FUNCTION_ARN + name,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "raw/"}]}},
                }
            ]
        },
    )
    s3.put_object(Bucket=bucket, Key="other/a", Body=b"")
    s3.put_object(Bucket=bucket, Key="raw/a", Body=b"abc")
    log = aws.stack.logs / "lambda" / f"{name}.log"
    assert not log.exists()
    text = wait_for(lambda: log.exists() and log.read_text())
    assert text.count("START") == 1
    assert "'key': 'raw%2Fa'" in text


def test_a_new_object_becomes_an_event_of_eventbridge(aws: Aws) -> None:
    s3, bucket, events = aws.client("s3"), aws.make_bucket(), aws.client("events")
    name = aws.make_function("import json\ndef handler(event, context): print(json.dumps(event))", Timeout=9)
    aws.permit(name, "events", f"arn:aws:events:us-east-1:123456789012:rule/{bucket}")
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket]}},
    }
    events.put_rule(Name=bucket, EventPattern=json.dumps(pattern))
    transformer = {"InputPathsMap": {"id": "$.id"}, "InputTemplate": '{"run_id": "arrival-<id>"}'}
    whole = {"Id": "whole", "Arn": FUNCTION_ARN + name}
    events.put_targets(Rule=bucket, Targets=[whole, {**whole, "Id": "part", "InputTransformer": transformer}])
    s3.put_object(Bucket=bucket, Key="raw/a", Body=b"abc")
    log = aws.stack.logs / "lambda" / f"{name}.log"
    text = wait_for(lambda: log.exists() and log.read_text().count("REPORT") == 2 and log.read_text())
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    part, event = sorted(lines, key=len)
    assert part == {"run_id": f"arrival-{event['id']}"}
    assert event["detail"]["object"]["key"] == "raw/a"
    assert event["detail"]["object"]["size"] == 3
    assert event["time"].endswith("Z")


def test_of_several_conditional_writers_one_succeeds(aws: Aws) -> None:
    s3, target = aws.client("s3"), {"Bucket": aws.make_bucket(), "Key": "lock"}

    def winner(bodies: range, **condition: str) -> bytes:
        """Return the one body that was written, of several that were sent at once."""

        def write(body: int) -> bytes | None:
            try:
                aws.client("s3").put_object(**target, Body=b"%d" % body, **condition)
            except ClientError as error:
                if error.response["Error"]["Code"] == "PreconditionFailed":
                    return None
                raise
            return b"%d" % body

        with ThreadPoolExecutor(8) as pool:
            (written,) = filter(None, pool.map(write, bodies))
        assert s3.get_object(**target)["Body"].read() == written
        return written

    winner(range(1, 9), IfNoneMatch="*")
    first = s3.get_object(**target)["ETag"]
    winner(range(11, 19), IfMatch=first)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.delete_object(**target, IfMatch=first)
    s3.delete_object(**target, IfMatch=s3.get_object(**target)["ETag"])
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.put_object(**target, Body=b"0", IfMatch=first)
