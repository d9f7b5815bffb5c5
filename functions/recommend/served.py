"""The endpoint to ask: the one of the release on record, which is read from S3 and cached for a minute."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from functions.platform.contract import CURRENT_KEY
from functions.platform.log import get_logger

log = get_logger(__name__)

# After a change of the endpoint's kind, requests follow to the new endpoint within this time. The old one serves meanwhile.
REFRESH_S = 60.0


@dataclass
class ServedEndpoint:
    """The endpoint's name in this execution environment. An old one is better than none if S3 fails."""

    name: str | None = None
    read_at_s: float = field(default=float("-inf"))

    def get(self, s3: Any, bucket: str, default: str) -> str:
        """Return the endpoint of the release on record, or the default before the first release."""
        from botocore.exceptions import BotoCoreError, ClientError

        now_s = time.monotonic()
        if now_s - self.read_at_s < REFRESH_S:
            return self.name or default
        self.read_at_s = now_s
        try:
            stored = json.loads(s3.get_object(Bucket=bucket, Key=CURRENT_KEY)["Body"].read())
            self.name = stored["release"]["endpoint"]
        except ClientError as error:
            # Without s3:ListBucket, S3 answers 403 for a key that does not exist: there is no release yet.
            self.read_at_s = float("-inf") if self.name is None else now_s
            log.info("no release read", bucket=bucket, key=CURRENT_KEY, cause=error.response["Error"]["Code"])
        except BotoCoreError as error:
            log.warning("release not read", bucket=bucket, key=CURRENT_KEY, cause=type(error).__name__)
        return self.name or default

    def forget(self) -> None:
        """Read the record again at the next request: the endpoint does not exist any more."""
        self.read_at_s = float("-inf")
