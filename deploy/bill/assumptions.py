"""The assumptions of the bill, each with its unit and its measurement or source (assumptions.json)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from deploy.command import DeployError

ASSUMPTIONS_FILE = Path(__file__).with_name("assumptions.json")


class AssumptionUnknown(DeployError):
    """An assumption of this name does not exist, or its value is not a number of at least 0."""


class Source(NamedTuple):
    """The unit of an assumption, and where its value comes from."""

    unit: str
    text: str


@dataclass(frozen=True)
class Assumptions:
    """Sizes, durations and the behavior of shoppers, which no setting of a stage contains."""

    month: float
    runs_per_month: float
    events_per_session: float
    recommendations_per_session: float
    catalogue_items: float
    events_per_request: float
    scripts_per_session: float
    rejected_share: float
    line_bytes: float
    raw_gzip_bytes: float
    packed_bytes: float
    collect_ms: float
    recommend_ms: float
    script_ms: float
    endpoint_ms: float
    endpoint_request_kb: float
    collect_response_bytes: float
    recommend_response_bytes: float
    script_response_bytes: float
    log_bytes_per_call: float
    log_bytes_per_run: float
    log_compression: float
    secret_reads_per_1000_calls: float
    load_fixed_s: float
    load_s_per_million: float
    transform_fixed_s: float
    transform_s_per_million: float
    validate_fixed_s: float
    validate_s_per_million: float
    export_fixed_s: float
    export_s_per_million: float
    job_start_s: float
    lock_s: float
    publish_s: float
    prove_s: float
    catalogue_s: float
    compact_fixed_s: float
    compact_s_per_million: float
    load_on_arrival_s: float
    auto_suspend_s: float
    reader_hours_per_month: float
    warehouse_bytes: float
    interactions_per_event: float
    train_fixed_s: float
    train_cpu_s_per_million: float
    train_gpu_s_per_million: float
    train_limit_s: float
    sessions_per_client: float
    batch_fixed_s: float
    batch_score_s_per_thousand: float
    batch_answer_s_per_thousand: float
    batch_warehouse_fixed_s: float
    batch_warehouse_s_per_thousand: float
    transitions_per_batch: float
    evaluate_fixed_s: float
    evaluate_s_per_million: float
    evaluate_limit_s: float
    spot_discount: float
    train_volume_gb: float
    evaluate_volume_gb: float
    transitions_per_run: float
    export_bytes: float
    model_bytes_per_item: float
    releases_kept: float
    files_per_run: float
    reads_per_run: float
    images_kept: float
    image_gb: float
    image_builds_per_month: float
    image_build_minutes: float
    mails_per_month: float
    page_s: float
    page_metrics: float
    page_writes: float
    page_reads: float

    def with_values(self, values: Mapping[str, float]) -> "Assumptions":
        """Return the assumptions with some values replaced.

        Raises:
            AssumptionUnknown: a name or a value is wrong.
        """
        known = {field.name for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise AssumptionUnknown(
                    f"the bill has no assumption {name!r}: use a name of {ASSUMPTIONS_FILE.name}: "
                    f"{', '.join(sorted(known))}"
                )
            if value < 0:
                raise AssumptionUnknown(f"the assumption {name} is {value:g}: use a number of at least 0")
        return replace(self, **values)


@cache
def sources() -> dict[str, Source]:
    """Return the unit and the source of each assumption."""
    return {
        name: Source(entry["unit"], entry["source"])
        for name, entry in json.loads(ASSUMPTIONS_FILE.read_text()).items()
    }


@cache
def read_assumptions() -> Assumptions:
    """Return the assumptions of the file."""
    return Assumptions(
        **{name: float(entry["value"]) for name, entry in json.loads(ASSUMPTIONS_FILE.read_text()).items()}
    )
