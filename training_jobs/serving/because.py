"""Name the view that brought each item of an answer, in a form that a shop can show: "because you viewed X".

Every named view is measured: the session without it gives the item a clearly lower score (leave-one-out ablation).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from training_jobs.serving.ranker import SHORTLIST
from training_jobs.serving.recommendation import Recommendation

# The last different items of the session that are tried. Each costs one more answer.
VIEWS = 5
# Of an item's score. A view that is worth less is not named.
LEAST_FALL = 0.1

# A view of `item_id` brought the item (viewed). The session viewed the item itself (again). No single view brought it (popular).
# The item is like `item_id`, whatever else the session has (related).
Kind = Literal["viewed", "again", "related", "popular"]


@dataclass(frozen=True)
class Because:
    """Why an item is in an answer. `item_id` is the view that brought it, for `viewed` only."""

    kind: Kind
    item_id: str | None = None

    def fields(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"kind": self.kind} | ({"item_id": self.item_id} if self.item_id else {})


class Recommends(Protocol):
    """A model that answers sessions of item ids."""

    vocabulary: list[str]
    rows: dict[str, int]

    def recommend(self, items: Sequence[str], k: int, exclude: Collection[str] = ()) -> Recommendation:
        """Return at most `k` items, the best first."""
        ...

    def similar(self, item: str, k: int, exclude: Collection[str] = ()) -> Recommendation:
        """Return at most `k` items like `item`, the best first."""
        ...

    def rerank(
        self, items: Sequence[str], candidates: Sequence[str], exclude: Collection[str] = ()
    ) -> Recommendation:
        """Return the candidates in the order for the session."""
        ...


def because(
    model: Recommends,
    items: Sequence[str],
    exclude: Collection[str],
    found: Recommendation,
    candidates: Sequence[str] = (),
) -> list[Because]:
    """Return the reason of each item of an answer.

    Args:
        model: the model that answered; `rows` has its items.
        items: the session, oldest first.
        exclude: the items that the request excluded.
        found: the answer.
        candidates: the list that the answer puts in order, if it is one.
    """
    session = [item for item in items if item in model.rows]
    if not session:
        return [Because("popular")] * len(found.items)
    tried = list(dict.fromkeys(reversed(session)))[:VIEWS]
    without = {view: _scores_without(model, view, items, exclude, candidates) for view in tried}
    return [
        Because("again") if item in session else _brought_by(item, score, without)
        for item, score in zip(found.items, found.scores, strict=True)
    ]


def _scores_without(
    model: Recommends, view: str, items: Sequence[str], exclude: Collection[str], candidates: Sequence[str]
) -> tuple[str | None, dict[str, float]]:
    """Return the item that the session without `view` cannot recommend, and the scores of its best items."""
    rest = [item for item in items if item != view]
    found = (
        model.rerank(rest, candidates, exclude)
        if candidates
        else model.recommend(rest, SHORTLIST, {*exclude, *items[-1:]})
    )
    return (rest[-1] if rest else None), dict(zip(found.items, found.scores, strict=True))


def _brought_by(item: str, score: float, without: dict[str, tuple[str | None, dict[str, float]]]) -> Because:
    # An item that is not among the best without the view has lost its place. The current item is never recommended, so its
    # score is not known.
    falls = {
        view: score - scores.get(item, 0.0) for view, (current, scores) in without.items() if item != current
    }
    view = max(falls, key=lambda one: falls[one], default=None)
    # Not below, because candidates without a score keep it without any view.
    if view is None or falls[view] <= LEAST_FALL * score:
        return Because("popular")
    return Because("viewed", view)
