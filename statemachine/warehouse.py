"""The warehouse's side of a deployment: sql/setup, and the trust between Snowflake's integration and its AWS role."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from functions.platform import warehouse
from functions.platform.errors import WarehouseUnavailable
from statemachine import stack
from statemachine.stages import Stage

# The connector brings a requests of its own, which does not know the versions of its neighbours that are pinned here.
warnings.filterwarnings("ignore", message=".*doesn't match a supported version")

TRUST = {
    "SnowflakeUserArn": ("snowflake_user_arn", "STORAGE_AWS_IAM_USER_ARN"),
    "SnowflakeExternalId": ("snowflake_external_id", "STORAGE_AWS_EXTERNAL_ID"),
}


class SetUpError(Exception):
    """The warehouse cannot be reached or set up; the message ends with the next step to take."""


def set_up(stage: Stage, account_id: str, secrets: Any, say: Callable[[str], None]) -> None:
    """Runs sql/setup, as the administrator of the secret tugboat/<stage>/snowflake-admin where there is one.

    Without it the pipeline's own login tries. Where that may not, and the tables are there, all is well: an
    administrator was here before.

    Raises:
        SetUpError: the tables are not there and cannot be made.
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
            say(f"warehouse {login.database}: left as it is, {login.role} may not change it ({error.errno})")
            return
        raise SetUpError(
            f"sql/setup cannot be applied to {login.database}: {error.msg}\n"
            f"Store the login of a user with ACCOUNTADMIN as the secret {admin_secret}, with the fields of "
            f"{stage.secret_name}, deploy again, and delete it afterwards"
        ) from error


@contextmanager
def _connection(credentials: warehouse.Credentials) -> Iterator[Any]:
    try:
        with warehouse.connect(credentials) as connection:
            yield connection
    except WarehouseUnavailable as error:
        raise SetUpError(f"{error} Look whether account and host in the stage's secret are right") from error


def _is_set_up(login: warehouse.Credentials) -> bool:
    from snowflake.connector.errors import Error

    try:
        with warehouse.connect(login) as connection:
            connection.cursor().execute("select count(*) from RAW.LOAD_LOG where false")
    except Error:
        return False
    return True


def trust_parameters(stage: Stage, session: Any, say: Callable[[str], None]) -> dict[str, str]:
    """Whom Snowflake's role trusts: by stages.toml, else by the integration, else as the stack has it.

    Snowflake names its AWS user and external id only once the integration exists, which names the role: that is why a
    first deployment asks here between its two passes over the stack.
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
        say("Snowflake told no AWS user of its integration: its role trusts this account alone for now")
        return dict.fromkeys(TRUST, "")
    return found


def _describe_integration(stage: Stage, secrets: Any) -> dict[str, str]:
    """Properties of the stage's storage integration; none where the login may not see them."""
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
