"""Bring the rules of a shop to its carousels: check the file, replay sessions with it, and upload it.

/recommend reads the rules once a minute, so no deployment is needed. A rule with a period begins and ends by itself.
"""

import sys
import time
from pathlib import Path
from typing import Any

import boto3

from deploy.command import Say, exit_status, stage_parser
from deploy.rules import page
from deploy.rules.replay import Replay, replay
from deploy.rules.source import FOLDER, read
from deploy.rules.stored import question, refuse_empty, release_of, served_rules, upload
from deploy.shop_option import add_shop, chosen_shop
from deploy.stages import Stage, account_of, read_stage
from functions.recommend.rules.model import RuleSet

PAGE = Path("build/rules.html")
SESSIONS = 200


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.rules", __doc__, "--stage dev --shop demo")
    add_shop(parser)
    parser.add_argument("--check", action="store_true", help="replay and write the page, and upload nothing")
    parser.add_argument(
        "--no-replay", action="store_true", help="upload without a replay, such as while no endpoint answers"
    )
    parser.add_argument(
        "--sessions", type=int, default=SESSIONS, help="sessions to replay (default %(default)s)"
    )
    parser.add_argument(
        "--page", type=Path, default=PAGE, metavar="FILE", help="the page (default %(default)s)"
    )
    args = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        shop = chosen_shop(stage, args.shop)
        rule_set = read(FOLDER / f"{shop}.yaml").rule_set
        session = boto3.Session(region_name=stage.region)
        bucket = stage.models_bucket(account_of(stage, session.client("sts")))
        if not args.no_replay:
            found = _replayed(stage, rule_set, args.sessions, session, bucket, args.page, print)
            if found:
                refuse_empty(found)
        if args.check:
            return 0
        upload(rule_set, session.client("s3"), bucket)
        print(
            f"{len(rule_set.rules)} rules of {shop} are uploaded to stage {stage.name}, revision {rule_set.revision}. "
            "Carousels have them within two minutes"
        )
        return 0

    return exit_status(run)


def _replayed(
    stage: Stage, rule_set: RuleSet, sessions: int, session: Any, bucket: str, file: Path, say: Say
) -> Replay | None:
    """Replay, write the page and print the summary. Return None if the stage has no model of the shop."""
    s3 = session.client("s3")
    release = release_of(s3, bucket, rule_set.shop)
    if release is None:
        say(
            f"stage {stage.name} has no model of {rule_set.shop} yet, so no session is replayed: make run SHOP={rule_set.shop}"
        )
        return None
    asked = question(rule_set.shop, release, sessions, s3, bucket, session.client("sagemaker-runtime"))
    served = served_rules(s3, bucket, rule_set.shop)
    found = replay(asked, rule_set, served, round(time.time() * 1000))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page.render(found, asked.catalogue, stage.name), "utf-8")
    say("\n".join(page.summary(found)))
    say(f"page: {file}")
    return found


if __name__ == "__main__":
    sys.exit(main())
