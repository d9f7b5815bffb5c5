"""The fallback for a slow or broken endpoint: items related to the last known one, then popular items.

The step prove writes it to S3 with each model. Here it is read once and cached for minutes.
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from functions.platform.contract import FALLBACK_KEY
from functions.platform.log import get_logger

log = get_logger(__name__)

REFRESH_S = 300.0


@dataclass(frozen=True)
class Fallback:
    """Popular items and, per known item, its related ones, both best first; and the version of their model."""

    popular: list[str]
    related: dict[str, list[str]]
    model_version: str

    def pick(self, items: list[str], k: int, excluded: set[str]) -> tuple[list[str], str]:
        """Pick up to `k` distinct items that are not excluded.

        Returns:
            The items, and the source of the first one: `related` or `popular`.
        """
        related: list[str] = next(
            (self.related[item] for item in reversed(items) if item in self.related), []
        )
        candidates = dict.fromkeys(item for item in [*related, *self.popular] if item not in excluded)
        picked = list(candidates)[:k]
        return picked, "related" if picked and picked[0] in related else "popular"


@dataclass
class FallbackCache:
    """The latest fallback of this execution environment. An old one is better than none if S3 fails."""

    value: Fallback | None = None
    read_at_s: float = field(default=float("-inf"))

    def get(self, s3: Any, bucket: str) -> Fallback | None:
        """Return the fallback, at most `REFRESH_S` old where S3 answers; None before the first model."""
        from botocore.exceptions import BotoCoreError, ClientError

        now_s = time.monotonic()
        if now_s - self.read_at_s < REFRESH_S and self.value is not None:
            return self.value
        try:
            stored = json.loads(s3.get_object(Bucket=bucket, Key=FALLBACK_KEY)["Body"].read())
            self.value = Fallback(stored["popular"], stored["related"], stored["model_version"])
            self.read_at_s = now_s
        except (BotoCoreError, ClientError) as error:
            log.warning("fallback not read", bucket=bucket, key=FALLBACK_KEY, error=str(error))
        return self.value
