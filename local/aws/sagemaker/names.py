"""Names that SageMaker accepts; botocore does not check them, so a bad one would fail only on AWS."""

from __future__ import annotations

import re

from moto.sagemaker.exceptions import AWSValidationException

_PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def check(field: str, name: str, longest: int = 63) -> None:
    """Refuses a name as SageMaker does."""
    if not _PATTERN.fullmatch(name):
        raise AWSValidationException(
            f"1 validation error detected: Value '{name}' at '{field}' failed to satisfy constraint: Member must "
            f"satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){{0,{longest - 1}}}"
        )
    if len(name) > longest:
        raise AWSValidationException(
            f"1 validation error detected: Value '{name}' at '{field}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {longest}"
        )
