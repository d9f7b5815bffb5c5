"""What the contract tests of local/aws share: clients, tiny functions, waiting."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from local.environment import Stack

ROLE = "arn:aws:iam::123456789012:role/contract-tests"


@dataclass(frozen=True)
class Aws:
    """A running AWS process and clients for it."""

    environment: dict[str, str]
    stack: Stack

    def client(self, service: str, **config: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )

    def make_bucket(self) -> str:
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def make_function(self, source: str, *, modules: dict[str, str] | None = None, **settings: Any) -> str:
        """A function of one file, app.py, whose handler is `handler`; returns its name."""
        name = f"function-{uuid.uuid4().hex[:12]}"
        iam = self.client("iam")
        if not any(role["RoleName"] == "contract-tests" for role in iam.list_roles()["Roles"]):
            iam.create_role(RoleName="contract-tests", AssumeRolePolicyDocument="{}")
        given = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", **settings}
        code = {"ZipFile": make_zip({"app.py": source, **(modules or {})})}
        self.client("lambda").create_function(FunctionName=name, Code=code, **given)
        return name

    def invoke(self, name: str, event: Any = None) -> tuple[Any, str | None]:
        """What the function answered and the kind of its error, if any."""
        answer = self.client("lambda", read_timeout=60).invoke(
            FunctionName=name, Payload=json.dumps(event).encode()
        )
        return json.loads(answer["Payload"].read() or b"null"), answer.get("FunctionError")


def make_zip(members: dict[str, str]) -> bytes:
    """A zip of text files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


def wait_for(condition: Callable[[], Any], timeout_s: float = 15, every_s: float = 0.05) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(every_s)
    raise AssertionError(f"still not so after {timeout_s} s")
