"""Every Lambda, declared once: its size, time limit, settings, layer and permissions.

.chalice/, the log groups of the template and the state machine's references to Lambdas follow from here.
Only the handler is elsewhere, in app.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct, structs

from deploy import policies, serving_image
from deploy.policies import Statement, list_bucket, list_versions, objects, stream
from deploy.stages import SETTINGS, Stage, setting_text
from functions.platform.contract import (
    BATCH_PREFIX,
    CATALOGUE_STATES_PREFIX,
    EMBEDDINGS_PREFIX,
    ERASURE_CERTIFICATES_PREFIX,
    ERASURE_JOURNALS_PREFIX,
    ERRORS_PREFIX,
    EVALUATIONS_PREFIX,
    EXPORTS_PREFIX,
    LOCK_KEY,
    OPERATIONS_PREFIX,
    PACKED_MANIFESTS_PREFIX,
    PACKED_PREFIX,
    PLACEMENTS_PREFIX,
    RAW_PREFIX,
    REJECTED_PREFIX,
    RELEASES_PREFIX,
    RULES_PREFIX,
    SHOP_LOCKS_PREFIX,
    SHOPS_PREFIX,
    STOCK_PREFIX,
    TRAINING_PREFIX,
    VALIDATION_LATEST_PREFIX,
    VALIDATION_REPORTS_PREFIX,
)
from functions.platform.settings import (
    AnswersSettings,
    CanarySettings,
    CatalogueSettings,
    CollectSettings,
    CompactSettings,
    EraseSettings,
    LockSettings,
    OperationsSettings,
    PublishSettings,
    RecommendSettings,
    WarehouseSettings,
)
from sql.setup.apply import role_prefix

# One group per settings class of functions/: the variables that the class reads.
SettingsGroup = Literal[
    "answers",
    "canary",
    "catalogue",
    "collect",
    "compact",
    "erase",
    "recommend",
    "lock",
    "operations",
    "warehouse",
    "publish",
]
LayerName = Literal["warehouse", "pandas"]


@dataclass(frozen=True)
class Lambda:
    """One Lambda, under the name that app.py and the policy file give it."""

    name: str
    memory_mb: int
    timeout_s: int
    settings: tuple[SettingsGroup, ...]
    policy: tuple[Statement, ...]
    layer: LayerName | None = None
    # The share of the account's concurrency that is reserved for this Lambda, and that it cannot exceed. 0: none.
    max_concurrency: Callable[[Stage], int] | None = None
    # True: the setting `runner` can move the step from the Lambda to a job (deploy/step_jobs.py).
    as_job: bool = False

    @property
    def suffix(self) -> str:
        """The end of the deployed name, after `tugboat-<stage>`. Chalice deploys the API's Lambda without one."""
        return "" if self.name == "api_handler" else f"-{self.name}"

    @property
    def title(self) -> str:
        """The name in the template and in the definition of the state machine: `LoadLogs`, `${LoadFunction}`."""
        return "Api" if self.name == "api_handler" else self.name.title().replace("_", "")

    def deployed_name(self, stage: Stage) -> str:
        """Return the name of this Lambda in the account."""
        return f"{stage.prefix}{self.suffix}"

    def environment(self, stage: Stage, account_id: str) -> dict[str, str]:
        """Return the environment variables of this Lambda, sorted by name."""
        variables: dict[str, str] = {}
        for group in self.settings:
            variables |= _variables(group, stage, account_id)
        return dict(sorted(variables.items()))

    def rendered_policy(self, stage: Stage, account_id: str) -> str:
        """Return the policy of this Lambda as JSON."""
        return policies.render(self.policy, self.deployed_name(stage), stage, account_id)


# Files with lines of events. An erasure rewrites them.
ERASED_PREFIXES = (RAW_PREFIX, REJECTED_PREFIX, ERRORS_PREFIX)
# Memory buys CPU: 1,769 MB are one core. dbt parses its project for seconds on less.
LAMBDAS = (
    Lambda(
        "api_handler",
        memory_mb=1024,
        timeout_s=29,
        settings=("collect", "recommend"),
        policy=(
            policies.STORE_EVENTS,
            policies.PARK_EVENTS,
            policies.ASK_MODEL,
            Statement(
                "ReadRelease",
                ("s3:GetObject",),
                (
                    policies.RECORDS,
                    policies.FALLBACKS,
                    objects("models", f"{PLACEMENTS_PREFIX}*"),
                    objects("models", f"{RULES_PREFIX}*"),
                    objects("models", f"{CATALOGUE_STATES_PREFIX}*"),
                ),
            ),
            policies.STORE_CATALOGUE,
            policies.READ_CLAIMS,
            policies.RECEIPT_KEYS,
            policies.SECRET_KEYS,
        ),
    ),
    Lambda(
        "collect",
        memory_mb=1024,
        timeout_s=29,
        settings=("collect",),
        policy=(
            policies.STORE_EVENTS,
            policies.PARK_EVENTS,
            policies.STORE_CATALOGUE,
            policies.READ_CLAIMS,
            policies.RECEIPT_KEYS,
            policies.SECRET_KEYS,
        ),
        max_concurrency=lambda stage: stage.collect_max_concurrency,
    ),
    Lambda(
        "catalogue",
        memory_mb=1769,
        timeout_s=300,
        settings=("catalogue",),
        policy=policies.CATALOGUE_STATES,
    ),
    Lambda(
        "lock",
        memory_mb=256,
        timeout_s=60,
        settings=("lock",),
        policy=(
            Statement(
                "HoldLock",
                ("s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
                (objects("models", LOCK_KEY), objects("models", f"{SHOP_LOCKS_PREFIX}*")),
            ),
            list_bucket("FindLock", "models", "locks/*"),
            Statement(
                "HolderRuns",
                ("states:DescribeExecution",),
                (policies.EXECUTIONS, policies.NIGHTS, policies.BATCH_EXECUTIONS),
            ),
        ),
    ),
    Lambda(
        "load",
        memory_mb=1024,
        timeout_s=900,
        settings=("warehouse",),
        policy=(policies.WAREHOUSE_LOGIN,),
        layer="warehouse",
    ),
    Lambda(
        "transform",
        memory_mb=2048,
        timeout_s=900,
        settings=("warehouse",),
        policy=(policies.WAREHOUSE_LOGIN,),
        layer="warehouse",
        as_job=True,
    ),
    Lambda(
        "validate",
        memory_mb=2048,
        timeout_s=900,
        settings=("warehouse",),
        policy=(
            policies.WAREHOUSE_LOGIN,
            Statement("WriteReport", ("s3:PutObject",), (objects("models", "reports/*"),)),
            list_bucket("ListRefusals", "events", f"{REJECTED_PREFIX}*"),
            Statement("ReadRefusals", ("s3:GetObject",), (objects("events", f"{REJECTED_PREFIX}*"),)),
        ),
        layer="warehouse",
        as_job=True,
    ),
    Lambda(
        "export",
        memory_mb=1024,
        timeout_s=900,
        settings=("warehouse",),
        policy=(
            policies.WAREHOUSE_LOGIN,
            Statement(
                "ReplaceSnapshot",
                ("s3:DeleteObject", "s3:PutObject"),
                (objects("models", f"{EXPORTS_PREFIX}*"),),
            ),
            Statement(
                "ReadShopFiles",
                ("s3:GetObject",),
                (objects("models", f"{STOCK_PREFIX}*"), objects("models", f"{EMBEDDINGS_PREFIX}*")),
            ),
            list_bucket(
                *("ListSnapshot", "models", f"{EXPORTS_PREFIX}*", f"{STOCK_PREFIX}*", f"{EMBEDDINGS_PREFIX}*")
            ),
            *policies.CATALOGUE_STATES,
        ),
        layer="warehouse",
        as_job=True,
    ),
    Lambda(
        "histories",
        memory_mb=512,
        timeout_s=900,
        settings=("warehouse",),
        policy=(
            policies.WAREHOUSE_LOGIN,
            # The fallback is a trace of an earlier release: without one, the shop has had no model yet.
            Statement("ReadRecord", ("s3:GetObject",), (policies.RECORDS, policies.FALLBACKS)),
            policies.FIND_RECORD,
        ),
        layer="warehouse",
    ),
    Lambda(
        "answers",
        memory_mb=1769,
        timeout_s=900,
        settings=("answers",),
        policy=(
            Statement(
                "ReadSteering",
                ("s3:GetObject",),
                (
                    policies.FALLBACKS,
                    objects("models", f"{RULES_PREFIX}*"),
                    objects("models", f"{CATALOGUE_STATES_PREFIX}*"),
                ),
            ),
            Statement("Answer", ("s3:GetObject", "s3:PutObject"), (objects("models", f"{BATCH_PREFIX}*"),)),
            list_bucket("ListCandidates", "models", f"{BATCH_PREFIX}*"),
        ),
        layer="pandas",
    ),
    Lambda(
        "batch",
        memory_mb=512,
        timeout_s=900,
        settings=("warehouse",),
        policy=(
            policies.WAREHOUSE_LOGIN,
            Statement("RemoveFiles", ("s3:DeleteObject",), (objects("models", f"{BATCH_PREFIX}*"),)),
            list_bucket("ListFiles", "models", f"{BATCH_PREFIX}*"),
        ),
        layer="warehouse",
    ),
    Lambda(
        "publish",
        memory_mb=512,
        timeout_s=120,
        settings=("publish",),
        policy=(
            Statement("MakeModel", ("sagemaker:CreateModel", "sagemaker:DescribeModel"), (policies.MODELS,)),
            Statement(
                "MakeConfiguration",
                ("sagemaker:CreateEndpointConfig", "sagemaker:DescribeEndpointConfig"),
                (policies.ENDPOINT_CONFIGS,),
            ),
            policies.MOVE_ENDPOINT,
            policies.STOP_SCALING,
            Statement(
                "PassModelRole",
                ("iam:PassRole",),
                (policies.SAGEMAKER_ROLE,),
                {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            ),
            Statement("ReadTrained", ("s3:GetObject",), (objects("models", f"{TRAINING_PREFIX}*"),)),
            Statement("KeepArchive", ("s3:PutObject",), (objects("models", f"{RELEASES_PREFIX}*"),)),
            *policies.CHANGE_CANARY,
        ),
    ),
    Lambda(
        "prove",
        memory_mb=1024,
        timeout_s=300,
        settings=("publish",),
        policy=(
            policies.ASK_MODEL,
            Statement(
                "Scale",
                (
                    "application-autoscaling:PutScalingPolicy",
                    "application-autoscaling:RegisterScalableTarget",
                ),
                (policies.SCALABLE_TARGETS,),
                policies.OF_SAGEMAKER,
            ),
            Statement(
                "ScalingRole",
                ("iam:CreateServiceLinkedRole",),
                (policies.SCALING_ROLE,),
                {"StringLike": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}},
            ),
            Statement(
                "ScalingAlarms",
                ("cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"),
                (policies.SCALING_ALARMS,),
            ),
            Statement(
                "RemoveEndpoints",
                ("sagemaker:DeleteEndpoint", "sagemaker:DescribeEndpoint"),
                policies.ENDPOINTS,
            ),
            Statement(
                "ReadScaled",
                ("sagemaker:DescribeEndpointConfig", "sagemaker:UpdateEndpointWeightsAndCapacities"),
                (policies.REALTIME_ENDPOINTS, policies.ENDPOINT_CONFIGS),
            ),
            policies.READ_ARCHIVES,
            policies.READ_EVALUATIONS,
            policies.FIND_EVALUATION,
            policies.RECORD_RELEASE,
            Statement(
                "RemoveOlderArchives", ("s3:DeleteObject",), (objects("models", f"{RELEASES_PREFIX}*"),)
            ),
            policies.FIND_RECORD,
            Statement(
                "ListReleases",
                ("sagemaker:ListEndpointConfigs", "sagemaker:ListModels"),
                (policies.ANY,),
            ),
            Statement(
                "RemoveOlder",
                ("sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"),
                (policies.ENDPOINT_CONFIGS, policies.MODELS),
            ),
        ),
    ),
    Lambda(
        "canary",
        memory_mb=256,
        timeout_s=60,
        settings=("canary",),
        policy=(
            *policies.CHANGE_CANARY,
            Statement("ReadFigures", ("cloudwatch:GetMetricData",), (policies.ANY,)),
        ),
    ),
    Lambda(
        "rollback",
        memory_mb=1024,
        # After an aborted run it waits for the run's last step, then for an endpoint that SageMaker is changing.
        timeout_s=900,
        settings=("publish",),
        policy=(
            policies.MOVE_ENDPOINT,
            policies.STOP_SCALING,
            policies.READ_ARCHIVES,
            policies.READ_EVALUATIONS,
            policies.FIND_EVALUATION,
            policies.RECORD_RELEASE,
            policies.FIND_RECORD,
            Statement("RunsAgain", ("states:DescribeExecution",), (policies.EXECUTIONS,)),
        ),
    ),
    Lambda(
        "replay",
        memory_mb=1769,
        timeout_s=900,
        settings=("collect",),
        policy=(
            Statement(
                "ReadArchive",
                ("s3:GetObject",),
                (
                    objects("events", f"{RAW_PREFIX}*"),
                    objects("events", f"{REJECTED_PREFIX}*"),
                    objects("events", f"{PACKED_PREFIX}*"),
                    objects("events", f"{PACKED_MANIFESTS_PREFIX}*"),
                ),
            ),
            list_bucket(
                "ListArchive",
                "events",
                f"{RAW_PREFIX}*",
                f"{REJECTED_PREFIX}*",
                f"{PACKED_PREFIX}*",
                f"{PACKED_MANIFESTS_PREFIX}*",
            ),
            Statement("SendAgain", ("firehose:PutRecordBatch",), (stream("events"),)),
            Statement("ParkEvents", ("s3:PutObject",), (objects("events", f"{RAW_PREFIX}*"),)),
            policies.RECEIPT_KEYS,
        ),
        layer="pandas",
    ),
    Lambda(
        "compact",
        memory_mb=1769,
        timeout_s=900,
        settings=("compact",),
        policy=(
            Statement(
                "ReadEvents",
                ("s3:GetObject",),
                (
                    objects("events", f"{RAW_PREFIX}*"),
                    objects("events", f"{PACKED_PREFIX}*"),
                    objects("events", f"{PACKED_MANIFESTS_PREFIX}*"),
                ),
            ),
            list_bucket(
                "ListEvents", "events", f"{RAW_PREFIX}*", f"{PACKED_PREFIX}*", f"{PACKED_MANIFESTS_PREFIX}*"
            ),
            Statement(
                "Pack",
                ("s3:PutObject",),
                (objects("events", f"{PACKED_PREFIX}*"), objects("events", f"{PACKED_MANIFESTS_PREFIX}*")),
            ),
            Statement("LetExpire", ("s3:PutObjectTagging",), (objects("events", f"{RAW_PREFIX}*"),)),
        ),
        layer="pandas",
    ),
    # It may delete old versions of events, which no other Lambda may.
    Lambda(
        "erase",
        memory_mb=1769,
        timeout_s=900,
        settings=("erase",),
        policy=(
            policies.ERASURES_KEY,
            Statement(
                "ReadEvents",
                ("s3:GetObject",),
                (
                    *(objects("events", f"{prefix}*") for prefix in ERASED_PREFIXES),
                    objects("events", f"{PACKED_PREFIX}*"),
                    objects("events", f"{PACKED_MANIFESTS_PREFIX}*"),
                    objects("events", f"{ERASURE_JOURNALS_PREFIX}*"),
                ),
            ),
            Statement(
                "ReadOldVersions",
                ("s3:GetObjectTagging", "s3:GetObjectVersion"),
                tuple(objects("events", f"{prefix}*") for prefix in ERASED_PREFIXES),
            ),
            Statement(
                "Rewrite",
                ("s3:PutObject",),
                (
                    *(objects("events", f"{prefix}*") for prefix in ERASED_PREFIXES),
                    objects("events", f"{PACKED_PREFIX}*"),
                    objects("events", f"{PACKED_MANIFESTS_PREFIX}*"),
                    objects("events", f"{ERASURE_JOURNALS_PREFIX}*"),
                    objects("events", f"{ERASURE_CERTIFICATES_PREFIX}*"),
                ),
            ),
            Statement("KeepTags", ("s3:PutObjectTagging",), (objects("events", f"{RAW_PREFIX}*"),)),
            Statement(
                "DeleteOldVersions",
                ("s3:DeleteObjectVersion",),
                (
                    *(objects("events", f"{prefix}*") for prefix in ERASED_PREFIXES),
                    objects("events", f"{PACKED_PREFIX}*"),
                    objects("events", f"{ERASURE_JOURNALS_PREFIX}*"),
                    objects("models", f"{EXPORTS_PREFIX}*"),
                    objects("models", f"{BATCH_PREFIX}*"),
                ),
            ),
            list_versions(
                "ListVersions",
                "events",
                *(f"{prefix}*" for prefix in ERASED_PREFIXES),
                f"{PACKED_PREFIX}*",
                f"{PACKED_MANIFESTS_PREFIX}*",
                f"{ERASURE_JOURNALS_PREFIX}*",
            ),
            # List before reading: without s3:ListBucket, S3 answers 403 instead of 404 for a missing key.
            list_bucket(
                "FindEvents",
                "events",
                *(f"{prefix}*" for prefix in ERASED_PREFIXES),
                f"{PACKED_PREFIX}*",
                f"{PACKED_MANIFESTS_PREFIX}*",
                f"{ERASURE_JOURNALS_PREFIX}*",
            ),
            list_versions(
                "ListSnapshots", "models", f"{EXPORTS_PREFIX}*", f"{TRAINING_PREFIX}*", f"{BATCH_PREFIX}*"
            ),
            Statement(
                "ReadModels",
                ("s3:GetObject",),
                (objects("models", f"{EXPORTS_PREFIX}*"), policies.RECORDS),
            ),
            policies.FIND_RECORD,
        ),
        layer="pandas",
    ),
    Lambda(
        "erase_rows",
        memory_mb=1769,
        timeout_s=900,
        settings=("erase",),
        policy=(
            policies.ERASURES_KEY,
            policies.WAREHOUSE_LOGIN,
            Statement(
                "ReadJournal",
                ("s3:GetObject",),
                (
                    objects("events", f"{ERASURE_JOURNALS_PREFIX}*"),
                    objects("events", f"{PACKED_MANIFESTS_PREFIX}*"),
                ),
            ),
            Statement("WriteJournal", ("s3:PutObject",), (objects("events", f"{ERASURE_JOURNALS_PREFIX}*"),)),
            list_bucket("FindJournal", "events", f"{ERASURE_JOURNALS_PREFIX}*"),
            list_versions("ListFiles", "events", f"{RAW_PREFIX}*", f"{PACKED_MANIFESTS_PREFIX}*"),
        ),
        layer="warehouse",
    ),
    Lambda(
        "operations",
        memory_mb=512,
        timeout_s=120,
        settings=("operations",),
        policy=(
            Statement("ListRuns", ("states:ListExecutions",), (policies.PIPELINE, policies.BATCHES)),
            Statement("ReadBatches", ("states:DescribeExecution",), (policies.BATCH_EXECUTIONS,)),
            Statement("ReadRuns", ("states:GetExecutionHistory",), (policies.EXECUTIONS,)),
            Statement("ReadSchedule", ("events:DescribeRule",), (policies.NIGHTLY_RULE,)),
            Statement("ReadEndpoint", ("sagemaker:DescribeEndpoint",), policies.ENDPOINTS),
            # CloudWatch lists by prefix only on the resource of all alarms, and knows no resource of a metric.
            Statement(
                "ReadAlarms",
                ("cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms"),
                (policies.ALARMS,),
            ),
            Statement("ReadMetrics", ("cloudwatch:GetMetricData", "cloudwatch:ListMetrics"), (policies.ANY,)),
            list_bucket("FindEvents", "events", f"{RAW_PREFIX}*", f"{REJECTED_PREFIX}*"),
            list_bucket(
                "FindResults",
                "models",
                f"{SHOPS_PREFIX}*",
                f"{EVALUATIONS_PREFIX}*",
                f"{OPERATIONS_PREFIX}*",
                f"{VALIDATION_LATEST_PREFIX}*",
            ),
            Statement(
                "ReadResults",
                ("s3:GetObject",),
                (
                    policies.RECORDS,
                    objects("models", f"{EVALUATIONS_PREFIX}*"),
                    objects("models", f"{OPERATIONS_PREFIX}*"),
                    # The page links the reports by addresses that the role signs.
                    objects("models", f"{VALIDATION_REPORTS_PREFIX}*"),
                ),
            ),
            Statement("WritePage", ("s3:PutObject",), (objects("models", f"{OPERATIONS_PREFIX}*"),)),
        ),
    ),
)
NAMES = tuple(one.name for one in LAMBDAS)


def named(name: str) -> Lambda:
    """Return the declaration of a Lambda."""
    return next(one for one in LAMBDAS if one.name == name)


def common_environment(stage: Stage) -> dict[str, str]:
    """Return the variables that every Lambda has."""
    return {"TUGBOAT_STAGE": stage.name}


# The settings class of each group, from whose fields the variables follow.
SETTINGS_CLASSES: dict[SettingsGroup, type[Struct]] = {
    "answers": AnswersSettings,
    "catalogue": CatalogueSettings,
    "collect": CollectSettings,
    "compact": CompactSettings,
    "erase": EraseSettings,
    "recommend": RecommendSettings,
    "lock": LockSettings,
    "operations": OperationsSettings,
    "warehouse": WarehouseSettings,
    "publish": PublishSettings,
    "canary": CanarySettings,
}


def _variables(group: SettingsGroup, stage: Stage, account_id: str) -> dict[str, str]:
    """Return the variables of a settings group with the stage's values.

    A field with the name of a setting in stages.toml has that setting's value.
    """
    fields = structs.fields(SETTINGS_CLASSES[group])
    copied = {
        field.encode_name: setting_text(getattr(stage, field.name))
        for field in fields
        if field.name in SETTINGS
    }
    match group:
        case "collect":
            keys = ((shop, key) for shop, keys in stage.shops.items() for key in keys)
            return copied | {
                "TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id),
                "TUGBOAT_EVENTS_STREAM": f"{stage.prefix}-events",
                "TUGBOAT_RECEIPTS_SECRET": stage.receipts_secret,
                "TUGBOAT_REJECTED_STREAM": f"{stage.prefix}-rejected",
                "TUGBOAT_SECRET_KEYS_SECRET": stage.secret_keys_secret,
                "TUGBOAT_SHOP_KEYS": ",".join(f"{shop}={key}" for shop, key in keys),
            }
        case "catalogue":
            return {
                "TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id),
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
            }
        case "compact":
            return copied | {"TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id)}
        case "erase":
            return copied | {
                "TUGBOAT_ERASER_ROLE": f"{role_prefix(stage.name)}_ERASER",
                "TUGBOAT_ERASURES_SECRET": stage.erasures_secret,
                "TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id),
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
                "TUGBOAT_SNOWFLAKE_SECRET": stage.secret_name,
            }
        case "recommend":
            return copied | {
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
                "TUGBOAT_PREFIX": stage.prefix,
                "TUGBOAT_RECEIPTS_SECRET": stage.receipts_secret,
                "TUGBOAT_SHOPS": setting_text(list(stage.shops)),
                "TUGBOAT_TRAINED_SHOPS": setting_text(stage.served_shops),
            }
        case "answers" | "canary":
            return copied | {"TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id)}
        case "lock":
            return {"TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id)}
        case "operations":
            return copied | {
                "TUGBOAT_BATCH_MACHINE_ARN": stage.batch_arn(account_id),
                "TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id),
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
                "TUGBOAT_PREFIX": stage.prefix,
                "TUGBOAT_STATE_MACHINE_ARN": stage.state_machine_arn(account_id),
                "TUGBOAT_TRAINED_SHOPS": setting_text(stage.served_shops),
            }
        case "warehouse":
            return copied | {
                "TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id),
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
                "TUGBOAT_SHOP": stage.served_shops[0],
                "TUGBOAT_SNOWFLAKE_SECRET": stage.secret_name,
            }
        case "publish":
            return copied | {
                "TUGBOAT_INFERENCE_IMAGE": serving_image.address(stage, account_id),
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
                "TUGBOAT_PREFIX": stage.prefix,
                "TUGBOAT_SAGEMAKER_ROLE_ARN": f"arn:aws:iam::{account_id}:role/{stage.prefix}-sagemaker",
                "TUGBOAT_SHOP": stage.served_shops[0],
            }
