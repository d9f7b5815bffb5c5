"""The actions that each API operation needs, with their resources and condition keys.

The names of actions, resource types and condition keys are in AWS's Service Authorization Reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html.
A test compares this table with it. Roles may use no other operation: add a missing one to OPERATIONS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from moto.sagemaker.models import sagemaker_backends
from moto.secretsmanager.models import secretsmanager_backends

from local.aws.authorization.policies import Call
from local.aws.settings import ACCOUNT_ID, REGION

SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT_ID}"


@dataclass(frozen=True)
class Request:
    """One API request; `service` is the name in its signature, and `parameters` come from path, query and body."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes = b""


Rule = Callable[[Request], Iterator[Call]]


class UnknownOperation(LookupError):
    """An operation is not in the table; the message says where to add it."""


def needed(request: Request) -> list[Call]:
    """Return the calls that the principal of a request must be allowed to make.

    Raises:
        UnknownOperation: the operation is not in the table.
    """
    rule = OPERATIONS.get((request.service, request.operation))
    if rule is None:
        raise UnknownOperation(
            f"The local AWS does not know which actions {request.service}:{request.operation} needs. "
            "Add the operation to OPERATIONS in local/aws/authorization/operations.py."
        )
    return list(rule(request))


def bucket_arn(bucket: str) -> str:
    """Return the ARN of a bucket."""
    return f"arn:aws:s3:::{bucket}"


def object_arn(bucket: str, key: str) -> str:
    """Return the ARN of an object."""
    return f"arn:aws:s3:::{bucket}/{key}"


def list_of_missing_key(bucket: str, key: str) -> Call:
    """Return the call that decides whether a missing key is reported as 404 or as 403.

    S3 evaluates s3:ListBucket with the key as s3:prefix: https://github.com/ceph/ceph/pull/68577 reproduces it.
    """
    return Call("s3:ListBucket", bucket_arn(bucket), {"s3:prefix": key})


def pass_role(role_arn: str, service: str) -> Call:
    """Return the call of a principal that hands a role to a service."""
    return Call("iam:PassRole", role_arn, {"iam:PassedToService": service})


def keys_to_delete(request: Request) -> list[str]:
    """Return the keys in the body of DeleteObjects."""
    root = ElementTree.fromstring(request.body)
    return [str(key.text) for key in root.iterfind(".//{*}Object/{*}Key")]


def copy_source(request: Request) -> tuple[str, str]:
    """Return bucket and key of the source of a copy."""
    source = unquote(request.headers["x-amz-copy-source"]).lstrip("/").partition("?")[0]
    bucket, _, key = source.partition("/")
    return bucket, key


def _simple(action: str, resource: str = "*") -> Rule:
    """Return a rule with one action; `resource` is a template with names of parameters."""

    def rule(request: Request) -> Iterator[Call]:
        yield Call(action, resource.format_map(request.parameters))

    return rule


def _read_object(request: Request) -> Iterator[Call]:
    action = "s3:GetObjectVersion" if "versionId" in request.parameters else "s3:GetObject"
    yield Call(action, object_arn(request.parameters["Bucket"], request.parameters["Key"]))


def _write_object(request: Request) -> Iterator[Call]:
    written = object_arn(request.parameters["Bucket"], request.parameters["Key"])
    yield Call("s3:PutObject", written)
    if any(name.lower() == "x-amz-tagging" for name in request.headers):
        yield Call("s3:PutObjectTagging", written)


def _delete_object(request: Request) -> Iterator[Call]:
    action = "s3:DeleteObjectVersion" if "versionId" in request.parameters else "s3:DeleteObject"
    yield Call(action, object_arn(request.parameters["Bucket"], request.parameters["Key"]))


def _copy_object(request: Request) -> Iterator[Call]:
    yield Call("s3:GetObject", object_arn(*copy_source(request)))
    yield from _write_object(request)


def _delete_objects(request: Request) -> Iterator[Call]:
    for key in keys_to_delete(request):
        yield Call("s3:DeleteObject", object_arn(request.parameters["Bucket"], key))


def _list_bucket(action: str) -> Rule:
    def rule(request: Request) -> Iterator[Call]:
        parameters = request.parameters
        names = {"prefix": "s3:prefix", "delimiter": "s3:delimiter", "max-keys": "s3:max-keys"}
        context = {key: parameters[name] for name, key in names.items() if name in parameters}
        yield Call(action, bucket_arn(parameters["Bucket"]), context)

    return rule


def _secret(request: Request) -> Iterator[Call]:
    name = request.parameters["SecretId"]
    if not name.startswith("arn:"):
        secret = secretsmanager_backends[ACCOUNT_ID][REGION].secrets.get(name)
        # The ARN of a secret ends with six random characters, so a missing secret matches no policy.
        name = secret.arn if secret else f"arn:aws:secretsmanager:{REGION}:{ACCOUNT_ID}:secret:{name}"
    yield Call("secretsmanager:GetSecretValue", name)


def _invoke_function(request: Request) -> Iterator[Call]:
    name = unquote(request.parameters["FunctionName"])
    name = re.sub(r"^arn:aws:lambda:[^:]+:[^:]+:function:", "", name)
    yield Call("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{name}")


def _create_job(action: str, kind: str, name: str) -> Rule:
    """Return the rule of a SageMaker job that gets tags and a role."""

    def rule(request: Request) -> Iterator[Call]:
        arn = f"{SAGEMAKER}:{kind}/{request.parameters[name]}"
        yield Call(action, arn)
        if request.parameters.get("Tags"):
            yield Call("sagemaker:AddTags", arn)
        definition = request.parameters.get("TrainingJobDefinition", request.parameters)
        yield pass_role(definition["RoleArn"], "sagemaker.amazonaws.com")

    return rule


def _create_model(request: Request) -> Iterator[Call]:
    arn = f"{SAGEMAKER}:model/{request.parameters['ModelName']}"
    yield Call("sagemaker:CreateModel", arn)
    if request.parameters.get("Tags"):
        yield Call("sagemaker:AddTags", arn)
    yield pass_role(request.parameters["ExecutionRoleArn"], "sagemaker.amazonaws.com")


def _register_scaling(request: Request) -> Iterator[Call]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html ."""
    endpoint = request.parameters["ResourceId"].split("/")[1]
    yield _scaling("RegisterScalableTarget", request)
    yield Call(
        "iam:CreateServiceLinkedRole", _SCALING_ROLE, {"iam:AWSServiceName": _SCALING_ROLE.split("/")[2]}
    )
    yield Call("sagemaker:DescribeEndpoint", f"{SAGEMAKER}:endpoint/{endpoint}")
    yield Call("sagemaker:UpdateEndpointWeightsAndCapacities", f"{SAGEMAKER}:endpoint/{endpoint}")
    found = sagemaker_backends[ACCOUNT_ID][REGION].endpoints.get(endpoint)
    if found is not None:
        config = f"{SAGEMAKER}:endpoint-config/{found.endpoint_config_name}"
        yield Call("sagemaker:DescribeEndpointConfig", config)


def _put_scaling_policy(request: Request) -> Iterator[Call]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html ."""
    yield _scaling("PutScalingPolicy", request)
    alarm = f"{_ALARM}:TargetTracking-{request.parameters['ResourceId']}/AlarmHigh"
    for name in ("DescribeAlarms", "PutMetricAlarm", "DeleteAlarms"):
        yield Call(f"cloudwatch:{name}", alarm)


def _scaling(name: str, request: Request) -> Call:
    action = f"application-autoscaling:{name}"
    resource = f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT_ID}:scalable-target/0123456789abcdef"
    namespace = request.parameters["ServiceNamespace"]
    return Call(action, resource, {"application-autoscaling:service-namespace": namespace})


def _stop_scaling(request: Request) -> Iterator[Call]:
    yield _scaling("DeregisterScalableTarget", request)


def _move_endpoint(action: str) -> Rule:
    """Return the rule of an operation that needs its action on an endpoint and on the configuration."""

    def rule(request: Request) -> Iterator[Call]:
        yield Call(action, f"{SAGEMAKER}:endpoint/{request.parameters['EndpointName']}")
        yield Call(action, f"{SAGEMAKER}:endpoint-config/{request.parameters['EndpointConfigName']}")

    return rule


def _builds(action: str, name: str) -> Rule:
    """Return the rule of an operation on builds. The id of a build starts with the name of its project."""

    def rule(request: Request) -> Iterator[Call]:
        ids = request.parameters[name]
        for build in ids if isinstance(ids, list) else [ids]:
            yield Call(f"codebuild:{action}", f"{_PROJECT}/{build.partition(':')[0]}")

    return rule


def _sagemaker(action: str, kind: str, name: str) -> tuple[tuple[str, str], Rule]:
    return ("sagemaker", action), _simple(f"sagemaker:{action}", f"{SAGEMAKER}:{kind}/{{{name}}}")


def _any_resource(service: str, *operations: str) -> dict[tuple[str, str], Rule]:
    return {(service, name): _simple(f"{service}:{name}") for name in operations}


_ALARM = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT_ID}:alarm"
_SCALING_ROLE = (
    f"arn:aws:iam::{ACCOUNT_ID}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
_PROJECT = f"arn:aws:codebuild:{REGION}:{ACCOUNT_ID}:project"
_STREAM = f"arn:aws:firehose:{REGION}:{ACCOUNT_ID}:deliverystream/{{DeliveryStreamName}}"
OPERATIONS: dict[tuple[str, str], Rule] = {
    ("application-autoscaling", "DeregisterScalableTarget"): _stop_scaling,
    ("application-autoscaling", "PutScalingPolicy"): _put_scaling_policy,
    ("application-autoscaling", "RegisterScalableTarget"): _register_scaling,
    ("codebuild", "BatchGetBuilds"): _builds("BatchGetBuilds", "ids"),
    ("codebuild", "StartBuild"): _simple("codebuild:StartBuild", f"{_PROJECT}/{{projectName}}"),
    ("codebuild", "StopBuild"): _builds("StopBuild", "id"),
    # DescribeAlarms and its history by a prefix are calls on the resource of all alarms.
    ("monitoring", "DescribeAlarmHistory"): _simple("cloudwatch:DescribeAlarmHistory", f"{_ALARM}:*"),
    ("monitoring", "DescribeAlarms"): _simple("cloudwatch:DescribeAlarms", f"{_ALARM}:*"),
    ("monitoring", "GetMetricData"): _simple("cloudwatch:GetMetricData"),
    ("monitoring", "ListMetrics"): _simple("cloudwatch:ListMetrics"),
    ("events", "DescribeRule"): _simple(
        "events:DescribeRule", f"arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{{Name}}"
    ),
    ("firehose", "PutRecord"): _simple("firehose:PutRecord", _STREAM),
    ("firehose", "PutRecordBatch"): _simple("firehose:PutRecordBatch", _STREAM),
    ("lambda", "Invoke"): _invoke_function,
    ("s3", "AbortMultipartUpload"): _simple("s3:AbortMultipartUpload", object_arn("{Bucket}", "{Key}")),
    ("s3", "CompleteMultipartUpload"): _write_object,
    ("s3", "CopyObject"): _copy_object,
    ("s3", "CreateMultipartUpload"): _write_object,
    ("s3", "DeleteObject"): _delete_object,
    ("s3", "DeleteObjects"): _delete_objects,
    ("s3", "GetBucketLocation"): _simple("s3:GetBucketLocation", bucket_arn("{Bucket}")),
    ("s3", "GetObject"): _read_object,
    ("s3", "HeadBucket"): _simple("s3:ListBucket", bucket_arn("{Bucket}")),
    ("s3", "HeadObject"): _read_object,
    ("s3", "ListObjects"): _list_bucket("s3:ListBucket"),
    ("s3", "ListObjectsV2"): _list_bucket("s3:ListBucket"),
    ("s3", "PutObject"): _write_object,
    ("s3", "GetObjectTagging"): _simple("s3:GetObjectTagging", object_arn("{Bucket}", "{Key}")),
    ("s3", "ListObjectVersions"): _list_bucket("s3:ListBucketVersions"),
    ("s3", "PutObjectTagging"): _simple("s3:PutObjectTagging", object_arn("{Bucket}", "{Key}")),
    ("s3", "UploadPart"): _write_object,
    ("s3", "UploadPartCopy"): _copy_object,
    ("sagemaker", "CreateEndpoint"): _move_endpoint("sagemaker:CreateEndpoint"),
    ("sagemaker", "CreateHyperParameterTuningJob"): _create_job(
        "sagemaker:CreateHyperParameterTuningJob",
        "hyper-parameter-tuning-job",
        "HyperParameterTuningJobName",
    ),
    ("sagemaker", "CreateModel"): _create_model,
    ("sagemaker", "CreateProcessingJob"): _create_job(
        "sagemaker:CreateProcessingJob", "processing-job", "ProcessingJobName"
    ),
    ("sagemaker", "CreateTrainingJob"): _create_job(
        "sagemaker:CreateTrainingJob", "training-job", "TrainingJobName"
    ),
    ("sagemaker", "UpdateEndpoint"): _move_endpoint("sagemaker:UpdateEndpoint"),
    **dict(
        (
            _sagemaker("CreateEndpointConfig", "endpoint-config", "EndpointConfigName"),
            _sagemaker("DeleteEndpoint", "endpoint", "EndpointName"),
            _sagemaker("DeleteEndpointConfig", "endpoint-config", "EndpointConfigName"),
            _sagemaker("DeleteModel", "model", "ModelName"),
            _sagemaker("DescribeEndpoint", "endpoint", "EndpointName"),
            _sagemaker("DescribeEndpointConfig", "endpoint-config", "EndpointConfigName"),
            _sagemaker(
                "DescribeHyperParameterTuningJob", "hyper-parameter-tuning-job", "HyperParameterTuningJobName"
            ),
            _sagemaker("DescribeModel", "model", "ModelName"),
            _sagemaker("DescribeProcessingJob", "processing-job", "ProcessingJobName"),
            _sagemaker("DescribeTrainingJob", "training-job", "TrainingJobName"),
            _sagemaker("InvokeEndpoint", "endpoint", "EndpointName"),
            _sagemaker(
                "StopHyperParameterTuningJob", "hyper-parameter-tuning-job", "HyperParameterTuningJobName"
            ),
            _sagemaker("StopProcessingJob", "processing-job", "ProcessingJobName"),
            _sagemaker("StopTrainingJob", "training-job", "TrainingJobName"),
        )
    ),
    **_any_resource("sagemaker", "ListEndpointConfigs", "ListModels"),
    ("secretsmanager", "GetSecretValue"): _secret,
    ("sns", "Publish"): _simple("sns:Publish", "{TopicArn}"),
    ("states", "DescribeExecution"): _simple("states:DescribeExecution", "{executionArn}"),
    ("states", "GetExecutionHistory"): _simple("states:GetExecutionHistory", "{executionArn}"),
    ("states", "ListExecutions"): _simple("states:ListExecutions", "{stateMachineArn}"),
    ("states", "RedriveExecution"): _simple("states:RedriveExecution", "{executionArn}"),
    ("states", "StartExecution"): _simple("states:StartExecution", "{stateMachineArn}"),
    ("states", "StopExecution"): _simple("states:StopExecution", "{executionArn}"),
}
