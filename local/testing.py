"""A stack of their own for tests: `with running_stack(tmp_path) as environment: ...`."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import lambda_venv, snowflake_login
from local.environment import HOST, Stack, client_environment
from local.services import Service, StackError, services, start, stop


def free_port_base(count: int = 3) -> int:
    """A port with as many free ports behind it."""
    for _ in range(200):
        # Below the range from which the system picks ports of outgoing connections.
        base = random.randrange(15000, 32000)
        if all(_is_free(base + offset) for offset in range(count)):
            return base
    raise StackError("Found no free ports on 127.0.0.1. Close some programs and try again.")


@contextmanager
def running_stack(
    state: Path, port_base: int | None = None, warehouse: bool = True
) -> Iterator[dict[str, str]]:
    """Starts AWS (and Snowflake) on free ports and yields the client's environment; stops them at the end."""
    stack = Stack(port_base=port_base or free_port_base(), state=state.resolve())
    lambda_venv.ensure(lambda_venv.location())
    wanted = [service for service in services(stack) if warehouse or service.name != "warehouse"]
    try:
        start(wanted, lambda _: None)
        if warehouse:
            snowflake_login.ensure(stack)
        yield client_environment(stack)
    finally:
        stop(wanted, lambda _: None)


def kill(service: Service) -> None:
    """kill -9, as a power cut would."""
    about = service.running()
    if about is None:
        raise StackError(f"The {service.name} process is not running. Start it first.")
    os.kill(about["pid"], signal.SIGKILL)
    os.waitpid(about["pid"], 0)
    service.pid_file.unlink()


def kill_aws(stack: Stack) -> None:
    """kill -9 of the AWS process."""
    kill(aws_service(stack))


def start_aws(stack: Stack) -> None:
    """Starts the AWS process of this stack, on the state that it left."""
    start([aws_service(stack)], lambda _: None)


def kill_stack(stack: Stack) -> None:
    """kill -9 of AWS and Snowflake."""
    for service in services(stack):
        kill(service)


def start_stack(stack: Stack) -> None:
    """Starts AWS and Snowflake on the state that they left."""
    start(services(stack), lambda _: None)
    snowflake_login.ensure(stack)


def aws_service(stack: Stack) -> Service:
    """The AWS process of this stack."""
    return services(stack)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
