"""Data sets for the demo: events of files, and how to test a model trained on them.

imports/ reads the files; docs/datasets.md describes the layouts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from imports.history import events, find_files, identify_all
from imports.layouts import Opened, identify
from imports.refused import FileRefused
from imports.rejects import Rejects

__all__ = ["Dataset", "FileRefused", "open_dataset"]

Event = dict[str, Any]

SERENADE_PUBLISHED = {"VMIS-kNN, published": (0.6402, 0.3277)}  # HitRate@20, MRR@20: Serenade, SIGMOD 2022


@dataclass(frozen=True)
class Dataset:
    """Events to send, and how to test a model trained on them."""

    name: str
    read: Callable[[Rejects], Iterator[Event]]
    shop_id: str = "demo"
    cutoff_ms: int | None = None  # later events are held out; None if the data has its own test sessions
    test: list[list[str]] = field(default_factory=list)
    published: dict[str, tuple[float, float]] = field(default_factory=dict)
    user_agent_of: Callable[[str], str] | None = None
    is_bot: Callable[[str], bool] = lambda client_id: False
    expected: int | None = None
    # The items as they are in events. Only a generated shop has them: it has a feed, and invented shoppers may visit it.
    catalogue: Callable[[], list[dict[str, Any]]] | None = None


def open_dataset(path: Path, shop_id: str | None = None) -> Dataset:
    """Identify the layout at the path. Each data set gets its own shop, so that two never mix.

    Raises:
        FileRefused: no file has a known layout; the message lists the accepted ones.
    """
    for name in ("train.tsv.gz", "train.tsv"):
        if (path / name).is_file():
            return _of_serenade(path, path / name, shop_id or "serenade")
    return _of_files(path.name, identify_all(find_files(path)), shop_id)


def _of_serenade(directory: Path, train: Path, shop_id: str) -> Dataset:
    test: list[list[str]] = []
    for name in ("test.tsv.gz", "test.tsv"):
        if (directory / name).is_file():
            test = test_sessions(directory / name)
            break
    published = SERENADE_PUBLISHED if _is_serenade_sample(test) else {}
    opened = [identify(train)]
    return Dataset(
        directory.name,
        lambda rejects: events(opened, shop_id, rejects),
        shop_id,
        test=test,
        published=published,
    )


def _is_serenade_sample(test: list[list[str]]) -> bool:
    """Return True for the test file behind the published figures: 931 evaluations in 302 sessions."""
    return len(test) == 302 and sum(len(items) - 1 for items in test) == 931


def _of_files(name: str, opened: list[Opened], shop_id: str | None) -> Dataset:
    first = opened[0]
    shop = shop_id or first.first_shop or (first.layout.usual_shop if first.layout else "own")
    return Dataset(name, lambda rejects: events(opened, shop, rejects, keep_shops=True), shop)


def test_sessions(file: Path) -> list[list[str]]:
    """Read the sessions of a test file, each in time order, as Serenade's evaluation does."""
    rows = [
        (event["client_id"], event["client_time_ms"], event["items"][0]["item_id"])
        for event in events([identify(file)], "test", Rejects())
    ]
    rows.sort(key=lambda row: row[:2])
    return [[row[2] for row in group] for _, group in groupby(rows, key=lambda row: row[0])]


test_sessions.__test__ = False  # type: ignore[attr-defined]  # its name begins like a test
