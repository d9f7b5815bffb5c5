"""Snowflake's way into S3: it assumes the integration's AWS role, whose trust policy must name Snowflake's user."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from snowflake.connector.errors import ProgrammingError

from local.clients import aws_client
from local.warehouse.access.account import Account, Thing
from local.warehouse.access.statements import IAM_USER


class StorageAccess:
    """Checks the trust of the roles of storage integrations in the local IAM."""

    def __init__(self, aws_endpoint: str) -> None:
        self._iam = aws_client("iam", aws_endpoint)

    def check(self, account: Account, stage: Thing) -> None:
        """Check that Snowflake may assume the role of a stage's integration.

        Raises:
            ProgrammingError: the role is missing, or does not trust Snowflake's user with the external id.
        """
        name = (
            account.objects[stage].properties.get("STORAGE_INTEGRATION") if stage in account.objects else None
        )
        integration = account.objects.get(Thing("INTEGRATION", name)) if name else None
        if integration is None:
            return
        role_arn = integration.properties["STORAGE_AWS_ROLE_ARN"]
        if not self._trusts(role_arn.rpartition("/")[2], integration.properties["STORAGE_AWS_EXTERNAL_ID"]):
            raise ProgrammingError(
                msg=f"SQL execution error:\nError assuming AWS_ROLE:\nUser: {IAM_USER} is not authorized to perform: "
                f"sts:AssumeRole on resource: {role_arn}",
                errno=3167,
                sqlstate="42601",
            )

    def _trusts(self, role: str, external_id: str) -> bool:
        try:
            document = self._iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        except ClientError:
            return False
        return any(_allows(statement, external_id) for statement in document["Statement"])


def _allows(statement: dict[str, Any], external_id: str) -> bool:
    principal = statement.get("Principal", {})
    users = principal.get("AWS", []) if isinstance(principal, dict) else []
    expected = statement.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId", external_id)
    return (
        statement["Effect"] == "Allow"
        and IAM_USER in ([users] if isinstance(users, str) else users)
        and external_id in ([expected] if isinstance(expected, str) else expected)
    )
