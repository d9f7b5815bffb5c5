"""The secret keys of shops: a back end proves with one that it is the shop's, not a page of it.

Secrets Manager holds a digest per key: {"demo": [{"sha256": "...", "issued_on": "2026-11-29"}]}. A key has 256 random
bits, so a digest without salt is enough. deploy/secret_key.py issues and revokes keys.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from functions.platform.clients import time_boxed_client
from functions.platform.errors import Reason, RequestRefused
from functions.platform.refreshed import Refreshed
from functions.platform.time_box import Deadline, executor

if TYPE_CHECKING:
    from concurrent.futures import Executor

# A request with a secret key waits for the keys at most this long.
TIMEOUT_MS = 1_000
# A revoked key is refused after this time.
REFRESH_S = 300.0
# An unknown key may be freshly issued, so the secret is read again. At most every 10 s: guesses must not flood Secrets
# Manager.
RECHECK_S = 10.0
HELP = (
    "send 'Authorization: Bearer <secret key>' with a key of make secret-key, or no such header from a page"
)


def digest(key: str) -> str:
    """Return the digest that stands for a key in the secret."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class SecretKeys:
    """The digests of this execution environment, each with its shop. Old ones are better than none if a refresh fails."""

    def __init__(
        self,
        secret: str,
        open_secrets: Callable[[], Any],
        clock: Callable[[], float] = time.monotonic,
        threads: Callable[[], "Executor"] = executor,
    ) -> None:
        """Read nothing yet: a request without the header makes no client.

        Args:
            secret: the secret's name.
            open_secrets: makes the Secrets Manager client.
            clock: the time in seconds.
            threads: opens the executor that reads the secret.
        """
        self.secret, self._open_secrets = secret, open_secrets
        self._digests = Refreshed("secret keys", self._read, REFRESH_S, clock, threads)

    def shop_of(self, authorization: str) -> str:
        """Return the shop whose secret key the header `Authorization` contains.

        Raises:
            RequestRefused: it contains none, or the keys cannot be read now.
        """
        scheme, _, key = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise RequestRefused(
                Reason.WRONG_SECRET_KEY, f"the header Authorization contains no secret key: {HELP}"
            )
        asked = digest(key.strip())
        until = Deadline.after(TIMEOUT_MS / 1000)
        if self._digests.get(until) is None:
            raise self._unavailable()
        # Wait for the refresh, in contrast to receipts: an environment that idled must not accept a revoked key.
        self._digests.read_again(REFRESH_S, until)
        shop = self._find(asked, until)
        if shop is None and self._digests.read_again(RECHECK_S, until):
            shop = self._find(asked, until)
        if shop is not None:
            return shop
        if self._digests.failure:
            raise self._unavailable()
        raise RequestRefused(
            Reason.WRONG_SECRET_KEY, f"the secret key is not known here, or is revoked: {HELP}"
        )

    def _find(self, asked: str, until: Deadline) -> str | None:
        """Return the shop of a digest. The time that this takes tells nothing about the digests."""
        found = None
        for shop, known in self._digests.get(until) or ():
            # As bytes: of texts, only ASCII can be compared.
            if hmac.compare_digest(known.encode(), asked.encode()):
                found = shop
        return found

    def _unavailable(self) -> RequestRefused:
        return RequestRefused(
            Reason.SECRET_KEYS_UNAVAILABLE,
            f"the secret keys cannot be read now ({self._digests.failure}), and nothing is stored: "
            "send the events again later",
        )

    def _read(self) -> tuple[tuple[str, str], ...]:
        from botocore.exceptions import ClientError

        try:
            found = self._open_secrets().get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")
        except ClientError as error:
            # Before the first key is issued, the secret has no value.
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return ()
            raise
        shops: dict[str, list[dict[str, str]]] = json.loads(found["SecretString"])
        return tuple((shop, str(key["sha256"])) for shop, keys in shops.items() for key in keys)


@lru_cache(maxsize=1)
def secret_keys(secret: str) -> SecretKeys:
    """Return the keys of this execution environment; the secret is read when a header first needs them."""
    return SecretKeys(secret, lambda: time_boxed_client("secretsmanager", TIMEOUT_MS))
