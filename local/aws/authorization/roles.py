"""Roles with their policies: those of moto's IAM, and after a restart those that services used last.

moto keeps roles in memory only, while endpoints and undelivered events survive a restart. Until the next deployment creates
the roles again, these act under the policies that their role had before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends

from local.aws.authorization import policies
from local.aws.journal import Journal
from local.aws.settings import ACCOUNT_ID, Settings


@dataclass(frozen=True)
class Role:
    """A role as the policy evaluation needs it; all documents are JSON."""

    arn: str
    trust: str
    documents: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the role, without its path."""
        return self.arn.rpartition("/")[2]

    @property
    def trust_policy(self) -> policies.Policy:
        """The policy that says who may assume the role."""
        return policies.parse(self.trust)

    @property
    def policies(self) -> tuple[policies.Policy, ...]:
        """Inline and attached policies."""
        return tuple(policies.parse(document) for document in self.documents)


class Roles:
    """All roles of the account."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._earlier: dict[str, Any] = journal.all("roles")
        self._kept = dict(self._earlier)

    def find(self, arn: str) -> Role | None:
        """Return the role with this ARN, or None."""
        found = _in_moto(arn)
        if found is not None:
            self._earlier.pop(arn, None)
            return found
        record = self._earlier.get(arn)
        return Role(arn, record["trust"], tuple(record["documents"])) if record else None

    def keep(self, role: Role) -> None:
        """Store a role that a service has assumed, for the next start."""
        record = {"trust": role.trust, "documents": list(role.documents)}
        if self._kept.get(role.arn) != record:
            self._kept[role.arn] = record
            self._journal.put("roles", role.arn, record)


def open_roles(settings: Settings) -> Roles:
    """Return the roles of the account with the journal of the last process."""
    return Roles(Journal(settings.state / "roles.json"))


def _in_moto(arn: str) -> Role | None:
    try:
        found = iam_backends[ACCOUNT_ID]["aws"].get_role_by_arn(arn)
    except NotFoundException:
        return None
    inline = [_text(document) for _, document in sorted(found.policies.items())]
    attached = [_text(policy.document) for _, policy in sorted(found.managed_policies.items())]
    return Role(arn, _text(found.assume_role_policy_document), (*inline, *attached))


def _text(document: Any) -> str:
    """Return a document as JSON text; moto stores some as objects."""
    return document if isinstance(document, str) else json.dumps(document)
