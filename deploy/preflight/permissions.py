"""Ask IAM whether the caller may do what a deployment does. CloudFormation and Chalice act with the caller's rights."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy import serving_image, step_jobs
from deploy.preflight.finding import Finding
from deploy.stages import Stage


def needed_actions(stage: Stage, account_id: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the actions of a deployment, each group with a resource of the stage that it acts on."""
    here, prefix = f"{stage.region}:{account_id}", stage.prefix
    events_bucket = stage.events_bucket(account_id)
    budget: list[tuple[str, tuple[str, ...]]] = [
        (f"arn:aws:budgets::{account_id}:budget/{prefix}", ("budgets:ModifyBudget", "budgets:ViewBudget"))
    ]
    return [
        *(budget if stage.monthly_budget_usd else []),
        (
            f"arn:aws:cloudformation:{here}:stack/{prefix}/*",
            (
                "cloudformation:CreateChangeSet",
                "cloudformation:DescribeChangeSet",
                "cloudformation:DescribeStacks",
                "cloudformation:DescribeStackEvents",
                "cloudformation:ExecuteChangeSet",
            ),
        ),
        (
            f"arn:aws:s3:::{events_bucket}",
            (
                "s3:CreateBucket",
                "s3:ListBucket",
                "s3:PutBucketNotification",
                "s3:PutBucketPolicy",
                "s3:PutBucketPublicAccessBlock",
                "s3:PutBucketVersioning",
                "s3:PutEncryptionConfiguration",
                "s3:PutLifecycleConfiguration",
            ),
        ),
        (f"arn:aws:s3:::{stage.models_bucket(account_id)}/code/x", ("s3:GetObject", "s3:PutObject")),
        (
            f"arn:aws:iam::{account_id}:role/{prefix}-pipeline",
            ("iam:CreateRole", "iam:GetRole", "iam:PassRole", "iam:PutRolePolicy"),
        ),
        (
            f"arn:aws:lambda:{here}:function:{prefix}-load",
            (
                "lambda:AddPermission",
                "lambda:CreateFunction",
                "lambda:GetFunction",
                "lambda:UpdateFunctionCode",
                "lambda:UpdateFunctionConfiguration",
            ),
        ),
        (
            f"arn:aws:lambda:{here}:layer:{prefix}-warehouse-x",
            ("lambda:ListLayerVersions", "lambda:PublishLayerVersion"),
        ),
        (f"arn:aws:lambda:{here}:layer:{prefix}-warehouse-x:1", ("lambda:GetLayerVersion",)),
        (
            f"arn:aws:apigateway:{stage.region}::/restapis",
            ("apigateway:GET", "apigateway:POST"),
        ),
        (
            f"arn:aws:apigateway:{stage.region}::/restapis/x",
            ("apigateway:PATCH", "apigateway:PUT"),
        ),
        (
            f"arn:aws:states:{here}:stateMachine:{prefix}-pipeline",
            (
                "states:CreateStateMachine",
                "states:DescribeStateMachine",
                "states:StartExecution",
                "states:UpdateStateMachine",
            ),
        ),
        (
            f"arn:aws:firehose:{here}:deliverystream/{prefix}-events",
            ("firehose:CreateDeliveryStream", "firehose:DescribeDeliveryStream"),
        ),
        (f"arn:aws:events:{here}:rule/{prefix}-nightly", ("events:PutRule", "events:PutTargets")),
        (
            f"arn:aws:sns:{here}:{prefix}-notifications",
            ("sns:CreateTopic", "sns:SetTopicAttributes", "sns:Subscribe"),
        ),
        (f"arn:aws:sqs:{here}:{prefix}-dead-letters", ("sqs:CreateQueue", "sqs:SetQueueAttributes")),
        (
            f"arn:aws:logs:{here}:log-group:/aws/lambda/{prefix}-load",
            ("logs:CreateLogGroup", "logs:PutRetentionPolicy"),
        ),
        (f"arn:aws:cloudwatch:{here}:alarm:{prefix}-no-events", ("cloudwatch:PutMetricAlarm",)),
        (f"arn:aws:cloudwatch::{account_id}:dashboard/{prefix}", ("cloudwatch:PutDashboard",)),
        (
            f"arn:aws:ecr:{here}:repository/{serving_image.repository(stage)}",
            ("ecr:CreateRepository", "ecr:DescribeImages", "ecr:PutLifecyclePolicy"),
        ),
        (
            f"arn:aws:codebuild:{here}:project/{serving_image.repository(stage)}",
            ("codebuild:BatchGetBuilds", "codebuild:CreateProject", "codebuild:StartBuild"),
        ),
        *(
            (f"arn:aws:codebuild:{here}:project/{one.deployed_name(stage)}", ("codebuild:CreateProject",))
            for one in step_jobs.STEPS
            if stage.runner == "codebuild"
        ),
        (
            f"arn:aws:secretsmanager:{here}:secret:{stage.receipts_secret}-x",
            ("secretsmanager:CreateSecret", "secretsmanager:GetSecretValue"),
        ),
        (
            f"arn:aws:secretsmanager:{here}:secret:{stage.secret_keys_secret}-x",
            ("secretsmanager:CreateSecret",),
        ),
        (
            f"arn:aws:secretsmanager:{here}:secret:{stage.erasures_secret}-x",
            ("secretsmanager:CreateSecret",),
        ),
    ]


def check_permissions(stage: Stage, account_id: str, caller_arn: str, iam: Any) -> Iterator[Finding]:
    """Yield one finding per denied action, or one if all are allowed.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    if caller_arn.endswith(":root"):
        yield Finding(
            "permissions",
            "warning",
            "you are signed in as the account's root user",
            "sign in with a role or user instead, AWS advises against daily use of root",
        )
        return
    denied: dict[str, str] = {}
    asked = 0
    try:
        source = _policy_source(caller_arn, iam)
        for resource, actions in needed_actions(stage, account_id):
            asked += len(actions)
            for page in iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=source, ActionNames=list(actions), ResourceArns=[resource]
            ):
                for result in page["EvaluationResults"]:
                    if result["EvalDecision"] != "allowed":
                        denied[result["EvalActionName"]] = f"{_reason(result)} on {resource}"
    except (BotoCoreError, ClientError) as error:
        yield Finding(
            "permissions",
            "unchecked",
            str(error),
            "allow iam:SimulatePrincipalPolicy and iam:GetRole, or deploy and read which action is refused",
        )
        return
    for action, reason in denied.items():
        yield Finding(f"may {action}", "failed", reason, f"ask your administrator to allow {action}")
    if not denied:
        yield Finding("permissions", "passed", f"{source} may do all {asked} actions that were asked")


def _policy_source(caller_arn: str, iam: Any) -> str:
    """Return the user or role whose policies the caller has. A session of a role is named after the role, without its path."""
    _, _, resource = caller_arn.rpartition(":")
    kind, _, name = resource.partition("/")
    if kind != "assumed-role":
        return caller_arn
    return str(iam.get_role(RoleName=name.partition("/")[0])["Role"]["Arn"])


def _reason(result: dict[str, Any]) -> str:
    if not result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True):
        return "denied by a policy of your organization"
    if not result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary", True):
        return "denied by your permissions boundary"
    return "denied by a policy" if result["EvalDecision"] == "explicitDeny" else "no policy allows it"
