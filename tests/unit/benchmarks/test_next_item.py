"""The rows of the next-item bench."""

import numpy as np

from benchmarks.next_item import describe
from benchmarks.next_item_layouts import Bench
from training_jobs import baselines
from training_jobs.data import Sessions, prefix_cases
from training_jobs.measure import measure


def test_a_row_has_the_metrics_their_intervals_and_the_slices() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 14, 40)
    offsets = np.r_[0, np.cumsum(lengths)]
    sessions = Sessions(rng.integers(0, 50, offsets[-1]).astype(np.int32), offsets, np.arange(offsets[-1]))
    cases = prefix_cases(sessions)
    bench = Bench("made", "events", 50, sessions, sessions, cases, cases)
    share = baselines.popularity(sessions, 50)
    row = describe(bench, measure("popularity", baselines.popularity_scorer(share), cases), share, draws=50)
    low, high = row["mrr_at_20_interval"]
    assert low <= row["mrr_at_20"] <= high
    assert row["cases"] == len(cases)
    by_length = [part["cases"] for name, part in row["slices"].items() if name.startswith("length")]
    assert sum(by_length) == len(cases)
