"""The statements of a Lambda's policy, and the policy as JSON.

A statement names its resources by placeholders, so that every stage has the same rights on its own resources.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from deploy.stages import Stage
from functions.platform.contract import (
    CATALOGUE_CLAIMS_PREFIX,
    CATALOGUE_PREFIX,
    CATALOGUE_STATES_PREFIX,
    EVALUATIONS_PREFIX,
    RAW_PREFIX,
    REJECTED_PREFIX,
)
from functions.platform.s3_keys import current_key, evaluation_key, fallback_key

Json = dict[str, Any]

# No name of another stage begins so: names of stages have no hyphen. The first has no shop in its name, and is a stage's from
# before it could serve several shops.
ENDPOINTS = (
    "arn:aws:sagemaker:{region}:{account}:endpoint/{prefix}",
    "arn:aws:sagemaker:{region}:{account}:endpoint/{prefix}-*",
)
REALTIME_ENDPOINTS = "arn:aws:sagemaker:{region}:{account}:endpoint/{prefix}-*realtime"
ENDPOINT_CONFIGS = "arn:aws:sagemaker:{region}:{account}:endpoint-config/{prefix}-*"
MODELS = "arn:aws:sagemaker:{region}:{account}:model/{prefix}-*"
SAGEMAKER_ROLE = "arn:aws:iam::{account}:role/{prefix}-sagemaker"
SCALABLE_TARGETS = "arn:aws:application-autoscaling:{region}:{account}:scalable-target/*"
SCALING_ROLE = (
    "arn:aws:iam::{account}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
SCALING_ALARMS = "arn:aws:cloudwatch:{region}:{account}:alarm:TargetTracking-endpoint/{prefix}-*realtime/*"
PIPELINE = "arn:aws:states:{region}:{account}:stateMachine:{prefix}-pipeline"
NIGHTLY_RULE = "arn:aws:events:{region}:{account}:rule/{prefix}-nightly"
ALARMS = "arn:aws:cloudwatch:{region}:{account}:alarm:*"
NIGHT = "arn:aws:states:{region}:{account}:stateMachine:{prefix}-night"
BATCHES = "arn:aws:states:{region}:{account}:stateMachine:{prefix}-batch"
EXECUTIONS = "arn:aws:states:{region}:{account}:execution:{prefix}-pipeline:*"
NIGHTS = "arn:aws:states:{region}:{account}:execution:{prefix}-night:*"
BATCH_EXECUTIONS = "arn:aws:states:{region}:{account}:execution:{prefix}-batch:*"
# Services that accept no resource for these actions.
ANY = "*"


class Statement(NamedTuple):
    """The actions that a Lambda may perform, on which resources, under which condition."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Json | None = None


def stream(name: str) -> str:
    """Return the address of a Firehose stream: `events` or `rejected`."""
    return f"arn:aws:firehose:{{region}}:{{account}}:deliverystream/{{prefix}}-{name}"


def objects(bucket: str, key: str) -> str:
    """Return the address of objects in a bucket: `events` or `models`."""
    return f"arn:aws:s3:::{{prefix}}-{bucket}-{{account}}/{key}"


def list_bucket(sid: str, bucket: str, *prefixes: str) -> Statement:
    """Return the right to list the keys with these prefixes."""
    condition = {"StringLike": {"s3:prefix": list(prefixes)}}
    return Statement(sid, ("s3:ListBucket",), (f"arn:aws:s3:::{{prefix}}-{bucket}-{{account}}",), condition)


def list_versions(sid: str, bucket: str, *prefixes: str) -> Statement:
    """Return the right to list the versions of the keys with these prefixes."""
    condition = {"StringLike": {"s3:prefix": list(prefixes)}}
    return Statement(
        sid, ("s3:ListBucketVersions",), (f"arn:aws:s3:::{{prefix}}-{bucket}-{{account}}",), condition
    )


def _read_secret(sid: str, name: str) -> Statement:
    # Secrets Manager ends the address of a secret with six random characters.
    secret = f"arn:aws:secretsmanager:{{region}}:{{account}}:secret:tugboat/{{stage}}/{name}-??????"
    return Statement(sid, ("secretsmanager:GetSecretValue",), (secret,))


WAREHOUSE_LOGIN = _read_secret("WarehouseLogin", "snowflake")
RECEIPT_KEYS = _read_secret("ReceiptKeys", "receipts")
SECRET_KEYS = _read_secret("SecretKeys", "secret-keys")
ERASURES_KEY = _read_secret("ErasuresKey", "erasures")
STORE_EVENTS = Statement("StoreEvents", ("firehose:PutRecordBatch",), (stream("events"), stream("rejected")))
# Small files instead of Firehose, while it does not answer.
PARK_EVENTS = Statement(
    "ParkEvents",
    ("s3:PutObject",),
    (objects("events", f"{RAW_PREFIX}*"), objects("events", f"{REJECTED_PREFIX}*")),
)
STORE_CATALOGUE = Statement(
    "StoreCatalogue",
    ("s3:PutObject",),
    (objects("events", f"{CATALOGUE_PREFIX}*"), objects("events", f"{CATALOGUE_CLAIMS_PREFIX}*")),
)
READ_CLAIMS = Statement("ReadClaims", ("s3:GetObject",), (objects("events", f"{CATALOGUE_CLAIMS_PREFIX}*"),))
# List before reading: without s3:ListBucket, S3 answers 403 instead of 404 for a missing key.
CATALOGUE_STATES = (
    list_bucket("FindCatalogueState", "models", f"{CATALOGUE_STATES_PREFIX}*"),
    list_bucket("ListCatalogue", "events", f"{CATALOGUE_PREFIX}*"),
    Statement(
        "ReplaceCatalogueState",
        ("s3:GetObject", "s3:PutObject"),
        (objects("models", f"{CATALOGUE_STATES_PREFIX}*"),),
    ),
    Statement("ReadCatalogue", ("s3:GetObject",), (objects("events", f"{CATALOGUE_PREFIX}*"),)),
)
ASK_MODEL = Statement("AskModel", ("sagemaker:InvokeEndpoint",), ENDPOINTS)
MOVE_ENDPOINT = Statement(
    "MoveEndpoint",
    (
        "sagemaker:CreateEndpoint",
        "sagemaker:DeleteEndpoint",
        "sagemaker:DescribeEndpoint",
        "sagemaker:UpdateEndpoint",
    ),
    (*ENDPOINTS, ENDPOINT_CONFIGS),
)
OF_SAGEMAKER = {"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}}
STOP_SCALING = Statement(
    "StopScaling",
    ("application-autoscaling:DeregisterScalableTarget",),
    (SCALABLE_TARGETS,),
    OF_SAGEMAKER,
)
RECORDS = objects("models", current_key("*"))
FALLBACKS = objects("models", fallback_key("*"))
# The releases on record, for prove and rollback. List before reading: without s3:ListBucket, S3 answers 403 for a missing key.
READ_ARCHIVES = Statement("ReadArchives", ("s3:GetObject",), (objects("models", "serving/*"),))
READ_EVALUATIONS = Statement("ReadEvaluations", ("s3:GetObject",), (objects("models", evaluation_key("*")),))
RECORD_RELEASE = Statement("RecordRelease", ("s3:PutObject",), (objects("models", "serving/*"),))
FIND_RECORD = list_bucket("FindRecord", "models", "serving/*")
FIND_EVALUATION = list_bucket("FindEvaluation", "models", f"{EVALUATIONS_PREFIX}*")
CHANGE_CANARY = (
    Statement("ChangeCanary", ("s3:GetObject", "s3:PutObject"), (RECORDS,)),
    FIND_RECORD,
)
_TRACES = Statement("Traces", ("xray:PutTelemetryRecords", "xray:PutTraceSegments"), (ANY,))


def own_log(group: str) -> Statement:
    """Return the right to write to a log group."""
    log = f"arn:aws:logs:{{region}}:{{account}}:log-group:{group}:*"
    return Statement("OwnLog", ("logs:CreateLogStream", "logs:PutLogEvents"), (log,))


def document(statements: Iterable[Statement], stage: Stage, account_id: str) -> Json:
    """Return a policy document, with the names of the stage's resources."""
    names = {"prefix": stage.prefix, "stage": stage.name, "region": stage.region, "account": account_id}
    rendered = [
        {
            "Sid": statement.sid,
            "Effect": "Allow",
            "Action": list(statement.actions),
            "Resource": [resource.format_map(names) for resource in statement.resources],
            **({"Condition": statement.condition} if statement.condition else {}),
        }
        for statement in statements
    ]
    return {"Version": "2012-10-17", "Statement": rendered}


def render(statements: tuple[Statement, ...], deployed_name: str, stage: Stage, account_id: str) -> str:
    """Return the policy of a Lambda as JSON: its statements, its own log and its traces."""
    log = own_log(f"/aws/lambda/{deployed_name}")
    return json.dumps(document((*statements, log, _TRACES), stage, account_id), indent=2) + "\n"
