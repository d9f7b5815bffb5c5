"""Start, stop and inspect the AWS and the Snowflake on this machine."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from local import lambda_venv, processes, snowflake_login, traces
from local.environment import Stack, client_environment, default_stack
from local.services import StackError, services, start, stop

LOGS = ("aws", "warehouse", "lambda", "jobs", "builds", "endpoint")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    stack = default_stack()
    try:
        status: int = options.run(stack, options)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


def up(stack: Stack, options: argparse.Namespace) -> int:
    """Start the services that do not run and wait until they are healthy."""
    start_s = time.monotonic()
    if lambda_venv.ensure(lambda_venv.location()):
        print(f"created {lambda_venv.location()} (the interpreter of Lambda workers)")
    start(services(stack), print)
    snowflake_login.ensure(stack)
    print(f"AWS          {stack.aws_url}")
    print(f"API gateway  {stack.gateway_url}/<stage>/<path>")
    print(f"Snowflake    {stack.warehouse_url}")
    print(f"up in {time.monotonic() - start_s:.1f} s; logs in {stack.logs}")
    return 0


def down(stack: Stack, options: argparse.Namespace) -> int:
    """Stop everything; data stays in the state folder."""
    stop(services(stack), print)
    return 0


def status(stack: Stack, options: argparse.Namespace) -> int:
    """Print processes, addresses and memory; return 1 if a service is down."""
    all_up = True
    for service in services(stack):
        process = service.running()
        healthy = process is not None and service.healthy()
        all_up &= healthy
        state = "up" if healthy else "does not answer" if process else "down"
        detail = f"pid {process['pid']}, {processes.memory_mb(process['pid']):.0f} MB" if process else ""
        print(f"{service.name:<10} {state:<15} {service.health_url:<42} {detail}".rstrip())
    for path in sorted((stack.pids / "children").glob("*.json")):
        child = processes.read_record(path)
        if child:
            memory = processes.memory_mb(child["pid"])
            print(f"  {child['kind']:<12} {child['name']:<48} pid {child['pid']}, {memory:.0f} MB")
    if not all_up:
        print("`make up` starts what is down", file=sys.stderr)
    return 0 if all_up else 1


def logs(stack: Stack, options: argparse.Namespace) -> int:
    """Print the end of the logs, or follow them."""
    paths = _log_files(stack.logs, options.name)
    if not paths:
        which = f"{options.name} logs" if options.name else "logs"
        print(f"no {which} in {stack.logs} yet; `make up` starts the stack", file=sys.stderr)
        return 1
    command = ["tail", "-n", str(options.lines), *(["-F"] if options.follow else []), *map(str, paths)]
    try:
        return subprocess.run(command).returncode
    except KeyboardInterrupt:
        return 0


def show_traces(stack: Stack, options: argparse.Namespace) -> int:
    """Print the newest trace of each kind."""
    found = traces.newest_of_each_kind(traces.read(stack.logs / "xray.jsonl"), options.word)
    if not found:
        print("no such traces yet; `make recommend ITEMS=a,b` or `make run` creates one", file=sys.stderr)
        return 1
    print("\n\n".join(map(traces.timeline, found)))
    return 0


def env(stack: Stack, options: argparse.Namespace) -> int:
    """Print shell lines that point boto3 and chalice to this stack."""
    for name, value in client_environment(stack).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _log_files(folder: Path, name: str | None) -> list[Path]:
    if name in ("aws", "warehouse"):
        wanted = [folder / f"{name}.log"]
    elif name:
        wanted = sorted((folder / name).glob("*.log"))
    else:
        wanted = sorted(folder.rglob("*.log"))
    return [path for path in wanted if path.is_file()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: object, description: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=description, description=description, epilog=f"example: {example}"
        )
        sub.set_defaults(run=run)
        return sub

    command("up", up, "start AWS and Snowflake on this machine", "python -m local up")
    command("down", down, "stop both and everything they started", "python -m local down")
    command("status", status, "show processes, addresses and memory", "python -m local status")
    log = command("logs", logs, "show or follow logs", "python -m local logs lambda -f")
    log.add_argument("name", nargs="?", choices=LOGS, help="show one kind of log (default: all)")
    log.add_argument("-f", "--follow", action="store_true", help="keep following")
    log.add_argument("-n", "--lines", type=int, default=40, help="lines per log (default: 40)")
    trace = command(
        "traces", show_traces, "show the newest X-Ray trace of each kind", "python -m local traces pipeline"
    )
    trace.add_argument(
        "word", nargs="?", default="", help="show only traces with this word in the name of a segment"
    )
    command("env", env, "print environment variables for clients", 'eval "$(python -m local env)"')
    return parser
