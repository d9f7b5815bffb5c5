"""Measure the price of exploration on public clicks: what a share of the slots for new items costs in hits.

The recommender is session-kNN. Its 100 candidates go through the shop's rules, as in /recommend, with one rule `explore`.
New items are those first clicked within the last days of the training part.

python -m benchmarks.exploration DIRECTORY --new-days 7
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.conditions import conditions, parser
from benchmarks.next_item_layouts import load
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import CatalogueState
from functions.recommend.rules.arrange import Scored, arrange
from functions.recommend.rules.compiled import Request, Rules
from functions.recommend.rules.kept_products import KeptProducts
from functions.recommend.rules.model import Explore, Rule, RuleSet, Selector
from functions.recommend.rules.reserve import Reserve
from training_jobs.gate import baselines
from training_jobs.serving.knn import KnnScorer, KnnSettings, build_index
from training_jobs.serving.session_recommender import top
from training_jobs.serving.sessions import DAY_MS, Sessions

SEED, K, CANDIDATES = 74, 20, 100


def catalogue(train: Sessions, items: int, now_ms: int) -> tuple[CatalogueState, np.ndarray]:
    """Return the products with the time of their first click, and these times."""
    first = np.full(items, now_ms, np.int64)
    np.minimum.at(first, train.items, train.times_ms)
    editor = CatalogueEditor()
    for row in range(items):
        editor.add_known(str(row), {"availability": "in_stock"}, True, int(first[row]))
    return editor.state(now_ms), first


def main() -> int:
    """Run the command line."""
    arguments = parser("exploration", __doc__ or "", "data/bench/rsc15_1by64 --new-days 7")
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--new-days", type=int, default=7)
    arguments.add_argument("--cases", type=int, default=5000)
    args = arguments.parse_args()
    bench = load(args.directory)
    now_ms = int(bench.train.times_ms.max())
    state, first = catalogue(bench.train, bench.items, now_ms)
    known, reserve = KeptProducts(state), Reserve(state)
    share = baselines.popularity(bench.train, bench.items)
    score = baselines.knn_scorer(KnnScorer(build_index(bench.train, bench.items), KnnSettings()), share)
    drawn = np.random.default_rng(SEED).permutation(len(bench.test))[: args.cases]
    is_new = first > now_ms - args.new_days * DAY_MS
    candidates: list[list[Scored]] = []
    for begin in range(0, len(drawn), 128):
        prefixes = [bench.test.prefix(int(row)) for row in drawn[begin : begin + 128]]
        for prefix, scores in zip(prefixes, np.array(score(prefixes)), strict=True):
            scores[prefix[-1]] = -np.inf
            candidates.append([(str(row), float(scores[row])) for row in top(scores, CANDIDATES)])
    lines = {}
    for part in (0.0, 0.05, 0.1, 0.2, 0.3):
        explore = Rule("new", explore=Explore(part, Selector(new_days=args.new_days))) if part else None
        rules = Rules(RuleSet("bench", "r", (explore,) if explore else ()))
        hits, reciprocal, of_explored, explored, shown_new = 0, 0.0, 0, 0, set[str]()
        for at, row in enumerate(drawn):
            prefix = bench.test.prefix(int(row))
            asked = Request([str(item) for item in prefix], K, "product", now_ms, seed=str(at))
            found = arrange(rules, known, asked, [candidates[at]], reserve).items
            target = str(bench.test.targets[row])
            place = next((n for n, one in enumerate(found, start=1) if one.item_id == target), 0)
            hits += bool(place)
            reciprocal += 1 / place if place else 0.0
            explored += sum(one.explored_by is not None for one in found)
            of_explored += bool(place and found[place - 1].explored_by)
            shown_new |= {one.item_id for one in found if is_new[int(one.item_id)]}
        lines[f"{part:g}"] = {
            "hr_at_20": round(hits / len(drawn), 4),
            "mrr_at_20": round(reciprocal / len(drawn), 4),
            "explored_slots": round(explored / (K * len(drawn)), 4),
            "hits_of_explored_slots": of_explored,
            "new_items_shown": round(len(shown_new) / max(1, int(is_new.sum())), 4),
        }
    about = {"data": args.directory.name, "cases": len(drawn), "new_days": args.new_days, "seed": SEED}
    print(
        json.dumps({**conditions("exploration", **about), "new_items": int(is_new.sum()), "by_share": lines})
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
