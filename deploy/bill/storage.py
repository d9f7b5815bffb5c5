"""The lines of S3, by prefix and by the rules of its lifecycle, and the notifications of its buckets."""

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from deploy.bill.month import DAYS, GB, Line, Month, line, number
from functions.platform.contract import (
    EXPORTS_PREFIX,
    PACKED_PREFIX,
    RAW_PREFIX,
    REJECTED_PREFIX,
    RELEASES_PREFIX,
    TRAINING_PREFIX,
)

# The rule raw-gets-cheaper in statemachine/resources.yaml.
INFREQUENT_AFTER_DAYS, GLACIER_AFTER_DAYS = 90, 180
# A deleted object of a versioned bucket stays for NoncurrentDays.
NONCURRENT_DAYS = 7
# By default, S3 leaves smaller objects in Standard: transition_default_minimum_object_size in
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html
TRANSITION_MIN_BYTES = 128 * 1024
# LINES_PER_PART in functions/compact/compact.py.
PACKED_FILE_EVENTS = 200_000
LISTED_PER_REQUEST = 1000


class Ages(NamedTuple):
    """The days that a file of raw/ is kept in each storage class."""

    standard: float
    infrequent: float
    glacier: float


def storage_lines(month: Month) -> Iterator[Line]:
    """Yield the storage, requests and transitions of the buckets."""
    yield from _raw(month)
    yield from _other_prefixes(month)
    yield from _requests(month)


def ages(month: Month) -> Ages:
    """Return how long a file of raw/ is in each storage class, in a history of this length."""
    days = month.history_days
    if month.stage.raw_expire_days:
        days = min(days, month.stage.raw_expire_days + NONCURRENT_DAYS)
    if _raw_file_bytes(month) < TRANSITION_MIN_BYTES:
        return Ages(days, 0, 0)
    standard = min(days, INFREQUENT_AFTER_DAYS)
    infrequent = min(days, GLACIER_AFTER_DAYS) - standard
    return Ages(standard, infrequent, days - standard - infrequent)


def _raw_file_bytes(month: Month) -> float:
    return month.events * month.assumed.raw_gzip_bytes / month.raw_files if month.raw_files else 0


def _raw(month: Month) -> Iterator[Line]:
    per_day = month.events / DAYS * month.assumed.raw_gzip_bytes
    for name, storage_class, days in zip(
        ("standard", "standard_ia", "glacier_ir"),
        ("Standard", "Standard-IA", "Glacier Instant Retrieval"),
        ages(month),
        strict=True,
    ):
        yield line(
            "S3",
            f"{RAW_PREFIX} in {storage_class}",
            month.prices[f"s3.{name}.gb_month"],
            per_day * days / GB,
            f"{number(month.events / DAYS)} events per day x {number(month.assumed.raw_gzip_bytes)} bytes x "
            f"{number(days)} days / 1,073,741,824",
        )
    for name, storage_class, moves in (
        ("standard_ia", "Standard-IA", ages(month).infrequent),
        ("glacier_ir", "Glacier Instant Retrieval", ages(month).glacier),
    ):
        files = month.raw_files if moves else 0
        yield line(
            "S3",
            f"{RAW_PREFIX} transitions to {storage_class}",
            month.prices[f"s3.transition.{name}"],
            files,
            f"{number(files)} files",
        )


def _other_prefixes(month: Month) -> Iterator[Line]:
    stage, assumed, days = month.stage, month.assumed, month.history_days
    runs_per_day = month.workload.runs / DAYS
    kept_rejected = min(days, stage.rejected_expire_days + NONCURRENT_DAYS)
    kept_runs = runs_per_day * min(days, stage.exports_expire_days + NONCURRENT_DAYS)
    refused = month.events / DAYS * assumed.rejected_share
    per_day = number(month.events / DAYS)
    for prefix, stored, formula in (
        (
            REJECTED_PREFIX,
            refused * kept_rejected * assumed.raw_gzip_bytes,
            f"{number(refused)} events per day x {number(kept_rejected)} days x {number(assumed.raw_gzip_bytes)} bytes",
        ),
        (
            PACKED_PREFIX,
            month.events / DAYS * days * assumed.packed_bytes if runs_per_day else 0,
            f"{per_day} events per day x {number(days)} days x {number(assumed.packed_bytes)} bytes",
        ),
        (
            EXPORTS_PREFIX,
            kept_runs * month.export_bytes,
            f"{number(kept_runs)} snapshots x {number(month.training_millions)} million interactions x "
            f"{number(assumed.export_bytes)} bytes",
        ),
        (
            TRAINING_PREFIX,
            kept_runs * month.model_bytes,
            f"{number(kept_runs)} archives x {number(month.model_bytes)} bytes",
        ),
        (
            RELEASES_PREFIX,
            assumed.releases_kept * month.model_bytes if runs_per_day else 0,
            f"{number(assumed.releases_kept)} archives x {number(month.model_bytes)} bytes",
        ),
    ):
        yield line(
            "S3",
            f"{prefix} in Standard",
            month.prices["s3.standard.gb_month"],
            stored / GB,
            f"{formula} / 1,073,741,824",
        )


def _requests(month: Month) -> Iterator[Line]:
    assumed, runs = month.assumed, month.workload.runs
    packed = runs * ceil(month.night_millions * 1e6 / PACKED_FILE_EVENTS)
    files = month.raw_files + month.rejected_files
    tagged = month.raw_files if month.stage.raw_expire_days else 0
    of_runs = runs * assumed.files_per_run
    # Load and compact each list the files of about three days.
    lists = runs * ceil(6 * month.raw_files / DAYS / LISTED_PER_REQUEST)
    yield line(
        "S3",
        "writes and lists",
        month.prices["s3.write"],
        files + packed + tagged + of_runs + lists,
        f"({number(files)} files of Firehose + {number(packed)} packed + {number(tagged)} tags + {number(of_runs)} of runs + "
        f"{number(lists)} lists)",
    )
    reads_of_runs = runs * assumed.reads_per_run
    yield line(
        "S3",
        "reads",
        month.prices["s3.read"],
        2 * month.raw_files + reads_of_runs,
        f"(2 x {number(month.raw_files)} files of raw/, by Snowflake and by compact, + {number(reads_of_runs)} of runs)",
    )
    # Both buckets send their events to EventBridge, for LoadOnArrival: also those of tags, expiries and transitions.
    # https://aws.amazon.com/eventbridge/pricing/ bills them, as "opt-in data events".
    moved = month.raw_files * sum(days > 0 for days in ages(month)[1:])
    notified = files + packed + 2 * tagged + of_runs + moved
    yield line(
        "EventBridge",
        "events of the buckets",
        month.prices["eventbridge.opt_in_event"],
        notified,
        f"{number(notified)} objects written, tagged, moved or expired",
    )
