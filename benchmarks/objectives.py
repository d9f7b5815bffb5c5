"""Measure what the weights of carts, of purchases and of prices change: hits on all next items, on bought ones, and by money.

DATA is a directory with the events of a shop (docs/datasets.md), or a generated shop: `demo` or `planted`.
`demo` is the history of `make demo`: its carts do not depend on the item, so a weight has nothing to learn there.
In `planted`, buyers go on to other items than viewers, so a weight must help.
Clients are cut into five folds, and each fold is the test of a model that has learnt the others.
Each objective trains a small encoder anew and blends it with session-kNN, on the same sessions and seeds.
With --ranker the ranker is fitted too, to a sixth of the learnt sessions. The objective 1 is part of each run.

python -m benchmarks.objectives demo --seeds 3
"""

import json
import sys
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import conditions, parser
from demo.generator import BOT_PREFIX, History, generate
from demo.sessions import EventLog, Moment, cut, runs
from imports.history import events, find_files, identify_all
from imports.rejects import Rejects
from training_jobs.gate import baselines, metrics
from training_jobs.gate.measure import measure
from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.knn import KnnSettings, build_index
from training_jobs.serving.ranker import Ranker, item_facts
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Float64, Int64, Sessions
from training_jobs.snapshot.dataset import (
    Cases,
    Catalogue,
    Dataset,
    no_content,
    pack,
    prefix_cases,
    sampled_rows,
)
from training_jobs.training import fit_ranker
from training_jobs.training.encoder_torch import EncoderSettings
from training_jobs.training.fit_encoder import FitSettings, Job, fit
from training_jobs.training.job import encoder_weights, new_encoder
from training_jobs.training.target_weights import TargetWeights, target_weights

FOLDS, EPOCHS, CASES = 5, 6, 1500
SMALL = EncoderSettings(dim=32, layers=1)
VIEW, CART, PURCHASE = EVENT_STRENGTHS.values()
# The weight of carts and purchases, and that of prices.
OBJECTIVES = {
    "1": (1.0, 0.0),
    "2": (2.0, 0.0),
    "4": (4.0, 0.0),
    "8": (8.0, 0.0),
    "price 0.5": (1.0, 0.5),
    "price 1": (1.0, 1.0),
}
MOST_LOST = 0.02

Row = dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """Sessions to learn from, and the cases of the test. `drawn` marks the cases that stand for all."""

    learn: Sessions
    test: Cases
    drawn: NDArray[np.bool_]


def of_events(history: Iterable[Mapping[str, Any]]) -> tuple[Dataset, list[str]]:
    """Return the sessions as the warehouse makes them, with kinds and prices, and the client of each session."""
    log, prices = EventLog(), dict[str, float]()
    for event in history:
        if not event["client_id"].startswith(BOT_PREFIX):
            log.add(dict(event))
            prices |= {item["item_id"]: item["price"] for item in event.get("items", ()) if "price" in item}
    found = [
        (client, found_runs)
        for client, moments in log.moments.items()
        for found_runs in (_runs(session) for session in cut(moments))
        if len(found_runs) > 1
    ]
    found.sort(key=lambda one: one[1][-1][0])
    vocabulary = sorted({item for _, of_client in found for _, item, _ in of_client})
    row = {item: at for at, item in enumerate(vocabulary)}
    flat = [run for _, of_client in found for run in of_client]
    sessions = Sessions(
        np.array([row[item] for _, item, _ in flat], np.int32),
        np.cumsum([0, *(len(of_client) for _, of_client in found)]),
        np.array([time_ms for time_ms, _, _ in flat], np.int64),
        kinds=np.array([kind for _, _, kind in flat], np.uint8),
    )
    price_of = np.array([prices.get(item, np.nan) for item in vocabulary])
    return _dataset(sessions, vocabulary, price_of), [client for client, _ in found]


def _runs(session: Iterable[Moment]) -> list[tuple[int, str, int]]:
    """Return the first time, the item and the strongest event of each run of one item."""
    return [
        (run[0][0], run[0][2], max(EVENT_STRENGTHS[name] for _, name, _, _ in run)) for run in runs(session)
    ]


def planted(sessions: int = 2000, items: int = 200, seed: int = 0) -> Dataset:
    """Return a shop whose viewers go on to the next 40 items, and whose buyers to 40 others.

    The nearest items are the most frequent. One target in eight is bought.
    """
    rng = np.random.default_rng(seed)
    lists, kinds = list[list[int]](), list[int]()
    for _ in range(sessions):
        walk = [int(rng.integers(items))]
        kinds.append(VIEW)
        for _ in range(int(rng.integers(2, 7))):
            buys = rng.random() < 1 / 8
            step = 1 + int(40 * rng.random() ** 2) + (items // 2 if buys else 0)
            walk.append((walk[-1] + step) % items)
            kinds.append(PURCHASE if buys else VIEW)
            if buys:
                break
        lists.append(walk)
    owner = np.repeat(np.arange(sessions), [len(walk) for walk in lists])
    place = np.arange(len(owner))
    # One session per minute.
    times_ms = 1_700_000_000_000 + owner * 60_000 + place % 16
    packed = pack(owner, np.concatenate([np.array(walk, np.int32) for walk in lists]), times_ms, place)
    prices = np.exp(rng.normal(3.0, 1.0, items))
    return _dataset(
        replace(packed, kinds=np.array(kinds, np.uint8)), [str(item) for item in range(items)], prices
    )


def _dataset(sessions: Sessions, vocabulary: list[str], prices: Float64) -> Dataset:
    items = len(vocabulary)
    catalogue = Catalogue(prices, np.full(items, -1, np.int64), [])
    return Dataset(sessions, vocabulary, no_content(items), catalogue)


def load(name: str, number: int) -> tuple[Dataset, list[Fold]]:
    """Return a data set and its folds. `number` is that of the generated events."""
    if name == "planted":
        data = planted()
        clients = [str(row) for row in range(len(data.sessions))]
    elif name == "demo":
        data, clients = of_events(generate(History(events=number, end=date(2026, 11, 30))))
    else:
        data, clients = of_events(events(identify_all(find_files(Path(name))), "bench", Rejects()))
    fold = np.array([zlib.crc32(client.encode()) % FOLDS for client in clients])
    return data, [_fold(data.sessions, fold == at) for at in range(FOLDS)]


def _fold(sessions: Sessions, tested: NDArray[np.bool_]) -> Fold:
    """Return a fold whose cases are an even sample, and besides it all carts and purchases."""
    cases = prefix_cases(sessions.take(tested))
    assert cases.kinds is not None
    drawn = np.zeros(len(cases), bool)
    drawn[sampled_rows(len(cases), 0, CASES // FOLDS)] = True
    kept = drawn | (cases.kinds > VIEW)
    return Fold(sessions.take(~tested), cases.take(kept), drawn[kept])


def ranks(
    data: Dataset, fold: Fold, weights: TargetWeights | None, seed: int, ranked: bool
) -> NDArray[np.int64]:
    """Train on a fold's sessions, and return the ranks of the targets of its test."""
    items = len(data.vocabulary)
    last = len(fold.learn) // 6 if ranked else 0
    learn = fold.learn.between(0, len(fold.learn) - last)
    encoder = new_encoder(learn, data.content, SMALL, seed)
    fit(encoder, learn, FitSettings(epochs=EPOCHS), Job(seed), "learn", weights=weights)
    blend = Recommender(
        data.vocabulary,
        encoder_weights(encoder, learn.clicks(items) > 0),
        build_index(learn, items),
        baselines.popularity(learn, items),
        BlendSettings(knn=KnnSettings()),
    )
    if not ranked:
        return measure("blend", blend.scores, fold.test).rank
    tail = prefix_cases(fold.learn.between(len(learn), len(fold.learn)))
    choice = fit_ranker.choose(blend, learn, tail, seed, weights)
    ranker = Ranker(choice.network, item_facts(learn, items)) if choice.network else None
    settings = replace(blend.settings, floor_ranked=choice.floor_ranked)
    served = Recommender(
        data.vocabulary, blend.weights, blend.index, blend.popularity, settings, ranker=ranker
    )
    return measure("ranked", served.scores, fold.test).rank


@dataclass(frozen=True)
class Tested:
    """The cases of all folds: kind, price and session of each, whether it stands for all, and its fold."""

    kinds: NDArray[np.uint8]
    prices: Float64
    session: Int64
    drawn: NDArray[np.bool_]
    fold: Int64

    @staticmethod
    def of(folds: Sequence[Fold], prices: Float64) -> "Tested":
        """Return the cases of the folds, one behind the other. Sessions of two folds stay different."""
        tests = [one.test for one in folds]
        return Tested(
            np.concatenate([one.kinds for one in tests if one.kinds is not None]),
            prices[np.concatenate([one.targets for one in tests])],
            np.concatenate([one.session + at * 2**40 for at, one in enumerate(tests)]),
            np.concatenate([one.drawn for one in folds]),
            np.repeat(np.arange(len(folds)), [len(one) for one in tests]),
        )

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Return masks: the even sample of all targets, those put into the cart, and those bought."""
        return {"all": self.drawn, "cart": self.kinds == CART, "purchase": self.kinds == PURCHASE}


def figures(rank: NDArray[Any], first: NDArray[Any], tested: Tested) -> Row:
    """Return hits, reciprocal ranks and hits by money per group, beside the hits of the objective 1.

    `rank` and `first`, of the objective 1, have one row per seed. The interval is of the difference, over sessions.
    """
    found: Row = {}
    for name, inside in tested.groups().items():
        if not inside.any():
            continue
        own, other, money = rank[:, inside], first[:, inside], tested.prices[inside]
        gained = (own <= 20).mean(axis=0) - (other <= 20).mean(axis=0)
        low, high = metrics.Resampler(tested.session[inside]).interval(gained)
        revenue, of_first = (
            metrics.revenue_hit_rate(one.ravel(), np.tile(money, len(one)), 20) for one in (own, other)
        )
        found[name] = {
            "cases": int(inside.sum()),
            "hr_at_20": round(metrics.hit_rate(own.ravel(), 20), 4),
            "mrr_at_20": round(metrics.mrr(own.ravel(), 20), 4),
            "revenue_hr_at_20": _rounded(revenue),
            "hr_at_20_over_1": _ratio(metrics.hit_rate(own.ravel(), 20), metrics.hit_rate(other.ravel(), 20)),
            "mrr_at_20_over_1": _ratio(metrics.mrr(own.ravel(), 20), metrics.mrr(other.ravel(), 20)),
            "revenue_hr_at_20_over_1": _ratio(revenue, of_first),
            "hr_at_20_gain_interval": [round(low, 4), round(high, 4)],
            "hr_at_20_deviation_of_seeds": round(float((own <= 20).mean(axis=1).std()), 4),
        }
    return found


def _ratio(value: float | None, other: float | None) -> float | None:
    return round(value / other, 4) if value is not None and other else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def chosen(rank: Mapping[str, NDArray[Any]], tested: Tested) -> list[str]:
    """Return the objective of each fold, chosen on the other folds.

    It has the most hits on bought items, of those that lose at most MOST_LOST of all hits.
    """
    names = []
    for at in range(int(tested.fold.max()) + 1):
        other = tested.fold != at
        every, bought = (
            {name: float((one[:, other & group] <= 20).mean()) for name, one in rank.items()}
            for group in (tested.drawn, tested.kinds == PURCHASE)
        )
        allowed = [name for name in rank if every[name] >= (1 - MOST_LOST) * every["1"]]
        names.append(max(allowed, key=bought.__getitem__))
    return names


def main() -> int:
    """Run the command line."""
    arguments = parser("objectives", __doc__ or "", "demo --seeds 3")
    arguments.add_argument("data", help="a directory of events, `demo` or `planted`")
    arguments.add_argument("--events", type=int, default=120_000, help="of `demo` (default %(default)s)")
    arguments.add_argument("--seeds", type=int, default=3, help="number of seeds (default %(default)s)")
    arguments.add_argument(
        "--ranker", action="store_true", help="fit the ranker too, which takes most of the time"
    )
    args = arguments.parse_args()
    torch.set_num_threads(1)
    data, folds = load(args.data, args.events)
    assert data.catalogue is not None
    tested, rank = Tested.of(folds, data.catalogue.prices), dict[str, NDArray[Any]]()
    test: dict[str, Row] = {}
    for name, (weight, of_price) in OBJECTIVES.items():
        weights = target_weights(data, weight, weight, of_price)
        rank[name] = np.stack(
            [
                np.concatenate([ranks(data, fold, weights, seed, args.ranker) for fold in folds])
                for seed in range(args.seeds)
            ]
        )
        test[name] = figures(rank[name], rank["1"], tested)
        print(name, json.dumps(test[name]), file=sys.stderr, flush=True)
    picked = chosen(rank, tested)
    by_fold = np.stack([rank[picked[at]][:, row] for row, at in enumerate(tested.fold)], axis=1)
    kinds = data.sessions.kinds
    about = {
        "data": Path(args.data).name,
        "interactions": len(data.sessions.items),
        "carts": int(np.count_nonzero(kinds == CART)),
        "purchases": int(np.count_nonzero(kinds == PURCHASE)),
        "items": len(data.vocabulary),
        "encoder": asdict(SMALL),
        "ranker": args.ranker,
        "epochs": EPOCHS,
        "seeds": list(range(args.seeds)),
        "processor_seconds": round(time.process_time(), 1),
    }
    by_choice = {"by_fold": picked, **figures(by_fold, rank["1"], tested)}
    print(json.dumps(conditions("objectives", **about) | {"by_objective": test, "chosen": by_choice}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
