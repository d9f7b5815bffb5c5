"""The keys that receipts are signed with: AWSCURRENT signs, AWSPREVIOUS still verifies, so that a key can be rotated."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from functions.platform.clients import time_boxed_client
from functions.platform.log import get_logger
from functions.platform.receipt import Receipt, read

log = get_logger(__name__)

# /recommend and the collector wait for the keys once per execution environment, no longer than this.
TIMEOUT_MS = 1_000
REFRESH_S = 300.0
# A signature by none of the keys may be by one newer than these; a flood of forgeries must not become a flood of calls.
RECHECK_S = 10.0


@dataclass
class ReceiptKeys:
    """The keys of this execution environment, newest first; old ones are better than none where nobody answers.

    `open_secrets` makes the Secrets Manager client, which costs a cold start that needs no key nothing.
    """

    secret: str
    open_secrets: Callable[[], Any]
    clock: Callable[[], float] = time.monotonic
    keys: tuple[bytes, ...] = ()
    asked_at_s: float = field(default=float("-inf"))

    def signing(self) -> bytes | None:
        """The key to sign with; None when there is none to be had."""
        self._refresh(REFRESH_S if self.keys else RECHECK_S)
        return self.keys[0] if self.keys else None

    def read(self, token: str) -> Receipt | None:
        """The receipt in a token that one of the keys signed, or None: forged.

        Raises:
            LookupError: there is no key to be had.
        """
        if not token.isascii():
            return None  # ours are, with whatever key
        if self.signing() is None:
            raise LookupError(self.secret)
        found = read(token, self.keys)
        if found is None and self._refresh(RECHECK_S):
            found = read(token, self.keys)
        return found

    def _refresh(self, older_than_s: float) -> bool:
        """Asks again where the last answer is older; whether the keys changed."""
        now_s = self.clock()
        if now_s - self.asked_at_s < older_than_s:
            return False
        from botocore.exceptions import BotoCoreError, ClientError

        self.asked_at_s, before = now_s, self.keys
        try:
            secrets = self.open_secrets()
            self.keys = (self._key(secrets, "AWSCURRENT"), *self._previous(secrets))
        except (BotoCoreError, ClientError) as error:
            log.warning("no receipt key read", secret=self.secret, keys_kept=len(before), error=str(error))
        return self.keys != before

    def _previous(self, secrets: Any) -> tuple[bytes, ...]:
        from botocore.exceptions import ClientError

        try:
            return (self._key(secrets, "AWSPREVIOUS"),)
        except ClientError as error:
            # A key that was never rotated has no version before it.
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return ()

    def _key(self, secrets: Any, stage: str) -> bytes:
        answer = secrets.get_secret_value(SecretId=self.secret, VersionStage=stage)
        return str(answer["SecretString"]).encode()


@lru_cache(maxsize=1)
def receipt_keys(secret: str) -> ReceiptKeys:
    """The keys of this execution environment, read when the first receipt asks for them."""
    return ReceiptKeys(secret, lambda: time_boxed_client("secretsmanager", TIMEOUT_MS))
