"""The gate's look at the int8 copy of a model."""

from pathlib import Path

import pytest

from tests.unit.training_jobs.large_shop import large_shop
from training_jobs.gate.check import Check
from training_jobs.gate.checks_served import parity_checks
from training_jobs.gate.thresholds import read_thresholds
from training_jobs.serving.scan import quantise
from training_jobs.serving.session_recommender import Recommender


def scan_check(served: Recommender, sessions: list[list[str]]) -> Check:
    found = parity_checks(Path(), served, served.evidence(), served, sessions, read_thresholds())
    return next(
        check for check in found if check.name == "overlap of the scan with the whole float32 ranking"
    )


@pytest.mark.parametrize("spoilt", [False, True])
def test_codes_of_another_model_are_refused(spoilt: bool) -> None:
    served, walked = large_shop(1000, 0, 0.2)
    sessions = [[served.vocabulary[item] for item in walked.session(row)] for row in range(30)]
    if spoilt:
        vectors = served.weights.vectors
        served = Recommender(
            served.vocabulary,
            served.weights,
            served.index,
            served.popularity,
            served.settings,
            quantise(vectors[::-1]),
        )
    found = scan_check(served, sessions)
    assert (found.verdict, found.n) == ("failed" if spoilt else "passed", 30)
