"""The keys of receipts. AWSCURRENT signs, and AWSPREVIOUS still verifies, so that a key can be rotated."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from functions.platform.clients import time_boxed_client
from functions.platform.log import get_logger
from functions.platform.receipt import Receipt, read
from functions.platform.refreshed import Refreshed
from functions.platform.time_box import Deadline, executor

if TYPE_CHECKING:
    from concurrent.futures import Executor

log = get_logger(__name__)

# /recommend and the collector wait for the keys once per execution environment, at most this long.
TIMEOUT_MS = 1_000
REFRESH_S = 300.0
# An unknown signature may come from a freshly rotated key, so the secret is read again. At most every 10 s: forged
# tokens must not flood Secrets Manager.
RECHECK_S = 10.0


class ReceiptKeys:
    """The keys of this execution environment, newest first. Old keys are better than none if Secrets Manager fails."""

    def __init__(
        self,
        secret: str,
        open_secrets: Callable[[], Any],
        clock: Callable[[], float] = time.monotonic,
        threads: Callable[[], "Executor"] = executor,
    ) -> None:
        """Read nothing yet: a cold start without receipts makes no client.

        Args:
            secret: the secret's name.
            open_secrets: makes the Secrets Manager client.
            clock: the time in seconds.
            threads: opens the executor that reads the secret.
        """
        self.secret, self._open_secrets = secret, open_secrets
        self._keys = Refreshed("receipt keys", self._read_keys, REFRESH_S, clock, threads)

    def signing(self) -> bytes | None:
        """Return the key to sign with; None if no key is available."""
        keys = self._keys.get(Deadline.after(TIMEOUT_MS / 1000))
        return keys[0] if keys else None

    def read(self, token: str) -> Receipt | None:
        """Return the receipt of a token that one of the keys signed; None if the token is forged.

        Raises:
            LookupError: no key is available.
        """
        if not token.isascii():
            return None  # every receipt is ASCII, whatever its key
        until = Deadline.after(TIMEOUT_MS / 1000)
        keys = self._keys.get(until)
        if keys is None:
            raise LookupError(self.secret)
        receipt = read(token, keys)
        if receipt is None and self._keys.read_again(RECHECK_S, until):
            receipt = read(token, self._keys.get(until) or ())
        return receipt

    def _read_keys(self) -> tuple[bytes, ...]:
        secrets = self._open_secrets()
        return (self._key(secrets, "AWSCURRENT"), *self._previous(secrets))

    def _previous(self, secrets: Any) -> tuple[bytes, ...]:
        """Return the key before the current one. Without it, receipts are still signed."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return (self._key(secrets, "AWSPREVIOUS"),)
        except (BotoCoreError, ClientError) as error:
            # A key that was never rotated has no previous version.
            absent = "ResourceNotFoundException"
            if not isinstance(error, ClientError) or error.response["Error"]["Code"] != absent:
                log.warning("previous receipt key not read", secret=self.secret, error=str(error))
            return ()

    def _key(self, secrets: Any, version_stage: str) -> bytes:
        response = secrets.get_secret_value(SecretId=self.secret, VersionStage=version_stage)
        return str(response["SecretString"]).encode()


@lru_cache(maxsize=1)
def receipt_keys(secret: str) -> ReceiptKeys:
    """Return the keys of this execution environment; the secret is read when a receipt first needs them."""
    return ReceiptKeys(secret, lambda: time_boxed_client("secretsmanager", TIMEOUT_MS))
