"""The interface that the gate needs of a model. Any model with it can be measured and judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from training_jobs.serving.recommendation import Evidence, Recommendation
from training_jobs.serving.sessions import Float32, Int32, Int64


class Model(Protocol):
    """A recommender of the items in `vocabulary`. A row is an item's place there; `rows` is the inverse."""

    vocabulary: list[str]
    rows: dict[str, int]

    def recommend(self, items: Sequence[str], k: int, exclude: Collection[str] = ()) -> Recommendation:
        """Return at most `k` items for a session of ids, the best first."""
        ...

    def similar(self, item: str, k: int, exclude: Collection[str] = ()) -> Recommendation:
        """Return at most `k` items like `item`, the best first."""
        ...

    def rerank(
        self, items: Sequence[str], candidates: Sequence[str], exclude: Collection[str] = ()
    ) -> Recommendation:
        """Return the candidates in the order for the session."""
        ...

    def scores(self, prefixes: Sequence[Int32], exclude: Sequence[Collection[int]] | None = None) -> Float32:
        """Return the scores of all items per prefix of rows, [prefixes, items]; -inf where an item is in its `exclude`.

        Without `exclude` it is each prefix's last item, which no shop recommends.
        """
        ...

    def popular(self, k: int) -> list[str]:
        """Return the `k` items that a session without a known item gets, whether in stock or not."""
        ...

    def nearest(self, rows: Int64) -> Int64:
        """Return the row of the most similar other item per row; -1 where none is known."""
        ...

    def evidence(self) -> Evidence:
        """Return what the model has learnt from."""
        ...
