"""Store a shop's own embeddings of its products, so that products without a click are placed by what they look like.

An embedding is what any model makes of a product's pictures or texts: as many numbers for each product.
FILE is parquet, or JSON Lines (also gzipped), with the columns item_id and embedding:
    {"item_id": "boot-7", "embedding": [0.12, -0.5, 0.33]}

Ids must be those of the shop's events. Products may be missing, and unknown ones are ignored.
The file replaces the one before. Each run copies it into its snapshot, and training decides how much it counts
(docs/catalogue.md). --remove ends this.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import numpy as np
from numpy.typing import NDArray

from catalogue.rows import FeedUnreadable
from catalogue.tables import open_bytes
from deploy.command import DeployError, exit_status, stage_parser
from deploy.shop_option import require_shop
from deploy.stages import account_of, read_stage
from functions.platform.contract import ID_MAX_CHARACTERS
from functions.platform.s3_keys import embeddings_key

MAX_NUMBERS = 4_096
LINE_MAX_BYTES = 2**18
MAX_BYTES = 16 * 2**30
_ROWS = 4_096


class Rows(NamedTuple):
    """Some rows of a file: their numbers in it, their ids, how many numbers each embedding has, and these numbers."""

    rows: Sequence[int]
    ids: Sequence[Any]
    lengths: NDArray[np.int64]
    flat: NDArray[np.float32]


@dataclass(frozen=True)
class Stored:
    """The number of products of a file, and of numbers in an embedding."""

    products: int
    numbers: int


def read_rows(path: Path) -> Iterator[Rows]:
    """Yield the rows of a file in parts.

    Raises:
        FeedUnreadable: the file is neither parquet nor JSON Lines, or lacks a column.
    """
    with open_bytes(path) as file:
        is_parquet = file.read(4) == b"PAR1"
    yield from _of_parquet(path) if is_parquet else _of_lines(path)


def _of_parquet(path: Path) -> Iterator[Rows]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        missing = {"item_id", "embedding"} - set(file.schema_arrow.names)
        if missing:
            raise FeedUnreadable(f"{path} has no column {' and no column '.join(sorted(missing))}")
        first = 1
        for batch in file.iter_batches(_ROWS, columns=["item_id", "embedding"]):
            lists = batch.column("embedding")
            yield Rows(
                range(first, first + len(batch)),
                batch.column("item_id").to_pylist(),
                pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64),
                lists.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False),
            )
            first += len(batch)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise FeedUnreadable(
            f"{path} cannot be read ({error}): write parquet with the text column item_id and lists of numbers in embedding"
        ) from error


def _of_lines(path: Path) -> Iterator[Rows]:
    with open_bytes(path) as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while part := list(islice(numbered, _ROWS)):
            ids, embeddings = list[Any](), list[NDArray[np.float32]]()
            for number, line in part:
                if len(line) > LINE_MAX_BYTES:
                    raise FeedUnreadable(
                        f"{path}, line {number}: {len(line):,} bytes, at most {LINE_MAX_BYTES:,} are taken"
                    )
                try:
                    row = json.loads(line)
                    ids.append(row["item_id"])
                    # JSON can spell half a character, which no file can hold.
                    str(row["item_id"]).encode()
                    # What float32 cannot hold becomes infinite, and _checked refuses it with its row.
                    with np.errstate(over="ignore"):
                        one = np.array(row["embedding"], np.float32).reshape(len(row["embedding"]))
                    embeddings.append(one)
                except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                    raise FeedUnreadable(
                        f'{path}, line {number}: it must be like {{"item_id": "boot-7", "embedding": [0.12, -0.5]}}'
                    ) from error
            lengths = np.array([len(one) for one in embeddings], np.int64)
            yield Rows([number for number, _ in part], ids, lengths, np.concatenate(embeddings))


def convert(path: Path, target: Path) -> Stored:
    """Check each row of a file and write them as Arrow, which training maps into its memory.

    Raises:
        FeedUnreadable: a row cannot be used. Nothing is stored of such a file, because the program that wrote it has a fault.
    """
    import pyarrow as pa

    seen, numbers, writer = set[str](), 0, None
    try:
        with pa.OSFile(str(target), "wb") as sink:
            for part in read_rows(path):
                matrix, numbers = _checked(path, part, seen, numbers)
                kind = pa.list_(pa.float32(), numbers)
                schema = pa.schema([("item_id", pa.string()), ("embedding", kind)])
                writer = writer or pa.ipc.new_file(sink, schema)
                flat = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), numbers)
                writer.write_batch(pa.record_batch([pa.array(part.ids, pa.string()), flat], schema=schema))
                if sink.tell() > MAX_BYTES:
                    raise FeedUnreadable(
                        f"{path} has more than {MAX_BYTES >> 30} GiB of numbers: use shorter embeddings"
                    )
            if writer is None:
                raise FeedUnreadable(f"{path} has no rows")
            writer.close()
    except OSError as error:
        raise FeedUnreadable(f"{target} cannot be written ({error}): set TMPDIR to a larger disk") from error
    return Stored(len(seen), numbers)


def _checked(path: Path, part: Rows, seen: set[str], numbers: int) -> tuple[NDArray[np.float32], int]:
    """Return the embeddings of some rows as a matrix, and its width. Add the ids to `seen`."""
    numbers = numbers or int(part.lengths[0])

    def refused(at: int, why: str) -> FeedUnreadable:
        return FeedUnreadable(f"{path}, row {part.rows[at]:,}, item {part.ids[at]!r}: {why}")

    for at, item_id in enumerate(part.ids):
        if not isinstance(item_id, str) or not 1 <= len(item_id) <= ID_MAX_CHARACTERS:
            raise refused(at, f"item_id must be text of 1 to {ID_MAX_CHARACTERS} characters")
        if item_id in seen:
            raise refused(at, "the id is there twice: keep one row per product")
        seen.add(item_id)
    if not 2 <= numbers <= MAX_NUMBERS:
        raise refused(0, f"embedding must be a list of 2 to {MAX_NUMBERS:,} numbers, and it has {numbers:,}")
    other = part.lengths != numbers
    if other.any():
        at = int(np.argmax(other))
        raise refused(
            at, f"embedding has {part.lengths[at]:,} numbers, and the rows before it have {numbers:,}"
        )
    matrix = part.flat.reshape(-1, numbers)
    with np.errstate(over="ignore"):
        length = np.linalg.norm(matrix, axis=1)
    usable = np.isfinite(length) & (length > 0)
    if not usable.all():
        raise refused(int(np.argmin(usable)), "embedding needs finite numbers with a length above 0")
    return matrix, numbers


def store(path: Path, shop_id: str, s3: Any | None, bucket: str) -> list[str]:
    """Store a file unless `s3` is None, and return the outcome in lines for a person.

    Raises:
        FeedUnreadable: the file cannot be used; nothing was stored.
    """
    with tempfile.TemporaryDirectory() as directory:
        converted = Path(directory) / "embeddings.arrow"
        stored = convert(path, converted)
        lines = [f"{path}: embeddings of {stored.products:,} products, {stored.numbers:,} numbers each"]
        if s3 is None:
            return [*lines, "dry run: nothing was written"]
        with converted.open("rb") as file:
            s3.upload_fileobj(file, bucket, embeddings_key(shop_id))
    return [*lines, f"written: s3://{bucket}/{embeddings_key(shop_id)}; the next run trains with them"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = stage_parser("catalogue.embeddings", __doc__, "embeddings.parquet --shop demo --stage dev")
    parser.add_argument("file", type=Path, nargs="?", help="parquet or JSON Lines; not with --remove")
    parser.add_argument("--shop", required=True, metavar="ID", help="the shop_id of the shop's events")
    parser.add_argument("--dry-run", action="store_true", help="read and check only")
    parser.add_argument("--remove", action="store_true", help="delete the shop's embeddings")
    options = parser.parse_args(arguments)
    if (options.file is None) != options.remove:
        parser.error("name a FILE, or --remove")

    def run() -> int:
        stage = read_stage(options.stage)
        require_shop(stage, options.shop)
        session = boto3.Session(region_name=stage.region)
        bucket = "" if options.dry_run else stage.models_bucket(account_of(stage, session.client("sts")))
        s3 = None if options.dry_run else session.client("s3")
        if options.remove:
            if s3 is not None:
                s3.delete_object(Bucket=bucket, Key=embeddings_key(options.shop))
            print(
                f"removed: s3://{bucket}/{embeddings_key(options.shop)}; the next run trains without"
                if s3
                else "dry run"
            )
            return 0
        try:
            lines = store(options.file, options.shop, s3, bucket)
        except FeedUnreadable as error:
            raise DeployError(f"catalogue.embeddings: {error}") from error
        print("\n".join(lines))
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
