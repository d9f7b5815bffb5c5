"""Read everything that the page shows, each part by itself: a part that fails or hangs leaves the others."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from functions.operations.alarms import read_alarms
from functions.operations.batches import read_batches
from functions.operations.data import read_data
from functions.operations.metrics import read_metrics
from functions.operations.model import Operations, Section
from functions.operations.money import read_money
from functions.operations.reports import LINK_HOURS, sign_reports
from functions.operations.runs import kept_runs, read_runs
from functions.operations.schedule import read_schedule
from functions.operations.serving import endpoints_of, read_serving
from functions.platform.endpoint import endpoint_name
from functions.platform.errors import StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.settings import OperationsSettings
from functions.platform.time_box import Deadline, DeadlinePassed, call_until

log = get_logger(__name__)
T = TypeVar("T")

# The longest that one part may take. The first build reads the history of every run.
PART_S, RUNS_S = 8.0, 25.0


@dataclass(frozen=True)
class Clients:
    """The clients that the page is read with. None of them asks the warehouse."""

    states: Any
    cloudwatch: Any
    sagemaker: Any
    events: Any
    s3: Any


def gather(
    settings: OperationsSettings, clients: Clients, now: datetime, link_hours: int = LINK_HOURS
) -> Operations:
    """Return the content of the page. Its links to reports are valid for `link_hours`."""
    s3, bucket, prefix = clients.s3, settings.models_bucket, settings.prefix
    until = Deadline.after(RUNS_S - 3)
    runs = _part(
        "runs",
        RUNS_S,
        lambda: read_runs(clients.states, s3, bucket, settings.state_machine_arn, now, until),
    )
    if runs.value is None:
        kept = _part("kept runs", PART_S, lambda: kept_runs(s3, bucket))
        runs = Section(kept.value, runs.problem)
    expected = {shop: endpoint_name(prefix, shop, settings.endpoint_kind) for shop in settings.trained_shops}
    serving = _part("serving", PART_S, lambda: read_serving(s3, clients.sagemaker, bucket, expected))
    endpoints = endpoints_of(serving.value) if serving.value else expected
    metrics = _part(
        "metrics", PART_S, lambda: read_metrics(clients.cloudwatch, settings.stage, endpoints, prefix, now)
    )
    return Operations(
        stage=settings.stage,
        models_bucket=bucket,
        built_at=now,
        every_minutes=settings.operations_minutes,
        runs=runs,
        schedule=_part(
            "schedule", PART_S, lambda: read_schedule(clients.events, f"{prefix}-nightly", runs.value, now)
        ),
        serving=serving,
        metrics=metrics,
        data=_part(
            "data",
            PART_S,
            lambda: read_data(s3, settings.events_bucket, bucket, runs.value, serving.value or [], now),
        ),
        batches=_part(
            "batches",
            PART_S,
            lambda: read_batches(clients.states, settings.batch_machine_arn, settings.trained_shops),
        ),
        alarms=_part("alarms", PART_S, lambda: read_alarms(clients.cloudwatch, prefix)),
        money=_part("money", PART_S, lambda: read_money(s3, bucket, runs.value, metrics.value, now)),
        reports=_part(
            "reports",
            PART_S,
            lambda: sign_reports(s3, bucket, runs.value.newest if runs.value else [], now, link_hours),
        ),
    )


def _part(name: str, seconds: float, read: Callable[[], T | None]) -> Section[T]:
    try:
        return Section(call_until(Deadline.after(seconds), read))
    except DeadlinePassed:
        problem = f"no answer within {seconds:.0f} s."
    except (ClientError, BotoCoreError, StorageUnavailable) as error:
        problem = str(error)
    except (ValueError, msgspec.MsgspecError) as error:
        problem = f"a stored file has another form: {error}"
    log.warning("a part of the page cannot be read", part=name, cause=problem)
    return Section(None, problem)
