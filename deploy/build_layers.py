"""Build the Lambda layers: heavy packages that only the warehouse functions and replay need.

A layer's name contains the hash of its requirements and of this recipe: tugboat-<stage>-warehouse-<hash>.
An unchanged layer is therefore neither built nor published again.
"""

import hashlib
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deploy.command import DeployError, command_parser

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENTS = REPOSITORY / "layers"
BUILD = REPOSITORY / "build" / "layers"
NAMES = ("warehouse", "pandas")

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
UNZIPPED_MAX_BYTES = 262_144_000  # the function's zip and its layers together
DIRECT_UPLOAD_MAX_BYTES = 50 * 1024 * 1024
# Reserved for the function's own zip beside a layer. tests/integration/test_bundle.py checks the zip against it.
FUNCTION_MAX_BYTES = 60_000_000

# Increase it when the recipe below changes, so that layers of an older recipe count as outdated.
RECIPE = "2"
# Lambda's python3.11 runs on Amazon Linux 2 with glibc 2.26, for which manylinux_2_17 is the newest wheel platform.
# A wheel for a newer platform fails on import there, so pip must refuse it. deploy/lock.py resolves for it too.
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_12_x86_64", "manylinux2010_x86_64")

# Files that no function imports at run time.
DROPPED = (
    "**/__pycache__",
    # Except below dbt, whose macros have a folder called tests.
    "[!d]*/**/tests",
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    "**/*.pxi",
    "bin",
    "**/*.dist-info/RECORD",
    "**/*.dist-info/sboms",
    "**/*.dist-info/licenses",
    # agate formats numbers by locale: keep English only, of 33 MB.
    "babel/locale-data/[!er]*",
    "babel/locale-data/e[!n]*",
    "babel/locale-data/r[!o]*",
    # pyarrow's headers and network server.
    "pyarrow/include",
    "pyarrow/src",
    "pyarrow/libarrow_flight*",
    "pyarrow/_flight*",
    "pyarrow/libarrow_python_flight*",
)


class LayerError(DeployError):
    """A layer cannot be built or is too large. The message names the change to make."""


@dataclass(frozen=True)
class Layer:
    """A built layer on disk."""

    name: str
    digest: str
    zip_file: Path
    zipped_bytes: int
    unzipped_bytes: int


def digest(name: str, requirements: Path = REQUIREMENTS) -> str:
    """Return the hash of the layer's requirements and of the recipe."""
    lines = [
        line.strip()
        for line in (requirements / f"{name}.txt").read_text().splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    return hashlib.sha256("\n".join([RECIPE, *PLATFORMS, *DROPPED, *lines]).encode()).hexdigest()[:12]


def built(name: str, build: Path = BUILD) -> Layer | None:
    """Return the layer if it was built from the current requirements."""
    zip_file = build / f"{name}-{digest(name)}.zip"
    return _measure(name, zip_file) if zip_file.exists() else None


def build(name: str, build: Path = BUILD) -> Layer:
    """Build the layer, unless it exists.

    Raises:
        LayerError: pip failed, or the layer exceeds Lambda's limit.
    """
    existing = built(name, build)
    if existing:
        return existing
    target = build / name / "python"
    shutil.rmtree(target.parent, ignore_errors=True)
    _install(name, target)
    _strip(target)
    zip_file = build / f"{name}-{digest(name)}.zip"
    _zip(target.parent, zip_file)
    shutil.rmtree(target.parent)
    layer = _measure(name, zip_file)
    for older in build.glob(f"{name}-*.zip"):
        if older != zip_file:
            older.unlink()
    if layer.unzipped_bytes > UNZIPPED_MAX_BYTES - FUNCTION_MAX_BYTES:
        zip_file.unlink()
        raise LayerError(
            f"layer {name} has {layer.unzipped_bytes:,} bytes unzipped; with the function's zip Lambda takes "
            f"{UNZIPPED_MAX_BYTES:,}: drop packages (deploy/lock.py) or files in DROPPED of {Path(__file__).name}"
        )
    return layer


def _install(name: str, target: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--require-hashes",
        "--only-binary=:all:",
    ]
    command += ["--implementation", "cp", "--python-version", "3.11", "--target", str(target)]
    command += [argument for platform in PLATFORMS for argument in ("--platform", platform)]
    command += ["--requirement", str(REQUIREMENTS / f"{name}.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LayerError(
            f"pip could not install layers/{name}.txt:\n{done.stderr.strip()}\n"
            "Fix the requirement, run `make lock`, then run the same command again"
        )


def _strip(target: Path) -> None:
    for pattern in DROPPED:
        for path in sorted(target.glob(pattern), reverse=True):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _zip(folder: Path, zip_file: Path) -> None:
    """Zip a folder. The same files give the same bytes: sorted, with a fixed time and mode."""
    unfinished = zip_file.with_suffix(".partial")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o755 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    unfinished.replace(zip_file)


def _measure(name: str, zip_file: Path) -> Layer:
    with zipfile.ZipFile(zip_file) as archive:
        unzipped_bytes = sum(entry.file_size for entry in archive.infolist())
    return Layer(name, digest(name), zip_file, zip_file.stat().st_size, unzipped_bytes)


def describe(layer: Layer) -> str:
    """Return one line with the layer's sizes."""
    way = "uploaded through S3" if layer.zipped_bytes > DIRECT_UPLOAD_MAX_BYTES else "uploaded directly"
    return (
        f"{layer.name:<10} {layer.digest}  {layer.zipped_bytes / 1e6:6.1f} MB zipped ({way})  "
        f"{layer.unzipped_bytes / 1e6:6.1f} of {UNZIPPED_MAX_BYTES / 1e6:.1f} MB unzipped"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = command_parser("deploy.build_layers", __doc__, "--build warehouse")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--build", nargs="*", choices=NAMES, metavar="NAME", help=f"build {' and '.join(NAMES)}, or one"
    )
    what.add_argument("--sizes", action="store_true", help="print the sizes of the layers that are built")
    args = parser.parse_args(arguments)
    for name in NAMES if args.sizes else (args.build or NAMES):
        started = time.monotonic()
        try:
            layer = built(name) if args.sizes else build(name)
        except LayerError as error:
            print(error, file=sys.stderr)
            return 1
        line = (
            describe(layer)
            if layer
            else f"{name:<10} not built: python -m deploy.build_layers --build {name}"
        )
        print(line, "" if args.sizes else f"  {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
