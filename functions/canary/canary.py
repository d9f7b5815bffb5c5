"""Canary: give a proved release a growing share of the sessions, and stop if it is worse than the current release."""

import time
from dataclasses import replace
from typing import Any

from functions.canary.compare import REQUESTS_MIN, worse_figures
from functions.canary.figures import Figures, read_figures
from functions.platform.contract import CanaryResult
from functions.platform.errors import CanaryWithdrawn, CanaryWorse
from functions.platform.log import get_logger
from functions.platform.releases import (
    Canary,
    Release,
    ReleaseEvent,
    ReleaseRecord,
    read_record,
    release_of,
    write_canary,
)
from functions.platform.settings import CanarySettings

log = get_logger(__name__)

# Percent of the sessions. After the last share the stage's endpoint gets the release, and with it all sessions.
SHARES = (5, 25)


class CanaryEvent(ReleaseEvent):
    """The proved release, the endpoint that serves it, and the share that it has had until now: 0 at first.

    `seconds` is the time at each share; below 0 it is the stage's setting.
    """

    model_version: str
    endpoint_name: str
    share: int
    seconds: int


def canary(
    event: CanaryEvent, settings: CanarySettings, s3: Any, cloudwatch: Any, now_ms: int | None = None
) -> CanaryResult:
    """Judge the share that has ended, and begin the next one. The state machine waits between two calls.

    A call that is repeated after its answer was lost finds the next share on record, and changes nothing.

    Raises:
        CanaryWorse: a figure of the candidate is worse. The state machine then rolls back.
        CanaryWithdrawn: a rollback ended the canary.
        StorageUnavailable: S3 did not answer, or another caller changed the record.
    """
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    seconds = settings.canary_seconds if event["seconds"] < 0 else event["seconds"]
    record = read_record(s3, settings.models_bucket, event["shop_id"])
    if record.current is None:
        return _over(
            0, "No canary: this is the first release of the shop, and the golden sessions proved it."
        )
    if seconds == 0:
        return _over(0, "No canary: it is switched off, and the golden sessions proved the release.")
    if event["share"] == 0 and not _is_of(record, event):
        release = release_of(event, event["endpoint_name"], event["model_version"])
        return _begin(record, Canary(release, SHARES[0], now_ms), seconds, "", settings, s3)
    running = record.canary
    if running is None or not _is_of(record, event):
        raise CanaryWithdrawn(
            f"the canary of {event['model_version']} was withdrawn at {event['share']}%: somebody called make rollback. "
            "Start a new run when the cause is repaired"
        )
    if running.share != event["share"]:
        return _waiting(running.share, seconds, "")
    verdict = _judge(record.current, running, settings, cloudwatch, now_ms)
    following = [share for share in SHARES if share > running.share]
    if not following:
        return _over(running.share, verdict)
    return _begin(record, replace(running, share=following[0]), seconds, verdict, settings, s3)


def _is_of(record: ReleaseRecord, event: CanaryEvent) -> bool:
    return (
        record.canary is not None and record.canary.release.endpoint_config == event["endpoint_config_name"]
    )


def _begin(
    record: ReleaseRecord, canary: Canary, seconds: int, verdict: str, settings: CanarySettings, s3: Any
) -> CanaryResult:
    write_canary(record, canary, s3, settings.models_bucket)
    log.info("canary", model_version=canary.release.model_version, share=canary.share, verdict=verdict)
    return _waiting(canary.share, seconds, verdict)


def _waiting(share: int, seconds: int, verdict: str) -> CanaryResult:
    return {"share": share, "over": False, "wait_s": seconds, "verdict": verdict}


def _over(share: int, verdict: str) -> CanaryResult:
    log.info("canary over", share=share, verdict=verdict)
    return {"share": share, "over": True, "wait_s": 0, "verdict": verdict}


def _judge(current: Release, running: Canary, settings: CanarySettings, cloudwatch: Any, now_ms: int) -> str:
    """Return the verdict as a sentence.

    Raises:
        CanaryWorse: a figure of the candidate is worse.
    """
    times = (running.began_at_ms / 1000, now_ms / 1000)
    of_current, of_candidate = read_figures(
        cloudwatch, settings.stage, current.shop_id, current.endpoint, running.release.endpoint, *times
    )
    counted = f"{of_candidate.requests:,.0f} requests of the candidate, {of_current.requests:,.0f} of the current release"
    if min(of_candidate.requests, of_current.requests) < REQUESTS_MIN:
        return (
            f"Canary at {running.share}%: too little traffic to compare ({counted}; at least {REQUESTS_MIN} of each are "
            "compared). The golden sessions alone proved the release."
        )
    worse = worse_figures(of_current, of_candidate)
    if worse:
        raise CanaryWorse(
            f"The candidate {running.release.model_version} is worse than {current.model_version} at {running.share}% of the "
            f"sessions: {'; '.join(worse)} ({counted}). It is taken back, and {current.model_version} serves all sessions. "
            f"Read the log group /aws/sagemaker/Endpoints/{running.release.endpoint}, and compare both models in the "
            "evaluation report; docs/operations.md, A canary was taken back"
        )
    return f"Canary at {running.share}%: no figure is worse ({counted}). {_clicks(of_current, of_candidate)}"


def _clicks(current: Figures, candidate: Figures) -> str:
    return (
        f"Clicks per 100 requests: {100 * candidate.clicks / candidate.requests:.1f} "
        f"against {100 * current.clicks / current.requests:.1f}."
    )
