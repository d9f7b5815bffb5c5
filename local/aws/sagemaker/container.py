"""A container as a process: a folder of its own replaces /opt/ml, and its output goes to a log file and a log group."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local import processes
from local.aws import logs
from local.aws.authorization import documented
from local.aws.authorization.sessions import AccessDenied, Session
from local.aws.settings import Settings

# SageMaker sends SIGTERM, then SIGKILL after two minutes.
STOP_GRACE_S = 120
_POLL_S = 1.0
_OPT_ML = re.compile(r"(?<![\w.-])/opt/ml\b")


@dataclass(frozen=True)
class Exit:
    """The end of a container; `status` is Docker's exit code (137 after SIGKILL)."""

    status: int
    stopped: bool
    timed_out: bool
    interrupted: bool
    output: str


class Container:
    """One process; any thread may call `stop`. A spot instance is interrupted by the file `interrupt` in `root`."""

    def __init__(self, settings: Settings, session: Session, kind: str, name: str) -> None:
        self.settings = settings
        self.session = session
        self.kind = kind
        self.name = name
        self.root = settings.state / "sagemaker" / kind / name
        self.log = settings.logs / "jobs" / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._ended = threading.Event()

    def inside(self, text: str) -> str:
        """Replace /opt/ml in a text by the folder on this machine; a second call changes nothing."""
        return _OPT_ML.sub(lambda _: str(self.root / "opt/ml"), text)

    def path(self, path: str) -> Path:
        """Return the path on this machine of a path in the container."""
        return Path(self.inside(path))

    def environment(self, extra: Mapping[str, str], programs: Path | None = None) -> dict[str, str]:
        """Return the environment of the process. `programs` comes first on PATH; the default is the folder of `python`."""
        programs = programs or Path(self.settings.container_python).parent
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **inherited,
            "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "/usr/bin:/bin")]),
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **self.settings.client_environment(),
            **self.session.environment(),
            **{name: self.inside(str(value)) for name, value in extra.items()},
        }

    def stop(self) -> None:
        """Request the end of the process by SIGTERM."""
        self._stop.set()
        self._ended.set()

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        *,
        log_group: str,
        max_runtime_s: float,
        while_running: Callable[[], None] = lambda: None,
        is_spot: bool = False,
    ) -> Exit:
        """Run to the end; forward the log and call `while_running` every second."""
        interruption = self.root / "interrupt"
        self._ended = ended = threading.Event()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        log_offset = self.log.stat().st_size if self.log.exists() else 0
        process = processes.spawn(list(command), log=self.log, env=env, cwd=cwd)
        self._process = process
        record = processes.record(self.settings.children, process.pid, kind=self.kind, name=self.name)
        threading.Thread(target=_set_at_end, args=(process, ended), daemon=True).start()
        stream = f"{self.name}/algo-1-{int(time.time())}"
        open_log(self.session, log_group, stream)
        forward = _Forwarder(self.session, self.log, log_offset, log_group, stream)
        deadline = time.monotonic() + max_runtime_s
        while not ended.wait(min(_POLL_S, max(0.0, deadline - time.monotonic()))):
            forward.forward()
            while_running()
            if time.monotonic() >= deadline or self._stop.is_set() or (is_spot and interruption.exists()):
                break
        interrupted = is_spot and interruption.exists()
        timed_out = process.poll() is None and not self._stop.is_set() and not interrupted
        if process.poll() is None:
            processes.stop(process.pid, processes.started_at(process.pid), STOP_GRACE_S)
        status = process.wait()
        processes.signal_session(process.pid, signal.SIGKILL)  # also end the processes that it started
        record.unlink(missing_ok=True)
        forward.forward()
        return Exit(
            status=status if status >= 0 else 128 - status,
            stopped=self._stop.is_set(),
            timed_out=timed_out,
            interrupted=interrupted,
            output=forward.text(),
        )


def _set_at_end(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    process.wait()
    ended.set()


def open_log(session: Session, group: str, stream: str) -> None:
    """Require what SageMaker needs for logs and metrics. As on AWS, a container runs without them."""
    with contextlib.suppress(AccessDenied):  # recorded by require()
        session.require(*documented.sagemaker_logs_and_metrics(group, stream))


class _Forwarder:
    """Copy new lines of a log file to a log group."""

    def __init__(self, session: Session, path: Path, offset: int, group: str, stream: str) -> None:
        self.session = session
        self.path, self.group, self.stream = path, group, stream
        self._start = self._offset = offset

    def forward(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        lines = new.decode(errors="replace").splitlines()
        logs.append_events(self.session, self.group, self.stream, lines, int(time.time() * 1000))
        self._offset += len(new)

    def text(self) -> str:
        with self.path.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")


_INHERITED = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "TMPDIR")
