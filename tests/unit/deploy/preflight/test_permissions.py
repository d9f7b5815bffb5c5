"""Checks of permissions: a denied action is named with its reason, and a role's session is asked by its role."""

import dataclasses
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from deploy.preflight import permissions
from deploy.preflight.finding import Finding
from deploy.stages import read_stage

DEV = read_stage("dev")
ACCOUNT = "123456789012"
USER = f"arn:aws:iam::{ACCOUNT}:user/ada"


def _found(caller: str, denied: dict[str, dict[str, Any]], role_arn: str = "") -> list[Finding]:
    """Check a caller against a stubbed IAM that denies some actions."""
    iam = boto3.client("iam", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(iam) as stub:
        if role_arn:
            role = {
                "Path": "/", "RoleName": "Admin", "RoleId": "AROA00000000000000", "Arn": role_arn,
                "CreateDate": "2026-01-01T00:00:00Z",
            }  # fmt: skip
            stub.add_response("get_role", {"Role": role}, {"RoleName": "Admin"})
        for resource, actions in permissions.needed_actions(DEV, ACCOUNT):
            results = [
                {"EvalActionName": action, "EvalDecision": "allowed"} | denied.get(action, {})
                for action in actions
            ]
            stub.add_response(
                "simulate_principal_policy",
                {"EvaluationResults": results, "IsTruncated": False},
                {
                    "PolicySourceArn": role_arn or caller,
                    "ActionNames": list(actions),
                    "ResourceArns": [resource],
                },
            )
        found = list(permissions.check_permissions(DEV, ACCOUNT, caller, iam))
        stub.assert_no_pending_responses()
    return found


def test_an_administrator_passes_in_one_row() -> None:
    (found,) = _found(USER, {})
    assert found.outcome == "passed"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"EvalDecision": "implicitDeny"}, "no policy allows it"),
        ({"EvalDecision": "explicitDeny"}, "denied by a policy"),
        (
            {
                "EvalDecision": "implicitDeny",
                "OrganizationsDecisionDetail": {"AllowedByOrganizations": False},
            },
            "organization",
        ),
        (
            {
                "EvalDecision": "implicitDeny",
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
            },
            "permissions boundary",
        ),
    ],
)
def test_each_denied_action_is_a_row_with_its_reason(result: dict[str, Any], reason: str) -> None:
    (found,) = _found(USER, {"iam:PassRole": result})
    assert (found.subject, found.outcome) == ("may iam:PassRole", "failed")
    assert reason in found.found
    assert "role/tugboat-dev-pipeline" in found.found


def test_the_session_of_a_role_with_a_path_is_asked_by_the_role() -> None:
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/ada@example.org"
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/Admin"
    (found,) = _found(session, {}, role_arn=role)
    assert found.outcome == "passed"


def test_the_root_user_is_a_warning_and_nothing_is_asked() -> None:
    (found,) = permissions.check_permissions(DEV, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", iam=None)
    assert found.outcome == "warning"


def test_a_caller_who_may_not_simulate_is_unchecked() -> None:
    iam = boto3.client("iam", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(iam) as stub:
        expected = {"PolicySourceArn": USER, "ActionNames": ANY, "ResourceArns": ANY}
        stub.add_client_error("simulate_principal_policy", "AccessDenied", "no", expected_params=expected)
        (found,) = permissions.check_permissions(DEV, ACCOUNT, USER, iam)
    assert found.outcome == "unchecked"
    assert "iam:SimulatePrincipalPolicy" in found.fix


def test_every_service_of_the_template_is_asked_for() -> None:
    template = (permissions.__file__.rsplit("/deploy/", 1)[0]) + "/statemachine/resources.yaml"
    with open(template) as file:
        types = {line.split("AWS::")[1].split("::")[0] for line in file if "Type: AWS::" in line}
    service = {
        "KinesisFirehose": "firehose",
        "StepFunctions": "states",
    }
    stage = dataclasses.replace(DEV, monthly_budget_usd=100)
    asked = {
        action.split(":")[0]
        for _, actions in permissions.needed_actions(stage, ACCOUNT)
        for action in actions
    }
    assert {service.get(one, one.lower()) for one in types} <= asked
