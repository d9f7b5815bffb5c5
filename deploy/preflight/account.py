"""Checks of the AWS account: the caller, the region, the bucket names, and what stages.toml says of them."""

from typing import Any

from botocore.exceptions import ClientError

from deploy.hyperparameters import require_hyperparameters
from deploy.preflight.finding import Finding
from deploy.stages import STAGES_FILE, Stage, StageError, require_keys, training_image


def check_caller(stage: Stage, identity: dict[str, str]) -> Finding:
    """Compare the account of the credentials with the stage's.

    Args:
        stage: the stage.
        identity: the answer of sts:GetCallerIdentity.
    """
    account_id, arn = identity["Account"], identity["Arn"]
    if not stage.account_id:
        return Finding(
            "account",
            "warning",
            f"{account_id}, as {arn}",
            f'write account_id = "{account_id}" under [{stage.name}] in deploy/{STAGES_FILE.name}: '
            "then nobody can deploy the stage to another account by mistake",
        )
    if stage.account_id != account_id:
        return Finding(
            "account",
            "failed",
            f"the credentials belong to {account_id}, stage {stage.name} to {stage.account_id}",
            "sign in to the stage's account: aws sso login, or AWS_PROFILE=...",
        )
    return Finding("account", "passed", f"{account_id}, as {arn}")


def check_settings(stage: Stage) -> list[Finding]:
    """Check the settings without which a deployment stops, or works but tells nobody of a failure."""
    findings = []
    try:
        require_keys(stage)
        findings.append(Finding("shop keys", "passed", ", ".join(sorted(stage.shops))))
    except StageError as error:
        findings.append(Finding("shop keys", "failed", "a shop has no key", str(error)))
    try:
        require_hyperparameters(stage)
    except StageError as error:
        findings.append(
            Finding("hyperparameters", "failed", "the training of a shop would refuse them", str(error))
        )
    if stage.notification_email:
        findings.append(Finding("notifications", "passed", stage.notification_email))
    else:
        findings.append(
            Finding(
                "notifications",
                "warning",
                "notification_email is empty: nobody learns of a failed run",
                f"set it under [{stage.name}] in deploy/{STAGES_FILE.name}",
            )
        )
    return findings


def check_region(stage: Stage, session_region: str | None) -> list[Finding]:
    """Check that the region has a training image, and warn if the caller's own tools look at another region.

    Args:
        stage: the stage. Its region is the one that every command of the stage uses.
        session_region: the region of the caller's profile or environment, None if there is none.
    """
    try:
        found = f"{stage.region}, training image {training_image(stage).rpartition('/')[2]}"
        findings = [Finding("region", "passed", found)]
    except StageError as error:
        findings = [
            Finding("region", "failed", f"{stage.region} has no training image on record", str(error))
        ]
    if session_region and session_region != stage.region:
        findings.append(
            Finding(
                "your tools' region",
                "warning",
                f"{session_region}: `aws` and the console show another region than the stage's {stage.region}",
                f"export AWS_DEFAULT_REGION={stage.region} before you use `aws` by hand; make reads stages.toml",
            )
        )
    return findings


def check_bucket(bucket: str, s3: Any) -> Finding:
    """Check that a bucket name is free, or that the bucket is this account's. Bucket names are unique in all of AWS."""
    subject = f"bucket {bucket}"
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return Finding(subject, "passed", "free")
        if status in (301, 403):
            where = "another region" if status == 301 else "another account, or you may not list it"
            return Finding(
                subject,
                "failed",
                f"taken: it belongs to {where}",
                "use another stage name in deploy/stages.toml; every name of the stage follows from it",
            )
        raise
    return Finding(subject, "passed", "exists and is yours: a deployment takes it up again")
