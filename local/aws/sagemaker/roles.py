"""The roles of jobs and models."""

from __future__ import annotations

from moto.sagemaker.exceptions import AWSValidationException

from local.aws.authorization import sessions
from local.aws.authorization.sessions import CannotAssumeRole, Session


def assume(role_arn: str) -> Session:
    """Return the session of a job or a model.

    Raises:
        AWSValidationException: the role does not exist or does not trust SageMaker.
    """
    try:
        return sessions.assume(role_arn, "sagemaker.amazonaws.com", "SageMaker")
    except CannotAssumeRole:
        raise AWSValidationException(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        ) from None
