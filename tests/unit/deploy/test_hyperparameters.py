"""A shop's hyperparameters in stages.toml are read by the training job's own parser before anything is deployed."""

from dataclasses import replace

import pytest

from deploy.hyperparameters import require_hyperparameters
from deploy.preflight.account import check_settings
from deploy.stages import StageError, read_stage

LOCAL = read_stage("local")


def of_demo(**values: str | int | float) -> dict[str, dict[str, str | int | float]]:
    return {"demo": values}


def test_the_hyperparameters_of_the_pages_are_accepted() -> None:
    given = of_demo(epochs=8, cart_weight=2, purchase_weight=4, price_weight=0.5)
    require_hyperparameters(replace(LOCAL, hyperparameters=given))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (of_demo(epoch=8), "unrecognized arguments: --epoch=8"),
        (of_demo(epochs="many"), "--epochs: invalid int value: 'many'"),
        (of_demo(cart_weight=1000), "cart_weight is 1000.0, must be from 0.01 to 100"),
    ],
)
def test_a_misspelt_one_stops_a_deployment_and_not_the_training_of_a_night(
    given: dict[str, dict[str, str | int | float]], said: str
) -> None:
    stage = replace(LOCAL, hyperparameters=given)
    with pytest.raises(
        StageError, match=r"wrong hyperparameters of demo: .* in deploy/stages\.toml"
    ) as refused:
        require_hyperparameters(stage)
    assert said in str(refused.value)
    assert "hyperparameters" in [one.subject for one in check_settings(stage) if one.outcome == "failed"]
