"""The flags that choose the events, and the data set for them."""

import argparse
from pathlib import Path

from demo import generator
from demo.datasets import Dataset, FileRefused, open_dataset
from demo.split import DAY_MS

__all__ = ["FileRefused", "add_arguments", "from_options", "generated"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --events and the generator's flags."""
    parser.add_argument(
        "--events",
        type=Path,
        metavar="PATH",
        help="a data set (docs/datasets.md); the default is a generated shop",
    )
    generator.add_arguments(parser)


def from_options(options: argparse.Namespace) -> Dataset:
    """Return the data set that the flags describe.

    Raises:
        FileRefused: the path has no file with a known layout.
    """
    if options.events:
        return open_dataset(options.events.expanduser(), options.shop)
    return generated(generator.from_options(options))


def generated(history: generator.History) -> Dataset:
    """Return the data set of a generated shop; its last day is held out."""
    return Dataset(
        name=f"a generated shop, seed {history.seed}",
        read=lambda rejects: generator.generate(history),
        cutoff_ms=history.end_ms - DAY_MS,
        shop_id=history.shop_id,
        user_agent_of=generator.user_agent_of,
        is_bot=lambda client_id: client_id.startswith(generator.BOT_PREFIX),
        catalogue=lambda: generator.catalogue_of(history).event_items(),
        expected=round(history.events * (history.days - 1) / history.days),
    )
