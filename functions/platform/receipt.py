"""Signed receipts of recommendations: /recommend issues them, and the collector judges them in events.

A receipt is `v2.<payload>.<HMAC-SHA256 of all before it>`, both parts in unpadded base64url. The payload is one line of
JSON, then 4 bytes per item: docs/decisions/0009-receipts.md. The bytes of an item are keyed, so that nobody can search
for an id of their own that has the same ones: docs/decisions/0057-secret-keys.md.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from functions.platform.contract import COLLECT_PAGE_QUEUE_MAX_MS, PLACEMENT_DEFAULT

VERSION = "v2"
# Its digests are not keyed. Delete it when the last receipt of a stage that issued it is late.
OLD_VERSION = b"v1"
# Attribution is in-session. A session that is still the same one after a day is a tab left open.
LIFETIME_S = 24 * 60 * 60
# Tolerance: clocks of execution environments differ, and correcting a client's clock overshoots by the network latency.
SKEW_MS = 5 * 60 * 1000
SLOT_BYTES = 4
# The fields that every receipt has. An object of labels can follow.
FIELDS = 7


class Verdict(StrEnum):
    """The verdict on an item's receipt; only a valid one attributes."""

    VALID = "valid"
    # Not signed by us, or changed since.
    FORGED = "forged"
    # The event is later than the receipt's expiry, or earlier than its issue.
    EXPIRED = "expired"
    # The event arrived later than a page's queue allows after the expiry, whatever time the sender claims for it.
    LATE = "late"
    # The receipt is of another shop or session, or for other items.
    FOREIGN = "foreign"
    # No key was available. The event keeps its token for a replay.
    UNVERIFIED = "unverified"


class EventTimes(NamedTuple):
    """The time of an event on the server's clock, as its sender claims it, and the time of its receipt."""

    event_time_ms: int
    received_at_ms: int


class Assignment(NamedTuple):
    """The arm of a client in one experiment. `share` is the arm's part of 10,000; `control` names the control arm."""

    experiment: str
    arm: str
    share: int
    control: str


class Labels(NamedTuple):
    """Facts about an answer that its receipt carries: its placement, and the arms of the client that it is for.

    `rules` is the revision of the shop's rules, if they changed the answer. `explored` are the slots, from 0, that a rule gave
    to items which the model would not show there.
    """

    placement: str = PLACEMENT_DEFAULT
    assignments: tuple[Assignment, ...] = ()
    client_id: str = ""
    rules: str = ""
    explored: tuple[int, ...] = ()


UNLABELED = Labels()


class Receipt(NamedTuple):
    """A verified receipt. `slots` are digests of the recommended items, in their order, made with `digest_key`."""

    recommendation_id: str
    shop_id: str
    session_id: str
    model_version: str
    variant: str
    issued_at_s: int
    expires_at_s: int
    slots: tuple[bytes, ...]
    digest_key: bytes | None
    placement: str = PLACEMENT_DEFAULT
    assignments: tuple[Assignment, ...] = ()
    client_digest: str = ""
    rules: str = ""
    explored: tuple[int, ...] = ()

    def slot_of(self, item_id: str) -> int | None:
        """Return the position of an item, from 0; None if the item was not recommended."""
        digest = _digest(item_id, self.recommendation_id, self.digest_key)
        return self.slots.index(digest) if digest in self.slots else None

    def judge(self, shop_id: str, session_id: str, item_id: str, times: EventTimes) -> Verdict:
        """Return the verdict on an item of an event."""
        if self.slot_of(item_id) is None:
            return Verdict.FOREIGN
        return self._judge(shop_id, session_id, times)

    def judge_exposure(self, shop_id: str, session_id: str, client_id: str, times: EventTimes) -> Verdict:
        """Return the verdict on an exposure: on the whole answer, for the client that it was given to."""
        if self.client_digest != client_digest(client_id, self.recommendation_id, self.digest_key):
            return Verdict.FOREIGN
        return self._judge(shop_id, session_id, times)

    def _judge(self, shop_id: str, session_id: str, times: EventTimes) -> Verdict:
        if (self.shop_id, self.session_id) != (shop_id, session_id):
            return Verdict.FOREIGN
        expires_at_ms = self.expires_at_s * 1000
        if not self.issued_at_s * 1000 - SKEW_MS <= times.event_time_ms <= expires_at_ms:
            return Verdict.EXPIRED
        if times.received_at_ms > expires_at_ms + COLLECT_PAGE_QUEUE_MAX_MS:
            return Verdict.LATE
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
    labels: Labels = UNLABELED,
) -> str:
    """Return the receipt of a recommendation made at `issued_at_s`, in seconds since 1970."""
    expires_at_s = issued_at_s + LIFETIME_S
    fields: list[Any] = [
        recommendation_id,
        shop_id,
        session_id,
        model_version,
        variant,
        issued_at_s,
        expires_at_s,
    ]
    # Without labels a receipt has no eighth field, so the last release of the collector reads it too.
    if written := _written(labels, recommendation_id, key):
        fields.append(written)
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"
    payload = line.encode() + b"".join(_digest(item_id, recommendation_id, key) for item_id in item_ids)
    signed = f"{VERSION}.{_base64(payload)}"
    return f"{signed}.{_signature(signed.encode(), key)}"


def read(token: str, keys: Sequence[bytes]) -> Receipt | None:
    """Return the receipt if one of the keys signed it, else None: the token is forged."""
    signed, _, signature = token.encode("utf-8", "replace").rpartition(b".")
    # Compare the signatures as text: base64 has several spellings of most bytes, and a receipt must have one.
    signing = [key for key in keys if hmac.compare_digest(_signature(signed, key).encode(), signature)]
    if not signing:
        return None
    version, _, payload = signed.partition(b".")
    fields, _, digests = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)).partition(b"\n")
    slots = (digests[at : at + SLOT_BYTES] for at in range(0, len(digests), SLOT_BYTES))
    digest_key = None if version == OLD_VERSION else signing[0]
    values = json.loads(fields)
    labels = values[FIELDS] if len(values) > FIELDS else {}
    return Receipt._make(
        [
            *values[:FIELDS],
            tuple(slots),
            digest_key,
            labels.get("placement", PLACEMENT_DEFAULT),
            tuple(Assignment(*one) for one in labels.get("arms", ())),
            labels.get("client", ""),
            labels.get("rules", ""),
            tuple(labels.get("explored", ())),
        ]
    )


def client_digest(client_id: str, recommendation_id: str, key: bytes | None) -> str:
    """Return the digest that binds an answer to its client, so that nobody sends its exposure for invented clients."""
    # Ids have no NUL, so this text is no item's.
    return _base64(_digest(f"client\0{client_id}", recommendation_id, key))


def _written(labels: Labels, recommendation_id: str, key: bytes) -> dict[str, Any]:
    """Return the labels that differ from their defaults, as JSON has them."""
    written: dict[str, Any] = {}
    if labels.placement != PLACEMENT_DEFAULT:
        written["placement"] = labels.placement
    if labels.rules:
        written["rules"] = labels.rules
    if labels.explored:
        written["explored"] = labels.explored
    if labels.assignments:
        written["arms"] = labels.assignments
        written["client"] = client_digest(labels.client_id, recommendation_id, key)
    return written


def _digest(item_id: str, recommendation_id: str, key: bytes | None) -> bytes:
    """Return the bytes of an item in one recommendation. Equal ones in another would tell which items it has."""
    item = item_id.encode("utf-8", "surrogatepass")
    if key is None:
        return hashlib.sha256(item).digest()[:SLOT_BYTES]
    # No signed text begins with this word, so that a digest is no part of a signature.
    subject = b"item\0%b\0%b" % (recommendation_id.encode("utf-8", "surrogatepass"), item)
    return hmac.digest(key, subject, "sha256")[:SLOT_BYTES]


def _signature(signed: bytes, key: bytes) -> str:
    return _base64(hmac.new(key, signed, hashlib.sha256).digest())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
