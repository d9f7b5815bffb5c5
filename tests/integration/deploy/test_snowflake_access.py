"""The trust between Snowflake and AWS, changes of a stage, and the rotation of the key, on a local stack."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from snowflake.connector.errors import ProgrammingError

from deploy import warehouse_setup
from deploy.rotate_snowflake_key import rotate
from deploy.stages import read_stage
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.errors import WarehouseUnavailable
from functions.platform.settings import WarehouseSettings
from local import environment
from local.clients import aws_client
from local.ports import free_port_base
from local.testing import running_stack
from sql.setup.apply import apply

LOCAL = read_stage("local")
ACCOUNT = LOCAL.account_id
SETTINGS = WarehouseSettings(
    stage="local",
    events_bucket=LOCAL.events_bucket(ACCOUNT),
    models_bucket=LOCAL.models_bucket(ACCOUNT),
    snowflake_secret=LOCAL.secret_name,
    shop="demo",
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[environment.Stack]:
    """Run a local AWS and a local Snowflake, with an event in the events bucket."""
    made = environment.Stack(free_port_base(), tmp_path_factory.mktemp("access"))
    with running_stack(made.state, made.port_base):
        s3 = aws_client("s3", made.aws_url)
        for bucket in (SETTINGS.events_bucket, SETTINGS.models_bucket, "moved-events"):
            s3.create_bucket(Bucket=bucket)
            s3.put_object(Bucket=bucket, Key="raw/2026/01/02/00/1.gz", Body=gzip.compress(b'{"a": 1}\n'))
        yield made


@pytest.fixture
def secrets(stack: environment.Stack) -> Any:
    return aws_client("secretsmanager", stack.aws_url)


def silent(_: str) -> None:
    """Discard a line of progress."""


def load_files(secrets: Any, run_id: str) -> int:
    with warehouse.connect(warehouse.read_credentials(secrets, LOCAL.secret_name)) as connection:
        return load({"run_id": run_id}, SETTINGS, connection)["files_loaded"]


def trust(stack: environment.Stack, user_arn: str, external_id: str) -> None:
    """Make the AWS role of Snowflake trust a user, as the template does."""
    iam = aws_client("iam", stack.aws_url)
    document = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": user_arn},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
                }
            ],
        }
    )
    name = f"{LOCAL.prefix}-snowflake"
    try:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
    except iam.exceptions.EntityAlreadyExistsException:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=document)
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    own = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=own)


def test_an_access_of_snowflake_from_setup_to_rotation(stack: environment.Stack, secrets: Any) -> None:
    without_admin = Hiding(secrets, LOCAL.admin_secret_name)

    # Nothing is set up, and only an administrator may do it.
    with pytest.raises(
        warehouse_setup.SetUpError, match="Store the login of a user with the role ACCOUNTADMIN"
    ):
        warehouse_setup.set_up(LOCAL, ACCOUNT, without_admin, silent)
    warehouse_setup.set_up(LOCAL, ACCOUNT, secrets, silent)
    warehouse_setup.set_up(LOCAL, ACCOUNT, without_admin, silent)

    # COPY needs the AWS role to trust Snowflake's own user with the external id.
    trusted = warehouse_setup.trust_parameters(LOCAL, secrets)
    assert warehouse_setup.trust_parameters(LOCAL, without_admin) == trusted
    trust(stack, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
    with pytest.raises(ProgrammingError, match="Error assuming AWS_ROLE"):
        load_files(secrets, "refused")
    trust(stack, trusted["SnowflakeUserArn"], "another id")
    with pytest.raises(ProgrammingError, match="Error assuming AWS_ROLE"):
        load_files(secrets, "refused")
    trust(stack, trusted["SnowflakeUserArn"], trusted["SnowflakeExternalId"])
    assert load_files(secrets, "first") == 1

    # A changed bucket and role take effect, and neither the trust nor the record of loaded files is lost.
    admin = warehouse.read_credentials(secrets, LOCAL.admin_secret_name)
    login = warehouse.read_credentials(secrets, LOCAL.secret_name)
    values = warehouse_setup.setup_parameters(LOCAL, ACCOUNT, login)
    with warehouse.connect(admin) as connection:
        apply(connection, values | {"events_bucket": "moved-events"})
        stages = warehouse.rows(connection, "show stages in database TUGBOAT")
    assert any("s3://moved-events/raw/" in map(str, stage) for stage in stages)
    assert load_files(secrets, "moved") == 1
    warehouse_setup.set_up(LOCAL, ACCOUNT, secrets, silent)
    assert load_files(secrets, "back") == 0
    assert warehouse_setup.trust_parameters(LOCAL, secrets) == trusted

    # Without the grant on the integration a deployment without an administrator stops.
    with warehouse.connect(admin) as connection:
        connection.cursor().execute(f"revoke usage on integration TUGBOAT_S3 from role {login.role}")
    with pytest.raises(warehouse_setup.SetUpError, match="cannot describe the integration TUGBOAT_S3"):
        warehouse_setup.trust_parameters(LOCAL, without_admin)

    # A rotation makes the old key useless, and the secret always holds a key that works.
    for _ in range(2):
        old = warehouse.read_credentials(secrets, LOCAL.secret_name)
        rotate(LOCAL, secrets, silent)
        new = warehouse.read_credentials(secrets, LOCAL.secret_name)
        assert replace(new, private_key_pem="") == replace(old, private_key_pem="")
        with warehouse.connect(new) as connection:
            assert warehouse.one(connection, "select 1") == (1,)
        with pytest.raises(WarehouseUnavailable), warehouse.connect(old):
            pass
    with pytest.raises(warehouse_setup.SetUpError, match="only an administrator can change the key"):
        rotate(LOCAL, Hiding(secrets, LOCAL.admin_secret_name), silent)


class Hiding:
    """Secrets Manager without one secret."""

    def __init__(self, secrets: Any, hidden: str) -> None:
        self._secrets, self._hidden = secrets, hidden

    def get_secret_value(self, SecretId: str) -> Any:
        name = "no-such-secret" if SecretId == self._hidden else SecretId
        return self._secrets.get_secret_value(SecretId=name)
