"""Signed receipts of recommendations: what /recommend issues, and the collector judges when an event brings one back.

A receipt is `v1.<payload>.<HMAC-SHA256 of all before it>`, both parts in unpadded base64url. The payload is a line of
JSON, then 4 bytes an item: docs/decisions/0009-receipts.md.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

VERSION = "v1"
# Attribution is in-session; a session that is still the same one after a day is a tab left open.
LIFETIME_S = 24 * 60 * 60
# Clocks of execution environments differ, and a client's is corrected by the time of a request's travel too much.
SKEW_MS = 5 * 60 * 1000
SLOT_BYTES = 4
# 10 items need 300 characters, 100 need 780; with the longest ids there are, 64 characters of 4 bytes each, 1,620.
RECEIPT_MAX_CHARACTERS = 2_000


class Verdict(StrEnum):
    """What became of an item's receipt; only a valid one attributes."""

    VALID = "valid"
    FORGED = "forged"  # not of our making, or changed since
    EXPIRED = "expired"  # the event happened after its expiry, or before its issue
    FOREIGN = "foreign"  # of another shop or session, or for other items
    UNVERIFIED = "unverified"  # no key was to be had: the event keeps its token for a replay


class Receipt(NamedTuple):
    """A recommendation as its receipt tells it; `slots` are its items in their order, digested."""

    recommendation_id: str
    shop_id: str
    session_id: str
    model_version: str
    variant: str
    issued_at_s: int
    expires_at_s: int
    slots: tuple[bytes, ...]

    def slot_of(self, item_id: str) -> int | None:
        """The place of an item, from 0; None where it was not recommended."""
        digest = _digest(item_id)
        return self.slots.index(digest) if digest in self.slots else None

    def judge(self, shop_id: str, session_id: str, item_id: str, event_time_ms: int) -> Verdict:
        """The verdict on an item of an event, given that the signature holds."""
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
    """The receipt that a storefront gets with a recommendation made at `issued_at_s`, in seconds since 1970."""
    expires_at_s = issued_at_s + LIFETIME_S
    fields = [recommendation_id, shop_id, session_id, model_version, variant, issued_at_s, expires_at_s]
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"
    payload = line.encode() + b"".join(_digest(item_id) for item_id in item_ids)
    signed = f"{VERSION}.{_base64(payload)}"
    return f"{signed}.{_signature(signed.encode(), key)}"


def read(token: str, keys: Sequence[bytes]) -> Receipt | None:
    """The receipt that one of the keys signed, or None: any other text is forged."""
    signed, _, signature = token.encode("utf-8", "replace").rpartition(b".")
    # The signature's text is compared, not its bytes: base64 has several spellings of most bytes.
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
