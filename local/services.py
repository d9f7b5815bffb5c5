"""The two processes of the local stack: how each starts, and how one sees that it answers."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import lambda_venv, processes
from local.environment import HOST, REPOSITORY, Stack

START_TIMEOUT_S = 90
STOP_GRACE_S = 15


class StackError(RuntimeError):
    """The local stack cannot do what was asked; the message ends with the next step to take."""


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
        return processes.read_record(self.pid_file)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self.health_url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def services(stack: Stack) -> list[Service]:
    """The AWS process and the warehouse process of this stack."""

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
    )
    return [aws, warehouse]


def start(wanted: list[Service], say: Callable[[str], None]) -> None:
    """Starts what is not running and waits until everything answers."""
    begun: dict[str, subprocess.Popen[bytes]] = {}
    for service in wanted:
        about = service.running()
        if about:
            say(f"{service.name} is running already (pid {about['pid']})")
            continue
        _refuse_taken_ports(service)
        process = processes.spawn(service.command, log=service.log, cwd=REPOSITORY)
        processes.record(service.pid_file.parent, process.pid, name=service.name).replace(service.pid_file)
        begun[service.name] = process
    deadline = time.monotonic() + START_TIMEOUT_S
    for service in wanted:
        while not service.healthy():
            child = begun.get(service.name)
            if (child is not None and child.poll() is not None) or service.running() is None:
                raise StackError(
                    f"{service.name} ended while it started:\n{tail(service.log, 15)}\nRead {service.log}."
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"{service.name} does not answer on {service.health_url} after {START_TIMEOUT_S} s. "
                    f"Read {service.log}, then run: python -m local down"
                )
            time.sleep(0.05)


def stop(wanted: list[Service], say: Callable[[str], None]) -> None:
    """Stops the processes, the last started first, and whatever they left running."""
    for service in reversed(wanted):
        about = service.running()
        if about is None:
            say(f"{service.name} is not running")
        elif processes.stop(about["pid"], about["started_at"], STOP_GRACE_S):
            say(f"{service.name} stopped")
        else:
            say(f"{service.name} did not stop in {STOP_GRACE_S} s and was killed")
        service.pid_file.unlink(missing_ok=True)
    for service in wanted:
        processes.sweep(service.pid_file.parent / "children")


def _refuse_taken_ports(service: Service) -> None:
    for port in service.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                raise StackError(
                    f"Port {port}, which {service.name} needs, is taken by another program. "
                    "Stop that program, or set TUGBOAT_LOCAL_PORT_BASE to another port."
                ) from None


def tail(path: Path, lines: int) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
