"""The dependencies of every function that takes events in."""

from dataclasses import dataclass
from typing import Any

from functions.platform.contract import RAW_PREFIX, REJECTED_PREFIX
from functions.platform.events.delivery import deliver
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.settings import CollectSettings


@dataclass(frozen=True)
class Intake:
    """Settings, storage clients and receipt keys."""

    settings: CollectSettings
    firehose: Any
    s3: Any
    receipt_keys: ReceiptKeys

    def store(self, lines: list[bytes]) -> None:
        """Store accepted lines below raw/.

        Raises:
            StorageUnavailable: neither Firehose nor S3 took them.
        """
        bucket = self.settings.events_bucket
        deliver(lines, self.settings.events_stream, RAW_PREFIX, bucket, self.firehose, self.s3)

    def store_rejected(self, lines: list[bytes]) -> None:
        """Store refused lines below rejected/.

        Raises:
            StorageUnavailable: neither Firehose nor S3 took them.
        """
        bucket = self.settings.events_bucket
        deliver(lines, self.settings.rejected_stream, REJECTED_PREFIX, bucket, self.firehose, self.s3)
