"""The commands of a buildspec, as one shell process beside the unpacked source."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import processes
from local.aws import images
from local.aws.authorization.sessions import Session
from local.aws.settings import Settings

_PHASES = ("install", "pre_build", "build", "post_build")
_POLL_S = 0.1
_STOP_GRACE_S = 5


class CommandFailed(RuntimeError):
    """A command ended with a status that is not zero."""


@dataclass(frozen=True)
class Ended:
    """The status of the build (SUCCEEDED, STOPPED or TIMED_OUT) and the output of its commands."""

    status: str
    output: str


def run(
    settings: Settings,
    session: Session,
    build: Mapping[str, Any],
    spec: Mapping[str, Any],
    sources: Mapping[str, zipfile.ZipFile],
    variables: Mapping[str, str],
    image: images.Image | None,
    log_file: Path,
    stopped: threading.Event,
) -> Ended:
    """Run the commands of all phases, in the image or else with the Python of SageMaker's containers.

    `sources` are the zips by identifier; the primary source has an empty one.

    Raises:
        CommandFailed: a command failed; the message contains the end of the output.
    """
    folders = {
        identifier: _unpack(source, settings.state / "codebuild") for identifier, source in sources.items()
    }
    commands = [
        command for phase in _PHASES for command in (spec["phases"].get(phase) or {}).get("commands", [])
    ]
    programs = image.programs if image else Path(settings.container_python).parent
    home = settings.state / "codebuild" / "home" / uuid.uuid4().hex[:12]
    home.mkdir(parents=True)
    environment = {
        **(image.environment if image else {}),
        "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "/usr/bin:/bin")]),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "CODEBUILD_BUILD_ID": build["id"],
        "CODEBUILD_BUILD_ARN": build["arn"],
        **{
            f"CODEBUILD_SRC_DIR_{identifier}" if identifier else "CODEBUILD_SRC_DIR": str(folder)
            for identifier, folder in folders.items()
        },
        **settings.client_environment(),
        **session.environment(),
        **variables,
    }
    start = log_file.stat().st_size if log_file.exists() else 0
    process = processes.spawn(
        ["/bin/sh", "-e", "-c", "\n".join(commands)], log=log_file, env=environment, cwd=folders[""]
    )
    record = processes.record(settings.children, process.pid, kind="codebuild", name=build["id"])
    deadline = time.monotonic() + 60 * build["timeoutInMinutes"]
    while process.poll() is None and time.monotonic() < deadline and not stopped.wait(_POLL_S):
        pass
    ended_itself = process.poll() is not None
    if not ended_itself:
        processes.stop(process.pid, processes.started_at(process.pid), _STOP_GRACE_S)
    exit_status = process.wait()
    record.unlink(missing_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    output = log_file.read_bytes()[start:].decode(errors="replace")
    if not ended_itself:
        return Ended("STOPPED" if stopped.is_set() else "TIMED_OUT", output)
    if exit_status != 0:
        last_lines = "\n".join(output.strip().splitlines()[-8:])
        raise CommandFailed(
            f"Error while executing command: {commands[-1]}. Reason: exit status {exit_status}\n{last_lines}"
        )
    return Ended("SUCCEEDED", output)


def _unpack(source: zipfile.ZipFile, root: Path) -> Path:
    """Unpack a zip once per content; return the folder. On AWS each build has its own."""
    digest = hashlib.sha256()
    for entry in source.infolist():
        digest.update(f"{entry.filename} {entry.CRC} {entry.file_size}\n".encode())
    target = root / digest.hexdigest()[:24]
    if not target.is_dir():
        part = root / f"{target.name}.{uuid.uuid4().hex[:6]}"
        source.extractall(part)
        try:
            part.rename(target)
        except OSError:  # another build unpacked it first
            shutil.rmtree(part)
    return target
