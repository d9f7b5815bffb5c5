"""Check the files experiments/<shop>.toml, which a deployment puts beside /recommend. docs/ab_tests.md explains them."""

import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.command import DeployError, command_parser, exit_status
from deploy.stages import STAGES_FILE, read_stage, stage_names
from functions.recommend.experiments import FOLDER, ExperimentsError, Shop, parse

# It keeps the folder in the repository when the last experiment is removed: vendor/ links to the folder.
README = "README.md"


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
    known = sorted(set(shops))
    found, problems = {}, []
    for path in sorted(folder.iterdir()):
        if path.name == README:
            continue
        if path.suffix != ".toml":
            problems.append(
                f"experiments/{path.name} is no .toml file: only those are read. Move it elsewhere"
            )
        elif path.stem not in known:
            problems.append(
                f"experiments/{path.name}: no stage has a shop {path.stem!r}. Name the file after a shop of "
                f"deploy/{STAGES_FILE.name}: {', '.join(known)}"
            )
        else:
            try:
                found[path.stem] = parse(path)
            except ExperimentsError as error:
                problems.append(str(error))
    if problems:
        raise WrongExperiments("\n".join(problems))
    return found


def shops_of_all_stages() -> set[str]:
    """Return the shops of deploy/stages.toml."""
    return {shop for name in stage_names() for shop in read_stage(name).shops}


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
