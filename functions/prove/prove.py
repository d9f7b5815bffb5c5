"""Prove: ask an endpoint the archive's golden sessions. Only a model that passes becomes the current release."""

import json
import re
from collections.abc import Iterable
from typing import Any, Literal, NotRequired

from functions.platform.contract import ProveResult
from functions.platform.endpoint import (
    config_of,
    delete_endpoint,
    endpoint_names,
    find,
    is_realtime,
    unnamed_endpoints,
)
from functions.platform.errors import CanaryWithdrawn, EndpointBusy, GoldenMismatch
from functions.platform.log import get_logger
from functions.platform.model_archive import ModelArchive, read_model_archive
from functions.platform.releases import (
    Release,
    ReleaseEvent,
    ReleaseRecord,
    read_record,
    release_of,
    served_shops,
    write_record,
)
from functions.platform.run_names import release_prefix
from functions.platform.s3_keys import release_key
from functions.platform.scaling import scale
from functions.platform.settings import PublishSettings

log = get_logger(__name__)

# Floating point differs between processors, and with it the order of near ties, but never whole lists.
OVERLAP_MIN = 0.95
# The rest of the name of a release from before a stage could serve several shops.
UNNAMED_RUN = r"-\d{8}-[0-9a-f]{12}"


class ProveEvent(ReleaseEvent):
    """The release, and the endpoint that must serve it: the candidate's, or the shop's own, which is recorded.

    `canaried` is true if the release was a canary. Its withdrawal then also stops the record.
    """

    target: NotRequired[Literal["candidate", "stage"]]
    canaried: NotRequired[bool]


def prove(
    event: ProveEvent, settings: PublishSettings, sagemaker: Any, endpoint: Any, autoscaling: Any, s3: Any
) -> ProveResult:
    """Ask the golden sessions. On the shop's endpoint, then write the release record, the fallback and the champion.

    The record names the endpoint, so it also sends /recommend there.

    Raises:
        GoldenMismatch: the endpoint serves another model, or is moving to one; nothing is written.
        CanaryWithdrawn: a rollback withdrew the release; nothing is written.
    """
    shop_id = event["shop_id"]
    is_candidate = event.get("target") == "candidate"
    name = settings.candidate(shop_id) if is_candidate else settings.endpoint(shop_id)
    archive = read_model_archive(event["model_data_uri"], s3)
    overlap = _golden_overlap(archive.golden, name, endpoint)
    if overlap < OVERLAP_MIN:
        raise GoldenMismatch(
            f"endpoint {name} gives {overlap:.1%} of the golden items of {event['model_data_uri']}, "
            f"at least {OVERLAP_MIN:.0%} must match; look at the endpoint's log group"
        )
    _require_config(event["endpoint_config_name"], name, sagemaker)
    log.info("model proved", endpoint=name, model_version=archive.model_version, overlap=overlap)
    previous, deleted = None, []
    if not is_candidate:
        record = _recorded(event, archive, settings, s3)
        previous = record.previous
        if is_realtime(name):
            scale(name, settings, autoscaling)
        deleted = delete_older(record, settings, sagemaker, s3)
    return {
        "model_version": archive.model_version,
        "golden_sessions": len(archive.golden),
        "overlap": overlap,
        "previous_endpoint_config": previous.endpoint_config if previous else None,
        "deleted": deleted,
    }


def _recorded(event: ProveEvent, archive: ModelArchive, settings: PublishSettings, s3: Any) -> ReleaseRecord:
    """Write the record with this release as the current one, and return it. A repeated call writes the same."""
    release = release_of(event, settings.endpoint(event["shop_id"]), archive.model_version)
    before = read_record(s3, settings.models_bucket, event["shop_id"])
    is_repeat = before.current is not None and before.current.endpoint_config == release.endpoint_config
    if event.get("canaried") and not is_repeat:
        _require_canary(release, before)
    record = ReleaseRecord(release, before.previous if is_repeat else before.current)
    write_record(record, archive, s3, settings.models_bucket)
    return record


def _require_canary(release: Release, record: ReleaseRecord) -> None:
    if record.canary is None or record.canary.release.endpoint_config != release.endpoint_config:
        raise CanaryWithdrawn(
            f"the canary of {release.model_version} was withdrawn by a rollback, so it is not released. "
            "Start a new run when the cause is repaired"
        )


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
    """Delete the shop's configurations, models, archives and endpoints that no release needs.

    The candidate's endpoint is one of them, and so is the shop's endpoint of the other kind. What has no shop in its name is
    deleted as soon as no shop's record names it.

    Returns:
        The names of the deleted configurations.

    Raises:
        ValueError: the record has no current release.
    """
    if record.current is None:
        raise ValueError("a record without a current release needs nothing")
    shop_id, prefix = record.current.shop_id, settings.prefix
    own = _releases(record)
    recorded = [*own, *_releases_of_others(shop_id, settings, s3)]
    _delete_endpoints(endpoint_names(prefix, shop_id), own, sagemaker)
    _delete_endpoints(unnamed_endpoints(prefix), recorded, sagemaker)
    unnamed = re.compile(re.escape(prefix) + UNNAMED_RUN)
    kept = {release.endpoint_config for release in recorded}

    def is_superfluous(name: str) -> bool:
        is_own = name.startswith(release_prefix(prefix, shop_id))
        return (is_own or unnamed.fullmatch(name) is not None) and name not in kept

    deleted = []
    for page in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=f"{prefix}-"):
        for name in filter(
            is_superfluous, (config["EndpointConfigName"] for config in page["EndpointConfigs"])
        ):
            sagemaker.delete_endpoint_config(EndpointConfigName=name)
            deleted.append(name)
    for page in sagemaker.get_paginator("list_models").paginate(NameContains=f"{prefix}-"):
        for name in filter(is_superfluous, (model["ModelName"] for model in page["Models"])):
            sagemaker.delete_model(ModelName=name)
            s3.delete_object(Bucket=settings.models_bucket, Key=release_key(name))
    return deleted


def _releases(record: ReleaseRecord) -> list[Release]:
    return [release for release in (record.current, record.previous) if release is not None]


def _releases_of_others(shop_id: str, settings: PublishSettings, s3: Any) -> list[Release]:
    bucket = settings.models_bucket
    others = (shop for shop in served_shops(s3, bucket) if shop != shop_id)
    return [release for shop in others for release in _releases(read_record(s3, bucket, shop))]


def _delete_endpoints(names: Iterable[str], releases: list[Release], sagemaker: Any) -> None:
    needed = {release.endpoint for release in releases}
    for name in names:
        if name not in needed:
            try:
                delete_endpoint(name, sagemaker)
            except EndpointBusy as busy:
                log.warning("an endpoint that no release uses stays until the next run", cause=str(busy))
