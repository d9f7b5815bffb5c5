"""The endpoint to ask: the one of the release on record, which is read from S3 once a minute."""

from typing import Any

from functions.platform.contract import CURRENT_KEY
from functions.platform.refreshed import Refreshed
from functions.platform.stored_json import read_json

# After a change of the endpoint's kind, requests follow to the new endpoint within this time. The old one serves meanwhile.
REFRESH_S = 60.0


def served_endpoint(s3: Any, bucket: str) -> Refreshed[str]:
    """Return the name of the endpoint on record. It has no value before the first release."""

    def read() -> str | None:
        stored = read_json(s3, bucket, CURRENT_KEY)
        return None if stored is None else str(stored["release"]["endpoint"])

    return Refreshed(CURRENT_KEY, read, REFRESH_S)
