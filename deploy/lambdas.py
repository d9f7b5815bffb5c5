"""Every Lambda, declared once: its size, its time limit, the settings it reads, and its layer.

.chalice/config.json, the log groups of the template and the state machine's references to Lambdas follow from here.
Two things stay written by hand: the handler in app.py, and the policy in .chalice/.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from deploy import serving_image
from deploy.stages import Stage

# One group per settings class of functions/: the variables that the class reads.
SettingsGroup = Literal["collect", "recommend", "lock", "warehouse", "publish"]
LayerName = Literal["warehouse", "pandas"]


@dataclass(frozen=True)
class Lambda:
    """One Lambda, under the name that app.py and the policy file give it."""

    name: str
    memory_mb: int
    timeout_s: int
    settings: tuple[SettingsGroup, ...]
    layer: LayerName | None = None
    # The share of the account's concurrency that is reserved for this Lambda, and that it cannot exceed. 0: none.
    max_concurrency: Callable[[Stage], int] | None = None

    @property
    def suffix(self) -> str:
        """What follows `tugboat-<stage>` in the deployed name. Chalice deploys the API's Lambda without a suffix."""
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


# Memory buys CPU: 1,769 MB are one core. dbt parses its project for seconds on less.
LAMBDAS = (
    Lambda("api_handler", memory_mb=1024, timeout_s=29, settings=("collect", "recommend")),
    Lambda(
        "collect",
        memory_mb=1024,
        timeout_s=29,
        settings=("collect",),
        max_concurrency=lambda stage: stage.collect_max_concurrency,
    ),
    Lambda("lock", memory_mb=256, timeout_s=60, settings=("lock",)),
    Lambda("load", memory_mb=1024, timeout_s=900, settings=("warehouse",), layer="warehouse"),
    Lambda("transform", memory_mb=2048, timeout_s=900, settings=("warehouse",), layer="warehouse"),
    Lambda("validate", memory_mb=2048, timeout_s=900, settings=("warehouse",), layer="warehouse"),
    Lambda("export", memory_mb=1024, timeout_s=900, settings=("warehouse",), layer="warehouse"),
    Lambda("publish", memory_mb=512, timeout_s=120, settings=("publish",)),
    Lambda("prove", memory_mb=1024, timeout_s=300, settings=("publish",)),
    Lambda("rollback", memory_mb=1024, timeout_s=300, settings=("publish",)),
    Lambda("replay", memory_mb=1769, timeout_s=900, settings=("collect",), layer="pandas"),
)
NAMES = tuple(one.name for one in LAMBDAS)


def named(name: str) -> Lambda:
    """Return the declaration of a Lambda."""
    return next(one for one in LAMBDAS if one.name == name)


def _variables(group: SettingsGroup, stage: Stage, account_id: str) -> dict[str, str]:
    """Return the variables of a settings group with the stage's values."""
    match group:
        case "collect":
            keys = ((shop, key) for shop, keys in stage.shops.items() for key in keys)
            return {
                "TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id),
                "TUGBOAT_EVENTS_STREAM": f"{stage.prefix}-events",
                "TUGBOAT_RECEIPTS_SECRET": stage.receipts_secret,
                "TUGBOAT_REJECTED_STREAM": f"{stage.prefix}-rejected",
                "TUGBOAT_SHOP_KEYS": ",".join(f"{shop}={key}" for shop, key in keys),
            }
        case "recommend":
            return {
                "TUGBOAT_ENDPOINT": stage.endpoint_name,
                "TUGBOAT_ENDPOINT_TIMEOUT_MS": str(stage.endpoint_timeout_ms),
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
                "TUGBOAT_RECEIPTS_SECRET": stage.receipts_secret,
            }
        case "lock":
            return {"TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id)}
        case "warehouse":
            return {
                "TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id),
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
                # The nightly run trains for the first shop.
                "TUGBOAT_SHOP": next(iter(stage.shops)),
                "TUGBOAT_SNOWFLAKE_SECRET": stage.secret_name,
            }
        case "publish":
            return {
                "TUGBOAT_ENDPOINT_INSTANCE_TYPE": stage.endpoint_instance_type,
                "TUGBOAT_ENDPOINT_KIND": stage.endpoint_kind,
                "TUGBOAT_ENDPOINT_MAX_CONCURRENCY": str(stage.endpoint_max_concurrency),
                "TUGBOAT_ENDPOINT_MAX_INSTANCES": str(stage.endpoint_max_instances),
                "TUGBOAT_ENDPOINT_MEMORY_MB": str(stage.endpoint_memory_mb),
                "TUGBOAT_ENDPOINT_MIN_INSTANCES": str(stage.endpoint_min_instances),
                "TUGBOAT_ENDPOINT_REQUESTS_PER_INSTANCE_MINUTE": str(
                    stage.endpoint_requests_per_instance_minute
                ),
                "TUGBOAT_INFERENCE_IMAGE": serving_image.address(stage, account_id),
                "TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id),
                "TUGBOAT_PREFIX": stage.prefix,
                "TUGBOAT_SAGEMAKER_ROLE_ARN": f"arn:aws:iam::{account_id}:role/{stage.prefix}-sagemaker",
            }
