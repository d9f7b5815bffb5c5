"""The two processes of the local stack: start, health check, stop."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import lambda_venv, ports, processes, snowflake_login
from local.environment import REPOSITORY, Stack

START_TIMEOUT_S = 90
STOP_GRACE_S = 15


class StackError(RuntimeError):
    """The local stack cannot start or stop; the message ends with the next step."""


@dataclass(frozen=True)
class Service:
    """One background process of the stack."""

    name: str
    ports: tuple[int, ...]
    health_url: str
    command: tuple[str, ...]
    pid_file: Path
    log: Path

    def running(self) -> dict[str, Any] | None:
        """Return the record of the process, or None if it does not run."""
        return processes.read_record(self.pid_file)

    def healthy(self) -> bool:
        """Return True if the health check answers 200."""
        try:
            with urllib.request.urlopen(self.health_url, timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def services(stack: Stack) -> list[Service]:
    """Return the AWS process and the Snowflake process of this stack."""

    def service(name: str, ports: tuple[int, ...], health_url: str, *arguments: str) -> Service:
        return Service(
            name=name,
            ports=ports,
            health_url=health_url,
            command=(sys.executable, "-m", f"local.{name}", *arguments),
            pid_file=stack.pids / f"{name}.json",
            log=stack.logs / f"{name}.log",
        )

    aws = service(
        "aws",
        (stack.aws_port, stack.gateway_port),
        f"{stack.aws_url}/_local/health",
        *("--port", str(stack.aws_port)),
        *("--gateway-port", str(stack.gateway_port)),
        *("--state", str(stack.state)),
        *("--lambda-runtime", str(lambda_venv.location())),
    )
    warehouse = service(
        "warehouse",
        (stack.warehouse_port,),
        f"{stack.warehouse_url}/health",
        *("--port", str(stack.warehouse_port)),
        *("--state", str(stack.state / "warehouse")),
        *("--aws-endpoint", stack.aws_url),
        *("--user", f"{snowflake_login.USER}={snowflake_login.ROLE}"),
    )
    return [aws, warehouse]


def start(wanted: list[Service], report: Callable[[str], None]) -> None:
    """Start the services that do not run and wait until all are healthy.

    Raises:
        StackError: a port is taken, or a service ended or did not answer in time.
    """
    started: dict[str, subprocess.Popen[bytes]] = {}
    for service in wanted:
        process = service.running()
        if process:
            report(f"{service.name} is already running (pid {process['pid']})")
            continue
        _refuse_taken_ports(service)
        child = processes.spawn(service.command, log=service.log, cwd=REPOSITORY)
        processes.record(service.pid_file.parent, child.pid, name=service.name).replace(service.pid_file)
        started[service.name] = child
    deadline = time.monotonic() + START_TIMEOUT_S
    for service in wanted:
        while not service.healthy():
            own_child = started.get(service.name)
            if (own_child is not None and own_child.poll() is not None) or service.running() is None:
                raise StackError(
                    f"{service.name} ended during its start:\n{tail(service.log, 15)}\nRead {service.log}."
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"{service.name} does not answer on {service.health_url} after {START_TIMEOUT_S} s. "
                    f"Read {service.log}, then run: python -m local down"
                )
            time.sleep(0.05)


def stop(wanted: list[Service], report: Callable[[str], None]) -> None:
    """Stop the services in reverse order, then every process that they left running."""
    for service in reversed(wanted):
        process = service.running()
        if process is None:
            report(f"{service.name} is not running")
        elif processes.stop(process["pid"], process["started_at"], STOP_GRACE_S):
            report(f"{service.name} stopped")
        else:
            report(f"{service.name} did not stop within {STOP_GRACE_S} s and was killed")
        service.pid_file.unlink(missing_ok=True)
    for service in wanted:
        processes.sweep(service.pid_file.parent / "children")


def _refuse_taken_ports(service: Service) -> None:
    for port in service.ports:
        if not ports.is_free(port):
            raise StackError(
                f"Port {port}, which {service.name} needs, is used by another program. "
                "Stop that program, or set TUGBOAT_LOCAL_PORT_BASE to another port."
            )


def tail(path: Path, lines: int) -> str:
    """Return the last lines of a log; an empty text if the file is missing."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
