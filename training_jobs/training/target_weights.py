"""The weight of each target in training: an order can count more than a view, and a dear item more than a cheap one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.sessions import Float32, UInt8
from training_jobs.snapshot.dataset import DataError, Dataset

# A price counts as at most this many times the median price, and as no less than the median divided by it.
PRICE_RATIO = 10.0


@dataclass(frozen=True)
class TargetWeights:
    """The weight of a target: that of its item times that of its kind.

    `of_item` has one weight per row of the vocabulary, None if all are 1. `of_kind` has one per strength of an event, None if
    all are 1.
    """

    of_item: Float32 | None
    of_kind: Float32 | None

    def of(self, items: NDArray[Any], kinds: UInt8 | None) -> Float32:
        """Return the weights of targets, given their items and kinds."""
        weight = np.ones(len(items), np.float32)
        if self.of_item is not None:
            weight *= self.of_item[items]
        if self.of_kind is not None:
            assert kinds is not None  # target_weights refuses such a snapshot
            weight *= self.of_kind[kinds]
        return weight


def target_weights(
    data: Dataset, cart_weight: float, purchase_weight: float, price_weight: float
) -> TargetWeights | None:
    """Return the weights of a snapshot's targets, None if all are equal.

    With `price_weight` p, an item's weight is (price / median price) ** p. So the currency does not matter, 0 is the objective
    of clicks, and 1 is that of revenue. An item without a price weighs 1.

    Raises:
        DataError: the snapshot lacks the events or the prices that the weights need.
    """
    of_kind = of_item = None
    if (cart_weight, purchase_weight) != (1.0, 1.0):
        if data.sessions.kinds is None:
            raise DataError(
                "cart_weight or purchase_weight is set, but the interactions have no column EVENT_NAME: "
                "export again, or set both to 1"
            )
        of_kind = np.ones(max(EVENT_STRENGTHS.values()) + 1, np.float32)
        of_kind[EVENT_STRENGTHS["add_to_cart"]] = cart_weight
        of_kind[EVENT_STRENGTHS["purchase"]] = purchase_weight
    if price_weight != 0.0:
        prices = None if data.catalogue is None else data.catalogue.prices
        known = np.zeros(0, bool) if prices is None else np.isfinite(prices) & (prices > 0)
        if prices is None or not known.any():
            raise DataError(
                "price_weight is set, but no item of the snapshot has a price: send `price` in the events or in the "
                "catalogue feed (docs/catalogue.md), or set price_weight to 0"
            )
        ratio = np.clip(prices[known] / np.median(prices[known]), 1 / PRICE_RATIO, PRICE_RATIO)
        of_item = np.ones(len(prices), np.float32)
        of_item[known] = ratio**price_weight
    return None if of_kind is None and of_item is None else TargetWeights(of_item, of_kind)
