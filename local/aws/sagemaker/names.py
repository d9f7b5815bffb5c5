"""Names that SageMaker accepts. botocore does not check them, so an invalid name would fail only on AWS."""

from __future__ import annotations

import re

from moto.sagemaker.exceptions import AWSValidationException

_PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def check(field: str, name: str, max_length: int = 63) -> None:
    """Refuse an invalid name as SageMaker does.

    Raises:
        AWSValidationException: the name has invalid characters or is too long.
    """
    if not _PATTERN.fullmatch(name):
        raise AWSValidationException(
            f"1 validation error detected: Value '{name}' at '{field}' failed to satisfy constraint: Member must "
            f"satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){{0,{max_length - 1}}}"
        )
    if len(name) > max_length:
        raise AWSValidationException(
            f"1 validation error detected: Value '{name}' at '{field}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {max_length}"
        )
