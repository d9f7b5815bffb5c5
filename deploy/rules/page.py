"""The replay of rules as one HTML file, and as lines for a terminal."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.pages import environment
from deploy.rules.replay import Change, Replay, Use
from functions.platform.catalogue_state import CatalogueState
from functions.recommend.rules.arrange import Placed
from functions.recommend.rules.model import OUT_OF_STOCK, Rule

EFFECTS = {
    "removed": "removed",
    "pinned": "pinned",
    "boosted": "boosted",
    "buried": "buried",
    "weighted": "weighted by margin",
    "moved": "moved back",
    "explored": "shown as exploration",
}


def render(found: Replay, catalogue: CatalogueState | None, stage: str) -> str:
    """Return the whole page."""
    templates = environment(Path(__file__).parent)
    return templates.get_template("page.html.jinja").render(
        found=found,
        stage=stage,
        verdict=verdict(found),
        when=when,
        period=period,
        effects=effects_in_words,
        uses=found.uses,
        carousels=[_carousel(change, catalogue) for change in found.changes],
        moments=sorted({moment.now_ms for moment in found.moments}),
        placements=list(dict.fromkeys(moment.placement for moment in found.moments)),
        is_refused=bool(found.empty),
    )


def summary(found: Replay) -> Iterator[str]:
    """Yield the result as lines."""
    yield f"{found.cases:,} requests of {found.source}, {found.carousels:,} carousels: {verdict(found)}"
    for use in found.uses:
        yield f"  {use.rule.id:<24} {_use(use)}"
    for warning in found.warnings:
        yield f"  note: {warning}"


def verdict(found: Replay) -> str:
    """Return the result in one sentence."""
    if found.empty:
        return f"refused, because {len(found.empty):,} carousels would be empty."
    changed = (
        f"{found.changed:,} of {found.carousels:,} carousels change"
        if found.changed
        else "no carousel changes"
    )
    short = f", {found.short:,} have fewer items than asked for" if found.short else ""
    return f"{changed}, none is empty{short}."


def _use(use: Use) -> str:
    if not use.carousels:
        return "changes no carousel"
    return f"touches {use.carousels:,} carousels: {effects_in_words(use.effects)}"


def effects_in_words(effects: dict[str, int]) -> str:
    """Return the effects of a rule in words."""
    return ", ".join(f"{count:,} {EFFECTS[effect]}" for effect, count in effects.items())


def when(milliseconds: int) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def period(rule: Rule) -> str:
    """Return the period of a rule in words."""
    begin = f"from {when(rule.from_ms)}" if rule.from_ms is not None else ""
    end = f"until {when(rule.until_ms)}" if rule.until_ms is not None else ""
    return f"{begin} {end}".strip() or "always"


def _carousel(change: Change, catalogue: CatalogueState | None) -> dict[str, Any]:
    before = {one.item_id for one in change.before.items}
    after = {one.item_id for one in change.after.items}
    now_ms = change.moment.now_ms

    def shown(one: Placed, others: set[str]) -> dict[str, Any]:
        product = catalogue.product(one.item_id, now_ms) if catalogue else None
        facts = (
            [product.brand, product.category, "" if product.price is None else f"{product.price:,.2f}"]
            if product
            else []
        )
        return {
            "item_id": one.item_id,
            "facts": ", ".join(fact for fact in facts if fact),
            "is_new": one.item_id not in others,
            "pinned_by": one.pinned_by,
        }

    return {
        "items": change.items,
        "moment": change.moment,
        "before": [shown(one, after) for one in change.before.items],
        "after": [shown(one, before) for one in change.after.items],
        "effects": {
            "items out of stock" if rule_id == OUT_OF_STOCK else rule_id: effects
            for rule_id, effects in change.after.effects.items()
        },
    }
