"""A running AWS process for contract tests: clients, buckets and small Lambda functions."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.config import Config

from local.clients import aws_client
from local.environment import Stack
from local.ports import free_port_base
from local.testing import running_stack

# A role that may do everything, for tests that are about something else.
ROLE = "arn:aws:iam::123456789012:role/contract-tests"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2"
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
SERVICES = [
    f"{name}.amazonaws.com" for name in ("codebuild", "events", "firehose", "lambda", "sagemaker", "states")
]


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

    def make_role(self, name: str, *statements: dict[str, Any]) -> str:
        """Create a role that all local services and the account's users may assume; return its ARN."""
        principals = {"Service": SERVICES, "AWS": "arn:aws:iam::123456789012:root"}
        trust = {"Effect": "Allow", "Principal": principals, "Action": "sts:AssumeRole"}
        iam = self.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return str(role["Arn"])

    def make_bucket(self) -> str:
        """Create a bucket; return its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def make_function(self, source: str, *, modules: dict[str, str] | None = None, **settings: Any) -> str:
        """Create a function from the source of app.py, with the handler `handler`; return its name."""
        name = f"function-{uuid.uuid4().hex[:12]}"
        given = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", **settings}
        code = {"ZipFile": make_zip({"app.py": source, **(modules or {})})}
        self.client("lambda").create_function(FunctionName=name, Code=code, **given)
        return name

    def permit(self, name: str, service: str, source_arn: str) -> None:
        """Let a service invoke a function for a source, such as a rule of EventBridge."""
        self.client("lambda").add_permission(
            FunctionName=name,
            StatementId=uuid.uuid4().hex,
            Action="lambda:InvokeFunction",
            Principal=f"{service}.amazonaws.com",
            SourceArn=source_arn,
        )

    def invoke(self, name: str, event: Any = None) -> tuple[Any, str | None]:
        """Return the function's response and the kind of its error, if any."""
        response = self.client("lambda", read_timeout=60).invoke(
            FunctionName=name, Payload=json.dumps(event).encode()
        )
        return json.loads(response["Payload"].read() or b"null"), response.get("FunctionError")


def document(*statements: dict[str, Any]) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def make_zip(members: dict[str, str]) -> bytes:
    """Return a zip of text files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


@contextmanager
def running_aws(state: Path) -> Iterator[Aws]:
    """Run a local AWS without a warehouse, with a role that may do everything."""
    base = free_port_base()
    with running_stack(state, base, warehouse=False) as environment:
        aws = Aws(environment, Stack(base, state))
        aws.make_role(ROLE.rpartition("/")[2], EVERYTHING)
        yield aws
