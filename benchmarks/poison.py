"""Measure what invented sessions gain: the votes and the answer of an item that strangers push behind the best seller.

A generated log has one best seller that many sessions contain. Each attack adds k invented sessions in its own way, with the
networks that it needs. `votes` is the share of session-kNN's votes for the pushed item after the best seller, with default
settings. `place` is its place among all voted items. sql/models/training/training_sample.sql caps networks before training:
`after_cap` repeats the measurement with the sessions that the cap lets through.
With --train, a generated shop is poisoned instead, and encoder and ranker are trained on it too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.conditions import conditions, parser
from training_jobs.serving.knn import KnnScorer, KnnSettings, build_index
from training_jobs.serving.sessions import DAY_MS, HOUR_MS, Int32, Int64, Sessions
from training_jobs.snapshot.dataset import Dataset, pack

DAYS = 14
START_MS = 1_700_000_000_000 // DAY_MS * DAY_MS
BEST_SELLER, PUSHED = 0, 399
_ITEMS, _NETWORKS = 400, 2000
_PROJECT = Path(__file__).resolve().parents[1] / "sql" / "dbt_project.yml"

Row = dict[str, Any]


@dataclass(frozen=True)
class Attack:
    """Invented sessions: the items of each, when they begin before the log's end, how many networks send them.

    `received_together`: they arrive in one hour, whatever times they state.
    """

    name: str
    items: tuple[int, ...]
    begins_ms: Callable[[int], Int64]
    networks: Callable[[int], int]
    received_together: bool = True


def _last_minutes(k: int) -> Int64:
    return -60_000 - np.arange(k) * 1000 % 600_000


def _last_hour(k: int) -> Int64:
    return -np.linspace(60_000, HOUR_MS - 60_000, k).astype(np.int64)


def _every_day(k: int) -> Int64:
    return -np.linspace(60_000, (DAYS - 1) * DAY_MS, k).astype(np.int64)


ATTACKS = (
    Attack("one network, ten minutes", (BEST_SELLER, PUSHED), _last_minutes, lambda _: 1),
    Attack("one network, an hour", (BEST_SELLER, PUSHED), _last_hour, lambda _: 1),
    Attack("one network, forged days", (BEST_SELLER, PUSHED), _every_day, lambda _: 1),
    Attack("one network, 14 real days", (BEST_SELLER, PUSHED), _every_day, lambda _: 1, False),
    Attack("one network, before the best seller", (PUSHED, BEST_SELLER), _last_hour, lambda _: 1),
    Attack("one network, sessions of three", (7, BEST_SELLER, PUSHED), _last_hour, lambda _: 1),
    Attack("three networks, an hour", (BEST_SELLER, PUSHED), _last_hour, lambda _: 3),
    Attack("a network per session, ten minutes", (BEST_SELLER, PUSHED), _last_minutes, lambda k: k),
    Attack("a network per session, an hour", (BEST_SELLER, PUSHED), _last_hour, lambda k: k),
)


def honest_log(count: int, seed: int) -> Sessions:
    """Return sessions of 14 days, of which two in five contain the best seller; the pushed item is hardly clicked.

    A tenth of the sessions comes from ten networks of carriers, the others from many small networks.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 7, count)
    items = np.minimum((_ITEMS * rng.random(lengths.sum()) ** 3).astype(np.int32) + 1, PUSHED - 1)
    first = np.r_[0, np.cumsum(lengths)[:-1]]
    with_seller = rng.random(count) < 0.4
    items[first[with_seller] + rng.integers(0, lengths[with_seller])] = BEST_SELLER
    items[rng.choice(len(items), 5, replace=False)] = PUSHED
    begins = np.sort(rng.integers(0, DAYS * DAY_MS - HOUR_MS, count)) + START_MS
    place = np.arange(len(items)) - np.repeat(first, lengths)
    carrier = rng.random(count) < 0.1
    networks = np.where(carrier, rng.integers(1, 11, count), rng.integers(11, _NETWORKS, count))
    owner = np.repeat(np.arange(count), lengths)
    return _joined(owner, items, np.repeat(begins, lengths) + 10_000 * place, place, networks)


def poisoned(honest: Sessions, attack: Attack, k: int) -> Sessions:
    """Return the honest sessions and k invented ones. Without networks, the snapshot stays without networks."""
    owner = np.repeat(np.arange(len(honest)), honest.lengths)
    place = np.arange(len(honest.items)) - np.repeat(honest.offsets[:-1], honest.lengths)
    length = len(attack.items)
    begins = honest.ends_ms[-1] + attack.begins_ms(k)
    known = honest.networks if honest.networks is not None else np.zeros(len(honest), np.int32)
    networks = np.r_[known, known.max(initial=0) + 1 + np.arange(k) % attack.networks(k)]
    both = _joined(
        np.r_[owner, len(honest) + np.repeat(np.arange(k), length)],
        np.r_[honest.items, np.tile(np.array(attack.items, np.int32), k)],
        np.r_[honest.times_ms, np.repeat(begins, length) + np.tile(np.arange(length), k)],
        np.r_[place, np.tile(np.arange(length), k)],
        networks,
    )
    return both if honest.networks is not None else replace(both, networks=None)


def let_through(attack: Attack, k: int) -> int:
    """Return how many of k invented sessions the training tables keep. The networks are new to the shop."""
    limits: dict[str, int] = yaml.safe_load(_PROJECT.read_text("utf-8"))["vars"]
    per_network = limits["network_sessions_per_hour"]
    if not attack.received_together:
        per_network = limits["network_sessions_per_day"] * DAYS
    return min(k, per_network * attack.networks(k))


def votes(sessions: Sessions, settings: KnnSettings | None = None) -> tuple[float, int | None, int]:
    """Return the pushed item's share of the votes after the best seller, its place, and the number of voted items."""
    scorer = KnnScorer(build_index(sessions, _ITEMS), settings or KnnSettings())
    found, scores = scorer.score(np.array([BEST_SELLER], np.int32))
    other = found != BEST_SELLER
    found, scores = found[other], scores[other] / max(scores[other].sum(), 1e-12)
    own = scores[found == PUSHED]
    if len(own) == 0:
        return 0.0, None, len(found)
    return float(own[0]), int((scores >= own[0]).sum()), len(found)


def _joined(owner: Int64, items: Int32, times_ms: Int64, place: Int64, networks: Int64) -> Sessions:
    """Pack clicks as sessions in the order of time, with the network of each session."""
    sessions = pack(owner, items, times_ms, place)
    ends = np.zeros(len(networks), np.int64)
    np.maximum.at(ends, owner, times_ms)
    return replace(sessions, networks=networks[np.argsort(ends, kind="stable")].astype(np.int32))


def neighbours_rows(options: argparse.Namespace) -> list[Row]:
    """Return one row per attack and number of invented sessions."""
    honest = honest_log(options.sessions, options.seed)
    with_seller = len(
        np.unique(np.searchsorted(honest.offsets, np.flatnonzero(honest.items == BEST_SELLER), "right"))
    )
    rows: list[Row] = []
    for attack in ATTACKS:
        for k in options.invented:
            kept = let_through(attack, k)
            whole, capped = poisoned(honest, attack, k), poisoned(honest, attack, kept)
            rows.append(
                {
                    "attack": attack.name,
                    "invented": k,
                    "with_best_seller": with_seller,
                    "uncapped_without_networks": _described(votes(replace(whole, networks=None))),
                    "uncapped": _described(votes(whole)),
                    "let_through": kept,
                    "after_cap": _described(votes(capped)),
                }
            )
    return rows


def _described(found: tuple[float, int | None, int]) -> Row:
    share, place, items = found
    return {"votes": round(share, 4), "place": place, "voted_items": items}


def trained_rows(options: argparse.Namespace) -> list[Row]:
    """Return one row per number of invented sessions: place and score of the pushed item in the answer after the best seller."""
    from benchmarks.shops import write_snapshot
    from demo.generator import History
    from training_jobs.snapshot.parquet import read_dataset

    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        history = History(events=options.train, seed=options.seed)
        data = read_dataset(*write_snapshot(history, Path(directory)))
        counts = data.sessions.clicks(len(data.vocabulary))
        seller = int(counts.argmax())
        quiet = int(np.flatnonzero((counts >= 5) & (counts <= np.quantile(counts[counts > 0], 0.4)))[0])
        attack = replace(ATTACKS[1], items=(seller, quiet))
        for k in (0, *options.invented):
            for kept in dict.fromkeys((let_through(attack, k), k)):
                sessions = poisoned(data.sessions, attack, kept) if kept else data.sessions
                row = _answer(replace(data, sessions=sessions), seller, quiet, options.seed)
                rows.append({"attack": attack.name, "invented": k, "let_through": kept, **row})
    return rows


def _answer(data: Dataset, seller: int, pushed: int, seed: int) -> Row:
    from training_jobs.serving.model_files import load_recommender
    from training_jobs.training.job import JobSettings, run

    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory)
        run(data, JobSettings(seed=seed), model, None, version="v", snapshot="s", log=lambda _: None)
        recommender, card = load_recommender(model)
        scores = recommender.scores([np.array([seller], np.int32)])[0]
    shown = np.isfinite(scores)
    shown[seller] = False
    return {
        "sessions": len(data.sessions),
        "with_best_seller": int(data.sessions.clicks(len(data.vocabulary))[seller]),
        "place": int((scores[shown] >= scores[pushed]).sum()),
        "score": round(float(scores[pushed]), 5),
        "holdout": card.metrics,
    }


def arguments() -> argparse.ArgumentParser:
    command = parser("poison", __doc__ or "", "--invented 50 200 500")
    add = command.add_argument
    add("--sessions", type=int, default=60_000, help="honest sessions (default %(default)s)")
    add("--invented", type=int, nargs="+", default=[50, 200, 500], help="invented sessions of each attack")
    add("--seed", type=int, default=0, help="seed of the log (default %(default)s)")
    add("--train", type=int, metavar="EVENTS", help="train on a poisoned generated shop of this many events")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    about = conditions("poison", seed=options.seed)
    for row in trained_rows(options) if options.train else neighbours_rows(options):
        print(json.dumps(about | row), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
