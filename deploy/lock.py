"""Write requirements.lock and every list of pinned packages that follows from it.

requirements.lock holds pyproject.toml and local/pyproject.toml resolved for every platform, with the hashes of PyPI's files.
uv resolves. Versions stay as they are unless a requirement or --upgrade-package moves them.
Only torch has no hash: its build differs per machine, so `make setup` installs it by itself.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.command import DeployError

ROOT = Path(__file__).resolve().parents[1]
LOCK = "requirements.lock"
CONSTRAINTS = "constraints.txt"
PROJECTS = ("pyproject.toml", "local/pyproject.toml")
# What `make setup` installs. The extra "deploy" has an environment of its own: deploy/sagemaker_sdk.txt says why.
EXTRAS = ("imports", "warehouse", "train", "serve", "dev")
# torch: see above. pip: Chalice requires it, and installing must not replace the pip that runs.
UNLOCKED = ("torch", "pip")
PYTHON = "3.11"
# The newest wheels that Lambda's glibc loads; deploy/build_layers.py downloads the same platform.
LAMBDA_PLATFORM = "x86_64-manylinux_2_17"

# One entry of a list: name, version, then an optional marker and the hashes.
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9][\w.-]*)==(?P<version>[^\s;\\]+)(?P<marker> ; [^\\\n]+?)?"
    r"(?: \\\n(?P<hashes>    --hash=sha256:[0-9a-f]{64}(?: \\\n    --hash=sha256:[0-9a-f]{64})*))?$",
    re.MULTILINE,
)
DIRECT = re.compile(r"^    # +(?:via )?[\w.-]+ \((?:local/)?pyproject\.toml\)$", re.MULTILINE)


class LockError(DeployError):
    """uv could not resolve. The message holds uv's explanation."""


@dataclass(frozen=True)
class Pin:
    """One pinned package of a list."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]


@dataclass(frozen=True)
class PinList:
    """A list that follows from the lock: these packages and what they need on Lambda's or the image's Linux."""

    path: str
    comment: str
    packages: tuple[str, ...] = ()
    extra: str = ""
    without: str = ""  # a list whose packages are not repeated
    own_versions: frozenset[str] = frozenset()
    platform: str = LAMBDA_PLATFORM

    def requirements(self, root: Path = ROOT) -> list[str]:
        """Return what the list must contain, as requirements."""
        extra = _project(root, PROJECTS[0])["optional-dependencies"][self.extra] if self.extra else []
        return [*self.packages, *extra]


LISTS = (
    # boto3 although Lambda has one: Lambda's version changes without notice, and the tests run with this one.
    PinList(
        "requirements.txt",
        "What Chalice puts into the one zip of all Lambdas. The heavy rest is in the layers (layers/*.txt).",
        packages=("boto3", "aws-xray-sdk", "crawler-user-agents", "croniter", "jinja2", "msgspec"),
    ),
    PinList(
        "layers/warehouse.txt",
        "The layer of the warehouse steps: dbt and Snowflake's connector, without the packages of requirements.txt.",
        extra="warehouse",
        without="requirements.txt",
    ),
    # Later numpy, pandas and pyarrow have no wheels for Lambda's glibc. pandas 2 needs tzdata.
    PinList(
        "layers/pandas.txt",
        "The layer of replay: awswrangler, without the packages of requirements.txt.\n"
        "numpy, pandas and pyarrow are older than in the lock: later ones have no wheels for Lambda's glibc (manylinux_2_17).",
        packages=("awswrangler",),
        without="requirements.txt",
        own_versions=frozenset({"numpy", "pandas", "pyarrow", "tzdata"}),
    ),
    PinList(
        "training_jobs/serving_image/requirements.txt",
        "What the serving image installs: numpy and the extra `serve` of pyproject.toml.",
        packages=("numpy",),
        extra="serve",
        platform="linux",
    ),
    PinList(
        "local/lambda_runtime.txt",
        "What Lambda's managed runtime contains, for the emulator's workers.",
        packages=("awslambdaric", "boto3"),
        platform="linux",
    ),
)


def pins(text: str) -> dict[str, Pin]:
    """Return the pins of a list by normalized name (https://packaging.python.org/specifications/name-normalization/)."""
    found: dict[str, Pin] = {}
    for entry in ENTRY.finditer(text):
        name = canonicalize_name(entry["name"])
        hashes = frozenset(re.findall("sha256:[0-9a-f]{64}", entry["hashes"] or ""))
        found[name] = Pin(name, entry["version"], (entry["marker"] or "").removeprefix(" ; "), hashes)
    return found


def write(root: Path = ROOT, upgrade: list[str] | None = None) -> None:
    """Resolve the projects, then write the lock and the lists.

    Raises:
        LockError: uv could not resolve.
    """
    options = ["--universal", *(f"--upgrade-package={name}" for name in upgrade or [])]
    options += [f"--no-emit-package={name}" for name in UNLOCKED]
    options += [f"--extra={extra}" for extra in EXTRAS]
    lock = _uv([*options, *PROJECTS], root, root / LOCK)
    (root / LOCK).write_text(_header("Every package that `make setup` installs, with its hashes.") + lock)
    (root / CONSTRAINTS).write_text(constraints(root))
    for pin_list in LISTS:
        path = root / pin_list.path
        path.write_text(_text(pin_list, root, _resolve(pin_list, root, upgrade or [])))


def constraints(root: Path = ROOT) -> str:
    """Return the text of constraints.txt: the lock without hashes, and torch."""
    locked = [
        f"{pin.name}=={pin.version}" + (f" ; {pin.marker}" if pin.marker else "")
        for pin in pins((root / LOCK).read_text()).values()
    ]
    torch = [str(one) for one in direct(root) if one.name == "torch"]
    header = "The versions of requirements.lock without hashes, and torch: for packages that the lock does not hold."
    return (
        _header(header)
        + "\n".join(sorted([*locked, *torch], key=lambda line: line.partition("==")[0]))
        + "\n"
    )


def direct(root: Path = ROOT) -> list[Requirement]:
    """Return the requirements that the two projects name, of the extras that the lock holds."""
    found = []
    for project in PROJECTS:
        table = _project(root, project)
        for extra in EXTRAS:
            found += table.get("optional-dependencies", {}).get(extra, [])
        found += table["dependencies"]
    return [Requirement(line) for line in found]


def problems(root: Path = ROOT) -> list[str]:
    """Return one sentence per way in which the lock or a list is out of date. Needs no network."""
    text = (root / LOCK).read_text()
    locked = pins(text)
    found = []
    wanted = [requirement for requirement in direct(root) if requirement.name not in UNLOCKED]
    for requirement in wanted:
        pin = locked.get(canonicalize_name(requirement.name))
        if pin is None or pin.version not in requirement.specifier:
            has = f"{pin.name}=={pin.version}" if pin else "no such package"
            found.append(f"{LOCK} has {has}, a pyproject.toml asks for {requirement}")
    names = {canonicalize_name(requirement.name) for requirement in wanted}
    for name, annotation in _annotations(text).items():
        if DIRECT.search(annotation) and name not in names:
            found.append(f"{LOCK} holds {name} for a requirement that no pyproject.toml has")
    found += [f"{LOCK} has no hash of {pin.name}" for pin in locked.values() if not pin.hashes]
    if (root / CONSTRAINTS).read_text() != constraints(root):
        found.append(f"{CONSTRAINTS} differs from {LOCK}")
    for pin_list in LISTS:
        found += _problems_of(pin_list, root, locked)
    return found


def _problems_of(pin_list: PinList, root: Path, locked: dict[str, Pin]) -> list[str]:
    text = (root / pin_list.path).read_text()
    listed = pins(text)
    found = []
    for name, pin in listed.items():
        source = locked.get(name)
        if name not in pin_list.own_versions and (
            source is None or (source.version, source.hashes) != (pin.version, pin.hashes)
        ):
            has = f"has {name}=={source.version}" if source else f"does not have {name}"
            found.append(f"{pin_list.path} pins {name}=={pin.version}, {LOCK} {has}, or other hashes")
    skipped = pins((root / pin_list.without).read_text()) if pin_list.without else {}
    for requirement in map(Requirement, pin_list.requirements(root)):
        if canonicalize_name(requirement.name) not in listed.keys() | skipped.keys():
            found.append(f"{pin_list.path} lacks {requirement}")
    found += [
        f"{pin_list.path} repeats {name} of {pin_list.without}" for name in listed.keys() & skipped.keys()
    ]
    if not found and text != _text(pin_list, root, listed):
        found.append(f"{pin_list.path} is not as `make lock` writes it")
    return found


def _annotations(text: str) -> dict[str, str]:
    """Return uv's comment per package of the lock: which packages require it."""
    parts = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    return {canonicalize_name(part.partition("==")[0]): part for part in parts}


def _project(root: Path, path: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((root / path).read_text())["project"]
    return project


def _header(comment: str) -> str:
    lines = [*comment.splitlines(), "`make lock` writes this file: CONTRIBUTING.md."]
    return "".join(f"# {line}\n" for line in lines)


def _text(pin_list: PinList, root: Path, chosen: dict[str, Pin]) -> str:
    """Return the list's text. Markers go: pip would apply them to the machine that builds."""
    locked = pins((root / LOCK).read_text())
    blocks = []
    for name in sorted(chosen):
        pin = chosen[name] if name in pin_list.own_versions else locked[name]
        hashes = sorted(f"    --hash={one}" for one in pin.hashes)
        blocks.append(" \\\n".join([f"{pin.name}=={pin.version}", *hashes]))
    return _header(pin_list.comment) + "\n".join(blocks) + "\n"


def _resolve(pin_list: PinList, root: Path, upgrade: list[str]) -> dict[str, Pin]:
    """Return the pins that the list needs: the lock's versions, except for own_versions."""
    options = ["--no-annotate", "--only-binary=:all:", f"--python-platform={pin_list.platform}"]
    options += [f"--upgrade-package={name}" for name in upgrade if name in pin_list.own_versions]
    skipped = pins((root / pin_list.without).read_text()) if pin_list.without else {}
    options += [f"--no-emit-package={name}" for name in skipped]
    locked = [
        pin for pin in pins((root / LOCK).read_text()).values() if pin.name not in pin_list.own_versions
    ]
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.txt"
        kept.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in locked))
        arguments = [*options, f"--constraints={kept}", "-"]
        return pins(_uv(arguments, root, root / pin_list.path, "\n".join(pin_list.requirements(root))))


def _uv(arguments: list[str], root: Path, present: Path, requirements: str = "") -> str:
    """Return what uv resolves. It keeps the versions of the present list where they fit."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "resolved.txt"
        if present.exists():
            output.write_text(present.read_text())
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--generate-hashes",
            "--no-header",
        ]
        command += [f"--python-version={PYTHON}", f"--output-file={output}", *arguments]
        done = subprocess.run(
            command,
            cwd=root,
            input=requirements,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LockError(
                f"uv could not resolve {present.relative_to(root)}:\n{done.stderr.strip()}\n"
                "Change the requirement, then run `make lock` again"
            )
        return output.read_text()


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.lock",
        description=__doc__,
        epilog="example: python -m deploy.lock --upgrade-package boto3 --upgrade-package botocore",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check", action="store_true", help="only say what is out of date, without network; exit status 1"
    )
    what.add_argument(
        "--upgrade-package",
        action="append",
        default=[],
        metavar="NAME",
        help="take this package's newest version",
    )
    args = parser.parse_args(arguments)
    if not args.check:
        try:
            write(upgrade=args.upgrade_package)
        except LockError as error:
            print(error, file=sys.stderr)
            return 1
    found = problems()
    for problem in found:
        print(f"{problem}: run `make lock`", file=sys.stderr)
    if not found:
        print(f"{LOCK} fits the projects, and {len(LISTS) + 1} lists follow it")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
