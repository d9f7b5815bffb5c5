"""Updates of stacks: moto 5.2.5 ignores changed policies of a role, and forgets the parameters of an executed change set."""

from __future__ import annotations

import json
from typing import Any

from moto.cloudformation.models import ChangeSet
from moto.iam.models import Role

from local.aws.patching import patch_resource_type


def install() -> None:
    """Patch the update of roles in templates, and the execution of change sets."""
    patch_resource_type(Role, after=_follow_template)
    apply = ChangeSet.apply

    def apply_and_keep_parameters(self: ChangeSet) -> None:
        apply(self)
        self.stack.parameters = self.parameters

    ChangeSet.apply = apply_and_keep_parameters


def _follow_template(role: Any, properties: dict[str, Any]) -> None:
    """Set the trust policy and the inline policies of the template, and remove other inline policies."""
    trust = properties["AssumeRolePolicyDocument"]
    role.assume_role_policy_document = trust if isinstance(trust, str) else json.dumps(trust, default=str)
    policies = {policy["PolicyName"]: policy["PolicyDocument"] for policy in properties.get("Policies", [])}
    for name in set(role.policies) - set(policies):
        role.delete_policy(name)
    for name, document in policies.items():
        role.put_policy(name, document)
