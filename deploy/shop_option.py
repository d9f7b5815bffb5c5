"""The option --shop of commands about the model of one shop."""

import argparse

from deploy.command import DeployError
from deploy.stages import STAGES_FILE, Stage


class WrongShop(DeployError):
    """The stage has no such shop, or several and none was named. The message lists them."""


def add_shop(parser: argparse.ArgumentParser) -> None:
    """Add --shop. A stage with one trained shop needs none."""
    parser.add_argument(
        "--shop", metavar="SHOP", help="the shop; default: the only one that the stage trains for"
    )


def require_shop(stage: Stage, shop: str) -> None:
    """Check that the stage has the shop.

    Raises:
        WrongShop: it has not. The message lists its shops.
    """
    if shop not in stage.shops:
        raise WrongShop(
            f"stage {stage.name} has no shop {shop!r}: use SHOP= one of {', '.join(stage.shops)}, or add it to "
            f"deploy/{STAGES_FILE.name}"
        )


def chosen_shop(stage: Stage, given: str | None) -> str:
    """Return the shop that a command is about.

    Raises:
        WrongShop: the stage has no such shop, or trains for several and none is given.
    """
    trained = stage.served_shops
    if given:
        require_shop(stage, given)
        return given
    if len(trained) > 1:
        raise WrongShop(f"stage {stage.name} has several shops: add SHOP= one of {', '.join(trained)}")
    return trained[0]
