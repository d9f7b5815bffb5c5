"""Set Snowflake up: run sql/setup, and read whom the AWS role of Snowflake's integration has to trust."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from deploy import stack
from deploy.command import DeployError, Say
from deploy.stages import Stage
from functions.platform import warehouse
from functions.platform.errors import WarehouseUnavailable

# The connector vendors requests, which warns of dependency versions that are pinned here.
warnings.filterwarnings("ignore", message=".*doesn't match a supported version")

# Parameter of the template -> setting of the stage, property in DESC INTEGRATION.
TRUST = {
    "SnowflakeUserArn": ("snowflake_user_arn", "STORAGE_AWS_IAM_USER_ARN"),
    "SnowflakeExternalId": ("snowflake_external_id", "STORAGE_AWS_EXTERNAL_ID"),
}


class SetUpError(DeployError):
    """The warehouse cannot be reached or set up. The message ends with the next step."""


def set_up(stage: Stage, account_id: str, secrets: Any, say: Say) -> None:
    """Run sql/setup with the login of the secret tugboat/<stage>/snowflake-admin, else with the pipeline's own login.

    The pipeline's login may lack the rights. That is fine if the tables exist: an administrator created them earlier.

    Raises:
        SetUpError: the tables do not exist and cannot be created.
    """
    from snowflake.connector.errors import Error

    from sql.setup import apply as setup

    login = warehouse.read_credentials(secrets, stage.secret_name)
    admin_secret = f"{stage.secret_name}-admin"
    try:
        admin = warehouse.read_credentials(secrets, admin_secret)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        admin = login
    role_arn = f"arn:aws:iam::{account_id}:role/{stage.prefix}-snowflake"
    values = setup.parameters(login, stage.name, account_id, role_arn)
    try:
        with _connection(admin) as connection:
            say(f"warehouse {login.database}: applied {', '.join(setup.apply(connection, values))}")
    except Error as error:
        if admin is login and _is_set_up(login):
            say(
                f"warehouse {login.database}: left as it is, role {login.role} lacks the rights to change it ({error.errno})"
            )
            return
        raise SetUpError(
            f"sql/setup cannot be applied to {login.database}: {error.msg}\n"
            f"Store the login of a user with ACCOUNTADMIN as the secret {admin_secret}, with the fields of "
            f"{stage.secret_name}, deploy again, then delete the secret"
        ) from error


@contextmanager
def _connection(credentials: warehouse.Credentials) -> Iterator[Any]:
    try:
        with warehouse.connect(credentials) as connection:
            yield connection
    except WarehouseUnavailable as error:
        raise SetUpError(
            f"{error} Check account and host in the stage's secret, then deploy again"
        ) from error


def _is_set_up(login: warehouse.Credentials) -> bool:
    from snowflake.connector.errors import Error

    try:
        with warehouse.connect(login) as connection:
            connection.cursor().execute("select count(*) from RAW.LOAD_LOG where false")
    except Error:
        return False
    return True


def trust_parameters(stage: Stage, session: Any, say: Say) -> dict[str, str]:
    """Return the template's parameters that name whom Snowflake's role trusts.

    The values come from stages.toml, else from the integration, else from the deployed stack. Snowflake creates its AWS
    user and external id together with the integration, and the integration names the role. A first deployment therefore
    reads them between its two passes over the stack.
    """
    given = {parameter: str(getattr(stage, field)) for parameter, (field, _) in TRUST.items()}
    if all(given.values()):
        return given
    deployed = stack.describe(session.client("cloudformation"), stage.prefix) or {}
    before = {item["ParameterKey"]: item["ParameterValue"] for item in deployed.get("Parameters", [])}
    described = _describe_integration(stage, session.client("secretsmanager"))
    found = {
        parameter: given[parameter] or described.get(prop) or before.get(parameter, "")
        for parameter, (_, prop) in TRUST.items()
    }
    if not all(found.values()):
        say("DESC INTEGRATION names no AWS user: Snowflake's role trusts only this account for now")
        return dict.fromkeys(TRUST, "")
    return found


def _describe_integration(stage: Stage, secrets: Any) -> dict[str, str]:
    """Return the properties of the stage's storage integration. Empty if the login lacks the rights to see them."""
    from snowflake.connector.errors import Error

    from sql.setup import apply as setup

    login = warehouse.read_credentials(secrets, stage.secret_name)
    values = setup.parameters(login, stage.name, "", "")
    try:
        with _connection(login) as connection:
            rows = connection.cursor().execute(f"desc integration {values['integration']}").fetchall()
    except Error:
        return {}
    return {str(row[0]): str(row[2] or "") for row in rows}
