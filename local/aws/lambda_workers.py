"""Warm Lambda workers, each started from a deployed zip and its layers: start, reuse, limit, retirement."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
import uuid
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from local.aws import xray
from local.aws.authorization import sessions
from local.aws.authorization.sessions import Session
from local.aws.runtime_api import Invocation, WorkerProcess
from local.aws.settings import Settings

# As on AWS, the import of the handler does not count against the timeout within this time.
INIT_S = 10
IDLE_S = 600
QUEUE_S = 60


class TooManyRequests(RuntimeError):
    """No execution environment is free."""


@dataclass(frozen=True)
class FunctionVersion:
    """Everything that an execution environment depends on. A changed value needs a new environment."""

    name: str
    arn: str
    version: str
    role: str
    handler: str
    code: Path
    layers: tuple[Path, ...]
    environment: tuple[tuple[str, str], ...]
    memory_mb: int
    timeout_s: int
    reserved_concurrency: int | None

    @property
    def identity(self) -> str:
        """Digest of all values that need a new environment when they change."""
        archives = [archive.name for archive in (self.code, *self.layers)]
        values = (self.role, self.handler, self.environment, self.memory_mb, self.timeout_s, archives)
        return hashlib.sha256(repr(values).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """The result of an invocation; `began` and `ended` are seconds since the epoch."""

    request_id: str
    payload: bytes
    failed: bool
    log: str
    log_stream: str
    began: float
    ended: float


class Worker:
    """One execution environment of one function version."""

    def __init__(self, function: FunctionVersion, settings: Settings) -> None:
        session = session_of(function.role, function.name)
        self.function = function
        self.identity = function.identity
        self.idle_since = time.monotonic()
        name = uuid.uuid4().hex
        self.log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[{function.version}]{name}"
        self._scratch = settings.state / "lambda" / "tmp" / name
        self._scratch.mkdir(parents=True)
        task_root = unpack(function.code, settings.state / "lambda" / "task")
        layers = [unpack(layer, settings.state / "lambda" / "opt") for layer in function.layers]
        self._cold = True
        self._started = time.time()
        self._process = WorkerProcess(
            [str(settings.lambda_runtime / "bin" / "python"), "-m", "awslambdaric", function.handler],
            _environment(function, settings, session, task_root, layers, self._scratch, self.log_stream),
            cwd=str(task_root),
            log=settings.state / "lambda" / "workers" / f"{name}.log",
            children=settings.children,
            name=function.name,
        )

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.alive

    def invoke(self, payload: bytes, trace: str) -> Outcome:
        """Handle one event. A timeout or a crash ends the worker, as on AWS."""
        request_id = str(uuid.uuid4())
        if self._cold:
            self._process.wait_until_initialized(INIT_S)
        began = time.time()
        timeout_s = self.function.timeout_s
        deadline_ms = int((began + timeout_s) * 1000)
        result = self._process.invoke(
            Invocation(request_id, payload, deadline_ms, self.function.arn, trace), timeout_s
        )
        ended = time.time()
        log = self._process.take_log()
        memory_mb = self._process.memory_mb()
        if result is None:
            message = f"{request_id} Task timed out after {timeout_s:.2f} seconds"
            error = {
                "errorType": "Sandbox.Timedout",
                "errorMessage": f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds",
            }
            payload_out, failed = json.dumps(error).encode(), True
            log += f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z {message}\n"
        else:
            payload_out, failed = result.payload, result.kind != "response"
        if result is None or result.kind in ("exit", "init_error"):
            self.kill()
        duration_ms = (ended - began) * 1000
        report = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {int(duration_ms) + 1} ms\tMemory Size: {self.function.memory_mb} MB\t"
            f"Max Memory Used: {memory_mb} MB"
        )
        if self._cold:
            report += f"\tInit Duration: {(began - self._started) * 1000:.2f} ms"
            self._cold = False
        text = (
            f"START RequestId: {request_id} Version: {self.function.version}\n{log}"
            f"{'' if not log or log.endswith(chr(10)) else chr(10)}END RequestId: {request_id}\n{report}\n"
        )
        return Outcome(request_id, payload_out, failed, text, self.log_stream, began, ended)

    def kill(self) -> None:
        """End the process and delete its scratch folder."""
        self._process.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)


class Pool:
    """Warm workers by function name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._idle: dict[str, list[Worker]] = {}
        self._busy: dict[str, int] = {}
        self._free = threading.Condition()
        threading.Thread(target=self._retire_idle, daemon=True).start()

    def invoke(self, function: FunctionVersion, payload: bytes, trace: str) -> Outcome:
        """Handle one event in a free worker.

        Raises:
            TooManyRequests: all workers of the function are busy.
            CannotAssumeRole: the role of the function does not trust Lambda.
        """
        worker = self._take(function)
        try:
            if worker is None:
                worker = Worker(function, self.settings)
            return worker.invoke(payload, trace)
        finally:
            self._give_back(function.name, worker)

    def retire(self, name: str) -> None:
        """End the idle workers of a deleted function. Busy workers end after their invocation."""
        with self._free:
            workers = self._idle.pop(name, [])
        for worker in workers:
            worker.kill()

    def close(self) -> None:
        """End all idle workers."""
        with self._free:
            workers = [worker for idle in self._idle.values() for worker in idle]
            self._idle.clear()
        for worker in workers:
            worker.kill()

    def _take(self, function: FunctionVersion) -> Worker | None:
        """Return a warm worker, or None if the caller may start a new one."""
        limit = function.reserved_concurrency
        wait_s = 0 if limit is not None else QUEUE_S
        limit = self.settings.lambda_concurrency if limit is None else limit
        stale: list[Worker] = []
        with self._free:
            if not self._free.wait_for(lambda: self._busy.get(function.name, 0) < limit, wait_s):
                raise TooManyRequests("Rate Exceeded.")
            self._busy[function.name] = self._busy.get(function.name, 0) + 1
            idle = self._idle.setdefault(function.name, [])
            stale = [worker for worker in idle if worker.identity != function.identity or not worker.alive]
            idle[:] = [worker for worker in idle if worker not in stale]
            found = idle.pop() if idle else None
        for worker in stale:
            worker.kill()
        return found

    def _give_back(self, name: str, worker: Worker | None) -> None:
        with self._free:
            self._busy[name] -= 1
            if worker is not None and worker.alive:
                worker.idle_since = time.monotonic()
                self._idle.setdefault(name, []).append(worker)
            self._free.notify()

    def _retire_idle(self) -> None:
        while True:
            time.sleep(30)
            oldest = time.monotonic() - IDLE_S
            with self._free:
                workers = [w for idle in self._idle.values() for w in idle if w.idle_since < oldest]
                for idle in self._idle.values():
                    idle[:] = [worker for worker in idle if worker not in workers]
            for worker in workers:
                worker.kill()


def session_of(role_arn: str, function: str) -> Session:
    """Return the session under which a function acts.

    Raises:
        CannotAssumeRole: the role does not exist or does not trust Lambda.
    """
    return sessions.assume(role_arn, "lambda.amazonaws.com", function)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip that is named by its digest, unless it is unpacked; return the folder."""
    target = folder / archive.stem[:24]
    if not target.is_dir():
        part = folder / f"{target.name}.{uuid.uuid4().hex[:6]}"
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                path = Path(file.extract(member, part))
                mode = member.external_attr >> 16 & 0o777
                if mode and path.is_file():
                    path.chmod(mode | 0o400)  # extract() drops modes, which the programs of a layer need
        try:
            part.rename(target)
        except OSError:  # another thread unpacked it first
            shutil.rmtree(part)
    return target


def _environment(
    function: FunctionVersion,
    settings: Settings,
    session: Session,
    task_root: Path,
    layers: list[Path],
    scratch: Path,
    log_stream: str,
) -> dict[str, str]:
    opt = [str(layer / sub) for layer in layers for sub in ("python/lib/python3.11/site-packages", "python")]
    programs = [str(layer / "bin") for layer in layers]
    libraries = [str(task_root), str(task_root / "lib"), *(str(layer / "lib") for layer in layers)]
    return {
        "PATH": os.pathsep.join([*programs, "/usr/local/bin", "/usr/bin", "/bin"]),
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        # On AWS /tmp belongs to one environment; here each worker has a folder.
        "TMPDIR": str(scratch),
        "PYTHONPATH": os.pathsep.join([str(task_root), *opt]),
        "PYTHONUNBUFFERED": "1",
        "LAMBDA_TASK_ROOT": str(task_root),
        "LAMBDA_RUNTIME_DIR": str(settings.lambda_runtime),
        "_HANDLER": function.handler,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_XRAY_DAEMON_ADDRESS": xray.daemon(session),
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        **settings.client_environment(),
        **session.environment(),
        **dict(function.environment),
    }
