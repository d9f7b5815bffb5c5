"""The explanation of a recommendation as one HTML file that needs nothing else."""

from pathlib import Path

import jinja2

from deploy.explain.explanation import Explanation, sentence


def render(explanation: Explanation) -> str:
    """Return the whole page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = lambda number: f"{number:.4g}"
    environment.filters["signed"] = lambda number: f"{number:+.2f}"
    document = explanation.to_json()
    explained = (document["reproduction"]["explanation"] or {}).get("items", [])
    # Bars of all items have one scale.
    widest = max((item.get("blend") or 0.0 for item in explained), default=0.0) or 1.0
    return environment.get_template("page.html.jinja").render(
        **document,
        verdict=sentence(document["reproduction"]["status"]),
        shown={one["item_id"]: one for one in document["recommendation"]["shown"]},
        widest=widest,
    )
