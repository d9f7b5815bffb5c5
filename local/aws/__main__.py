"""The AWS process in the foreground: `python -m local.aws`. `python -m local up` starts it in the background."""

from __future__ import annotations

import argparse
from pathlib import Path

from local import lambda_venv
from local.aws.server import run
from local.aws.settings import Settings


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m local.aws",
        description="Serve AWS on 127.0.0.1.",
        epilog="example: python -m local.aws --port 4566 --gateway-port 4567 --state .local",
    )
    parser.add_argument("--port", type=int, default=4566, help="port of every AWS service (default: 4566)")
    parser.add_argument(
        "--gateway-port", type=int, default=4567, help="port of deployed REST APIs (default: 4567)"
    )
    parser.add_argument(
        "--state", type=Path, default=Path(".local"), help="folder of all data (default: .local)"
    )
    parser.add_argument(
        "--lambda-runtime",
        type=Path,
        default=None,
        help="virtual environment of Lambda workers (default: .local/lambda-runtime of this checkout)",
    )
    options = parser.parse_args()
    runtime = options.lambda_runtime or lambda_venv.location()
    lambda_venv.ensure(runtime)
    state = options.state.resolve()
    run(Settings(options.port, options.gateway_port, state, runtime.resolve()))


if __name__ == "__main__":
    main()
