"""SimulatePrincipalPolicy, which moto 5.2.5 lacks: the credentials of this machine are the account's administrator's."""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse


def install() -> None:
    """Add the operation to moto's IAM."""

    def simulate_principal_policy(self: IamResponse) -> ActionResult:
        resources = self._get_param("ResourceArns") or ["*"]
        results = [
            {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": "allowed"}
            for action in self._get_param("ActionNames")
            for resource in resources
        ]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    IamResponse.simulate_principal_policy = simulate_principal_policy
