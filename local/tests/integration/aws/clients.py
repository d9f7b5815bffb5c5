"""A running AWS process for contract tests: clients, buckets and small Lambda functions."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from dataclasses import dataclass
from typing import Any

from botocore.config import Config

from local.clients import aws_client
from local.environment import Stack

ROLE = "arn:aws:iam::123456789012:role/contract-tests"


@dataclass(frozen=True)
class Aws:
    """A running AWS process and clients for it."""

    environment: dict[str, str]
    stack: Stack

    def client(self, service: str, **config: Any) -> Any:
        """Return a client that does not retry; `config` are options of botocore's Config."""
        # A second try, as the SDKs make: moto 5.2.5 rarely answers 500 to a call that races with a running execution.
        own_config = Config(retries={"total_max_attempts": 2, "mode": "standard"}, **config)
        return aws_client(service, self.stack.aws_url, config=own_config)

    def make_bucket(self) -> str:
        """Create a bucket; return its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def make_function(self, source: str, *, modules: dict[str, str] | None = None, **settings: Any) -> str:
        """Create a function from the source of app.py, with the handler `handler`; return its name."""
        name = f"function-{uuid.uuid4().hex[:12]}"
        iam = self.client("iam")
        if not any(role["RoleName"] == "contract-tests" for role in iam.list_roles()["Roles"]):
            iam.create_role(RoleName="contract-tests", AssumeRolePolicyDocument="{}")
        given = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", **settings}
        code = {"ZipFile": make_zip({"app.py": source, **(modules or {})})}
        self.client("lambda").create_function(FunctionName=name, Code=code, **given)
        return name

    def invoke(self, name: str, event: Any = None) -> tuple[Any, str | None]:
        """Return the function's response and the kind of its error, if any."""
        response = self.client("lambda", read_timeout=60).invoke(
            FunctionName=name, Payload=json.dumps(event).encode()
        )
        return json.loads(response["Payload"].read() or b"null"), response.get("FunctionError")


def make_zip(members: dict[str, str]) -> bytes:
    """Return a zip of text files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()
