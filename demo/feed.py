"""The generated shop's catalogue as a Merchant Center feed, imported like any other feed.

python -m demo.feed > feed.tsv
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from catalogue.formats import FORMATS, Options
from catalogue.imports import Feed, Imported, import_feed
from demo import generator

CURRENCY = "EUR"
COLUMNS = ("id", "title", "price", "availability", "product_type", "brand", "condition")


def write(items: Iterable[dict[str, Any]], file: TextIO) -> None:
    """Write the items of a generated shop as a text feed."""
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for item in items:
        path = item["item_category"].replace("/", " > ")
        price = f"{item['price']:.2f} {CURRENCY}"
        writer.writerow(
            (item["item_id"], item["item_name"], price, "in_stock", path, item["item_brand"], "new")
        )


def import_items(items: Iterable[dict[str, Any]], shop_id: str, s3: Any, bucket: str) -> Imported:
    """Write the feed to a temporary file, and import it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feed.tsv"
        with path.open("w", encoding="utf-8", newline="") as file:
            write(items, file)
        feed = Feed(path, FORMATS["merchant-center"], shop_id, "id", Options(), datetime.now(UTC))
        return import_feed(feed, 0.0, s3, bucket)


def main(arguments: list[str] | None = None) -> int:
    """Print the feed of the generated shop that the flags describe."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.feed",
        description="Print the catalogue of the generated shop as a Merchant Center text feed.",
        epilog="example: python -m demo.feed --seed 1 > feed.tsv",
    )
    generator.add_arguments(parser)
    options = parser.parse_args(arguments)
    write(generator.catalogue_of(generator.from_options(options)).event_items(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
