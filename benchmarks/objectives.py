"""Measure what the weights of carts, of purchases and of prices change: hits on all next items, on bought ones, and by money.

DATA is a directory with the events of a shop (docs/datasets.md), or a generated shop: `demo` or `planted`.
`demo` is the history of `make demo`: its carts do not depend on the item, so a weight has nothing to learn there.
In `planted`, buyers go on to other items than viewers, so a weight must help.
A directory is cut by client into five folds, and each fold is the test once. A generated shop is cut by time.
Each objective trains the encoder and the ranker anew, on the same sessions and seeds. The objective 1 is part of each run.

python -m benchmarks.objectives demo --seeds 3
"""

import json
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import conditions, parser
from demo.generator import BOT_PREFIX, History, generate
from demo.sessions import EventLog, Moment, cut
from imports.history import events, find_files, identify_all
from imports.rejects import Rejects
from training_jobs.gate import baselines, metrics
from training_jobs.gate.measure import measure
from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.knn import KnnSettings, build_index
from training_jobs.serving.ranker import Ranker, item_facts
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Float64, Sessions
from training_jobs.snapshot.dataset import (
    Cases,
    Catalogue,
    Dataset,
    before,
    choose_split,
    no_content,
    pack,
    prefix_cases,
    sampled_cases,
    within,
)
from training_jobs.training import fit_ranker
from training_jobs.training.encoder_torch import EncoderSettings
from training_jobs.training.fit_encoder import FitSettings, Job, fit
from training_jobs.training.job import encoder_weights, new_encoder
from training_jobs.training.target_weights import TargetWeights, target_weights

FOLDS, TEST_CASES, EPOCHS = 5, 4000, 6
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
class Part:
    """Sessions to learn from, and the cases of the validation and of the test."""

    learn: Sessions
    valid: Cases
    test: Cases


def of_events(history: Iterable[Mapping[str, Any]]) -> tuple[Dataset, list[str]]:
    """Return the sessions as the warehouse makes them, with kinds and prices, and the client of each session."""
    log, prices = EventLog(), dict[str, float]()
    for event in history:
        if not event["client_id"].startswith(BOT_PREFIX):
            log.add(dict(event))
            prices |= {item["item_id"]: item["price"] for item in event.get("items", ()) if "price" in item}
    found = [
        (client, runs)
        for client, moments in log.moments.items()
        for runs in (list(_runs(session)) for session in cut(moments))
        if len(runs) > 1
    ]
    found.sort(key=lambda one: one[1][-1][0])
    vocabulary = sorted({item for _, runs in found for _, item, _ in runs})
    row = {item: at for at, item in enumerate(vocabulary)}
    flat = [run for _, runs in found for run in runs]
    sessions = Sessions(
        np.array([row[item] for _, item, _ in flat], np.int32),
        np.cumsum([0, *(len(runs) for _, runs in found)]),
        np.array([time_ms for time_ms, _, _ in flat], np.int64),
        kinds=np.array([kind for _, _, kind in flat], np.uint8),
    )
    price_of = np.array([prices.get(item, np.nan) for item in vocabulary])
    return _dataset(sessions, vocabulary, price_of), [client for client, _ in found]


def _runs(session: Iterable[Moment]) -> Iterator[tuple[int, str, int]]:
    """Yield the first time, the item and the strongest event of each run of one item, without what follows the first order."""
    first_order, last = "", (0, "", 0)
    for time_ms, name, item, order in session:
        if first_order and order != first_order:
            continue
        first_order = first_order or order
        if not item:
            continue
        strength = EVENT_STRENGTHS[name]
        if item == last[1]:
            last = (last[0], item, max(last[2], strength))
            continue
        if last[1]:
            yield last
        last = (time_ms, item, strength)
    if last[1]:
        yield last


def planted(sessions: int = 8000, items: int = 400, seed: int = 0) -> Dataset:
    """Return a shop whose viewers go on to the next 40 items, and whose buyers to 40 others. One target in eight is bought."""
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


def load(name: str, number: int) -> tuple[Dataset, list[Part]]:
    """Return a data set and its parts. `number` is that of the generated events."""
    if name in ("demo", "planted"):
        history = History(events=number, end=date(2026, 11, 30))
        data = planted() if name == "planted" else of_events(generate(history))[0]
        return data, [_by_time(data.sessions)]
    data, clients = of_events(events(identify_all(find_files(Path(name))), "bench", Rejects()))
    fold = np.array([zlib.crc32(client.encode()) % FOLDS for client in clients])
    parts = []
    for at in range(FOLDS):
        learn = (fold != at) & (fold != (at + 1) % FOLDS)
        valid, test = (data.sessions.take(fold == one % FOLDS) for one in (at + 1, at))
        parts.append(Part(data.sessions.take(learn), prefix_cases(valid), prefix_cases(test)))
    return data, parts


def _by_time(sessions: Sessions) -> Part:
    split = choose_split(sessions, 24.0)
    return Part(
        before(sessions, split.valid_start_ms),
        sampled_cases(within(sessions, split.valid_start_ms, split.holdout_start_ms), 0, TEST_CASES),
        sampled_cases(within(sessions, split.holdout_start_ms), 0, TEST_CASES),
    )


def ranks(
    data: Dataset, part: Part, weights: TargetWeights | None, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Train on one part, and return the ranks of the targets of its validation and of its test.

    The ranker learns from the validation part. A case there is ranked by a network that has not learnt its session.
    """
    items = len(data.vocabulary)
    encoder = new_encoder(part.learn, data.content, EncoderSettings(), seed)
    fit(encoder, part.learn, FitSettings(epochs=EPOCHS), Job(seed), "learn", weights=weights)
    blend = Recommender(
        data.vocabulary,
        encoder_weights(encoder, part.learn.clicks(items) > 0),
        build_index(part.learn, items),
        baselines.popularity(part.learn, items),
        BlendSettings(knn=KnnSettings()),
    )
    choice = fit_ranker.choose(blend, part.learn, part.valid, seed, weights)
    ranker = Ranker(choice.network, item_facts(part.learn, items)) if choice.network else None
    served = replace(blend.settings, floor_ranked=choice.floor_ranked)
    recommender = Recommender(
        data.vocabulary, blend.weights, blend.index, blend.popularity, served, ranker=ranker
    )
    return choice.rank, measure("blend", recommender.scores, part.test).rank


def figures(rank: NDArray[Any], cases: Sequence[Cases], prices: Float64) -> Row:
    """Return hits, reciprocal ranks and hits by money: of all targets, of those put into the cart, and of those bought.

    `rank` has one row per seed. The cases of all parts stand one behind the other.
    """
    kinds = np.concatenate([one.kinds for one in cases if one.kinds is not None])
    money = prices[np.concatenate([one.targets for one in cases])]
    found: Row = {}
    for name, inside in {"all": kinds > 0, "cart": kinds == CART, "purchase": kinds == PURCHASE}.items():
        if not inside.any():
            continue
        own = rank[:, inside]
        found[name] = {
            "cases": int(inside.sum()),
            "hr_at_20": round(metrics.hit_rate(own.ravel(), 20), 4),
            "mrr_at_20": round(metrics.mrr(own.ravel(), 20), 4),
            "revenue_hr_at_20": _rounded(
                metrics.revenue_hit_rate(own.ravel(), np.tile(money[inside], len(own)), 20)
            ),
            "hr_at_20_deviation_of_seeds": round(float((own <= 20).mean(axis=1).std()), 4),
        }
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def compared(rank: NDArray[Any], first: NDArray[Any], cases: Sequence[Cases]) -> Row:
    """Return the ratio of hits to those of the objective 1, and the interval of the difference, over sessions."""
    kinds = np.concatenate([one.kinds for one in cases if one.kinds is not None])
    session = np.concatenate([one.session + at * 2**40 for at, one in enumerate(cases)])
    hits, before_hits = ((one <= 20).mean(axis=0) for one in (rank, first))
    found: Row = {}
    for name, inside in {"all": kinds > 0, "purchase": kinds == PURCHASE}.items():
        low, high = metrics.Resampler(session[inside]).interval((hits - before_hits)[inside])
        found[name] = {
            "hr_at_20_ratio": round(float(hits[inside].mean() / max(before_hits[inside].mean(), 1e-9)), 4),
            "hr_at_20_difference_interval": [round(low, 4), round(high, 4)],
        }
    return found


def chosen(valid: Mapping[str, Row]) -> str:
    """Return the objective with the most hits on bought items, of those that lose at most MOST_LOST of all hits."""
    least = (1 - MOST_LOST) * valid["1"]["all"]["hr_at_20"]
    allowed = [name for name in valid if valid[name]["all"]["hr_at_20"] >= least]
    return max(allowed, key=lambda name: float(valid[name]["purchase"]["hr_at_20"]))


def main() -> int:
    """Run the command line."""
    arguments = parser("objectives", __doc__ or "", "demo --seeds 3")
    arguments.add_argument("data", help="a directory of events, `demo` or `planted`")
    arguments.add_argument("--events", type=int, default=120_000, help="of `demo` (default %(default)s)")
    arguments.add_argument("--seeds", type=int, default=3)
    args = arguments.parse_args()
    torch.set_num_threads(1)
    data, parts = load(args.data, args.events)
    assert data.catalogue is not None
    tests, valids = [part.test for part in parts], [part.valid for part in parts]
    first: NDArray[Any] | None = None
    of_valid: dict[str, Row] = {}
    of_test: dict[str, Row] = {}
    for name, (weight, of_price) in OBJECTIVES.items():
        began = time.monotonic()
        weights = target_weights(data, weight, weight, of_price)
        runs = [[ranks(data, part, weights, seed) for part in parts] for seed in range(args.seeds)]
        valid, test = (
            np.stack([np.concatenate([one[at] for one in of_seed]) for of_seed in runs]) for at in (0, 1)
        )
        first = test if first is None else first
        of_valid[name] = figures(valid, valids, data.catalogue.prices)
        of_test[name] = figures(test, tests, data.catalogue.prices) | {
            "against_1": compared(test, first, tests),
            "seconds": round(time.monotonic() - began, 1),
        }
        print(name, json.dumps(of_test[name]), file=sys.stderr, flush=True)
    kinds = data.sessions.kinds
    about = {
        "data": Path(args.data).name,
        "interactions": len(data.sessions.items),
        "carts": int(np.count_nonzero(kinds == CART)),
        "purchases": int(np.count_nonzero(kinds == PURCHASE)),
        "items": len(data.vocabulary),
        "epochs": EPOCHS,
        "seeds": list(range(args.seeds)),
    }
    measured = {"chosen_on_validation": chosen(of_valid), "validation": of_valid, "test": of_test}
    print(json.dumps(conditions("objectives", **about) | measured))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
