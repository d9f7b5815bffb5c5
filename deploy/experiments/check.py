"""Check the files experiments/<shop>.toml, which a deployment puts beside /recommend. docs/ab_tests.md explains them."""

import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.command import DeployError, command_parser, exit_status
from deploy.shop_files import read_shop_files, shops_of_all_stages
from functions.recommend.experiments import FOLDER, ExperimentsError, Shop, parse


class WrongExperiments(DeployError):
    """A file of experiments cannot be deployed. The message contains each problem."""


def check(shops: Iterable[str], folder: Path = FOLDER) -> dict[str, Shop]:
    """Return the experiments of each shop.

    Args:
        shops: the shops of all stages.
        folder: the folder of the files.

    Raises:
        WrongExperiments: a file is invalid, or its name is no shop's.
    """
    found, problems = read_shop_files("experiments", folder, ".toml", shops, parse, ExperimentsError)
    if problems:
        raise WrongExperiments("\n".join(problems))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    command_parser("deploy.experiments.check", __doc__, "").parse_args(arguments)

    def run() -> int:
        for shop, experiments in check(shops_of_all_stages()).items():
            names = [one.name for one in experiments.experiments]
            if experiments.holdout:
                names.append(f"{experiments.holdout.name} ({experiments.holdout.share:.0%})")
            print(f"experiments/{shop}.toml: {', '.join(names) or 'none'}")
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
