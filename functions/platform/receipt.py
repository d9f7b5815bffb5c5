"""Signed receipts of recommendations: /recommend issues them, and the collector judges them in events.

A receipt is `v1.<payload>.<HMAC-SHA256 of all before it>`, both parts in unpadded base64url. The payload is one line of
JSON, then 4 bytes per item: docs/decisions/0009-receipts.md.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

VERSION = "v1"
# Attribution is in-session. A session that is still the same one after a day is a tab left open.
LIFETIME_S = 24 * 60 * 60
# Tolerance: clocks of execution environments differ, and correcting a client's clock overshoots by the network latency.
SKEW_MS = 5 * 60 * 1000
SLOT_BYTES = 4


class Verdict(StrEnum):
    """The verdict on an item's receipt; only a valid one attributes."""

    VALID = "valid"
    # Not signed by us, or changed since.
    FORGED = "forged"
    # The event is later than the receipt's expiry, or earlier than its issue.
    EXPIRED = "expired"
    # The receipt is of another shop or session, or for other items.
    FOREIGN = "foreign"
    # No key was available. The event keeps its token for a replay.
    UNVERIFIED = "unverified"


class Receipt(NamedTuple):
    """A verified receipt. `slots` are digests of the recommended items, in their order."""

    recommendation_id: str
    shop_id: str
    session_id: str
    model_version: str
    variant: str
    issued_at_s: int
    expires_at_s: int
    slots: tuple[bytes, ...]

    def slot_of(self, item_id: str) -> int | None:
        """Return the position of an item, from 0; None if the item was not recommended."""
        digest = _digest(item_id)
        return self.slots.index(digest) if digest in self.slots else None

    def judge(self, shop_id: str, session_id: str, item_id: str, event_time_ms: int) -> Verdict:
        """Return the verdict on an item of an event."""
        if (self.shop_id, self.session_id) != (shop_id, session_id) or self.slot_of(item_id) is None:
            return Verdict.FOREIGN
        if not self.issued_at_s * 1000 - SKEW_MS <= event_time_ms <= self.expires_at_s * 1000:
            return Verdict.EXPIRED
        return Verdict.VALID


def issue(
    recommendation_id: str,
    shop_id: str,
    session_id: str,
    model_version: str,
    variant: str,
    item_ids: Iterable[str],
    issued_at_s: int,
    key: bytes,
) -> str:
    """Return the receipt of a recommendation made at `issued_at_s`, in seconds since 1970."""
    expires_at_s = issued_at_s + LIFETIME_S
    fields = [recommendation_id, shop_id, session_id, model_version, variant, issued_at_s, expires_at_s]
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"
    payload = line.encode() + b"".join(_digest(item_id) for item_id in item_ids)
    signed = f"{VERSION}.{_base64(payload)}"
    return f"{signed}.{_signature(signed.encode(), key)}"


def read(token: str, keys: Sequence[bytes]) -> Receipt | None:
    """Return the receipt if one of the keys signed it, else None: the token is forged."""
    signed, _, signature = token.encode("utf-8", "replace").rpartition(b".")
    # Compare the signatures as text: base64 has several spellings of most bytes, and a receipt must have one.
    if not any(hmac.compare_digest(_signature(signed, key).encode(), signature) for key in keys):
        return None
    _, _, payload = signed.partition(b".")
    fields, _, digests = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)).partition(b"\n")
    slots = (digests[at : at + SLOT_BYTES] for at in range(0, len(digests), SLOT_BYTES))
    return Receipt._make([*json.loads(fields), tuple(slots)])


def _digest(item_id: str) -> bytes:
    return hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).digest()[:SLOT_BYTES]


def _signature(signed: bytes, key: bytes) -> str:
    return _base64(hmac.new(key, signed, hashlib.sha256).digest())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
