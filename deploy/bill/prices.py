"""Price lists: dated JSON files, one per vendor and region. The newest list of a region counts."""

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from deploy.command import DeployError

FOLDER = Path(__file__).parent / "prices"
VENDORS = ("aws", "snowflake")
DEFAULT_REGION = "us-east-1"
Tiers = tuple[tuple[float | None, float], ...]


class PriceUnknown(DeployError):
    """A price list, or a price in it, is missing. The message says which file to write."""


@dataclass(frozen=True)
class Price:
    """A price per unit. Each tier is the upper bound of the month's quantity, None for no bound, and its price."""

    name: str
    unit: str
    tiers: Tiers
    source: str
    confirmed_by: str | None

    def usd(self, quantity: float) -> float:
        """Return the cost of a month's quantity, tier by tier."""
        total, below = 0.0, 0.0
        for bound, usd in self.tiers:
            upper = quantity if bound is None else min(quantity, bound)
            if upper > below:
                total += (upper - below) * usd
                below = upper
        return total

    def text(self, quantity: float) -> str:
        """Return the price of a unit as text. Of a quantity in several tiers, the mean price."""
        mean = self.usd(quantity) / quantity if quantity else self.tiers[0][1]
        several = quantity > (self.tiers[0][0] or float("inf"))
        return f"{usd_text(mean)}{' on average of the tiers' if several else ''}"


@dataclass(frozen=True)
class PriceList:
    """The prices of AWS and Snowflake in one region."""

    region: str
    as_of: str
    files: tuple[str, ...]
    edition: str
    credits_per_hour: dict[str, float]
    snowpipe_credits_per_gb: float
    prices: dict[str, Price]

    def __getitem__(self, name: str) -> Price:
        """Return the price of this name.

        Raises:
            PriceUnknown: the list has no such price.
        """
        if name not in self.prices:
            raise PriceUnknown(
                f"{' and '.join(self.files)} have no price {name!r}: look it up on the vendor's page, and add it to the "
                "file in deploy/bill/prices/ with its unit and its source"
            )
        return self.prices[name]

    def instance(self, instance_type: str) -> Price:
        """Return the price of a SageMaker instance per hour."""
        return self[f"sagemaker.{instance_type}"]

    @property
    def credit(self) -> Price:
        """The price of a Snowflake credit in the list's edition."""
        return self[f"snowflake.credit.{self.edition}"]

    @property
    def unconfirmed(self) -> list[str]:
        """The names of the prices that nobody has compared with a page on the list's date."""
        return sorted(name for name, price in self.prices.items() if price.confirmed_by is None)


def usd_text(usd: float) -> str:
    """Format a price with at most six significant digits and without an exponent: $0.0000035."""
    return f"${Decimal(f'{usd:.6g}').normalize():f}"


@cache
def read_prices(region: str, folder: Path = FOLDER) -> PriceList:
    """Return the newest price lists of a region.

    Raises:
        PriceUnknown: there is no list of this region.
    """
    lists = [_newest(vendor, region, folder) for vendor in VENDORS]
    prices: dict[str, Price] = {}
    loaded: dict[str, Any] = {}
    for path in lists:
        content = json.loads(path.read_text())
        loaded |= content
        for name, entry in content["prices"].items():
            tiers = entry.get("tiers") or [[None, entry["usd"]]]
            prices[name] = Price(
                name,
                entry["unit"],
                tuple((bound, float(usd)) for bound, usd in tiers),
                entry["source"],
                entry["confirmed_by"],
            )
    return PriceList(
        region,
        min(path.stem[-10:] for path in lists),
        tuple(path.name for path in lists),
        loaded["edition"],
        loaded["credits_per_hour"],
        loaded["snowpipe_credits_per_gb"],
        prices,
    )


def or_default(region: str) -> PriceList:
    """Return the price lists of a region, or those of DEFAULT_REGION if it has none. Its `region` says which."""
    try:
        return read_prices(region)
    except PriceUnknown:
        return read_prices(DEFAULT_REGION)


def _newest(vendor: str, region: str, folder: Path) -> Path:
    found = sorted(folder.glob(f"{vendor}-{region}-20??-??-??.json"))
    if not found:
        known = sorted({path.stem[len(vendor) + 1 : -11] for path in folder.glob(f"{vendor}-*.json")})
        raise PriceUnknown(
            f"deploy/bill/prices/ has no list of {vendor} in region {region}: copy the list of {known[0] if known else '?'} "
            f"to {vendor}-{region}-<today>.json, set its region and date, and replace each price by the one on the page that "
            f"its `source` names. For a first estimate use another region's prices: --prices {known[0] if known else '?'}"
        )
    return found[-1]
