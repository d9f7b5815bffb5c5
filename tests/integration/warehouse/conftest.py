"""A local warehouse and an S3 for these tests alone, on free ports, in temporary folders."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from functions.platform import warehouse
from functions.platform.settings import WarehouseSettings
from local.processes import free_port
from sql.setup.apply import apply, parameters

REPOSITORY = Path(__file__).resolve().parents[3]
ACCOUNT = "123456789012"


@dataclass
class Server:
    """A local warehouse process that can be killed, and started again on its state."""

    state: Path
    s3_url: str
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "local.warehouse", "--port", str(self.port)]
        command += ["--state", str(self.state), "--aws-endpoint", self.s3_url]
        self.process = _spawn(command, self.state.with_suffix(".log"))
        _wait_for(f"http://127.0.0.1:{self.port}/health", self.process)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(timeout=20)


@dataclass(frozen=True)
class Stack:
    """The S3 client, settings and credentials of a test."""

    s3: Any
    settings: WarehouseSettings
    credentials: warehouse.Credentials


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "moto.log"
    process = _spawn([sys.executable, "-m", "moto.server", "-p", str(port)], log)
    _wait_for(f"http://127.0.0.1:{port}/moto-api/", process)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, s3_url: str) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("warehouse") / "state", s3_url, free_port())
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def credentials(server: Server) -> warehouse.Credentials:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return warehouse.Credentials(
        account="local",
        user="TUGBOAT_PIPELINE",
        private_key_pem=pem.decode(),
        role="TUGBOAT_PIPELINE",
        warehouse="TUGBOAT",
        database="TUGBOAT",
        host="127.0.0.1",
        port=server.port,
        protocol="http",
    )


@pytest.fixture(scope="session")
def new_stack(server: Server, s3_url: str, credentials: warehouse.Credentials) -> Any:
    """Return a function that makes a database and its buckets: `new_stack("late")`."""
    s3 = boto3.client(
        "s3",
        endpoint_url=s3_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )

    def make(name: str) -> Stack:
        own = replace(credentials, database=f"TUGBOAT_{name.upper()}")
        settings = WarehouseSettings(
            stage=name,
            events_bucket=f"tugboat-{name}-events-{ACCOUNT}",
            models_bucket=f"tugboat-{name}-models-{ACCOUNT}",
            snowflake_secret=f"tugboat/{name}/snowflake",
            shop="demo",
        )
        s3.create_bucket(Bucket=settings.events_bucket)
        s3.create_bucket(Bucket=settings.models_bucket)
        with warehouse.connect(own) as connection:
            apply(connection, parameters(own, name, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/tugboat"))
        return Stack(s3, settings, own)

    return make


@contextmanager
def connected(stack: Stack) -> Iterator[Any]:
    """Open a connection to a stack's database."""
    with warehouse.connect(stack.credentials) as connection:
        yield connection


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONWARNINGS": "ignore"}
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output, env=environment)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{url} ended with {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
