"""Build the browser's files: storefront/dist/tugboat.js and tugboat-carousel.js, and the SDK's types, tugboat.d.ts.

Run it after a change of a source in this folder or of the event schema; it prints the sizes.
With --check it writes nothing, and exits with 1 when a built file is out of date or larger than its budget.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

from storefront.sdk import contract

HERE = Path(__file__).parent
DIST = HERE.parent / "dist"
TYPES = HERE / "tugboat.d.ts"
# The SDK promises 6 kB to a shop's page; the carousel's limit reveals growth.
MAX_GZIP_BYTES = {"tugboat.js": 6_000, "tugboat-carousel.js": 4_000}
LICENSE = "/*! Tugboat, Apache-2.0 */\n"
JAVASCRIPT, CSS = "application/javascript", "text/css"


def sources() -> list[Path]:
    """List the SDK's parts in the order in which they are joined."""
    return sorted(HERE.glob("[0-9]-*.js"))


def minified(kind: str, source: str) -> str:
    """Minify a source of a media type: parsed, with local names renamed by scope."""
    try:
        import minify  # type: ignore[import-untyped]
    except ImportError:
        sys.exit(
            "build: the minifier tdewolff-minify is not installed (it has no wheel for macOS on arm64)."
            " Run `make setup` on Linux or on macOS with x86_64, and build there."
        )
    # Browsers of 2021 run the result: the minifier writes no newer syntax.
    minify.config({"js-version": 2021})
    return str(minify.string(kind, source))


def scoped(source: str) -> str:
    """Make one script with a scope of its own, whose exceptions never reach the page."""
    script = "(() => { 'use strict'; try {\n" + source + "\n} catch {} })();"
    return LICENSE + minified(JAVASCRIPT, script) + "\n"


def sdk() -> str:
    """Build tugboat.js."""
    parts = [contract.javascript(contract.read_schema()), *(part.read_text() for part in sources())]
    return scoped("\n".join(parts))


def carousel() -> str:
    """Build tugboat-carousel.js, which contains its style sheet."""
    css = minified(CSS, (HERE / "carousel.css").read_text())
    source = (HERE / "carousel.js").read_text().replace("CAROUSEL_CSS", json.dumps(css), 1)
    return scoped(contract.session_items_max() + source)


def built() -> dict[Path, str]:
    """Return each built file with the text that it must have."""
    return {
        DIST / "tugboat.js": sdk(),
        DIST / "tugboat-carousel.js": carousel(),
        TYPES: contract.declarations(contract.read_schema()),
    }


def gzip_bytes(text: str) -> int:
    """Return the compressed size, as it travels."""
    return len(gzip.compress(text.encode(), mtime=0))


def main(arguments: list[str] | None = None) -> int:
    """Build or check; return 1 when a file is out of date or over its budget."""
    parser = argparse.ArgumentParser(
        prog="python -m storefront.sdk.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m storefront.sdk.build --check",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a file is out of date"
    )
    check = parser.parse_args(arguments).check
    failed = False
    for path, text in built().items():
        if check and (not path.exists() or path.read_text() != text):
            print(f"{path.name} is out of date: run python -m storefront.sdk.build", file=sys.stderr)
            failed = True
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        budget = MAX_GZIP_BYTES.get(path.name)
        if budget:
            size = gzip_bytes(text)
            print(f"{path.name}: {len(text.encode()):,} bytes, {size:,} gzipped of {budget:,}")
            failed |= size > budget
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
