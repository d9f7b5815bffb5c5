"""The second part of `benchmarks.cold_start`: a shop that begins, after its first 0, 100, 1,000 and 10,000 sessions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.cold_start_logs import ShopLog
from benchmarks.cold_start_models import fused, of_model, only, trained, without_model
from training_jobs.gate import metrics
from training_jobs.gate.baselines import Scorer
from training_jobs.gate.measure import measure
from training_jobs.snapshot.dataset import prefix_cases, sampled_rows

SESSIONS = (0, 100, 1_000, 10_000)
# The sessions after the first ones, which the models answer.
NEXT_SESSIONS = 1_000
CASES = 2_000

Row = dict[str, Any]


def measure_shop(
    log: ShopLog, counts: Sequence[int], seed: int, *, test: bool, emit: Callable[[Row], None]
) -> None:
    """Emit one row per number of sessions and model. Of each model, the gain over the first day's lists has an interval.

    The shop of the test begins with the first session of the log. The shop for the choice of settings begins in its middle.
    """
    begin = 0 if test else len(log.sessions) // 2
    items = len(log.vocabulary)
    for count in counts:
        end = begin + count
        if end + NEXT_SESSIONS // 2 > len(log.sessions):
            break
        past = log.sessions.between(begin, end)
        later = log.sessions.between(end, min(end + NEXT_SESSIONS, len(log.sessions)))
        cases = prefix_cases(later)
        cases = cases.take(sampled_rows(len(cases), seed, CASES))
        scorers: dict[str, Scorer] = without_model(log, past, int(later.starts_ms.min()), seed)
        of_training: Row = {}
        if count:
            model, _ = trained(log, past, seed)
            of_training["catalogue_sessions"] = model.index.catalogue_sessions
            scorers |= of_model(model)
            # What is left without the products that nobody has viewed yet.
            scorers["model_of_clicked_items"] = only(model.scores, past.clicks(items) > 0)
            scorers["model_and_first_day"] = fused(scorers["model"], scorers["first_day"])
        ranks = {name: measure(name, score, cases).rank for name, score in scorers.items()}
        resampler = metrics.Resampler(cases.session)
        lists = (ranks["first_day"] <= 20).astype(np.float64)
        for name, rank in ranks.items():
            low, high = resampler.interval((rank <= 20) - lists)
            emit(
                {
                    "sessions": count,
                    "model": name,
                    "seed": seed,
                    "cases": len(cases),
                    "items_clicked": int((past.clicks(items) > 0).sum()),
                    "hr_at_20": round(metrics.hit_rate(rank, 20), 4),
                    "mrr_at_20": round(metrics.mrr(rank, 20), 4),
                    "hr_at_20_over_first_day": round(metrics.hit_rate(rank, 20) / max(lists.mean(), 1e-9), 3),
                    "hr_at_20_gain_interval": [round(low, 4), round(high, 4)],
                    **(of_training if name == "model" else {}),
                }
            )
