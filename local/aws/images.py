"""Container images without Docker: folders with the layout of Docker's python images, built from the lines of a Dockerfile.

    <root>/<hash of the source>/usr/local/bin/python     a virtual environment in place of the base image's Python
    <root>/<hash of the source>/image.json               {"environment": ...}, written last

A container therefore runs the packages that its Dockerfile installs, not those of this machine.
Images contain no Linux distribution, no users and no layers.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local.environment import REPOSITORY

# All stacks of this checkout share images: the source identifies an image, and building one takes seconds.
ROOT = REPOSITORY / ".local" / "images"

Log = Callable[[str], None]


class BuildFailed(RuntimeError):
    """The Dockerfile cannot be built; the message contains the line and the reason."""


@dataclass(frozen=True)
class Image:
    """A built image."""

    root: Path
    environment: dict[str, str]

    @property
    def programs(self) -> Path:
        """Folder of its `python` and its own programs."""
        return self.root / "usr" / "local" / "bin"


def load(root: Path) -> Image | None:
    """Return the image in this folder, or None if its build did not finish."""
    description = root / "image.json"
    if not description.is_file():
        return None
    return Image(root, json.loads(description.read_text())["environment"])


def build(files: dict[str, bytes], log: Log, images: Path = ROOT) -> Image:
    """Return the image of a source; build it unless it exists. `files` are the files beside the Dockerfile by name.

    Raises:
        BuildFailed: the Dockerfile is missing, one of its lines is not supported here, or pip failed.
    """
    root = images / hashlib.sha256(repr((sorted(files.items()), sys.version)).encode()).hexdigest()[:16]
    images.mkdir(parents=True, exist_ok=True)
    with (images / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = load(root)
        if built is not None:
            log(f"using the image of an earlier build from the same source: {root}")
            return built
        try:
            return _build(files, root, log)
        except BuildFailed:
            shutil.rmtree(root, ignore_errors=True)
            raise


def _build(files: dict[str, bytes], root: Path, log: Log) -> Image:
    if "Dockerfile" not in files:
        raise BuildFailed("failed to read dockerfile: open Dockerfile: no such file or directory")
    environment: dict[str, str] = {}
    for number, (instruction, value) in enumerate(instructions(files["Dockerfile"].decode()), 1):
        log(f"Step {number}: {instruction} {value}")
        match instruction:
            case "FROM":
                _base(value, root)
            case "COPY":
                _copy(value, files, root)
            case "RUN":
                _run(value, root, log)
            case "ENV":
                environment |= dict(word.split("=", 1) for word in shlex.split(value))
            case "LABEL":
                pass
            case _:
                raise BuildFailed(
                    f"{instruction} is none of FROM, COPY, RUN, ENV and LABEL, which this build supports"
                )
    (root / "image.json").write_text(json.dumps({"environment": environment}))
    return Image(root, environment)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Dockerfile with its value; join continued lines and skip comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, value = line.strip().partition(" ")
        yield instruction.upper(), value.strip()


def _base(name: str, root: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not name.rpartition("/")[2].startswith(f"python:{version}"):
        raise BuildFailed(f"{name} is not an image of Python {version}, the version of this machine")
    subprocess.run(
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(root / "usr" / "local")], check=True
    )


def _copy(value: str, files: dict[str, bytes], root: Path) -> None:
    words = [word for word in value.split() if not word.startswith("--")]
    if len(words) != 2 or not words[1].startswith("/"):
        raise BuildFailed(f"COPY {value}: this build only copies one file to an absolute path")
    name, target = words[0], root / words[1].lstrip("/")
    if name not in files:
        raise BuildFailed(f"COPY {value}: {name} is not beside the Dockerfile")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(files[name])
    modes = [word.removeprefix("--chmod=") for word in value.split() if word.startswith("--chmod=")]
    target.chmod(int(modes[0], 8) if modes else 0o644)


def _run(value: str, root: Path, log: Log) -> None:
    words = shlex.split(value)
    if words[:2] != ["pip", "install"]:
        raise BuildFailed(f"RUN {value}: this build runs pip install only")
    # --no-cache-dir keeps the cache out of an image. Here the cache is outside anyway, and it speeds up the next build.
    arguments = [
        str(root / word.lstrip("/")) if word.startswith("/") else word
        for word in words[2:]
        if word != "--no-cache-dir"
    ]
    pip = [sys.executable, "-m", "pip", "--python", str(root / "usr" / "local" / "bin" / "python")]
    command = [*pip, "--disable-pip-version-check", "install", "--progress-bar=off", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    for line in done.stdout.splitlines():
        log(line)
    if done.returncode != 0:
        raise BuildFailed(f"RUN {value}: exit code {done.returncode}")
