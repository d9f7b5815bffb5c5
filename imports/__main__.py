"""Import a shop's own history into a stage.

python -m imports --file history.csv --shop demo --stage dev
"""

import argparse
import errno
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import duckdb
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.command import DeployError
from deploy.shop_option import require_shop
from deploy.stages import account_of, read_stage
from functions.platform.errors import StorageUnavailable
from imports.history import SHOWN_UNREAD, History, UnaccountedRows, digest, find_files, identify_all, unread
from imports.refused import FileRefused
from imports.rejects import Rejects
from imports.upload import Spool, Upload

DEFAULT_REJECTS = Path(".local/import/rejected-rows.jsonl")
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
MORE_SPACE = (
    "Rows wait in TMPDIR while they are read: name a folder with several times the space of the unpacked files, and run the "
    "same command again."
)
OTHER_PATH = "Correct the path or the rights to it, and run the same command again."
EVERY_S = 5.0
RETRYING = Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=5, read_timeout=60)


class Progress:
    """A line on standard error every few seconds."""

    def __init__(self) -> None:
        self._started = self._shown = time.monotonic()

    def __call__(self, done: int, what: str) -> None:
        """Show the count, if the last line is old enough."""
        now = time.monotonic()
        if now - self._shown >= EVERY_S:
            self._shown = now
            seconds = now - self._started
            print(f"  {what}: {done:,}, {done / seconds:,.0f} per second", file=sys.stderr, flush=True)

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self._started


def main(arguments: list[str] | None = None) -> int:
    """Import files; return 0 if every line is accounted for and at least one is an event."""
    parser = argparse.ArgumentParser(
        prog="python -m imports",
        description=__doc__,
        epilog="example: python -m imports --file 'export/events_*.parquet' --shop demo --stage dev --dry-run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--file", required=True, help="a file, a directory, or a pattern (docs/importing.md)")
    parser.add_argument("--shop", required=True, help="the shop of all events, one of the stage's")
    parser.add_argument("--stage", required=True, help="a stage of deploy/stages.toml, such as local or dev")
    parser.add_argument("--dry-run", action="store_true", help="read and check everything, and store nothing")
    parser.add_argument("--encoding", help="the encoding of text files, if it is not recognized: iso8859-2")
    parser.add_argument(
        "--rejects",
        type=Path,
        default=DEFAULT_REJECTS,
        help="file for rows that cannot be read (default %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        return _import(options)
    except (DeployError, FileRefused) as failed:
        print(f"import: {failed}", file=sys.stderr)
    except UnaccountedRows as failed:
        print(
            f"import: {failed}. This is a defect: report it with the file. What is stored is valid, and repeating the "
            "import counts nothing twice.",
            file=sys.stderr,
        )
    except (StorageUnavailable, BotoCoreError, ClientError) as failed:
        print(
            f"import: {failed}. Run the same command again: stored files are kept, and the rest is stored. "
            "docs/importing.md lists the permissions.",
            file=sys.stderr,
        )
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as failed:
        no_space = not isinstance(failed, OSError) or failed.errno in NO_SPACE
        print(f"import: {failed}. {MORE_SPACE if no_space else OTHER_PATH}", file=sys.stderr)
    return 1


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_UNREAD:,} more" if len(names) > SHOWN_UNREAD else ""
    return ", ".join(names[:SHOWN_UNREAD]) + more


def _import(options: argparse.Namespace) -> int:
    stage = read_stage(options.stage)
    require_shop(stage, options.shop)
    if not options.file:
        raise DeployError("name a file, a directory or a pattern: FILE=history.csv")
    try:
        "".encode(options.encoding or "utf-8")
    except LookupError as unknown:
        raise DeployError(
            f"--encoding {options.encoding}: {unknown}. Use a name such as cp1252 or iso8859-2"
        ) from unknown
    path = Path(options.file).expanduser()
    found = find_files(path)
    # Exports of several files contain empty ones.
    files = [file for file in found if file.stat().st_size] or found
    opened = identify_all(files)
    s3: Any = None
    bucket = stage.events_bucket("ACCOUNT")
    if not options.dry_run:
        session = boto3.Session(region_name=stage.region)
        bucket = stage.events_bucket(account_of(stage, session.client("sts", config=RETRYING)))
        s3 = session.client("s3", config=RETRYING)
    content = digest(files, options.shop)
    # The id is public. The rest of the digest is known to owners of the files only, who have their mail addresses anyway.
    import_id, pseudonym_key = f"import-{content[:16]}", content[16:].encode()
    now_ms = time.time_ns() // 1_000_000
    progress = Progress()
    upload = Upload(s3, bucket, import_id)
    print(f"{import_id}: {len(files):,} files for shop {options.shop} of stage {stage.name}")
    if empty := sorted({*found} - {*files}):
        print(f"not read, because they are empty: {_first([file.name for file in empty])}")
    if others := unread(path, found):
        print(f"not read, because their names are not those of event files: {_first(others)}")
    with (
        Rejects(options.rejects) as rejects,
        Spool(options.shop, import_id, now_ms) as spool,
        History(
            options.shop,
            rejects,
            now_ms=now_ms,
            import_id=import_id,
            encoding=options.encoding,
            pseudonym_key=pseudonym_key,
            on_reject=spool.add,
            progress=lambda lines, file: progress(lines, f"lines read, {file}"),
        ) as history,
    ):
        for one in opened:
            history.add(one)
        if cut := history.account.cut:
            # An order at the cut would lack lines, and its event would never be replaced: its id stays.
            raise FileRefused(
                f"{', '.join(cut)} ends early, so nothing is imported. Copy it here again; or unpack what there is "
                f"(gzip -dc {cut[0]} > part.csv) and import that. Then run the command again."
            )
        for stored in upload.store(history.batches()):
            progress(stored, "events stored")
        raw_files = upload.result.files
        rejected_files = upload.store_rejected(spool)
    print(history.account.summary())
    if rejects.count:
        print(f"{rejects.count:,} rejected, by reason:\n{rejects.by_reason()}")
        print(
            f"  all of them: {options.rejects}" + ("" if options.dry_run else ", and below rejected/ on S3")
        )
    if upload.result.lines != history.account.events:
        raise UnaccountedRows(f"{history.account.events} events, but {upload.result.lines} lines in files")
    if not history.account.events:
        advice = "Read the reasons above." if rejects.count else "The files have no rows: export them again."
        print(f"import: no row became an event, so nothing was imported. {advice}", file=sys.stderr)
        return 1
    seconds = progress.seconds()
    print(
        f"{history.account.events:,} events of {upload.result.first_day} to {upload.result.last_day} in {seconds:.1f} s "
        f"({history.account.events / seconds:,.0f} per second)"
    )
    if options.dry_run:
        print("Nothing was stored. Run the same command without --dry-run to import.")
        return 0
    print(
        f"{raw_files:,} files below s3://{bucket}/raw/ and {rejected_files:,} below rejected/; "
        f"{upload.result.kept:,} of them were there already"
    )
    print(
        f"Next: make run STAGE={stage.name} ARGS=--full-refresh\n"
        "  A nightly run lists only recent days of raw/ and rebuilds only recent days of the tables. "
        "A full refresh lists and rebuilds all."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
