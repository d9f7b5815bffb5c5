"""What is shown when the endpoint does not answer in time: related items of the last known one, then what is popular.

`prove` writes it to S3 with each model (functions/publish/prove.py); here it is read once and kept for minutes.
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from functions.log import get_logger
from functions.names import FALLBACK_KEY

log = get_logger(__name__)

REFRESH_S = 300.0


@dataclass(frozen=True)
class Fallback:
    """Popular items, best first; for a known item its related ones, best first; the model they came with."""

    popular: list[str]
    related: dict[str, list[str]]
    model_version: str

    def pick(self, items: list[str], k: int, exclude: set[str]) -> tuple[list[str], str]:
        """`k` distinct items without the excluded, and the source of the first: `related` or `popular`."""
        related: list[str] = next(
            (self.related[item] for item in reversed(items) if item in self.related), []
        )
        picked = list(dict.fromkeys(item for item in [*related, *self.popular] if item not in exclude))[:k]
        return picked, "related" if picked and picked[0] in related else "popular"


@dataclass
class FallbackCache:
    """The latest fallback of this execution environment; an old one is better than none when S3 does not answer."""

    value: Fallback | None = None
    read_at_s: float = field(default=float("-inf"))

    def get(self, s3: Any, bucket: str) -> Fallback | None:
        """The fallback, read again after `REFRESH_S`; None before the first model is published."""
        from botocore.exceptions import BotoCoreError, ClientError

        now_s = time.monotonic()
        if now_s - self.read_at_s < REFRESH_S and self.value is not None:
            return self.value
        try:
            stored = json.loads(s3.get_object(Bucket=bucket, Key=FALLBACK_KEY)["Body"].read())
            self.value = Fallback(stored["popular"], stored["related"], stored["model_version"])
            self.read_at_s = now_s
        except (BotoCoreError, ClientError) as error:
            log.warning("no fallback read", bucket=bucket, key=FALLBACK_KEY, error=str(error))
        return self.value
