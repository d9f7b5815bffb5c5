"""The Superset of this machine: its folder, its own database, its process on 127.0.0.1."""

import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.command import DeployError, Say

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
ENVIRONMENT = REPOSITORY / "build" / "superset"
LOCK = HERE / "superset.txt"
HOST = "127.0.0.1"
PORT = 8088
START_TIMEOUT_S = 600
STOP_GRACE_S = 10


class ServerError(DeployError):
    """Superset cannot start. The message ends with the next step."""


@dataclass(frozen=True)
class Login:
    """The administrator of the Superset on this machine, and the key of its sessions."""

    user: str
    password: str
    secret_key: str


@dataclass(frozen=True)
class Server:
    """One Superset: the folder of its state, and its port."""

    state: Path
    port: int = PORT

    @property
    def url(self) -> str:
        """The address in a browser."""
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """The file with everything that Superset prints."""
        return self.state / "superset.log"

    def login(self) -> Login:
        """Return the login, made at random at the first call. Only the owner of the machine's account can read its file."""
        file = self.state / "login.json"
        if not file.exists():
            self.state.mkdir(parents=True, exist_ok=True)
            made = {
                "user": "admin",
                "password": secrets.token_urlsafe(12),
                "secret_key": secrets.token_urlsafe(48),
            }
            with os.fdopen(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as opened:
                json.dump(made, opened)
        return Login(**json.loads(file.read_text()))

    @contextmanager
    def running(self, say: Say) -> Iterator[subprocess.Popen[bytes]]:
        """Prepare Superset's database, run the server, and stop it at the end.

        Raises:
            ServerError: the environment is missing, the port is taken, or Superset ends.
        """
        if not (ENVIRONMENT / ".installed").exists():
            raise ServerError(
                f"{ENVIRONMENT} is missing: run make build/superset/.installed (941 MB, two minutes)"
            )
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex((HOST, self.port)) == 0:
                raise ServerError(
                    f"port {self.port} is in use. If it is an earlier make dashboards, open {self.url}. "
                    f'Else choose another port: make dashboards ARGS="--port {self.port + 1}"'
                )
        self._prepare(say)
        say("starting Superset")
        command = [str(ENVIRONMENT / "bin" / "gunicorn"), "--bind", f"{HOST}:{self.port}"]
        command += [
            "--worker-class",
            "gthread",
            "--threads",
            "8",
            "--timeout",
            "330",
            "superset.app:create_app()",
        ]
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C must reach this command first, which then stops Superset in order.
            process = subprocess.Popen(
                command, env=self._variables(), stdout=log, stderr=log, start_new_session=True, cwd=self.state
            )
        try:
            self._wait(process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _prepare(self, say: Say) -> None:
        """Create or upgrade Superset's database, unless this version did it before."""
        login = self.login()
        made_of = [LOCK, HERE / "superset_setup.py", self.state / "login.json"]
        version = hashlib.sha256(b"".join(file.read_bytes() for file in made_of)).hexdigest()
        stamp = self.state / "prepared"
        if stamp.exists() and stamp.read_text() == version and (self.state / "superset.db").exists():
            return
        say("preparing Superset's own database (half a minute, the first time only)")
        with self.log.open("ab") as log:
            done = subprocess.run(
                [str(ENVIRONMENT / "bin" / "python"), str(HERE / "superset_setup.py")],
                env=self._variables()
                | {"SUPERSET_ADMIN": login.user, "SUPERSET_ADMIN_PASSWORD": login.password},
                stdout=log,
                stderr=log,
                cwd=self.state,
                check=False,
            )
        if done.returncode:
            raise ServerError(self._failure("Superset's database cannot be prepared"))
        stamp.write_text(version)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ServerError(self._failure(f"Superset ended with status {process.returncode}"))
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        raise ServerError(self._failure(f"Superset does not answer after {START_TIMEOUT_S} s"))

    def _failure(self, what: str) -> str:
        end = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return f"{what}:\n{end}\nAll of it is in {self.log}. To start from nothing, delete the folder {self.state}"

    def _variables(self) -> dict[str, str]:
        # Superset has an environment of its own, so nothing of this one may lead its Python elsewhere.
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "TZ") if name in os.environ}
        return kept | {
            # gunicorn and Superset write below the home folder.
            "HOME": str(self.state),
            "SUPERSET_CONFIG_PATH": str(HERE / "superset_config.py"),
            "SUPERSET_SECRET_KEY": self.login().secret_key,
            "SUPERSET_DATABASE_URI": f"sqlite:///{self.state / 'superset.db'}?check_same_thread=false",
            "SUPERSET_HOME": str(self.state),
            "SCARF_ANALYTICS": "false",
            "PYTHONWARNINGS": "ignore",
        }
