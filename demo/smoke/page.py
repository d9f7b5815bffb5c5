"""The report as one self-contained HTML file, fit to attach to an issue: no account id, no key, no address."""

from pathlib import Path

import jinja2

from demo.smoke.result import SmokeResult
from demo.terminal import duration
from deploy.bill.prices import PriceList


def render(result: SmokeResult, prices: PriceList) -> str:
    """Return the HTML of the report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["usd"] = lambda usd: f"${usd:.4f}" if usd < 1 else f"${usd:.2f}"
    return environment.get_template("page.html.jinja").render(
        result=result,
        total_s=sum(row.seconds for row in result.rows),
        total_usd=sum(row.usd for row in result.rows),
        prices=prices,
    )
