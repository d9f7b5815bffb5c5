"""Create the Snowflake login of dashboards: a service user that can read the marts and the check results, nothing else.

The command creates the user with a new key pair, opens a session with it, and stores it as a secret of the stage.
A second call gives the user a new key, so it also replaces a lost one. sql/reader.sql has the statements.
"""

import json
import sys
from dataclasses import asdict, replace
from typing import Any

from botocore.exceptions import ClientError

from deploy import warehouse_setup
from deploy.command import Progress, Say, exit_status, stage_parser
from deploy.rotate_snowflake_key import new_pair
from deploy.stages import Stage, account_of, read_stage
from deploy.warehouse_setup import SetUpError
from functions.platform import warehouse
from functions.platform.warehouse import Credentials

READER_FILE = warehouse_setup.TEARDOWN_FILE.with_name("reader.sql")


def create(stage: Stage, account_id: str, secrets: Any, say: Say) -> Credentials:
    """Create the user, give it a new key, store the login, and return it.

    Raises:
        SetUpError: there is no administrator's login, or Snowflake refuses a statement.
    """
    from snowflake.connector.errors import Error

    from sql.setup.apply import render

    admin = warehouse_setup.admin_login(stage, secrets)
    if admin is None:
        raise SetUpError(
            f"stage {stage.name} has no login for dashboards (secret {stage.reader_secret_name}), and only an "
            f"administrator can create it. Store the administrator's login as {stage.admin_secret_name} "
            f"(docs/deploy.md), run python -m deploy.reader_login --stage {stage.name}, then delete that secret"
        )
    pipeline = warehouse.read_credentials(secrets, stage.secret_name)
    values = warehouse_setup.setup_parameters(stage, account_id, pipeline)
    private_key, public_key = new_pair()
    login = replace(
        pipeline,
        user=values["reader_user"],
        private_key_pem=private_key,
        role=f"{values['prefix']}_READER",
        warehouse=values["reader_warehouse"],
    )
    try:
        with warehouse_setup.connection(admin) as connection:
            connection.execute_string(render(READER_FILE.read_text(), values), remove_comments=True)
            connection.cursor().execute(f"alter user {login.user} set rsa_public_key = '{public_key}'")
    except Error as error:
        raise SetUpError(
            f"user {admin.user} cannot create the user {login.user}: {error.msg}\n"
            "Correct the role in the administrator's secret, and deploy the stage before its dashboards. "
            "Then run the same command again"
        ) from error
    with warehouse_setup.connection(login) as connection:
        connection.cursor().execute("select 1")
    _store(stage, secrets, login)
    say(f"user {login.user} with role {login.role}: its login is in the secret {stage.reader_secret_name}")
    return login


def ensure(stage: Stage, account_id: str, secrets: Any, say: Say) -> Credentials:
    """Return the stored login, or create one if the secret is missing.

    Raises:
        SetUpError: there is neither the login nor an administrator's, or Snowflake refuses a statement.
    """
    try:
        return warehouse.read_credentials(secrets, stage.reader_secret_name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
    return create(stage, account_id, secrets, say)


def _store(stage: Stage, secrets: Any, login: Credentials) -> None:
    text = json.dumps(asdict(login))
    try:
        secrets.create_secret(Name=stage.reader_secret_name, SecretString=text)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceExistsException":
            raise
        secrets.put_secret_value(SecretId=stage.reader_secret_name, SecretString=text)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    import boto3

    parser = stage_parser("deploy.reader_login", __doc__, "--stage prod")
    args = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        session = boto3.Session(region_name=stage.region)
        account_id = account_of(stage, session.client("sts"))
        create(stage, account_id, session.client("secretsmanager"), Progress())
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
