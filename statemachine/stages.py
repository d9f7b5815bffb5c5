"""stages.toml and images.json as one typed object a stage."""

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent
STAGES_FILE = FOLDER / "stages.toml"
IMAGES_FILE = FOLDER / "images.json"


class StageError(Exception):
    """stages.toml or images.json cannot be used; the message says what to write there."""


@dataclass(frozen=True)
class Stage:
    """Everything that differs between local, dev and prod."""

    name: str
    region: str
    account_id: str
    api_stage: str
    shops: list[str]
    notification_email: str
    snowflake_user_arn: str
    snowflake_external_id: str
    events_buffer_seconds: int
    events_buffer_megabytes: int
    rejected_expire_days: int
    exports_expire_days: int
    log_retention_days: int
    schedule: str
    schedule_enabled: bool
    no_events_hours: int
    api_latency_ms: int
    training_instance_type: str
    processing_instance_type: str
    use_spot: bool
    endpoint_kind: Literal["serverless", "realtime"]
    endpoint_memory_mb: int
    endpoint_max_concurrency: int
    endpoint_instance_type: str
    endpoint_timeout_ms: int
    endpoint_poll_seconds: int
    pandas_layer_arn: str

    @property
    def prefix(self) -> str:
        """What every name of this stage begins with."""
        return f"tugboat-{self.name}"

    @property
    def secret_name(self) -> str:
        return f"tugboat/{self.name}/snowflake"

    def events_bucket(self, account_id: str) -> str:
        return f"{self.prefix}-events-{account_id}"

    def models_bucket(self, account_id: str) -> str:
        return f"{self.prefix}-models-{account_id}"


def read_stage(name: str, stages_file: Path = STAGES_FILE) -> Stage:
    """The stage's values, its own before the defaults.

    Raises:
        StageError: the stage is unknown, or a value is missing, unknown or of the wrong type.
    """
    with stages_file.open("rb") as file:
        tables = tomllib.load(file)
    if name == "default" or name not in tables:
        known = ", ".join(sorted(tables.keys() - {"default"}))
        raise StageError(
            f"stage {name!r} is not in {stages_file.name}: use one of {known}, or add [{name}] there"
        )
    values = {**tables["default"], **tables[name], "name": name}
    expected = {field.name: field.type for field in fields(Stage)}
    unknown, missing = values.keys() - expected.keys(), expected.keys() - values.keys()
    if unknown or missing:
        problem = f"unknown: {sorted(unknown)}" if unknown else f"missing: {sorted(missing)}"
        raise StageError(f"[{name}] in {stages_file.name} has {problem}")
    for key, value in values.items():
        kind: Any = (
            expected[key] if expected[key] in (bool, int) else list if expected[key] == list[str] else str
        )
        if type(value) is not kind:
            raise StageError(f"{key} of [{name}] in {stages_file.name} is {value!r}, not a {kind.__name__}")
    if not values["shops"]:
        raise StageError(f"shops of [{name}] in {stages_file.name} is empty: name at least one shop id")
    return Stage(**values)


def image(
    kind: Literal["training_cpu", "training_gpu", "inference_cpu"],
    region: str,
    images_file: Path = IMAGES_FILE,
) -> str:
    """Address of AWS's PyTorch container in a region.

    Raises:
        StageError: the region has not been looked up.
    """
    images = json.loads(images_file.read_text())
    if region not in images:
        raise StageError(
            f"{images_file.name} has no images of {region}: python -m statemachine.images --region {region}"
        )
    return str(images[region][kind])


def training_image(stage: Stage) -> str:
    """The container of this stage's training and evaluation jobs."""
    # SageMaker's instance types with NVIDIA GPUs are ml.g* and ml.p*.
    gpu = stage.training_instance_type.startswith(("ml.g", "ml.p"))
    return image("training_gpu" if gpu else "training_cpu", stage.region)
