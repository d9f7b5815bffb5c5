"""Deploys a stage: the CloudFormation stack, the training code, the serving image, the layers, then Chalice's Lambdas and API.

Everything can be repeated: what is there already is left as it is.
"""

import argparse
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.deployment import FAILURES, Progress, api_url, deploy
from deploy.stages import read_stage, require_keys


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy",
        description=__doc__,
        epilog="example: python -m deploy --stage dev --dry-run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", required=True, help="a stage of deploy/stages.toml: local, dev, prod")
    parser.add_argument(
        "--dry-run", action="store_true", help="show what the stack would change, and change nothing"
    )
    args = parser.parse_args(arguments)
    say = Progress()
    try:
        stage = read_stage(args.stage)
        require_keys(stage)
        deploy(stage, boto3.Session(region_name=stage.region), say, args.dry_run)
    except FAILURES as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"\nAWS refused: {error}. Mend it and deploy again: what was done is kept.", file=sys.stderr)
        return 1
    if not args.dry_run:
        url = api_url(stage)
        say(f"done: {url}")
        print(
            f"\nNext: make replay STAGE={stage.name}, make run STAGE={stage.name}, make status STAGE={stage.name}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
