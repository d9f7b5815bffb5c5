"""Sessions of roles: a service assumes a role, and a process gets the credentials of the session through its environment.

The access key identifies the session in every later request. Signatures are not verified.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.sts.models import sts_backends

from local.aws.authorization import policies, record
from local.aws.authorization.policies import Call, Decision
from local.aws.authorization.roles import Roles
from local.aws.settings import ACCOUNT_ID
from local.environment import ACCESS_KEY, SNOWFLAKE_ACCESS_KEY, SNOWFLAKE_USER_ARN

# Principals with credentials of their own, by access key.
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT_ID}:user/administrator"
USERS = {ACCESS_KEY: ADMINISTRATOR, SNOWFLAKE_ACCESS_KEY: SNOWFLAKE_USER_ARN}


class AccessDenied(Exception):
    """A principal lacks a permission; the message is the one that AWS sends."""

    def __init__(self, principal: str, call: Call, decision: Decision) -> None:
        reason = (
            f"with an explicit deny in an identity-based policy for the {call.action} action"
            if decision is Decision.EXPLICITLY_DENIED
            else f"because no identity-based policy allows the {call.action} action"
        )
        super().__init__(
            f"User: {principal} is not authorized to perform: {call.action} on resource: {call.resource} {reason}"
        )


class CannotAssumeRole(Exception):
    """A role does not exist, or its trust policy does not name the principal."""


@dataclass(frozen=True)
class Session:
    """One session of a role."""

    role_arn: str
    name: str
    access_key: str
    secret_key: str
    token: str

    @property
    def arn(self) -> str:
        """ARN of the principal in messages."""
        return f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{self.role_arn.rpartition('/')[2]}/{self.name}"

    def environment(self) -> dict[str, str]:
        """Return the environment variables from which SDKs take credentials."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.token,
        }

    def permits(self, call: Call) -> bool:
        """Return True if the policies of the role allow a call, without recording it."""
        role = _roles().find(self.role_arn)
        return role is not None and policies.decide(role.policies, call) is Decision.ALLOWED

    def require(self, *calls: Call) -> None:
        """Authorize calls and record them.

        Raises:
            AccessDenied: the policies of the role do not allow one of them.
        """
        role = _roles().find(self.role_arn)
        documents = role.policies if role is not None else ()
        for call in calls:
            decision, statements = policies.evaluate(documents, call)
            record.decided(self.role_arn, call, decision, statements)
            if decision is not Decision.ALLOWED:
                raise AccessDenied(self.arn, call, decision)


_sessions: dict[str, Session] = {}
_by_service: dict[tuple[str, str, str], Session] = {}
_lock = threading.Lock()
_known_roles: Roles | None = None


def install(roles: Roles) -> None:
    """Set the roles that sessions are made of."""
    global _known_roles
    _known_roles = roles


def assume(role_arn: str, service: str, name: str, context: Mapping[str, str] | None = None) -> Session:
    """Return a session of a role for a service such as `lambda.amazonaws.com`. Calls with equal arguments share a session.

    `context` has the condition keys that this service sends to the trust policy, beside aws:SourceAccount.

    Raises:
        CannotAssumeRole: the role does not exist, or it does not trust the service.
    """
    role = _roles().find(role_arn)
    sent = {"aws:sourceaccount": ACCOUNT_ID, **(context or {})}
    lowered = Call("sts:AssumeRole", role_arn, sent).context
    if role is None or not policies.trusts(role.trust_policy, ("Service", service), lowered):
        raise CannotAssumeRole(
            f"The role {role_arn} does not exist or does not trust {service}. "
            "Check the AssumeRolePolicyDocument of the role."
        )
    _roles().keep(role)
    with _lock:
        session = _by_service.get((role_arn, service, name))
        if session is None:
            session = _by_service[role_arn, service, name] = _new(role_arn, name)
            _sessions[session.access_key] = session
    return session


def find(access_key: str) -> Session | None:
    """Return the session of an access key, also one that sts:AssumeRole created, or None."""
    session = _sessions.get(access_key)
    if session is not None:
        return session
    for assumed in list(sts_backends[ACCOUNT_ID]["aws"].assumed_roles):
        if assumed.access_key_id == access_key:
            session = Session(
                assumed.role_arn,
                assumed.session_name,
                access_key,
                assumed.secret_access_key,
                assumed.session_token,
            )
            _sessions[access_key] = session
            return session
    return None


def may_assume(user_arn: str, role_arn: str, context: Mapping[str, str]) -> bool:
    """Return True if a role exists and its trust policy lets a user assume it."""
    role = _roles().find(role_arn)
    sent = Call("sts:AssumeRole", role_arn, context).context
    if role is None or not policies.trusts(role.trust_policy, ("AWS", user_arn), sent):
        return False
    _roles().keep(role)
    return True


def on(resource: str, actions: Iterable[str], **context: Any) -> list[Call]:
    """Return one call per action on a resource."""
    return [Call(action, resource, context) for action in actions]


def _roles() -> Roles:
    assert _known_roles is not None, "call install() first"
    return _known_roles


def _new(role_arn: str, name: str) -> Session:
    return Session(
        role_arn=role_arn,
        name=name,
        access_key=f"ASIA{secrets.token_hex(8).upper()}",
        secret_key=secrets.token_hex(20),
        token=secrets.token_hex(32),
    )
