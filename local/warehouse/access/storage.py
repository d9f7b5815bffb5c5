"""Snowflake's way into S3: it assumes the AWS role of the integration, and reads and writes under that role."""

from __future__ import annotations

from botocore.exceptions import ClientError
from snowflake.connector.errors import ProgrammingError

from local.clients import aws_client
from local.environment import SNOWFLAKE_ACCESS_KEY, SNOWFLAKE_SECRET_KEY, SNOWFLAKE_USER_ARN
from local.warehouse.access.account import Account, Thing
from local.warehouse.s3_files import S3Files


class StorageAccess:
    """Assumes the roles of storage integrations as Snowflake's user, and gives their credentials to the file system."""

    def __init__(self, aws_endpoint: str, files: S3Files) -> None:
        self._files = files
        self._sts = aws_client(
            "sts",
            aws_endpoint,
            aws_access_key_id=SNOWFLAKE_ACCESS_KEY,
            aws_secret_access_key=SNOWFLAKE_SECRET_KEY,
        )

    def files(self, location: str) -> list[str]:
        """Return the URLs of all non-empty objects below a location, after `open`."""
        return self._files.glob(f"{location}*")

    def open(self, account: Account, stage: Thing) -> None:
        """Give a statement the access to the location of a stage that its integration has.

        Raises:
            ProgrammingError: the role is missing, does not trust Snowflake's user with the external id, or may not use
                the bucket.
        """
        properties = account.objects[stage].properties if stage in account.objects else {}
        name = properties.get("STORAGE_INTEGRATION")
        integration = account.objects.get(Thing("INTEGRATION", name)) if name else None
        if integration is None:
            return
        role_arn = integration.properties["STORAGE_AWS_ROLE_ARN"]
        try:
            given = self._sts.assume_role(
                RoleArn=role_arn,
                RoleSessionName="snowflake",
                ExternalId=integration.properties["STORAGE_AWS_EXTERNAL_ID"],
            )
        except ClientError as error:
            raise ProgrammingError(
                msg=f"SQL execution error:\nError assuming AWS_ROLE:\nUser: {SNOWFLAKE_USER_ARN} is not authorized to perform: "
                f"sts:AssumeRole on resource: {role_arn}",
                errno=3167,
                sqlstate="42601",
            ) from error
        try:
            self._files.use(properties["URL"], given["Credentials"])
        except ClientError as error:
            raise ProgrammingError(
                msg=f"Failed to access remote file: access denied. Please check your credentials. {error}",
                errno=3167,
                sqlstate="42601",
            ) from error
