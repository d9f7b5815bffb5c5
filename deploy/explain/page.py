"""The explanation of a recommendation as one HTML file that needs nothing else."""

from pathlib import Path

from deploy.explain.explanation import Explanation, sentence
from deploy.pages import environment


def render(explanation: Explanation) -> str:
    """Return the whole page."""
    templates = environment(Path(__file__).parent)
    templates.filters["figure"] = lambda number: f"{number:.4g}"
    templates.filters["signed"] = lambda number: f"{number:+.2f}"
    document = explanation.to_json()
    explained = (document["reproduction"]["explanation"] or {}).get("items", [])
    # Bars of all items have one scale.
    widest = max((item.get("blend") or 0.0 for item in explained), default=0.0) or 1.0
    return templates.get_template("page.html.jinja").render(
        **document,
        verdict=sentence(document["reproduction"]["status"]),
        shown={one["item_id"]: one for one in document["recommendation"]["shown"]},
        widest=widest,
    )
