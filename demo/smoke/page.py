"""The report as one self-contained HTML file, fit to attach to an issue: no account id, no key, no address."""

from pathlib import Path

from demo.smoke.result import SmokeResult
from demo.terminal import duration
from deploy.bill.prices import PriceList
from deploy.pages import environment


def render(result: SmokeResult, prices: PriceList) -> str:
    """Return the HTML of the report."""
    templates = environment(Path(__file__).parent)
    templates.filters["duration"] = duration
    templates.filters["usd"] = lambda usd: f"${usd:.4f}" if usd < 1 else f"${usd:.2f}"
    return templates.get_template("page.html.jinja").render(
        result=result,
        total_s=sum(row.seconds for row in result.rows),
        total_usd=sum(row.usd for row in result.rows),
        prices=prices,
    )
