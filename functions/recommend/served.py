"""The release on record, whose endpoint is asked, and the candidate of a canary. Both are read from S3 every few seconds."""

from datetime import datetime
from typing import Any, NamedTuple

from functions.platform.refreshed import Refreshed
from functions.platform.s3_keys import current_key
from functions.platform.stored_json import read_json
from functions.recommend.canary import Candidate

# A canary that is taken back is asked for this long. A reading in the background costs 0.0004 USD per 1,000.
REFRESH_S = 10.0


class Served(NamedTuple):
    """The endpoint of the release on record, and the time of its publication in seconds since 1970, if it is readable.

    `candidate` is the release that is compared with it.
    """

    endpoint: str
    published_at_s: float | None = None
    candidate: Candidate | None = None

    def age_hours(self, now_s: float) -> float | None:
        """Return the age of the release. Clocks of machines differ, so a negative age is 0."""
        return None if self.published_at_s is None else max(0.0, (now_s - self.published_at_s) / 3600)


def served_release(s3: Any, bucket: str, shop_id: str) -> Refreshed[Served]:
    """Return a shop's release on record. It has no value before the shop's first release."""
    key = current_key(shop_id)

    def read() -> Served | None:
        stored = read_json(s3, bucket, key)
        if stored is None:
            return None
        release = stored["release"]
        candidate = _candidate(stored.get("canary"), shop_id)
        return Served(str(release["endpoint"]), _seconds(release.get("published_at")), candidate)

    return Refreshed(key, read, REFRESH_S)


def _candidate(canary: Any, shop_id: str) -> Candidate | None:
    """Return the candidate, if it is of the shop. A canary that nobody can read must not cost the endpoint."""
    try:
        release = canary["release"]
        if release["shop_id"] != shop_id:
            return None
        endpoint, config = str(release["endpoint"]), str(release["endpoint_config"])
        return Candidate(endpoint, config, str(release["model_version"]), int(canary["share"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _seconds(published_at: Any) -> float | None:
    """Return a time in ISO 8601 as seconds. A time that nobody can read must not cost the endpoint."""
    try:
        return datetime.fromisoformat(published_at).timestamp()
    except (TypeError, ValueError):
        return None
