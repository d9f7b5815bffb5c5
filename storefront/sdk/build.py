"""Makes what browsers get: storefront/dist/tugboat.js and tugboat-carousel.js, and the SDK's types, tugboat.d.ts.

python -m storefront.sdk.build          # after a change of a source here or of event.schema.json; prints the sizes
python -m storefront.sdk.build --check  # writes nothing; exit 1 when a built file is out of date or too large
"""

import argparse
import gzip
import re
import string
import sys
from pathlib import Path

from storefront.sdk import contract

HERE = Path(__file__).parent
DIST = HERE.parent / "dist"
TYPES = HERE / "tugboat.d.ts"
# The SDK's budget is the project's (issue 4); the carousel's keeps it from growing unnoticed.
MAX_GZIP_BYTES = {"tugboat.js": 5_000, "tugboat-carousel.js": 4_000}
LICENCE = "/*! Tugboat, Apache-2.0 */\n"


def sources() -> list[Path]:
    """The SDK's parts, in the order in which they are joined."""
    return sorted(HERE.glob("[0-9]-*.js"))


def minified(source: str) -> str:
    """One script of its own scope, in which even a mistake of ours stays ours."""
    from rjsmin import jsmin  # type: ignore[import-untyped]

    script = str(jsmin("(() => { 'use strict'; try {\n" + source + "\n} catch {} })();"))
    return LICENCE + shortened(script) + "\n"


def shortened(script: str) -> str:
    """The script with the names that it declares made short, but for those that are a property or in a text as well."""
    texts = set(re.findall(r"\w+", " ".join(re.findall(r'"[^"]*"|\'[^\']*\'|`[^`]*`', script))))
    declared = re.findall(r"\b(?:const|let|function) ([A-Za-z]\w{2,})", script)
    names = [
        name
        for name in sorted(set(declared), key=lambda name: (-script.count(name), name))
        # .name (but not ...name), {name: and {name} say what something is called for others, not only for us.
        if name not in texts and not re.search(rf"(?<!\.\.)\.{name}\b|[{{,]{name}[:,}}]", script)
    ]
    taken = set(re.findall(r"\w+", script))
    free = (f"{letter}{more}" for more in ["", *"0123456789"] for letter in string.ascii_letters)
    short = {name: next(one for one in free if one not in taken) for name in names}
    return re.sub(r"[A-Za-z]\w*", lambda found: short.get(found[0], found[0]), script)


def sdk() -> str:
    """tugboat.js."""
    parts = [contract.javascript(contract.read_schema()), *(part.read_text() for part in sources())]
    return minified("\n".join(parts))


def carousel() -> str:
    """tugboat-carousel.js, its style sheet within."""
    css = re.sub(r"/\*.*?\*/", "", (HERE / "carousel.css").read_text(), flags=re.DOTALL)
    css = re.sub(r"\s*([{}:;,>])\s*", r"\1", re.sub(r"\s+", " ", css)).strip()
    # Spaces around colons matter in selectors only, and ours have none there.
    return minified((HERE / "carousel.js").read_text().replace("CAROUSEL_CSS", "`" + css + "`", 1))


def built() -> dict[Path, str]:
    """Every file that is made here, and what it must hold."""
    return {
        DIST / "tugboat.js": sdk(),
        DIST / "tugboat-carousel.js": carousel(),
        TYPES: contract.declarations(contract.read_schema()),
    }


def gzip_bytes(text: str) -> int:
    """The size over the wire."""
    return len(gzip.compress(text.encode(), mtime=0))


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 when something is out of date or over its budget."""
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
