"""Score /recommend after a run, on sessions that the model has never seen.

For every prefix of every test session, it requests 20 items over HTTP.
A prefix scores by whether, and at which rank, the item that came next is among them.
"""

import random
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from demo import baselines
from demo.baselines import Score, Session
from demo.http import Http, RequestFailed
from demo.recommend import Carousel, Visitor, ask
from demo.terminal import Progress
from deploy.command import table

K = 20
THREADS = 4
SEED = 20
MAX_PREFIXES = 2_000
MAX_FALLBACK_SHARE = 0.02
SHOWN_SESSIONS = 3
SHOWN_ITEMS = 8


@dataclass
class Report:
    """The scores, latencies and failures of one measurement."""

    served: Score
    others: dict[str, Score]
    published: dict[str, tuple[float, float]]
    prefixes: int
    all_prefixes: int
    fallback_share: float
    latencies_ms: list[float] = field(repr=False)
    model_versions: list[str]
    failures: list[str]
    # The sessions of the prefixes and, prefix by prefix, their carousels.
    sessions: list[Session] = field(repr=False)
    carousels: list[Carousel] = field(repr=False)
    visitors: list[Visitor] = field(repr=False)

    def latency_ms(self, share: float) -> float:
        """Return the latency at a quantile, such as 0.99."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def figures(self) -> dict[str, object]:
        """Return the figures for the JSON line."""
        return {
            "prefixes": self.prefixes,
            "served": {"hr_at_20": round(self.served.hit_rate, 4), "mrr_at_20": round(self.served.mrr, 4)},
            **{
                name: {"hr_at_20": round(score.hit_rate, 4), "mrr_at_20": round(score.mrr, 4)}
                for name, score in self.others.items()
            },
            "fallback_share": round(self.fallback_share, 4),
            "recommend_p50_ms": round(self.latency_ms(0.50), 1),
            "recommend_p99_ms": round(self.latency_ms(0.99), 1),
            "model_versions": self.model_versions,
        }


def measure(
    http: Http,
    api_url: str,
    training: Sequence[Session],
    test: Sequence[Session],
    *,
    shop_id: str = "demo",
    published: dict[str, tuple[float, float]] | None = None,
    max_prefixes: int = MAX_PREFIXES,
    threads: int = THREADS,
    visitors: Callable[[int], list[Visitor]] | None = None,
) -> Report:
    """Request every prefix, or those of a fixed sample of sessions, and score all recommenders alike.

    With `visitors`, which returns so many, each session is that of a visitor, and its carousels have receipts.

    Raises:
        RequestFailed: /recommend does not answer.
    """
    chosen = [session for session in sample(test, max_prefixes) if len(session) > 1]
    pairs = baselines.prefixes(chosen)
    who = visitors(len(chosen)) if visitors else []
    askers = [who[number] if who else None for number, session in enumerate(chosen) for _ in session[1:]]
    # Page by page of all sessions, so that the pages of one session are seconds apart.
    order = sorted(range(len(pairs)), key=lambda at: len(pairs[at][0]))
    progress = Progress("asking /recommend", len(pairs), "prefixes")
    answered: dict[int, Carousel] = {}
    with ThreadPoolExecutor(threads, thread_name_prefix="report") as pool:
        asked = pool.map(lambda at: ask(http, api_url, pairs[at][0], K, shop_id, askers[at]), order)
        for at, carousel in zip(order, asked, strict=True):
            answered[at] = carousel
            progress.update(len(answered))
    progress.finish(len(answered))
    carousels = [answered[at] for at in range(len(pairs))]
    served = baselines.score(
        (carousel.items, target) for carousel, (_, target) in zip(carousels, pairs, strict=True)
    )
    others = {}
    if training:
        recommenders = {
            "session-kNN (VMIS)": baselines.session_knn(training),
            "item-to-item": baselines.item_to_item(training),
            "popularity": baselines.popularity(training),
        }
        others = {
            name: baselines.score((recommend(prefix, K), target) for prefix, target in pairs)
            for name, recommend in recommenders.items()
        }
    fallbacks = [carousel for carousel in carousels if carousel.is_fallback]
    share = len(fallbacks) / len(carousels) if carousels else 1.0
    failures = []
    if not pairs:
        failures.append("there are no test sessions of two items or more: send more days of data")
    elif share > MAX_FALLBACK_SHARE:
        failures.append(
            f"{share:.1%} of the answers came from the fallback (the limit is {MAX_FALLBACK_SHARE:.0%}), last"
            f" from {fallbacks[-1].source!r} because {fallbacks[-1].reason!r}: read the endpoint's log with `make logs`"
        )
    return Report(
        served=served,
        others=others,
        published=published or {},
        prefixes=len(pairs),
        all_prefixes=sum(max(0, len(session) - 1) for session in test),
        fallback_share=share,
        latencies_ms=[carousel.milliseconds for carousel in carousels],
        model_versions=sorted({carousel.model_version for carousel in carousels}),
        failures=failures,
        sessions=chosen,
        carousels=carousels,
        visitors=who,
    )


def sample(test: Sequence[Session], max_prefixes: int) -> list[Session]:
    """Return all sessions, or a fixed sample of whole sessions with about `max_prefixes` prefixes."""
    if sum(max(0, len(session) - 1) for session in test) <= max_prefixes:
        return list(test)
    order = list(range(len(test)))
    random.Random(SEED).shuffle(order)
    chosen, count = [], 0
    for number in order:
        if count >= max_prefixes:
            break
        chosen.append(number)
        count += max(0, len(test[number]) - 1)
    return [test[number] for number in sorted(chosen)]


def scores_table(report: Report) -> str:
    """Format the scores: the served model first, then the baselines."""
    rows = [("served by /recommend", f"{report.served.hit_rate:.4f}", f"{report.served.mrr:.4f}")]
    rows += [(name, f"{score.hit_rate:.4f}", f"{score.mrr:.4f}") for name, score in report.others.items()]
    rows += [(name, f"{hit_rate:.4f}", f"{mrr:.4f}") for name, (hit_rate, mrr) in report.published.items()]
    return table(("", f"HR@{K}", f"MRR@{K}"), rows)


def show_carousels(
    http: Http, api_url: str, test: Sequence[Session], names: dict[str, str], shop_id: str = "demo"
) -> list[str]:
    """Format carousels for a few sessions, with item names if events have them; * marks the next item."""

    def named(item: str) -> str:
        return f"{names[item]} ({item})" if item in names else item

    lines: list[str] = []
    long_enough = [session for session in test if len(session) >= 4] or [s for s in test if len(s) >= 2]
    step = max(1, len(long_enough) // SHOWN_SESSIONS)
    for session in long_enough[::step][:SHOWN_SESSIONS]:
        seen, following = session[: max(1, len(session) // 2)], session[max(1, len(session) // 2) :]
        carousel = ask(http, api_url, seen, K, shop_id)
        lines.append(f"  after {', '.join(named(item) for item in seen[-4:])}:")
        for rank, item in enumerate(carousel.items[:SHOWN_ITEMS], 1):
            lines.append(f"    {rank}. {named(item)}{'  *' if item in following else ''}")
        lines.append(
            f"    source {carousel.source}, reason {carousel.reason}, model {carousel.model_version},"
            f" {carousel.milliseconds:.0f} ms"
        )
    return lines


def show(report: Report) -> None:
    """Print the report."""
    asked = f"{report.prefixes:,} prefixes"
    if report.prefixes < report.all_prefixes:
        asked += f", a fixed sample of {report.all_prefixes:,}"
    print(f"\nHeld-out sessions, every prefix predicts the next item ({asked}):")
    print(scores_table(report))
    print(
        f"\n/recommend: p50 {report.latency_ms(0.50):.0f} ms, p99 {report.latency_ms(0.99):.0f} ms"
        f" with {THREADS} requests at a time; {report.fallback_share:.1%} from the fallback;"
        f" model {', '.join(report.model_versions)}"
    )
    for failure in report.failures:
        print(f"report: {failure}", file=sys.stderr)


def judge(
    http: Http,
    api_url: str,
    training: Sequence[Session],
    test: Sequence[Session],
    names: dict[str, str],
    *,
    shop_id: str,
    published: dict[str, tuple[float, float]],
    max_prefixes: int,
    visitors: Callable[[int], list[Visitor]] | None = None,
) -> Report | None:
    """Measure and print everything; return None if /recommend does not answer."""
    try:
        print("\nCarousels (* came next in the session):")
        print("\n".join(show_carousels(http, api_url, test, names, shop_id)))
        report = measure(
            *(http, api_url, training, test),
            shop_id=shop_id,
            published=published,
            max_prefixes=max_prefixes,
            visitors=visitors,
        )
    except RequestFailed as failed:
        print(f"report: {failed}", file=sys.stderr)
        return None
    show(report)
    return report
