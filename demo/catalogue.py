"""The catalogue of the generated shop: departments, categories, lines, names and prices."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

# department -> {category: (typical price, nouns)}
DEPARTMENTS: dict[str, dict[str, tuple[float, tuple[str, ...]]]] = {
    "outdoor": {
        "tents": (210.0, ("Tent", "Shelter", "Tarp")),
        "sleeping": (120.0, ("Sleeping Bag", "Quilt", "Mat")),
        "cooking": (45.0, ("Stove", "Pot Set", "Mug")),
        "packs": (110.0, ("Backpack", "Daypack", "Duffel")),
    },
    "footwear": {
        "boots": (140.0, ("Hiking Boot", "Winter Boot", "Approach Shoe")),
        "running": (115.0, ("Trail Shoe", "Road Shoe", "Racer")),
        "sandals": (60.0, ("Sandal", "Slide", "Water Shoe")),
        "socks": (15.0, ("Wool Sock", "Liner Sock", "Compression Sock")),
    },
    "clothing": {
        "jackets": (180.0, ("Shell", "Down Jacket", "Windbreaker")),
        "fleece": (75.0, ("Fleece", "Hoody", "Vest")),
        "trousers": (85.0, ("Trouser", "Short", "Tight")),
        "shirts": (40.0, ("Tee", "Base Layer", "Flannel")),
    },
    "cycling": {
        "lights": (35.0, ("Front Light", "Rear Light", "Light Set")),
        "helmets": (90.0, ("Helmet", "Visor Helmet", "Kids Helmet")),
        "bags": (65.0, ("Pannier", "Saddle Bag", "Frame Bag")),
        "tools": (28.0, ("Multi-tool", "Floor Pump", "Repair Kit")),
    },
    "water": {
        "kayaks": (420.0, ("Kayak", "Packraft", "Board")),
        "paddles": (95.0, ("Paddle", "Leash", "Deck Bag")),
        "drybags": (30.0, ("Dry Bag", "Phone Case", "Dry Pack")),
        "vests": (80.0, ("Life Vest", "Spray Top", "Neoprene Glove")),
    },
    "winter": {
        "skis": (380.0, ("Touring Ski", "Snowboard", "Splitboard")),
        "goggles": (85.0, ("Goggle", "Sunglasses", "Spare Lens")),
        "gloves": (55.0, ("Glove", "Mitten", "Liner Glove")),
        "safety": (190.0, ("Beacon", "Probe", "Shovel")),
    },
}
# A line is one brand's style. Shoppers stay in their line when they change the category.
LINES: tuple[tuple[str, str], ...] = (
    ("Fjordsen", "Alpine"),
    ("Quillpeak", "Featherlight"),
    ("Bramwell", "Heritage"),
    ("Tidewater", "Coast"),
    ("Ohmroad", "Commuter"),
)
ADJECTIVES = (
    "Compact",
    "Classic",
    "Storm",
    "Summit",
    "Swift",
    "Quiet",
    "Bright",
    "Rugged",
    "Easy",
    "Long-haul",
)


@dataclass(frozen=True)
class Catalogue:
    """Items numbered 0..n-1 by cell, cheapest first in a cell; a cell is one line in one category."""

    item_ids: list[str]
    names: list[str]
    categories: list[str]  # "footwear/boots"
    brands: list[str]
    prices: list[float]
    cell_of: IntArray
    cell_starts: IntArray  # cell c has the items starts[c]..starts[c+1]-1; one entry more than cells
    popularity: FloatArray  # sums to 1
    launched_late: IntArray  # items sold in the last days only

    @property
    def leaves(self) -> int:
        """Return the number of categories at the bottom of the tree."""
        return (len(self.cell_starts) - 1) // len(LINES)

    def event_items(self) -> list[dict[str, Any]]:
        """Return each item in the form of contract events."""
        columns = zip(self.item_ids, self.names, self.categories, self.brands, self.prices, strict=True)
        names = ("item_id", "item_name", "item_category", "item_brand", "price")
        return [dict(zip(names, row, strict=True)) for row in columns]


def make_catalogue(items: int, seed: int) -> Catalogue:
    """Make a catalogue of about `items` items; the same seed gives the same catalogue."""
    rng = np.random.default_rng([seed, 1])
    leaves = [(department, leaf) for department, leaf_of in DEPARTMENTS.items() for leaf in leaf_of]
    cells = len(leaves) * len(LINES)
    sizes = np.maximum(4, rng.poisson(items / cells, cells))
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    total = int(starts[-1])
    item_ids: list[str] = []
    names: list[str] = []
    categories: list[str] = []
    brands: list[str] = []
    prices: list[float] = []
    for cell in range(cells):
        department, leaf = leaves[cell // len(LINES)]
        brand, line = LINES[cell % len(LINES)]
        typical, nouns = DEPARTMENTS[department][leaf]
        cell_prices = np.sort(typical * rng.lognormal(0.0, 0.45, int(sizes[cell])))
        for position, price in enumerate(cell_prices):
            number = len(item_ids)
            item_ids.append(f"sku-{number:05d}")
            adjective = ADJECTIVES[(position + cell) % len(ADJECTIVES)]
            names.append(f"{brand} {line} {adjective} {nouns[position % len(nouns)]} {position // 10 + 1}")
            categories.append(f"{department}/{leaf}")
            brands.append(brand)
            prices.append(round(float(price)) - 0.05 if price >= 2 else 1.95)
    # Zipf over a random order: a few items get most of the views.
    weights = 1.0 / (rng.permutation(total) + 10.0) ** 0.8
    return Catalogue(
        item_ids=item_ids,
        names=names,
        categories=categories,
        brands=brands,
        prices=prices,
        cell_of=np.repeat(np.arange(cells), sizes),
        cell_starts=starts,
        popularity=weights / weights.sum(),
        launched_late=np.sort(rng.choice(total, size=max(2, total // 250), replace=False)),
    )
