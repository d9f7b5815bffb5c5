"""The keys of receipts. AWSCURRENT signs, and AWSPREVIOUS still verifies, so that a key can be rotated."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from functions.platform.clients import time_boxed_client
from functions.platform.log import get_logger
from functions.platform.receipt import Receipt, read

log = get_logger(__name__)

# /recommend and the collector wait for the keys once per execution environment, at most this long.
TIMEOUT_MS = 1_000
REFRESH_S = 300.0
# An unknown signature may come from a freshly rotated key, so the secret is read again. At most every 10 s: forged
# tokens must not flood Secrets Manager.
RECHECK_S = 10.0


@dataclass
class ReceiptKeys:
    """The keys of this execution environment, newest first. Old keys are better than none if Secrets Manager fails.

    `open_secrets` makes the Secrets Manager client, so that a cold start without receipts makes none.
    """

    secret: str
    open_secrets: Callable[[], Any]
    clock: Callable[[], float] = time.monotonic
    keys: tuple[bytes, ...] = ()
    asked_at_s: float = field(default=float("-inf"))

    def signing(self) -> bytes | None:
        """Return the key to sign with; None if no key is available."""
        self._refresh(REFRESH_S if self.keys else RECHECK_S)
        return self.keys[0] if self.keys else None

    def read(self, token: str) -> Receipt | None:
        """Return the receipt of a token that one of the keys signed; None if the token is forged.

        Raises:
            LookupError: no key is available.
        """
        if not token.isascii():
            return None  # every receipt is ASCII, whatever its key
        if self.signing() is None:
            raise LookupError(self.secret)
        receipt = read(token, self.keys)
        if receipt is None and self._refresh(RECHECK_S):
            receipt = read(token, self.keys)
        return receipt

    def _refresh(self, older_than_s: float) -> bool:
        """Read the secret if the last reading is older. Return True if the keys changed."""
        now_s = self.clock()
        if now_s - self.asked_at_s < older_than_s:
            return False
        from botocore.exceptions import BotoCoreError, ClientError

        self.asked_at_s, before = now_s, self.keys
        try:
            secrets = self.open_secrets()
            self.keys = (self._key(secrets, "AWSCURRENT"), *self._previous(secrets))
        except (BotoCoreError, ClientError) as error:
            log.warning("receipt keys not read", secret=self.secret, keys_kept=len(before), error=str(error))
        return self.keys != before

    def _previous(self, secrets: Any) -> tuple[bytes, ...]:
        from botocore.exceptions import ClientError

        try:
            return (self._key(secrets, "AWSPREVIOUS"),)
        except ClientError as error:
            # A key that was never rotated has no previous version.
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return ()

    def _key(self, secrets: Any, version_stage: str) -> bytes:
        response = secrets.get_secret_value(SecretId=self.secret, VersionStage=version_stage)
        return str(response["SecretString"]).encode()


@lru_cache(maxsize=1)
def receipt_keys(secret: str) -> ReceiptKeys:
    """Return the keys of this execution environment; the secret is read when a receipt first needs them."""
    return ReceiptKeys(secret, lambda: time_boxed_client("secretsmanager", TIMEOUT_MS))
