"""Processor time of a request at the local AWS: as the administrator, whom no policy limits, and under a role."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3

from benchmarks.conditions import conditions, parser
from local import processes
from local.clients import aws_client
from local.testing import running_stack

ROLE = "benchmark"
ROUND = 100


def main() -> None:
    """Measure and print one JSON line."""
    options = parser("authorization", str(__doc__), "--requests 2000")
    options.add_argument("--requests", type=int, default=2000, help="requests of each kind (default: 2000)")
    arguments = options.parse_args()
    with (
        TemporaryDirectory() as folder,
        running_stack(Path(folder), warehouse=False) as environment,
    ):
        url = environment["AWS_ENDPOINT_URL"]
        aws_client("s3", url).create_bucket(Bucket="bucket")
        aws_client("s3", url).put_object(Bucket="bucket", Key="key", Body=b"x")
        clients = {"administrator": aws_client("s3", url), "role": _client_of_role(url)}
        record = processes.read_record(Path(folder) / "pids" / "aws.json")
        assert record is not None, "running_stack() has started the AWS process"
        spent = dict.fromkeys(clients, 0.0)
        for _ in range(arguments.requests // ROUND):  # in turns, because other processes use the same cores
            for name, client in clients.items():
                spent[name] += _processor_s(record["pid"], client)
    per_request = {
        f"{name}_ms": round(seconds / arguments.requests * 1000, 3) for name, seconds in spent.items()
    }
    print(json.dumps({**conditions("authorization", requests=arguments.requests), **per_request}))


def _processor_s(pid: int, client: Any) -> float:
    """Return the processor time that the AWS process needs for one round of requests."""
    before = _processor_time_s(pid)
    for _ in range(ROUND):
        client.head_object(Bucket="bucket", Key="key")
    return _processor_time_s(pid) - before


def _processor_time_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _client_of_role(url: str) -> Any:
    """Return a client of a role with ten statements, of which the last allows the request."""
    iam = aws_client("iam", url)
    trust = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    others = [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": f"arn:aws:s3:::other{n}/*",
        }
        for n in range(9)
    ]
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
    role = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=_document(trust))["Role"]
    iam.put_role_policy(RoleName=ROLE, PolicyName="own", PolicyDocument=_document(*others, allow))
    given = aws_client("sts", url).assume_role(RoleArn=role["Arn"], RoleSessionName=ROLE)["Credentials"]
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


if __name__ == "__main__":
    main()
