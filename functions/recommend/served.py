"""The release on record, whose endpoint is asked. It is read from S3 once a minute."""

from datetime import datetime
from typing import Any, NamedTuple

from functions.platform.contract import CURRENT_KEY
from functions.platform.refreshed import Refreshed
from functions.platform.stored_json import read_json

# After a change of the endpoint's kind, requests follow to the new endpoint within this time. The old one serves meanwhile.
REFRESH_S = 60.0


class Served(NamedTuple):
    """The endpoint of the release on record, and the time of its publication in seconds since 1970, if it is readable.

    `shop_id` is the shop of the model. A record of before this field does not name it.
    """

    endpoint: str
    published_at_s: float | None = None
    shop_id: str = ""

    def age_hours(self, now_s: float) -> float | None:
        """Return the age of the release. Clocks of machines differ, so a negative age is 0."""
        return None if self.published_at_s is None else max(0.0, (now_s - self.published_at_s) / 3600)


def served_release(s3: Any, bucket: str) -> Refreshed[Served]:
    """Return the release on record. It has no value before the first release."""

    def read() -> Served | None:
        stored = read_json(s3, bucket, CURRENT_KEY)
        if stored is None:
            return None
        release = stored["release"]
        return Served(
            str(release["endpoint"]), _seconds(release.get("published_at")), str(release.get("shop_id", ""))
        )

    return Refreshed(CURRENT_KEY, read, REFRESH_S)


def _seconds(published_at: Any) -> float | None:
    """Return a time in ISO 8601 as seconds. A time that nobody can read must not cost the endpoint."""
    try:
        return datetime.fromisoformat(published_at).timestamp()
    except (TypeError, ValueError):
        return None
