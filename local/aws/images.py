"""Container images without Docker: folders laid out like Docker's python images, made by the Dockerfile's own lines.

    <root>/<hash of the source>/usr/local/bin/python     a virtual environment in the place of the base image's Python
    <root>/<hash of the source>/image.json               {"environment": ...}, written last

So what runs is what the Dockerfile installs, not what this machine has; what Python itself does not depend on
(the distribution, users, layers) is not there.
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

# Shared by every stack of this checkout: an image is known by its source, and making one takes seconds.
ROOT = REPOSITORY / ".local" / "images"

Say = Callable[[str], None]


class BuildFailed(RuntimeError):
    """The Dockerfile cannot be built; the message says which line and why."""


@dataclass(frozen=True)
class Image:
    """A built image."""

    root: Path
    environment: dict[str, str]

    @property
    def programs(self) -> Path:
        """Where its `python` and its own programs are."""
        return self.root / "usr" / "local" / "bin"


def load(root: Path) -> Image | None:
    """The image in this folder, if it is whole."""
    about = root / "image.json"
    return Image(root, json.loads(about.read_text())["environment"]) if about.is_file() else None


def build(files: dict[str, bytes], say: Say, images: Path = ROOT) -> Image:
    """The image of this source (names and contents of the files beside the Dockerfile), built unless it is there.

    Raises:
        BuildFailed: there is no Dockerfile, a line of it is unknown here, or pip failed.
    """
    root = images / hashlib.sha256(repr((sorted(files.items()), sys.version)).encode()).hexdigest()[:16]
    images.mkdir(parents=True, exist_ok=True)
    with (images / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = load(root)
        if built is not None:
            say(f"using the image that was built from the same source: {root}")
            return built
        try:
            return _build(files, root, say)
        except BuildFailed:
            shutil.rmtree(root, ignore_errors=True)
            raise


def _build(files: dict[str, bytes], root: Path, say: Say) -> Image:
    if "Dockerfile" not in files:
        raise BuildFailed("failed to read dockerfile: open Dockerfile: no such file or directory")
    environment: dict[str, str] = {}
    for number, (instruction, value) in enumerate(instructions(files["Dockerfile"].decode()), 1):
        say(f"Step {number}: {instruction} {value}")
        match instruction:
            case "FROM":
                _base(value, root)
            case "COPY":
                _copy(value, files, root)
            case "RUN":
                _run(value, root, say)
            case "ENV":
                environment |= dict(word.split("=", 1) for word in shlex.split(value))
            case "LABEL":
                pass
            case _:
                raise BuildFailed(
                    f"{instruction} is none of FROM, COPY, RUN, ENV and LABEL, which this build knows"
                )
    (root / "image.json").write_text(json.dumps({"environment": environment}))
    return Image(root, environment)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """A Dockerfile's instructions with what follows each, continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, value = line.strip().partition(" ")
        yield instruction.upper(), value.strip()


def _base(name: str, root: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not name.rpartition("/")[2].startswith(f"python:{version}"):
        raise BuildFailed(f"{name} is not an image of Python {version}, which is what this machine has")
    subprocess.run(
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(root / "usr" / "local")], check=True
    )


def _copy(value: str, files: dict[str, bytes], root: Path) -> None:
    words = [word for word in value.split() if not word.startswith("--")]
    if len(words) != 2 or not words[1].startswith("/"):
        raise BuildFailed(f"COPY {value}: this build copies one file to an absolute path")
    name, target = words[0], root / words[1].lstrip("/")
    if name not in files:
        raise BuildFailed(f"COPY {value}: {name} is not beside the Dockerfile")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(files[name])
    modes = [word.removeprefix("--chmod=") for word in value.split() if word.startswith("--chmod=")]
    target.chmod(int(modes[0], 8) if modes else 0o644)


def _run(value: str, root: Path, say: Say) -> None:
    words = shlex.split(value)
    if words[:2] != ["pip", "install"]:
        raise BuildFailed(f"RUN {value}: this build runs pip install only")
    # The cache that must not be in the image is this machine's, and is what makes a second build quick.
    arguments = [
        str(root / word.lstrip("/")) if word.startswith("/") else word
        for word in words[2:]
        if word != "--no-cache-dir"
    ]
    pip = [sys.executable, "-m", "pip", "--python", str(root / "usr" / "local" / "bin" / "python")]
    command = [*pip, "--disable-pip-version-check", "install", "--progress-bar=off", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    for line in done.stdout.splitlines():
        say(line)
    if done.returncode != 0:
        raise BuildFailed(f"RUN {value}: exit code {done.returncode}")
