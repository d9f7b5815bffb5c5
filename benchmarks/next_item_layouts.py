"""Read public click data in three layouts as training sessions, a validation tail and test cases.

* events: `train.tsv.gz`, `valid.tsv.gz`, `test.tsv.gz` with SessionId, ItemId, Time (s), or `*_train_full`, `*_test`
  (session-rec). Every position of a test session is a case.
* prefixes: `train_sessions.txt.gz` (one session per line, in time order) and `test_prefix_target.tsv.gz`.
* users: one `*.txt.gz` with lines `user item item ...`. The last item is the test, the item before it validation.

The validation tail is as long as the training job's, and at least 5 % of the sessions. A file of its own lengthens it.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training_jobs.serving.sessions import DAY_MS, Sessions
from training_jobs.snapshot.dataset import Cases, pack, prefix_cases, tail_sessions

_VALID_SHARE = 0.05


@dataclass(frozen=True)
class Bench:
    """One data set. `learn` and `valid` are parts of `train`, by time; the test is read once, at the end."""

    name: str
    layout: str
    items: int
    train: Sessions
    learn: Sessions
    valid: Cases
    test: Cases


class LayoutError(ValueError):
    """The directory has none of the layouts."""


def load(directory: Path) -> Bench:
    """Read a directory in any of the layouts."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    train = _one(files, ("train.tsv", "train_full.tsv"))
    test = _one(files, ("test.tsv",))
    if train and test:
        valid = _one(
            [path for path in files if not path.name.split(".")[0].endswith("train_valid")], ("valid.tsv",)
        )
        return _events(directory.name, train, valid, test)
    lines, pairs = _one(files, ("train_sessions.txt",)), _one(files, ("test_prefix_target.tsv",))
    if lines and pairs:
        return _prefixes(directory.name, lines, pairs)
    users = [path for path in files if path.name.endswith((".txt", ".txt.gz"))]
    if len(users) == 1:
        return _users(directory.name, users[0])
    raise LayoutError(f"{directory} has none of the known layouts. {__doc__}")


def _one(files: Sequence[Path], endings: Iterable[str]) -> Path | None:
    for ending in endings:
        for path in files:
            if path.name.removesuffix(".gz").endswith(ending):
                return path
    return None


def _lines(path: Path) -> list[str]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.read().splitlines()
    return path.read_text("utf-8").splitlines()


def _events(name: str, train: Path, valid: Path | None, test: Path) -> Bench:
    tables = {
        part: _table(path) for part, path in (("train", train), ("valid", valid), ("test", test)) if path
    }
    ids = sorted({item for table in tables.values() for item in table[1]})
    row = {item: at for at, item in enumerate(ids)}
    packed = {part: _pack_table(table, row) for part, table in tables.items()}
    learn, tail = _tail(packed["train"])
    if "valid" in packed:
        tail = _joined(tail, packed["valid"])
    test_cases = prefix_cases(packed["test"])
    return Bench(name, "events", len(ids), packed["train"], learn, prefix_cases(tail), test_cases)


def _table(path: Path) -> tuple[list[str], list[str], list[float]]:
    lines = _lines(path)
    header = lines[0].split("\t")
    session, item, time = (header.index(column) for column in ("SessionId", "ItemId", "Time"))
    fields = [line.split("\t") for line in lines[1:]]
    return [f[session] for f in fields], [f[item] for f in fields], [float(f[time]) for f in fields]


def _pack_table(table: tuple[list[str], list[str], list[float]], row: dict[str, int]) -> Sessions:
    keys = {key: at for at, key in enumerate(dict.fromkeys(table[0]))}
    codes = np.array([keys[key] for key in table[0]])
    items = np.array([row[item] for item in table[1]], np.int32)
    times_ms = (np.array(table[2]) * 1000).astype(np.int64)
    order = np.lexsort((np.arange(len(codes)), times_ms))
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    return pack(codes, items, times_ms, position)


def _prefixes(name: str, train: Path, test: Path) -> Bench:
    sessions = [np.array(line.split(), np.int32) for line in _lines(train) if line.strip()]
    pairs = [line.split("\t") for line in _lines(test) if line.strip()]
    pairs = [pair for pair in pairs if pair[-1].strip().isdigit()]
    prefixes = [np.array(pair[0].replace(",", " ").split(), np.int32) for pair in pairs]
    targets = np.array([int(pair[1]) for pair in pairs], np.int64)
    items = (
        int(max(max(int(s.max()) for s in sessions), max(int(p.max()) for p in prefixes), int(targets.max())))
        + 1
    )
    packed = _from_lists(sessions)
    learn, tail = _tail(packed)
    # Ids start at 1, so row 0 is an item without clicks: it is never the target, and harmless in the ranking.
    return Bench(name, "prefixes", items, packed, learn, prefix_cases(tail), _cases(prefixes, targets))


def _users(name: str, path: Path) -> Bench:
    histories = [np.array(line.split()[1:], np.int32) for line in _lines(path) if line.strip()]
    histories = [history for history in histories if len(history) >= 3]
    items = max(int(history.max()) for history in histories) + 1
    train = _from_lists([history[:-1] for history in histories])
    learn = _from_lists([history[:-2] for history in histories if len(history) >= 4])
    valid = _cases([h[:-2] for h in histories], np.array([h[-2] for h in histories], np.int64))
    test = _cases([h[:-1] for h in histories], np.array([h[-1] for h in histories], np.int64))
    return Bench(name, "users", items, train, learn, valid, test)


def _from_lists(sessions: Sequence[np.ndarray]) -> Sessions:
    """Pack sessions in time order without a clock in the file: spread them evenly over thirty days."""
    offsets = np.zeros(len(sessions) + 1, np.int64)
    np.cumsum([len(s) for s in sessions], out=offsets[1:])
    when = (np.arange(len(sessions), dtype=np.int64) * 30 * DAY_MS) // max(len(sessions), 1)
    return Sessions(np.concatenate(sessions).astype(np.int32), offsets, np.repeat(when, np.diff(offsets)))


def _cases(prefixes: Sequence[np.ndarray], targets: np.ndarray) -> Cases:
    offsets = np.zeros(len(prefixes) + 1, np.int64)
    np.cumsum([len(p) for p in prefixes], out=offsets[1:])
    # Prefixes of one session are adjacent and differ by one item; otherwise a new session starts.
    session = np.zeros(len(prefixes), np.int64)
    for at in range(1, len(prefixes)):
        a, b = prefixes[at - 1], prefixes[at]
        short, long = (a, b) if len(a) < len(b) else (b, a)
        related = len(long) - len(short) == 1 and bool((long[: len(short)] == short).all())
        session[at] = session[at - 1] + (not related)
    return Cases(np.concatenate(prefixes).astype(np.int32), offsets, targets, session)


def _joined(first: Sessions, second: Sessions) -> Sessions:
    return Sessions(
        np.concatenate([first.items, second.items]),
        np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        np.concatenate([first.times_ms, second.times_ms]),
    )


def _tail(sessions: Sessions) -> tuple[Sessions, Sessions]:
    newest_first = (sessions.lengths - 1)[::-1]
    cut = min(int(len(sessions) * (1 - _VALID_SHARE)), len(sessions) - tail_sessions(newest_first))
    return sessions.take(np.arange(cut)), sessions.take(np.arange(cut, len(sessions)))
