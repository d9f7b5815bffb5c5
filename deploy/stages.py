"""Read stages.toml and training_images.json: one typed value per stage.

A wrong key or value fails here, before anything is deployed. Limits of AWS are in the types.
"""

import json
import re
import secrets
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, PydanticCustomError

from deploy.command import DeployError, signed_out
from functions.platform.contract import RECOMMEND_K_MAX
from functions.platform.endpoint import endpoint_name
from functions.platform.run_names import NIGHT_SHOP_CHARACTERS
from functions.platform.shop_names import short_name
from training_jobs.gate.thresholds import ThresholdsError, with_bounds

FOLDER = Path(__file__).parent
STAGES_FILE = FOLDER / "stages.toml"
IMAGES_FILE = FOLDER / "training_images.json"

# Every name in the account starts with tugboat-<stage>. resources.yaml has the same pattern.
STAGE_NAME = re.compile(r"[a-z][a-z0-9]{1,15}")

ShopId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
ShopKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantServerlessConfig.html
ServerlessMemoryMb = Literal[1024, 2048, 3072, 4096, 5120, 6144]
InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")]
# https://docs.snowflake.com/en/user-guide/warehouses-overview
WarehouseSize = Literal["XSMALL", "SMALL", "MEDIUM", "LARGE", "XLARGE", "XXLARGE"]
# ISO 4217, as in contracts/event.schema.json.
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
StepWarehouseSize = Literal["shared", "XSMALL", "SMALL", "MEDIUM", "LARGE", "XLARGE", "XXLARGE"]
Credits = Annotated[int, Field(ge=1, le=100_000)]
Days = Annotated[int, Field(ge=1)]


class StageError(DeployError):
    """stages.toml or training_images.json cannot be used. The message contains the correct form."""


def _one_shop_per_key(shops: dict[str, list[str]]) -> dict[str, list[str]]:
    if not shops:
        raise PydanticCustomError("no_shops", "is empty: name at least one shop")
    keys = [key for of_shop in shops.values() for key in of_shop]
    if len(set(keys)) < len(keys):
        raise PydanticCustomError("key_twice", "has a key twice: a key identifies the shop that sends")
    by_name: dict[str, str] = {}
    for shop in shops:
        other = by_name.setdefault(short_name(shop), shop)
        if other != shop:
            raise PydanticCustomError(
                "name_twice",
                "has the shops {one} and {other}, whose endpoints would have the same name: rename one",
                {"one": other, "other": shop},
            )
    beginnings = {shop[:NIGHT_SHOP_CHARACTERS] for shop in shops}
    if len(beginnings) < len(shops):
        raise PydanticCustomError(
            "beginning_twice",
            "has two shops with the same first {characters} characters, whose executions of a night would have the same name: "
            "rename one",
            {"characters": NIGHT_SHOP_CHARACTERS},
        )
    return shops


def _none_or_an_address(email: str) -> str:
    # SNS sends the confirmation of a subscription there, and nobody learns that it did not arrive.
    if email and not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", email):
        raise PydanticCustomError("no_address", "Use an address such as me@example.com, or none")
    return email


def _never_or_late(days: int) -> int:
    # Raw files must outlive a pipeline that stands still: Snowflake remembers for 64 days which files it loaded.
    if 0 < days < 90:
        raise PydanticCustomError("too_early", "Use 90 days or more, or 0 for never")
    return days


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Stage:
    """Everything that differs between local, dev and prod."""

    name: str
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    account_id: Annotated[str, Field(pattern=r"^(\d{12})?$")]
    shops: Annotated[dict[ShopId, list[ShopKey]], AfterValidator(_one_shop_per_key)]
    notification_email: Annotated[str, AfterValidator(_none_or_an_address)]
    snowflake_user_arn: str
    snowflake_external_id: str
    warehouse_size: WarehouseSize
    transform_warehouse_size: StepWarehouseSize
    validate_warehouse_size: StepWarehouseSize
    export_warehouse_size: StepWarehouseSize
    warehouse_credits_per_month: Credits
    reader_credits_per_month: Credits
    events_buffer_seconds: Annotated[int, Field(ge=0, le=900)]
    events_buffer_megabytes: Annotated[int, Field(ge=1, le=128)]
    rejected_expire_days: Days
    global_privacy_control: Literal["obey", "ignore"]
    raw_expire_days: Annotated[int, Field(ge=0), AfterValidator(_never_or_late)]
    exports_expire_days: Days
    log_retention_days: RetentionDays
    tracing: bool
    schedule: Annotated[str, Field(pattern=r"^(cron|rate)\(.+\)$")]
    schedule_enabled: bool
    load_on_arrival: bool
    load_by: Literal["copy", "snowpipe"]
    no_events_hours: Annotated[int, Field(ge=1, le=24)]
    api_latency_ms: Annotated[int, Field(ge=1)]
    refused_max_percent: Annotated[int, Field(ge=1, le=99)]
    fallbacks_max_percent: Annotated[int, Field(ge=1, le=99)]
    model_max_age_hours: Annotated[int, Field(ge=0)]
    alarm_drills: Literal["causes", "states"]
    operations_minutes: Annotated[int, Field(ge=0, le=60)]
    events_requests_per_second: Annotated[int, Field(ge=1, le=5_000)]
    recommend_requests_per_second: Annotated[int, Field(ge=1, le=5_000)]
    collect_max_concurrency: Annotated[int, Field(ge=0)]
    termination_protection: bool
    monthly_budget_usd: Annotated[int, Field(ge=0)]
    training_instance_type: InstanceType
    processing_instance_type: InstanceType
    use_spot: bool
    runner: Literal["lambda", "codebuild", "sagemaker-processing"]
    job_timeout_minutes: Annotated[int, Field(ge=15, le=480)]
    training_days: Annotated[int, Field(ge=1)]
    currencies: dict[ShopId, Currency]
    batch_nightly: bool
    batch_days: Annotated[int, Field(ge=1, le=365)]
    batch_items: Annotated[int, Field(ge=1, le=RECOMMEND_K_MAX)]
    endpoint_kind: Literal["serverless", "realtime"]
    endpoint_memory_mb: ServerlessMemoryMb
    endpoint_max_concurrency: Annotated[int, Field(ge=1, le=200)]
    endpoint_instance_type: InstanceType
    endpoint_min_instances: Annotated[int, Field(ge=1)]
    endpoint_max_instances: Annotated[int, Field(ge=1)]
    endpoint_requests_per_instance_minute: Annotated[int, Field(ge=1)]
    endpoint_timeout_ms: Annotated[int, Field(ge=10, le=25_000)]
    endpoint_poll_seconds: Annotated[int, Field(ge=1)]
    # The state machine ends after 27 hours, and waits twice.
    canary_seconds: Annotated[int, Field(ge=0, le=21_600)]
    trained_shops: list[ShopId]
    shops_at_once: Annotated[int, Field(ge=1, le=40)]
    hyperparameters: dict[ShopId, dict[str, str | int | float]]
    gate: dict[ShopId, dict[str, int | float]]

    @property
    def prefix(self) -> str:
        """The start of every name of this stage; also the name of its stack and its API Lambda."""
        return f"tugboat-{self.name}"

    @property
    def api_stage(self) -> str:
        """The stage of the API. Chalice gives all APIs one name, so only this distinguishes their metrics."""
        return self.name

    @property
    def served_shops(self) -> tuple[str, ...]:
        """The shops that the nightly run trains for."""
        return tuple(self.trained_shops or self.shops)

    def endpoint_name(self, shop: str) -> str:
        """Return the name of a shop's endpoint of the stage's kind."""
        return endpoint_name(self.prefix, shop, self.endpoint_kind)

    @property
    def region_variables(self) -> dict[str, str]:
        """The environment variables that put a child process into the stage's region. Tools read one or the other."""
        return {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}

    @property
    def secret_name(self) -> str:
        """The secret that holds the pipeline's Snowflake login."""
        return f"tugboat/{self.name}/snowflake"

    @property
    def admin_secret_name(self) -> str:
        """The secret that holds the login of a Snowflake administrator. It is needed only while sql/setup changes."""
        return f"{self.secret_name}-admin"

    @property
    def reader_secret_name(self) -> str:
        """The secret that holds the login of dashboards, which reads the marts. It is optional."""
        return f"{self.secret_name}-reader"

    @property
    def receipts_secret(self) -> str:
        """The secret that holds the signing keys of receipts."""
        return f"tugboat/{self.name}/receipts"

    @property
    def secret_keys_secret(self) -> str:
        """The secret that holds the digests of the shops' secret keys."""
        return f"tugboat/{self.name}/secret-keys"

    @property
    def erasures_secret(self) -> str:
        """The secret that holds the key of the digests that stand for erased persons."""
        return f"tugboat/{self.name}/erasures"

    @property
    def sending_keys(self) -> dict[str, str]:
        """The key that each shop sends with. A shop without a key is left out."""
        return {shop: keys[0] for shop, keys in self.shops.items() if keys}

    def events_bucket(self, account_id: str) -> str:
        """Return the name of the bucket that holds raw and rejected events."""
        return f"{self.prefix}-events-{account_id}"

    def models_bucket(self, account_id: str) -> str:
        """Return the name of the bucket that holds snapshots, models and code."""
        return f"{self.prefix}-models-{account_id}"

    def state_machine_arn(self, account_id: str) -> str:
        """Return the ARN of the pipeline, which trains and publishes for one shop."""
        return f"arn:aws:states:{self.region}:{account_id}:stateMachine:{self.prefix}-pipeline"

    def night_arn(self, account_id: str) -> str:
        """Return the ARN of the state machine that starts the pipeline for several shops."""
        return f"arn:aws:states:{self.region}:{account_id}:stateMachine:{self.prefix}-night"

    def batch_arn(self, account_id: str) -> str:
        """Return the ARN of the state machine of a batch."""
        return f"arn:aws:states:{self.region}:{account_id}:stateMachine:{self.prefix}-batch"


SETTINGS = frozenset(field.name for field in fields(Stage)) - {"name"}


def setting_text(value: object) -> str:
    """Return a setting as the text of an environment variable or of a template's parameter."""
    if isinstance(value, dict):
        return ",".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def stage_names(stages_file: Path = STAGES_FILE) -> list[str]:
    """Return the names of all stages."""
    return sorted(tomllib.loads(stages_file.read_text("utf-8-sig")).keys() - {"default"})


def read_stage(name: str, stages_file: Path = STAGES_FILE) -> Stage:
    """Return the values of a stage: its own, else those of [default].

    Raises:
        StageError: the stage is unknown, or a key or value is missing, misspelt or out of bounds.
    """
    try:
        tables = tomllib.loads(stages_file.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise StageError(f"{stages_file} is not UTF-8: {error}. Save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise StageError(f"{stages_file} is not valid TOML: {error}. Correct that line") from error
    if name == "default" or name not in tables:
        known = ", ".join(sorted(tables.keys() - {"default"}))
        raise StageError(
            f"stage {name!r} is not in {stages_file.name}: use one of {known}, or add [{name}] there"
        )
    if not STAGE_NAME.fullmatch(name):
        raise StageError(
            f"stage {name!r} in {stages_file.name} cannot be part of AWS names: use 2 to 16 lower-case letters "
            "and digits, a letter first"
        )
    try:
        stage = Stage(**{**tables["default"], **tables[name], "name": name})
    except ValidationError as error:
        problems = "\n".join(f"  {_sentence(detail, tables, name)}" for detail in error.errors())
        raise StageError(f"{stages_file} cannot be used for stage {name}:\n{problems}") from None
    if stage.load_by == "snowpipe" and stage.load_on_arrival:
        raise StageError(
            f'stage {name} has load_on_arrival, and load_by = "snowpipe" loads each file on arrival too, so every file '
            f"would be loaded twice. Set load_on_arrival = false in {stages_file}"
        )
    _require_known_shops(stage, stages_file)
    _require_bounds(stage, stages_file)
    if stage.schedule_enabled and not stage.model_max_age_hours:
        raise StageError(
            f"stage {name} trains by a schedule and has no alarm for an old model. Set model_max_age_hours, such as 48, for "
            f"the stage in {stages_file}"
        )
    return stage


def _require_known_shops(stage: Stage, stages_file: Path) -> None:
    """Check that every setting of a shop is of a shop of the stage."""
    for name in ("trained_shops", "hyperparameters", "gate", "currencies"):
        unknown = [shop for shop in getattr(stage, name) if shop not in stage.shops]
        if unknown:
            raise StageError(
                f"stage {stage.name} has {name} of {', '.join(unknown)}, which is no shop of it. Its shops are "
                f"{', '.join(stage.shops)}: correct the name in {stages_file}, or add the shop to [{stage.name}.shops]"
            )
    if len(set(stage.trained_shops)) < len(stage.trained_shops):
        raise StageError(f"stage {stage.name} has a shop twice in trained_shops: correct {stages_file}")


def _require_bounds(stage: Stage, stages_file: Path) -> None:
    """Check the bounds of every shop's gate."""
    for shop, bounds in stage.gate.items():
        try:
            with_bounds(bounds)
        except ThresholdsError as error:
            raise StageError(
                f"stage {stage.name} has wrong bounds in gate of {shop}: {error}. Correct {stages_file}"
            ) from None


def _sentence(detail: ErrorDetails, tables: dict[str, Any], stage: str) -> str:
    """Return one sentence on a refused key or value, with its table."""
    key, *inner = (str(part) for part in detail["loc"])
    table = stage if key in tables[stage] else "default"
    if detail["type"] == "unexpected_keyword_argument":
        return f"[{table}] has the unknown key {key}. Allowed are {', '.join(sorted(SETTINGS))}"
    if detail["type"] == "missing":
        return f"[default] has no {key}. Add it there"
    if key == "shops":
        return f"[{table}.shops] {_shops_problem(detail, inner)}"
    return f"[{table}] has {key} = {detail['input']!r}. {detail['msg']}"


def _shops_problem(detail: ErrorDetails, inner: list[str]) -> str:
    """Return the problem of a table of shops."""
    given = detail["input"]
    match inner:
        case [shop, "[key]"]:
            return f"has the shop id {shop!r}: use 1 to 64 letters, digits, '-', '_' and '.'"
        case [shop]:
            return f"gives {shop!r} no list of keys but {given!r}"
        case [shop, _]:
            return f"gives {shop!r} the key {given!r}: use 8 to 64 letters, digits, '-' and '_'"
        case _:
            return detail["msg"]


def account_of(stage: Stage, sts: Any) -> str:
    """Return the account that the credentials belong to.

    Raises:
        DeployError: there are no usable credentials, or they belong to another account than the stage.
    """
    try:
        account_id = str(sts.get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise DeployError(signed_out(error)) from error
    if stage.account_id and stage.account_id != account_id:
        raise DeployError(
            f"stage {stage.name} belongs to account {stage.account_id}, the credentials to {account_id}: "
            "change AWS_PROFILE, or account_id in deploy/stages.toml"
        )
    return account_id


def require_keys(stage: Stage) -> None:
    """Check that every shop has a key to send with.

    Raises:
        StageError: a shop has none. The message suggests a random one.
    """
    for shop, keys in stage.shops.items():
        if not keys:
            raise StageError(
                f"shop {shop!r} has no key: write into deploy/{STAGES_FILE.name}\n\n"
                f'    [{stage.name}.shops]\n    {shop} = ["{secrets.token_urlsafe(18)}"]\n'
            )


def training_image(stage: Stage, images_file: Path = IMAGES_FILE) -> str:
    """Return the address of AWS's PyTorch container for the stage's training and evaluation jobs.

    Raises:
        StageError: training_images.json lacks the stage's region.
    """
    images = json.loads(images_file.read_text())
    if stage.region not in images:
        raise StageError(
            f"{images_file.name} has no containers of region {stage.region}. Look up AWS's current list with "
            "make training-images; if the region is still missing, take another one for the stage"
        )
    # SageMaker's instance types with NVIDIA GPUs are ml.g* and ml.p*.
    gpu = stage.training_instance_type.startswith(("ml.g", "ml.p"))
    return str(images[stage.region]["training_gpu" if gpu else "training_cpu"])
