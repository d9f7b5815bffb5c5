"""Pack this package for SageMaker: `python -m training_jobs.package OUT.tar.gz`.

The bytes depend on the files' content alone, so the same code always has the same name on S3.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ENTRY_SCRIPTS = ("train.py", "evaluate.py", "batch.py")
_SUFFIXES = (".py", ".json", ".jinja", ".c", ".h")


def build_source_archive() -> tuple[bytes, str]:
    """Return the source as a tar.gz (entry scripts at its root, the package beside them) and its SHA-256."""
    files = [(f"training_jobs/{path.relative_to(_PACKAGE).as_posix()}", path) for path in _package_files()]
    files += [(name, _PACKAGE / "entry_points" / name) for name in _ENTRY_SCRIPTS]
    packed = _deterministic_tar_gz(sorted(files))
    return packed, hashlib.sha256(packed).hexdigest()


def _package_files() -> list[Path]:
    return [path for path in sorted(_PACKAGE.rglob("*")) if path.suffix in _SUFFIXES and path.is_file()]


def _deterministic_tar_gz(files: Sequence[tuple[str, Path]]) -> bytes:
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path in files:
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Write the source archive, and print its SHA-256."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python -m training_jobs.package /tmp/sourcedir.tar.gz"
    )
    parser.add_argument("out", type=Path, help="where to write the archive")
    options = parser.parse_args(argv)
    packed, digest = build_source_archive()
    options.out.write_bytes(packed)
    print(digest)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
