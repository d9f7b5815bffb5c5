"""Draw pictures of products: the product itself, or else its category, in the colors of its brand."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

# A drawing fills 200 by 200. Colors: {a} main, {b} second, {d} dark and {l} light of the same hue.
DRAWINGS = Path(__file__).parent / "drawings"
# Products that use another product's drawing.
ALIKE = {
    "approach-shoe": "running",
    "spray-top": "jackets",
    "neoprene-glove": "gloves",
    "splitboard": "snowboard",
}
# One hue per brand; other brands get one from their name.
HUES = {"Fjordsen": 208, "Quillpeak": 28, "Bramwell": 352, "Tidewater": 174, "Ohmroad": 262}


class Palette(NamedTuple):
    """The colors of one picture."""

    a: str
    b: str
    d: str
    l: str  # noqa: E741
    paper: str
    shade: str


def picture(item_id: str, name: str, category: str, brand: str) -> str:
    """Draw the item as an SVG; the same item always looks the same."""
    draw = hashlib.sha256(f"{item_id}/{category}".encode()).digest()
    colors = _palette(brand, draw)
    drawing = _drawing(name, category.rsplit("/", 1)[-1]).format(**colors._asdict())
    tilt = draw[3] % 13 - 6
    mirror = " translate(200 0) scale(-1 1)" if draw[4] % 2 else ""
    circle = f'<circle cx="{60 + draw[5] % 80}" cy="{60 + draw[6] % 70}" r="{62 + draw[7] % 26}" fill="{colors.shade}"/>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 240" width="480" height="480">'
        f'<rect width="240" height="240" fill="{colors.paper}"/><g transform="translate(20 16)">{circle}</g>'
        '<ellipse cx="120" cy="200" rx="66" ry="8" fill="#000" opacity=".09"/>'
        f'<g transform="translate(20 20) rotate({tilt} 100 100){mirror}">{drawing}</g></svg>'
    )


@lru_cache(maxsize=1024)
def _drawing(name: str, leaf: str) -> str:
    """Read the drawing of the product that a name ends with (“... Summit Mug 2”), else the category's."""
    known = {path.stem: path for path in DRAWINGS.glob("*.svg")}
    words = [word for word in name.lower().split() if not word.isdigit()]
    things = ["-".join(words[start:]) for start in range(len(words))]
    stem = next((ALIKE.get(thing, thing) for thing in things if thing in ALIKE or thing in known), leaf)
    return known.get(stem, known["other"]).read_text()


def _palette(brand: str, draw: bytes) -> Palette:
    hue = HUES.get(brand, int(hashlib.sha256(brand.encode()).hexdigest()[:4], 16) % 360)
    hue = (hue + draw[0] % 33 - 16) % 360
    other = (hue + (40, 150, 180, 210)[draw[1] % 4]) % 360
    light = 42 + draw[2] % 14
    return Palette(
        a=f"hsl({hue} 46% {light}%)",
        b=f"hsl({other} 62% 62%)",
        d=f"hsl({hue} 42% 22%)",
        l=f"hsl({hue} 40% 92%)",
        paper=f"hsl({hue} 28% 95%)",
        shade=f"hsl({hue} 34% 89%)",
    )
