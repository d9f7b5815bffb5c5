"""Write newer_than_floor.json: what browsers have today, and the oldest supported ones lack.

The facts are those of MDN's browser-compat-data, whose license is CC0.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("newer_than_floor.json")
# The oldest browsers that run the scripts: January to September 2021. docs/storefront.md states them.
FLOOR = {"chrome": 88, "edge": 88, "firefox": 90, "safari": 15, "safari_ios": 15}
# The interfaces that a script of a shop's page touches.
INTERFACES = (
    "AbortController",
    "AbortSignal",
    "Blob",
    "CSSStyleSheet",
    "CharacterData",
    "Crypto",
    "CustomEvent",
    "DOMRect",
    "DOMStringMap",
    "DOMTokenList",
    "Document",
    "DocumentFragment",
    "Element",
    "Event",
    "EventTarget",
    "HTMLAnchorElement",
    "HTMLButtonElement",
    "HTMLElement",
    "HTMLImageElement",
    "HTMLScriptElement",
    "HTMLStyleElement",
    "HTMLUListElement",
    "Headers",
    "History",
    "IntersectionObserver",
    "IntersectionObserverEntry",
    "KeyboardEvent",
    "Location",
    "MouseEvent",
    "MutationObserver",
    "Navigator",
    "Node",
    "NodeList",
    "Performance",
    "PointerEvent",
    "Request",
    "ResizeObserver",
    "Response",
    "ShadowRoot",
    "Storage",
    "StyleSheet",
    "UIEvent",
    "URL",
    "URLSearchParams",
    "Window",
)


def is_newer(entry: dict[str, Any]) -> bool:
    """Return True if a browser of the floor lacks the feature."""
    for browser, oldest in FLOOR.items():
        support = entry["__compat"]["support"].get(browser)
        support = support[0] if isinstance(support, list) else support
        added = re.match(r"≤?([\d.]+)", str(support.get("version_added"))) if support else None
        if not support or not added or "flags" in support or float(added[1]) > oldest:
            return True
    return False


def newer(data: dict[str, Any]) -> dict[str, Any]:
    """Return the globals, and the members of each interface, that a browser of the floor lacks."""
    builtins = data["javascript"]["builtins"]
    members = {}
    for name, entries in [*builtins.items(), *((name, data["api"][name]) for name in INTERFACES)]:
        members[name] = sorted(
            member
            for member, entry in entries.items()
            if "__compat" in entry and re.fullmatch(r"\w+(?<!_event)", member) and is_newer(entry)
        )
    old = {
        member.removesuffix("_static")
        for entries in [*builtins.values(), *data["api"].values()]
        for member, entry in entries.items()
        if "__compat" in entry and not is_newer(entry)
    }
    return {
        "source": f"@mdn/browser-compat-data {data['__meta']['version']}",
        "floor": FLOOR,
        "globals": sorted(
            name
            for name, entry in {**data["api"], **builtins}.items()
            if "__compat" in entry and is_newer(entry)
        ),
        # Names of members that no older interface has, so a call of one is a call of something newer.
        "names": sorted({name.removesuffix("_static") for found in members.values() for name in found} - old),
        # Members as in MDN's data: a static one ends with _static, and a constructor has its interface's name.
        "members": {name: found for name, found in members.items() if found},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser.floor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: npm pack @mdn/browser-compat-data && tar xzf mdn-*.tgz && "
        "python -m tests.browser.floor package/data.json",
    )
    parser.add_argument("data", type=Path, help="data.json of the npm package @mdn/browser-compat-data")
    found = newer(json.loads(parser.parse_args().data.read_text()))
    lines = [f'"{name}": {json.dumps(value)}' for name, value in found.items() if name != "members"]
    rows = ",\n".join(f'"{name}": {json.dumps(value)}' for name, value in found["members"].items())
    lines += [f'"members": {{\n{rows}\n}}']
    LIST.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
