"""The permissions that AWS's services need in a role, as their documentation lists them.

The local services cannot imitate every request inside AWS, for example the parts of a large upload. So each requires the whole
list of its page for what it does. A role that lacks one of these permissions fails here, and on AWS sooner or later.
"""

from __future__ import annotations

import re

from local.aws.authorization.operations import bucket_arn, object_arn
from local.aws.authorization.policies import Call
from local.aws.authorization.sessions import on
from local.aws.settings import ACCOUNT_ID, REGION

_ECR_ADDRESS = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<name>[^:@]+)"
)
_LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group"


def log_group(name: str) -> str:
    """Return the resource of calls on a log group, in the form of CloudWatch's own errors."""
    return f"{_LOGS}:{name}:log-stream:"


def log_stream(group: str, stream: str) -> str:
    """Return the resource of calls on a log stream."""
    return f"{_LOGS}:{group}:log-stream:{stream}"


def firehose_delivery(bucket: str, key: str) -> list[Call]:
    """https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html#using-iam-s3 ."""
    in_bucket = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")
    in_object = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject")
    return on(bucket_arn(bucket), in_bucket) + on(object_arn(bucket, key), in_object)


def image_pull(address: str) -> list[Call]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms ."""
    actions = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    return [Call("ecr:GetAuthorizationToken"), *on(_repository(address), actions)]


def image_push(address: str) -> list[Call]:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html ."""
    actions = (
        *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload"),
        *("ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"),
    )
    return [Call("ecr:GetAuthorizationToken"), *on(_repository(address), actions)]


def sagemaker_logs_and_metrics(group: str, stream: str) -> list[Call]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms ."""
    in_group = ("logs:CreateLogGroup", "logs:DescribeLogStreams")
    in_stream = ("logs:CreateLogStream", "logs:PutLogEvents")
    metrics = Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": group})
    return [*on(log_group(group), in_group), *on(log_stream(group, stream), in_stream), metrics]


def build_source(bucket: str, key: str) -> list[Call]:
    """https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html ."""
    in_bucket = ("s3:GetBucketAcl", "s3:GetBucketLocation")
    in_object = ("s3:GetObject", "s3:GetObjectVersion")
    return on(bucket_arn(bucket), in_bucket) + on(object_arn(bucket, key), in_object)


def log_delivery() -> list[Call]:
    """https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html ."""
    return on(
        "*",
        (
            *("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups"),
            *("logs:DescribeResourcePolicies", "logs:GetLogDelivery", "logs:ListLogDeliveries"),
            *("logs:PutResourcePolicy", "logs:UpdateLogDelivery"),
        ),
    )


def execution_traces() -> list[Call]:
    """https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html ."""
    return on(
        "*",
        (
            *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
            *("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        ),
    )


def daemon_traces() -> list[Call]:
    """https://docs.aws.amazon.com/xray/latest/devguide/xray-daemon.html#xray-daemon-permissions , for Lambda's daemon."""
    return on("*", ("xray:PutTelemetryRecords", "xray:PutTraceSegments"))


def end_of_job_rule(rule: str) -> list[Call]:
    """https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html#sagemaker-iam ."""
    arn = f"arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{rule}"
    return [*on(arn, ("events:DescribeRule", "events:PutRule", "events:PutTargets"))]


def _repository(address: str) -> str:
    """Return the ARN of the repository in an image's address.

    Raises:
        ValueError: the address is not one of ECR.
    """
    found = _ECR_ADDRESS.match(address)
    if found is None:
        raise ValueError(
            f"{address!r} is not the address of an image in ECR, which is where AWS pulls images from."
        )
    return f"arn:aws:ecr:{found['region']}:{found['account']}:repository/{found['name']}"
