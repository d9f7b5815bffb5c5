"""The container of an endpoint: the image and the archive of its model, started by `serve` as on SageMaker."""

from __future__ import annotations

import http.client
import resource
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from local import ports, processes
from local.aws.authorization import documented, sessions
from local.aws.authorization.sessions import Session
from local.aws.ecr import Registry
from local.aws.sagemaker import files
from local.aws.sagemaker.container import Container, open_log
from local.aws.settings import HOST, Settings

STARTUP_TIMEOUT_S = 180
INVOCATION_TIMEOUT_S = 60


class ServerFailed(RuntimeError):
    """The model server did not become healthy; the message contains the end of its log."""


@dataclass(frozen=True)
class ModelSpec:
    """One model and its serving limits."""

    endpoint: str
    variant: str
    role_arn: str
    image: str
    model_data_url: str
    environment: Mapping[str, str]
    memory_mb: int | None


@dataclass(frozen=True)
class ServerResponse:
    """The HTTP response of a model server."""

    status: int
    body: bytes
    content_type: str


class ModelServer:
    """One process that serves a model."""

    def __init__(self, settings: Settings, registry: Registry, spec: ModelSpec) -> None:
        session = _session(spec)
        image = registry.find(spec.image)
        if image is None:
            raise ServerFailed(f"Requested image {spec.image} not found.")
        self.spec = spec
        self.log = settings.logs / "endpoint" / f"{spec.endpoint}.log"
        container = Container(settings, session, "endpoint", f"{spec.endpoint}/{uuid.uuid4().hex[:8]}")
        self._root = container.root
        files.unpack(_archive(session, spec), container.path("/opt/ml/model"))
        self.port = ports.free_port()
        # Docker publishes a port on one address. A process needs BIND_HOST to listen on that address only.
        network = {"SAGEMAKER_BIND_TO_PORT": str(self.port), "BIND_HOST": HOST}
        env = {**image.environment, **spec.environment, **network}
        self.process: subprocess.Popen[bytes] = processes.spawn(
            ["serve"], log=self.log, env=container.environment(env, image.programs), cwd=container.root
        )
        _limit_memory(self.process.pid, spec.memory_mb)
        self._record = processes.record(
            settings.children, self.process.pid, kind="endpoint", name=spec.endpoint
        )

    def wait_until_healthy(self) -> None:
        """Wait until /ping answers 200.

        Raises:
            ServerFailed: the process ended, or it was not healthy in time.
        """
        deadline = time.monotonic() + STARTUP_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self._request("GET", "/ping", b"", {}, timeout_s=2).status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        last_lines = self.log.read_text(errors="replace").strip().splitlines()[-6:]
        raise ServerFailed(
            "The primary container for production variant "
            f"{self.spec.variant} did not pass the ping health check. "
            f"Its log ends with: {' | '.join(last_lines)[-800:]}"
        )

    def invoke(self, body: bytes, content_type: str, accept: str, attributes: str | None) -> ServerResponse:
        """Send a request to /invocations."""
        headers = {"Content-Type": content_type, "Accept": accept}
        if attributes:
            headers["X-Amzn-SageMaker-Custom-Attributes"] = attributes
        return self._request("POST", "/invocations", body, headers, INVOCATION_TIMEOUT_S)

    def stop(self) -> None:
        """Stop the process and delete its files."""
        processes.stop(self.process.pid, processes.started_at(self.process.pid), grace_s=5)
        self.process.wait()
        self._record.unlink(missing_ok=True)
        shutil.rmtree(self._root, ignore_errors=True)

    def _request(
        self, method: str, path: str, body: bytes, headers: dict[str, str], timeout_s: float
    ) -> ServerResponse:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body=body or None, headers=headers)
            response = connection.getresponse()
            kind = response.getheader("Content-Type") or "application/octet-stream"
            return ServerResponse(response.status, response.read(), kind)
        finally:
            connection.close()


def _session(spec: ModelSpec) -> Session:
    """Return the session of the model's role after it has pulled the image."""
    try:
        session = sessions.assume(spec.role_arn, "sagemaker.amazonaws.com", "SageMaker")
        session.require(*documented.image_pull(spec.image))
    except (sessions.CannotAssumeRole, sessions.AccessDenied) as error:
        raise ServerFailed(str(error)) from error
    open_log(session, f"/aws/sagemaker/Endpoints/{spec.endpoint}", spec.variant)
    return session


def _archive(session: Session, spec: ModelSpec) -> bytes:
    try:
        return files.read(session, spec.model_data_url)
    except sessions.AccessDenied as error:
        raise ServerFailed(str(error)) from error


def _limit_memory(pid: int, memory_mb: int | None) -> None:
    """Limit memory as on a serverless endpoint. The process gets a MemoryError; AWS would kill the container."""
    if memory_mb is not None and hasattr(resource, "prlimit"):  # macOS has no prlimit
        resource.prlimit(pid, resource.RLIMIT_DATA, (memory_mb * 1024**2, memory_mb * 1024**2))
