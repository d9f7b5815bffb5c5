"""Prove: ask the endpoint the archive's golden sessions. Only a model that passes becomes the current release."""

import json
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from functions.platform.contract import ProveResult
from functions.platform.endpoint import config_of, delete_endpoint, endpoint_name, find, is_realtime
from functions.platform.errors import EndpointBusy, GoldenMismatch
from functions.platform.log import get_logger
from functions.platform.model_archive import read_model_archive
from functions.platform.releases import Release, ReleaseRecord, read_record, write_record
from functions.platform.s3_keys import release_key
from functions.platform.scaling import scale
from functions.platform.settings import PublishSettings

log = get_logger(__name__)

# Floating point differs between processors, and with it the order of near ties, but never whole lists.
OVERLAP_MIN = 0.95


class ProveEvent(TypedDict):
    """The run, its shop, snapshot and archive, and the resources that publish made."""

    run_id: str
    shop_id: NotRequired[str]
    snapshot_id: str
    model_data_uri: str
    endpoint_config_name: str
    model_name: str


def prove(
    event: ProveEvent, settings: PublishSettings, sagemaker: Any, endpoint: Any, autoscaling: Any, s3: Any
) -> ProveResult:
    """Ask the golden sessions, then write the release record, the fallback and the champion.

    The record names the endpoint, so it also sends /recommend there.

    Raises:
        GoldenMismatch: the endpoint serves another model, or is moving to one; nothing is written.
    """
    archive = read_model_archive(event["model_data_uri"], s3)
    overlap = _golden_overlap(archive.golden, settings.endpoint, endpoint)
    if overlap < OVERLAP_MIN:
        raise GoldenMismatch(
            f"endpoint {settings.endpoint} gives {overlap:.1%} of the golden items of {event['model_data_uri']}, "
            f"at least {OVERLAP_MIN:.0%} must match; look at the endpoint's log group"
        )
    _require_config(event["endpoint_config_name"], settings.endpoint, sagemaker)
    release = Release(
        endpoint=settings.endpoint,
        endpoint_config=event["endpoint_config_name"],
        model_name=event["model_name"],
        model_version=archive.model_version,
        model_data_uri=event["model_data_uri"],
        snapshot_id=event["snapshot_id"],
        run_id=event["run_id"],
        published_at=datetime.now(UTC).isoformat(timespec="seconds"),
        shop_id=event.get("shop_id", ""),
    )
    before = read_record(s3, settings.models_bucket)
    is_repeat = before.current is not None and before.current.endpoint_config == release.endpoint_config
    previous = before.previous if is_repeat else before.current
    record = ReleaseRecord(release, previous)
    write_record(record, archive, s3, settings.models_bucket)
    if is_realtime(settings.endpoint):
        scale(settings.endpoint, settings, autoscaling)
    deleted = delete_older(record, settings, sagemaker, s3)
    log.info("model proved", model_version=archive.model_version, overlap=overlap, deleted=deleted)
    return {
        "model_version": archive.model_version,
        "golden_sessions": len(archive.golden),
        "overlap": overlap,
        "previous_endpoint_config": previous.endpoint_config if previous else None,
        "deleted": deleted,
    }


def _require_config(config: str, endpoint: str, sagemaker: Any) -> None:
    """Check that the endpoint is still the run's. A rollback may have begun while the golden sessions were asked.

    Raises:
        GoldenMismatch: the endpoint is gone, or another caller moved it.
    """
    described = find(sagemaker.describe_endpoint, EndpointName=endpoint)
    if described is None or config_of(described) != config:
        found = config_of(described) if described else "no configuration"
        raise GoldenMismatch(
            f"endpoint {endpoint} moves to {found} instead of {config}: a rollback or another run changed it. "
            "Start the run again"
        )


def _golden_overlap(golden: list[dict[str, Any]], endpoint_name: str, endpoint: Any) -> float:
    """Return the mean share of the expected items that the endpoint returns."""
    shares = []
    for session in golden:
        body = {"items": session["items"], "k": session["k"], "exclude": []}
        response = endpoint.invoke_endpoint(
            EndpointName=endpoint_name, ContentType="application/json", Body=json.dumps(body).encode()
        )
        returned = {item["item_id"] for item in json.loads(response["Body"].read())["items"]}
        expected = session["expected"]
        shares.append(sum(item in returned for item in expected) / len(expected))
    return sum(shares) / len(shares)


def delete_older(record: ReleaseRecord, settings: PublishSettings, sagemaker: Any, s3: Any) -> list[str]:
    """Delete the stage's configurations, models and archives, and its endpoint of the other kind, that no release needs.

    Returns:
        The names of the deleted configurations.
    """
    releases = [release for release in (record.current, record.previous) if release is not None]
    kept = {release.endpoint_config for release in releases}
    deleted = []
    prefix = f"{settings.prefix}-"
    for name in {endpoint_name(prefix[:-1], kind) for kind in ("serverless", "realtime")}:
        if name not in {release.endpoint for release in releases}:
            try:
                delete_endpoint(name, sagemaker)
            except EndpointBusy as busy:
                log.warning("an endpoint that no release uses stays until the next run", cause=str(busy))
    for page in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
        for config in page["EndpointConfigs"]:
            name = config["EndpointConfigName"]
            if name.startswith(prefix) and name not in kept:
                sagemaker.delete_endpoint_config(EndpointConfigName=name)
                deleted.append(name)
    for page in sagemaker.get_paginator("list_models").paginate(NameContains=prefix):
        for model in page["Models"]:
            name = model["ModelName"]
            if name.startswith(prefix) and name not in kept:
                sagemaker.delete_model(ModelName=name)
                s3.delete_object(Bucket=settings.models_bucket, Key=release_key(name))
    return deleted
