"""Deploy a stage to AWS and Snowflake.

The steps: the CloudFormation stack, the warehouse, the training code, the serving image, the layers, `chalice deploy`.
Every step can be repeated: existing resources stay unchanged.
"""

import sys

import boto3

from deploy.command import Progress, exit_status, stage_parser
from deploy.deployment import deploy, prepare, preview
from deploy.stages import read_stage, require_keys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy", __doc__, "--stage dev --dry-run")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what the stack would change, and change nothing"
    )
    args = parser.parse_args(arguments)

    def run() -> int:
        say = Progress()
        stage = read_stage(args.stage)
        require_keys(stage)
        deployment = prepare(stage, boto3.Session(region_name=stage.region), say)
        if args.dry_run:
            preview(deployment)
            return 0
        say(f"done: {deploy(deployment)}")
        print(
            f"\nNext: make replay STAGE={stage.name}, make run STAGE={stage.name}, make status STAGE={stage.name}"
        )
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
