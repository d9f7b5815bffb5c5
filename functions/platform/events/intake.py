"""The dependencies of every function that takes events in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from functions.platform.contract import RAW_PREFIX, REJECTED_PREFIX
from functions.platform.events.delivery import deliver
from functions.platform.events.masking import keyed_pseudonym, temporary_pseudonym
from functions.platform.log import get_logger
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.settings import CollectSettings
from functions.platform.time_box import Deadline

log = get_logger(__name__)


@dataclass(frozen=True)
class Intake:
    """Settings, storage clients and receipt keys, and the time that is left to this Lambda."""

    settings: CollectSettings
    firehose: Any
    s3: Any
    receipt_keys: ReceiptKeys
    remaining_ms: Callable[[], int]

    def store(self, lines: list[bytes]) -> None:
        """Store accepted lines below raw/.

        Raises:
            StorageUnavailable: neither Firehose nor S3 took them.
        """
        self._deliver(lines, self.settings.events_stream, RAW_PREFIX)

    def store_rejected(self, lines: list[bytes]) -> None:
        """Store refused lines below rejected/.

        Raises:
            StorageUnavailable: neither Firehose nor S3 took them.
        """
        self._deliver(lines, self.settings.rejected_stream, REJECTED_PREFIX)

    def pseudonym(self, text: str) -> str:
        """Return what is stored in place of an id that contains a mail address: the same for the same id and key."""
        key = self.receipt_keys.signing()
        if key is None:
            log.warning("no key for pseudonyms, so these differ from all others")
            return temporary_pseudonym(text)
        return keyed_pseudonym(key, text)

    def _deliver(self, lines: list[bytes], stream: str, prefix: str) -> None:
        deadline = Deadline.of_lambda(self.remaining_ms())
        deliver(lines, stream, prefix, self.settings.events_bucket, self.firehose, self.s3, deadline)
