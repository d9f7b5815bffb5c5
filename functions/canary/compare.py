"""Compare the figures of a candidate with those of the current release.

A share is worse if it is larger by a margin that shoppers notice, and by more than chance explains. For that, the lower bound
of the candidate's share must be above the upper bound of the current one's. Wilson's bounds hold for few requests too:
https://www.itl.nist.gov/div898/handbook/prc/section2/prc241.htm
"""

from collections.abc import Iterator
from math import sqrt

from functions.canary.figures import Figures

# Fewer requests of a release are not compared, and the time of fewer answers is not.
REQUESTS_MIN, ANSWERS_MIN = 10, 50
# Chance exceeds each bound once in 100 times.
Z = 2.326
# In parts of the requests.
ERRORS_MARGIN, TIMEOUTS_MARGIN, SHORT_MARGIN = 0.01, 0.02, 0.05
# The mean time of an answer may grow by half, or by 25 ms if that is more.
SLOWER_FACTOR, SLOWER_MS = 1.5, 25.0
# Clicks are rare and differ by chance. With fewer clicks of the current release, they are not compared.
CLICKS_MIN = 50
FEWER_CLICKS_FACTOR = 0.8


def worse_figures(current: Figures, candidate: Figures) -> list[str]:
    """Return a phrase for each figure of the candidate that is worse, with both values."""
    return [*_shares(current, candidate), *_latency(current, candidate), *_clicks(current, candidate)]


def _shares(current: Figures, candidate: Figures) -> Iterator[str]:
    rows = (
        ("errors or empty answers", current.errors, candidate.errors, ERRORS_MARGIN),
        ("timeouts", current.timeouts_of_model, candidate.timeouts_of_model, TIMEOUTS_MARGIN),
        ("answers with too few items", current.short, candidate.short, SHORT_MARGIN),
    )
    for name, of_current, of_candidate, margin in rows:
        before, after = of_current / current.requests, of_candidate / candidate.requests
        _, at_most = wilson(of_current, current.requests)
        at_least, _ = wilson(of_candidate, candidate.requests)
        if after - before > margin and at_least > at_most:
            yield f"{name} {after:.1%} instead of {before:.1%} of the requests"


def _latency(current: Figures, candidate: Figures) -> Iterator[str]:
    if min(current.answers, candidate.answers) < ANSWERS_MIN:
        return
    before, after = current.milliseconds / current.answers, candidate.milliseconds / candidate.answers
    if after > max(before * SLOWER_FACTOR, before + SLOWER_MS):
        yield f"mean time of an answer {after:.0f} ms instead of {before:.0f} ms"


def _clicks(current: Figures, candidate: Figures) -> Iterator[str]:
    if current.clicks < CLICKS_MIN:
        return
    before, after = current.clicks / current.requests, candidate.clicks / candidate.requests
    at_least, _ = wilson(current.clicks, current.requests)
    _, at_most = wilson(candidate.clicks, candidate.requests)
    if after < before * FEWER_CLICKS_FACTOR and at_most < at_least:
        yield f"clicks per 100 requests {100 * after:.1f} instead of {100 * before:.1f}"


def wilson(count: float, total: float) -> tuple[float, float]:
    """Return the bounds of a share. A count above the total, as of several clicks per request, is a share of 1."""
    share = min(1.0, count / total)
    center = share + Z**2 / (2 * total)
    spread = Z * sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    scale = 1 + Z**2 / total
    return (center - spread) / scale, (center + spread) / scale
