"""Reports as one HTML file each, from a jinja2 template beside the code that fills it."""

from pathlib import Path

import jinja2
import markupsafe

STYLE = Path(__file__).with_name("page.css")


def environment(folder: Path) -> jinja2.Environment:
    """Return the environment of the templates in a folder: values are escaped, and a missing one is an error.

    `style` is the common stylesheet.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["style"] = markupsafe.Markup(STYLE.read_text("utf-8"))
    return templates
