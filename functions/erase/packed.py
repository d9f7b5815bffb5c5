"""Rewrite the parquet files of packed days without the person's lines, and delete the files that contain them."""

from itertools import groupby
from operator import itemgetter

from botocore.exceptions import BotoCoreError, ClientError

from functions.erase.journal import Journal, Store, delete_version, versions_below
from functions.erase.person import Lines
from functions.platform.contract import PACKED_MANIFESTS_PREFIX, PACKED_PREFIX
from functions.platform.errors import StorageUnavailable
from functions.platform.packed_days import (
    Manifest,
    digest,
    new_part_key,
    read_manifest,
    write_manifest,
    write_rows,
)


def erase_day(store: Store, journal: Journal, day: str, keys: set[str], lines: Lines) -> None:
    """Rewrite the day's parquet files with one of these raw keys, and replace the manifest.

    The manifest also changes if only raw files did. A compaction that read a raw file before the erasure then fails
    instead of packing the person's lines.

    Raises:
        StorageUnavailable: S3 did not answer, or a compaction wrote the manifest meanwhile.
    """
    manifest, etag = read_manifest(store.s3, store.bucket, day)
    parts = {file.part for file in manifest.files if file.key in keys and file.lines}
    replaced = {part for part in sorted(parts) if _rewrite_part(store, journal, manifest, part, lines)}
    if not replaced and not keys & set(journal.rewritten):
        return
    manifest.erasures += 1
    write_manifest(store.s3, store.bucket, manifest, etag)
    _delete_unlisted(store, replaced, manifest)


def _rewrite_part(store: Store, journal: Journal, manifest: Manifest, part: str, lines: Lines) -> bool:
    """Write the part without the person's lines under a new key; return False if it has none."""
    import awswrangler

    path = f"s3://{store.bucket}/{part}"
    try:
        frame = awswrangler.s3.read_parquet(path=[path], use_threads=False)
    except (BotoCoreError, ClientError, awswrangler.exceptions.NoFilesFound) as error:
        raise StorageUnavailable(f"{path} could not be read: {error}") from error
    kept = frame[[not lines.owns(line.encode()) for line in frame["line"]]]
    if len(kept) == len(frame):
        return False
    if journal.counted_key != part:
        journal.counted_key = part
        journal.count("packed lines", len(frame) - len(kept))
        journal.count("packed files rewritten", 1)
        store.write(journal)
    new = new_part_key(manifest.day)
    if len(kept):
        write_rows(store.bucket, new, kept)
    pairs = zip(kept["key"], kept["line"], strict=True)
    left = {key: [line.encode() for _, line in group] for key, group in groupby(pairs, key=itemgetter(0))}
    for file in manifest.files:
        if file.part == part:
            now = left.get(file.key, [])
            file.part, file.lines, file.sha256 = new, len(now), digest(now)
    return True


def _delete_unlisted(store: Store, replaced: set[str], manifest: Manifest) -> None:
    """Delete the day's parquet files, with all versions, that were replaced or that no manifest lists.

    A killed compaction or erasure leaves unlisted files. One that is younger than the manifest can belong to a running
    compaction, which has not listed it yet.
    """
    s3, bucket = store.s3, store.bucket
    listed = {file.part for file in manifest.files if file.lines}
    [written] = versions_below(s3, bucket, f"{PACKED_MANIFESTS_PREFIX}{manifest.day}.json")
    for stored in versions_below(s3, bucket, f"{PACKED_PREFIX}day={manifest.day}/"):
        doomed = [version for version in stored.versions if version != stored.current]
        unlisted = stored.key not in listed and stored.stored_at < written.stored_at
        if stored.current is not None and (stored.key in replaced or unlisted):
            doomed = stored.versions
        for version in doomed:
            delete_version(s3, bucket, stored.key, version)
