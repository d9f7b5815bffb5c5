"""The canary's part in /recommend: which sessions ask the candidate, and what is counted of both releases."""

import random
from typing import NamedTuple

from functions.platform import metrics
from functions.platform.contract import MetricValues
from functions.platform.metrics import ComparedRelease
from functions.recommend.experiments import BUCKETS, bucket
from functions.recommend.request import Session


class Candidate(NamedTuple):
    """The release that a share of the sessions asks, in percent."""

    endpoint: str
    config: str
    model_version: str
    share: int


def asked_release(candidate: Candidate, session: Session | None) -> ComparedRelease:
    """Return the release that a session asks. A session keeps it while the share grows.

    The configuration's name is the seed, so each canary has other sessions. A request without a session is drawn each time.
    """
    number = (
        bucket(candidate.config, "canary", f"{session.shop_id}:{session.session_id}")
        if session
        else random.randrange(BUCKETS)
    )
    is_chosen = number < candidate.share * BUCKETS // 100
    return ComparedRelease.CANDIDATE if is_chosen else ComparedRelease.CURRENT


def count(
    stage: str,
    shop_id: str,
    release: ComparedRelease,
    wanted: int,
    items: int | None,
    timed_out: bool,
    took_s: float,
) -> None:
    """Count one request to the model of a shop's release. Without an answer, `items` is None."""
    values: MetricValues = {
        "ModelRequests": 1,
        "ModelTimeouts": int(timed_out),
        "ModelErrors": int(items is None and not timed_out),
    }
    if items is not None:
        values["ShortAnswers"] = int(items < wanted)
        values["ModelMilliseconds"] = round(took_s * 1000, 1)
    metrics.write(stage, values, release=release, shop=shop_id)
