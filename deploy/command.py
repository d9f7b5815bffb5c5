"""The shared parts of this folder's commands: the option --stage, lines of progress, tables, and errors without a traceback."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

Say = Callable[[str], None]

# Nobody is signed in, or the login of today has ended.
SIGNED_OUT = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)


class DeployError(Exception):
    """A command cannot continue. The message contains the problem, the input and the next step."""


def signed_out(error: Exception) -> str:
    """Return the sentence about credentials that AWS does not accept, with the next step."""
    return (
        f"AWS accepts no credentials: {error}. Sign in (aws sso login, or AWS_PROFILE). "
        "For the local stage start it and use its environment: python -m local up"
    )


class Progress:
    """Print lines, each with the seconds since the start."""

    def __init__(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def __call__(self, message: str) -> None:
        """Print one line."""
        print(f"[{time.monotonic() - self._started:6.1f} s] {message}", flush=True)


def command_parser(module: str, description: str | None, example: str) -> argparse.ArgumentParser:
    """Return a parser with an example of the command at the end of its help."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"example: python -m {module} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def stage_parser(module: str, description: str | None, example: str) -> argparse.ArgumentParser:
    """Return such a parser with --stage."""
    parser = command_parser(module, description, example)
    parser.add_argument(
        "--stage", required=True, help="a stage of deploy/stages.toml, such as local, dev or prod"
    )
    return parser


def exit_status(run: Callable[[], int]) -> int:
    """Run a command and return its exit status.

    An expected failure is printed and gives 1. Anything else is a defect and shows its traceback.
    """
    try:
        return run()
    except DeployError as error:
        print(f"\n{error}", file=sys.stderr)
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        print(
            f"\n{error.filename}: {error.strerror}. Correct the path or the rights to it, then run the same command again.",
            file=sys.stderr,
        )
    except SIGNED_OUT as error:
        print(f"\n{signed_out(error)}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(
            f"\nAWS refused a request: {error}. Fix the cause, then run the same command again: "
            "finished steps are kept.",
            file=sys.stderr,
        )
    return 1


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "   ".join(padded).rstrip())
    lines.insert(1, "  " + "   ".join("-" * width for width in widths))
    return "\n".join(lines)
