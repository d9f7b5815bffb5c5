"""Check, before anything is created, what the first deployment of a stage needs, and print what is missing.

Credentials, account, region, bucket names, quotas, permissions, Snowflake's logins. Every call only reads.
"""

import sys
from collections.abc import Iterator

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.command import exit_status, stage_parser
from deploy.preflight import account, permissions, quotas, snowflake
from deploy.preflight.finding import Finding, table, verdict
from deploy.stages import Stage, read_stage


def check(stage: Stage, session: boto3.Session, callers_region: str | None) -> Iterator[Finding]:
    """Yield the findings of all checks. Without credentials, only what needs none is checked."""
    yield from account.check_settings(stage)
    yield from account.check_region(stage, callers_region)
    try:
        identity = session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        yield Finding(
            "credentials",
            "failed",
            f"AWS accepts none: {error}",
            "sign in: aws sso login, or AWS_PROFILE=...; then run this again for the other checks",
        )
        return
    caller = account.check_caller(stage, identity)
    yield caller
    if caller.outcome == "failed":
        return
    account_id = identity["Account"]
    for bucket in (stage.events_bucket(account_id), stage.models_bucket(account_id)):
        yield account.check_bucket(bucket, session.client("s3"))
    yield from quotas.check_quotas(stage, session.client("service-quotas"))
    yield from permissions.check_permissions(stage, account_id, identity["Arn"], session.client("iam"))
    yield from snowflake.check_snowflake(stage, session.client("secretsmanager"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. The exit status is 1 if a check failed."""
    args = stage_parser("deploy.preflight", __doc__, "--stage dev").parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        session = boto3.Session(region_name=stage.region)
        print(f"stage {stage.name}: asking AWS and Snowflake, up to half a minute\n", flush=True)
        findings = list(check(stage, session, boto3.Session().region_name))
        print(f"{table(findings)}\n\nstage {stage.name} is {verdict(findings)}")
        return 1 if any(finding.outcome == "failed" for finding in findings) else 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
