"""The login of a data steward: a role that reads check results and adds limits and overrides, and can do nothing else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import boto3

from deploy.command import DeployError
from deploy.stages import Stage, account_of, read_stage
from deploy.warehouse_setup import connection, setup_parameters
from functions.platform import warehouse

# A user's default is all of its roles at once, and others of them can do more.
ONE_ROLE = "use secondary roles none"
LONGEST_REASON = 500


class QualityError(DeployError):
    """A limit, an override or a page is refused. The message contains the input and the next step."""


@dataclass(frozen=True)
class Steward:
    """A person at a stage, with a connection under the steward's role."""

    stage: Stage
    connection: Any
    name: str
    identity: str


@contextmanager
def steward(stage_name: str, by: str | None) -> Iterator[Steward]:
    """Connect as a steward. `by` is the person's name; by default it is that of the login.

    Raises:
        QualityError: Snowflake refuses the role, or a statement of it.
    """
    from snowflake.connector.errors import Error

    stage = read_stage(stage_name)
    session = boto3.Session(region_name=stage.region)
    sts = session.client("sts")
    account_id = account_of(stage, sts)
    identity = str(sts.get_caller_identity()["Arn"])
    login = warehouse.read_credentials(session.client("secretsmanager"), stage.secret_name)
    values = setup_parameters(stage, account_id, login)
    own = replace(login, role=f"{values['prefix']}_STEWARD", warehouse=values["reader_warehouse"])
    try:
        with connection(own) as connected:
            warehouse.rows(connected, ONE_ROLE)
            yield Steward(stage, connected, by or _name(identity), identity)
    except Error as error:
        raise QualityError(
            f"user {own.user} with role {own.role}: {error.msg}\nWithout the role, deploy once with an administrator's login "
            f"in the secret {stage.admin_secret_name} (docs/deploy.md)"
        ) from error


def required_reason(reason: str | None) -> str:
    """Return the reason without surrounding blanks.

    Raises:
        QualityError: it is empty or too long.
    """
    found = (reason or "").strip()
    if not found:
        raise QualityError('a decision needs a reason: repeat the command with REASON="..."')
    if len(found) > LONGEST_REASON:
        raise QualityError(
            f"the reason has {len(found)} characters, and {LONGEST_REASON} are allowed: shorten REASON"
        )
    return found


def make_stage(stage: Stage) -> str:
    """Return the argument of make that names the stage; nothing for the local one, which is the default."""
    return "" if stage.name == "local" else f" STAGE={stage.name}"


def _name(identity: str) -> str:
    """Return the name of the login on this machine, or the user or the session of the ARN if root is logged in."""
    login = os.environ.get("USER") or os.environ.get("LOGNAME") or "root"
    return identity.rpartition(":")[2].rpartition("/")[2] if login == "root" else login
