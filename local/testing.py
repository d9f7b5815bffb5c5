"""Local stacks for tests: start, kill, restart, wait."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local import lambda_venv, snowflake_login
from local.environment import Stack, client_environment
from local.ports import free_port_base
from local.services import Service, StackError, services, start, stop


@contextmanager
def running_stack(
    state: Path, port_base: int | None = None, warehouse: bool = True
) -> Iterator[dict[str, str]]:
    """Run AWS (and Snowflake) on free ports; yield the environment variables of a client."""
    stack = Stack(port_base=port_base or free_port_base(), state=state.resolve())
    lambda_venv.ensure(lambda_venv.location())
    wanted = services(stack) if warehouse else [aws_service(stack)]
    try:
        start(wanted, lambda _: None)
        if warehouse:
            snowflake_login.ensure(stack)
        yield client_environment(stack)
    finally:
        stop(wanted, lambda _: None)


def kill(service: Service) -> None:
    """Send SIGKILL to one process of the stack, as a power failure would end it."""
    process = service.running()
    if process is None:
        raise StackError(f"The {service.name} process is not running. Start it first.")
    os.kill(process["pid"], signal.SIGKILL)
    os.waitpid(process["pid"], 0)
    service.pid_file.unlink()


def kill_aws(stack: Stack) -> None:
    """Send SIGKILL to the AWS process."""
    kill(aws_service(stack))


def start_aws(stack: Stack) -> None:
    """Start the AWS process on the state that the last one left."""
    start([aws_service(stack)], lambda _: None)


def kill_stack(stack: Stack) -> None:
    """Send SIGKILL to AWS and Snowflake."""
    for service in services(stack):
        kill(service)


def start_stack(stack: Stack) -> None:
    """Start AWS and Snowflake on the state that the last processes left."""
    start(services(stack), lambda _: None)
    snowflake_login.ensure(stack)


def interrupt_training(stack: Stack, job: str) -> None:
    """Take the spot instance of a running training job away."""
    (stack.state / "sagemaker" / "training" / job / "interrupt").touch()


def aws_service(stack: Stack) -> Service:
    """Return the AWS process of this stack."""
    return services(stack)[0]


def warehouse_service(stack: Stack) -> Service:
    """Return the Snowflake process of this stack."""
    return services(stack)[1]


def wait_for(condition: Callable[[], Any], timeout_s: float = 15, pause_s: float = 0.05) -> Any:
    """Return the first true value of `condition`.

    Raises:
        AssertionError: `condition` stayed false until the timeout.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"the condition is still false after {timeout_s} s"
        time.sleep(pause_s)
    return value
