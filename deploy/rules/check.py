"""Check the files rules/<shop>.yaml without a stage. `make check-rules` replays sessions with them (docs/rules.md)."""

import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.command import command_parser, exit_status
from deploy.rules.source import FOLDER, Written, WrongRules, read
from deploy.shop_files import read_shop_files, shops_of_all_stages


def check(shops: Iterable[str], folder: Path = FOLDER) -> dict[str, Written]:
    """Return the rules of each shop.

    Args:
        shops: the shops of all stages.
        folder: the folder of the files.

    Raises:
        WrongRules: a file is invalid, or its name is no shop's.
    """
    found, problems = read_shop_files("rules", folder, ".yaml", shops, read, WrongRules)
    if problems:
        raise WrongRules("\n".join(problems))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    command_parser("deploy.rules.check", __doc__, "").parse_args(arguments)

    def run() -> int:
        for shop, written in check(shops_of_all_stages()).items():
            ids = ", ".join(rule.id for rule in written.rule_set.rules)
            print(f"rules/{shop}.yaml: {ids or 'no rule'}")
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
