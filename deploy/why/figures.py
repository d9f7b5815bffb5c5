"""The figures that `make why` explains: each is a chain of counts of MARTS.DAILY_FUNNEL, and each link is a stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["count", "rate", "ratio", "money"]

# In this order, a cause is named by the first dimension that explains as much as another one.
DIMENSIONS = ("model_version", "variant", "rules", "placement", "device", "item_category")
OF_SESSIONS = ("device",)
OF_ANSWERS = ("model_version", "variant", "rules", "placement", "device")
OF_ITEMS = DIMENSIONS
# A segment of these adds to the stage, although the denominator has no such segments: a session has no placement.
ADDING = {"recommendations": ("placement",), "sessions": ("device",)}

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "sessions": OF_SESSIONS,
    "viewing_sessions": OF_SESSIONS,
    "carting_sessions": OF_SESSIONS,
    "ordering_sessions": OF_SESSIONS,
    "recommendations": OF_ANSWERS,
    "items_shown": OF_ITEMS,
    "items_clicked": OF_ITEMS,
    "items_bought": OF_ITEMS,
    "units_bought": OF_ITEMS,
    "recommendation_revenue": OF_ITEMS,
}


@dataclass(frozen=True)
class Loss:
    """A way in which events are lost between the shop and the marts. `counts` names the accepted ones."""

    key: str
    title: str
    event_name: str | None
    counts: str | None


REFUSED_PURCHASES = Loss("purchases", "accepted share of the purchases", "purchase", "orders")
REFUSED_CLICKS = Loss("clicks", "accepted share of the clicks", "recommendation_click", "click_events")
REFUSED_IMPRESSIONS = Loss(
    "impressions", "accepted share of the impressions", "recommendation_impression", "impression_events"
)
RECEIPTS = Loss("receipts", "share of receipts that were on time and verified", None, None)
LOSSES = (REFUSED_PURCHASES, REFUSED_CLICKS, REFUSED_IMPRESSIONS, RECEIPTS)
# The losses by which a count is smaller than what happened. Whole sessions are seldom lost with some of their events.
LOST_BY: Mapping[str, tuple[Loss, ...]] = {
    "ordering_sessions": (REFUSED_PURCHASES,),
    "recommendations": (REFUSED_IMPRESSIONS, RECEIPTS),
    "items_shown": (REFUSED_IMPRESSIONS, RECEIPTS),
    "items_clicked": (REFUSED_CLICKS, RECEIPTS),
    "items_bought": (REFUSED_PURCHASES, RECEIPTS),
    "units_bought": (REFUSED_PURCHASES, RECEIPTS),
    "recommendation_revenue": (REFUSED_PURCHASES, RECEIPTS),
}


@dataclass(frozen=True)
class Stage:
    """A count per the count before it; a level has no count before it. `events` is the count that makes it certain."""

    key: str
    title: str
    unit: Unit
    whole: str | None
    part: str
    events: str

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Return the dimensions by which the stage can be split."""
        if self.whole is None:
            return ADDING.get(self.part, ())
        both = tuple(name for name in COLUMNS[self.part] if name in COLUMNS[self.whole])
        return both + tuple(name for name in ADDING.get(self.part, ()) if name not in both)

    def adds(self, dimension: str) -> bool:
        """Return True if the stage is the sum of this dimension's segments, not their average."""
        return self.whole is None or dimension not in COLUMNS[self.whole]


@dataclass(frozen=True)
class Figure:
    """A figure: the last count of its chain, or that per the first one."""

    key: str
    title: str
    unit: Unit
    chain: tuple[str, ...]

    @property
    def is_level(self) -> bool:
        """Return True if the figure is a sum, and False if it is a rate."""
        return self.unit == "money"


FIGURES = {
    figure.key: figure
    for figure in (
        Figure(
            "revenue",
            "Recommendation revenue",
            "money",
            (
                "sessions",
                "recommendations",
                "items_shown",
                "items_clicked",
                "items_bought",
                "units_bought",
                "recommendation_revenue",
            ),
        ),
        Figure("click_rate", "Click rate", "rate", ("items_shown", "items_clicked")),
        Figure(
            "conversion",
            "Conversion",
            "rate",
            ("sessions", "viewing_sessions", "carting_sessions", "ordering_sessions"),
        ),
    )
}

# The words for a stage, by the counts that it connects. A chain without one of its counts has another stage.
TITLES: Mapping[tuple[str | None, str], tuple[str, str, Unit]] = {
    (None, "sessions"): ("traffic", "sessions", "count"),
    ("sessions", "recommendations"): ("recommended", "recommendations per session", "ratio"),
    ("recommendations", "items_shown"): ("shown", "items shown per recommendation", "ratio"),
    ("items_shown", "items_clicked"): ("clicked", "click rate", "rate"),
    ("items_clicked", "items_bought"): ("bought", "items bought per click", "rate"),
    ("items_bought", "units_bought"): ("quantity", "pieces per bought item", "ratio"),
    ("units_bought", "recommendation_revenue"): ("price", "revenue per piece", "money"),
    ("sessions", "viewing_sessions"): ("viewed", "share of sessions with an item view", "rate"),
    ("viewing_sessions", "carting_sessions"): ("carted", "sessions with a cart per session with an item view", "rate"),
    ("carting_sessions", "ordering_sessions"): ("ordered", "sessions with an order per session with a cart", "rate"),
}  # fmt: skip


# "per" takes the singular of a count.
SINGULAR: Mapping[str, str] = {
    "sessions": "session",
    "recommendations": "recommendation",
    "items_shown": "item shown",
    "items_clicked": "item clicked",
    "items_bought": "item bought",
    "units_bought": "piece bought",
    "viewing_sessions": "session with an item view",
    "carting_sessions": "session with a cart",
}


def stage(whole: str | None, part: str) -> Stage:
    """Return the stage between two counts."""
    events = "items_bought" if part in ("units_bought", "recommendation_revenue") else part
    if (whole, part) in TITLES:
        key, title, unit = TITLES[whole, part]
    else:
        key, unit = part, "money" if part == "recommendation_revenue" else "ratio"
        title = part.replace("_", " ") + (f" per {SINGULAR[whole]}" if whole else "")
    return Stage(key, title, unit, whole, part, events)
