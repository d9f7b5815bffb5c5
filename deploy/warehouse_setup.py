"""Set Snowflake up: run sql/setup, and read whom the AWS role of Snowflake's integration has to trust."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy import step_jobs
from deploy.command import DeployError, Progress, Say, exit_status, stage_parser
from deploy.stages import Stage, read_stage
from deploy.warehouse_sizes import step_warehouse_sizes
from functions.platform import warehouse
from functions.platform.errors import WarehouseUnavailable
from functions.platform.settings import SHARED

# The connector vendors requests, which warns of dependency versions that are pinned here.
warnings.filterwarnings("ignore", message=".*doesn't match a supported version")

# Parameter of the template -> setting of the stage, property in DESC INTEGRATION.
TRUST = {
    "SnowflakeUserArn": ("snowflake_user_arn", "STORAGE_AWS_IAM_USER_ARN"),
    "SnowflakeExternalId": ("snowflake_external_id", "STORAGE_AWS_EXTERNAL_ID"),
}
ADMIN_LOGIN = (
    "Store the login of a user with the role ACCOUNTADMIN as the secret {secret}, with the fields of {of} and "
    '"role": "ACCOUNTADMIN", and deploy again; delete the secret afterwards (docs/deploy.md)'
)


# A statement ends before the step that sent it, so that the step can report the error.
STATEMENT_MARGIN_S = 60
TEARDOWN_FILE = Path(__file__).resolve().parent.parent / "sql" / "teardown.sql"


class SetUpError(DeployError):
    """The warehouse cannot be reached or set up. The message ends with the next step."""


def set_up(stage: Stage, account_id: str, secrets: Any, say: Say) -> None:
    """Run sql/setup with the login of an administrator.

    Without the secret of an administrator nothing is changed. That is fine if sql/setup ran earlier.

    Raises:
        SetUpError: Snowflake refuses a statement, or there is neither an administrator's login nor an earlier setup.
    """
    from snowflake.connector.errors import Error

    from sql.setup.apply import apply

    login = warehouse.read_credentials(secrets, stage.secret_name)
    admin = admin_login(stage, secrets)
    if admin is None:
        if not _is_set_up(login):
            raise SetUpError(
                f"role {login.role} finds no tables in {login.database}, and only an administrator can create them. "
                + _admin_login_needed(stage)
            )
        if missing := _missing_warehouses(stage, login):
            raise SetUpError(
                f"role {login.role} finds no warehouse {', '.join(missing)}, which a setting of stage {stage.name} asks for, "
                "and only an administrator can create it. " + _admin_login_needed(stage)
            )
        say(f"warehouse {login.database}: unchanged, there is no secret {stage.admin_secret_name}")
        return
    try:
        with connection(admin) as connected:
            applied = apply(connected, setup_parameters(stage, account_id, login))
    except Error as error:
        raise SetUpError(
            f"user {admin.user} cannot apply sql/setup to {login.database}: {error.msg}\n"
            + _admin_login_needed(stage)
        ) from error
    say(f"warehouse {login.database}: applied {', '.join(applied)}")


def tear_down(stage: Stage, account_id: str, secrets: Any, say: Say) -> bool:
    """Drop everything that sql/setup created, with all data; return False if there is no administrator's login.

    Raises:
        SetUpError: Snowflake refuses a statement.
    """
    from snowflake.connector.errors import Error

    from sql.setup.apply import render

    admin = admin_login(stage, secrets)
    if admin is None:
        return False
    login = warehouse.read_credentials(secrets, stage.secret_name)
    statements = render(TEARDOWN_FILE.read_text(), setup_parameters(stage, account_id, login))
    try:
        with connection(admin) as connected:
            connected.execute_string(statements, remove_comments=True)
    except Error as error:
        raise SetUpError(
            f"user {admin.user} cannot drop {login.database}: {error.msg}\n" + _admin_login_needed(stage)
        ) from error
    say(f"dropped database {login.database} with its warehouses, monitors, integration and roles")
    return True


def setup_parameters(stage: Stage, account_id: str, login: warehouse.Credentials) -> dict[str, str]:
    """Return the values that sql/setup uses for a stage."""
    from sql.setup.apply import parameters

    return parameters(
        login,
        stage.name,
        account_id,
        f"arn:aws:iam::{account_id}:role/{stage.prefix}-snowflake",
        warehouse_size=stage.warehouse_size,
        step_warehouse_sizes=step_warehouse_sizes(stage),
        statement_timeout_seconds=step_jobs.step_timeout_s(stage) - STATEMENT_MARGIN_S,
        credits_per_month=stage.warehouse_credits_per_month,
        reader_credits_per_month=stage.reader_credits_per_month,
        snowpipe=stage.load_by == "snowpipe",
    )


def admin_login(stage: Stage, secrets: Any) -> warehouse.Credentials | None:
    """Return the login of the stage's Snowflake administrator, or None if no secret holds it."""
    try:
        return warehouse.read_credentials(secrets, stage.admin_secret_name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None


@contextmanager
def connection(credentials: warehouse.Credentials) -> Iterator[Any]:
    """Open a connection for a command.

    Raises:
        SetUpError: the login is refused, or Snowflake does not answer.
    """
    try:
        with warehouse.connect(credentials) as connected:
            yield connected
    except WarehouseUnavailable as error:
        raise SetUpError(
            f"user {credentials.user} with role {credentials.role}: {error} "
            "Check account, host, role and key in the stage's secret, then run the same command again"
        ) from error


def _admin_login_needed(stage: Stage) -> str:
    return ADMIN_LOGIN.format(secret=stage.admin_secret_name, of=stage.secret_name)


def _is_set_up(login: warehouse.Credentials) -> bool:
    """Return True if the pipeline's role sees the tables. Before the setup, the role itself does not exist."""
    from snowflake.connector.errors import Error

    try:
        with warehouse.connect(login) as connected:
            connected.cursor().execute("select count(*) from RAW.LOAD_LOG where false")
    except (Error, WarehouseUnavailable):
        return False
    return True


def _missing_warehouses(stage: Stage, login: warehouse.Credentials) -> list[str]:
    """Return the steps' own warehouses that the stage sets and the pipeline's role cannot use."""
    wanted = {
        login.step_warehouse(step) for step, size in step_warehouse_sizes(stage).items() if size != SHARED
    }
    if not wanted:
        return []
    with connection(login) as connected:
        rows = connected.cursor().execute("show warehouses").fetchall()
    return sorted(wanted - {str(row[0]) for row in rows})


def trust_parameters(stage: Stage, secrets: Any) -> dict[str, str]:
    """Return the template's parameters that name whom Snowflake's role trusts.

    The values come from stages.toml, else from the integration. Snowflake creates its AWS user and external id together
    with the integration, and the integration names the role. A deployment therefore reads them between its two passes
    over the stack.

    Raises:
        SetUpError: no login may describe the integration, or it names no AWS user.
    """
    given = {parameter: str(getattr(stage, field)) for parameter, (field, _) in TRUST.items()}
    if all(given.values()):
        return given
    described = _describe_integration(stage, secrets)
    found = {parameter: given[parameter] or described.get(name, "") for parameter, (_, name) in TRUST.items()}
    if not all(found.values()):
        raise SetUpError(
            "DESC INTEGRATION names no AWS user or external id, so Snowflake could not read S3. Is its type "
            "external_stage and its provider S3? Correct it, or set snowflake_user_arn and snowflake_external_id in "
            "deploy/stages.toml, then deploy again"
        )
    return found


def pipe_parameters(stage: Stage, secrets: Any) -> dict[str, str]:
    """Return the template's parameter that names the queue of the stage's pipe: empty for a stage without a pipe.

    Snowflake creates the queue together with the pipe. S3 then notifies it of each file below raw/.

    Raises:
        SetUpError: no login may describe the pipe.
    """
    from snowflake.connector import DictCursor
    from snowflake.connector.errors import Error

    from sql.setup.apply import PIPE

    if stage.load_by != "snowpipe":
        return {"SnowpipeQueueArn": ""}
    login = admin_login(stage, secrets) or warehouse.read_credentials(secrets, stage.secret_name)
    pipe = f"{warehouse.read_credentials(secrets, stage.secret_name).database}.RAW.{PIPE}"
    try:
        with connection(login) as connected, connected.cursor(DictCursor) as cursor:
            (row,) = cursor.execute(f"desc pipe {pipe}").fetchall()
    except Error as error:
        raise SetUpError(
            f"user {login.user} with role {login.role} cannot describe the pipe {pipe}: {error.msg}\n"
            "Without the queue that it names, S3 could not notify Snowpipe, and no event would be loaded. "
            + _admin_login_needed(stage)
        ) from error
    return {"SnowpipeQueueArn": str(row["notification_channel"])}


def _describe_integration(stage: Stage, secrets: Any) -> dict[str, str]:
    """Return the properties of the stage's storage integration.

    An administrator's login goes first: a setup that an older version made lacks the grant to the pipeline's role.
    """
    from snowflake.connector.errors import Error

    from sql.setup.apply import integration

    login = admin_login(stage, secrets) or warehouse.read_credentials(secrets, stage.secret_name)
    name = integration(stage.name)
    try:
        with connection(login) as connected:
            rows = connected.cursor().execute(f"desc integration {name}").fetchall()
    except Error as error:
        raise SetUpError(
            f"user {login.user} with role {login.role} cannot describe the integration {name}: {error.msg}\n"
            "Without the AWS user that it names, Snowflake's AWS role cannot trust Snowflake, and every load would fail. "
            + _admin_login_needed(stage)
        ) from error
    return {str(row[0]): str(row[2] or "") for row in rows}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    import boto3

    parser = stage_parser(
        "deploy.warehouse_setup",
        "Run sql/setup alone, with the administrator's login. A deployment does the same.",
        "--stage dev --dry-run",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the statements, and run nothing")
    args = parser.parse_args(arguments)

    def run() -> int:
        from sql.setup.apply import rendered

        stage = read_stage(args.stage)
        session = boto3.Session(region_name=stage.region)
        account_id = str(session.client("sts").get_caller_identity()["Account"])
        secrets = session.client("secretsmanager")
        if args.dry_run:
            login = warehouse.read_credentials(secrets, stage.secret_name)
            print("\n".join(rendered(setup_parameters(stage, account_id, login)).values()))
            return 0
        set_up(stage, account_id, secrets, Progress())
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
