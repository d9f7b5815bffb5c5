"""Print the results of a stage's experiments: arms, sample ratio, lift with intervals, and a verdict in words.

Intervals and the check of the sample ratio hold at all nights together, so the report may be read at any time.
"""

import sys
from dataclasses import replace

import boto3

from deploy.command import DeployError, exit_status, stage_parser
from deploy.experiments.report import newest_results, render
from deploy.shop_option import require_shop
from deploy.stages import account_of, read_stage
from deploy.warehouse_setup import connection, setup_parameters
from functions.platform import warehouse
from functions.recommend.experiments import FOLDER, read_experiments


class NoResults(DeployError):
    """There are no results to print. The message ends with the next step."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.experiments", __doc__, "--stage dev --shop demo")
    parser.add_argument("--shop", help="a shop of the stage (default: all)")
    args = parser.parse_args(arguments)

    def run() -> int:
        from snowflake.connector.errors import Error

        stage = read_stage(args.stage)
        if args.shop:
            require_shop(stage, args.shop)
        session = boto3.Session(region_name=stage.region)
        account_id = account_of(stage, session.client("sts"))
        login = warehouse.read_credentials(session.client("secretsmanager"), stage.secret_name)
        values = setup_parameters(stage, account_id, login)
        # A role that can only read the marts, on the warehouse of people.
        reader = replace(login, role=f"{values['prefix']}_READER", warehouse=values["reader_warehouse"])
        try:
            with connection(reader) as connected:
                results = newest_results(connected, args.shop)
        except Error as error:
            raise NoResults(
                f"user {reader.user} cannot read MARTS.EXPERIMENT_RESULTS as {reader.role}: {error.msg}\n"
                f"Before the first run of this release there is no such table: make run STAGE={stage.name} ARGS=--full-refresh"
            ) from error
        if results:
            print(render(results, read_experiments(FOLDER)))
        else:
            print(
                "No client was exposed to an experiment yet. Describe one in experiments/<shop>.toml (docs/ab_tests.md), "
                f"deploy, open a page with its carousel, then make run STAGE={stage.name}"
            )
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
