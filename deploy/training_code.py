"""Upload the code of training and evaluation to the models bucket, under the hash of its content."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from functions.platform.contract import CODE_PREFIX
from functions.platform.s3_keys import champion_prefix


@dataclass(frozen=True)
class TrainingCode:
    """The code as one archive, and its hash."""

    archive: bytes
    digest: str


def upload(code: TrainingCode, bucket: str, s3: Any) -> bool:
    """Upload the code below code/: as an archive for training jobs, as files for processing jobs.

    The archive is uploaded last: if it exists, everything exists.

    Returns:
        False if the bucket already contains this code.
    """
    if exists(s3, bucket, f"{CODE_PREFIX}{code.digest}.tar.gz"):
        return False
    with tarfile.open(fileobj=io.BytesIO(code.archive), mode="r:gz") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                key = f"{CODE_PREFIX}{code.digest}/{member.name.removeprefix('./')}"
                s3.put_object(Bucket=bucket, Key=key, Body=content.read())
    s3.put_object(Bucket=bucket, Key=f"{CODE_PREFIX}{code.digest}.tar.gz", Body=code.archive)
    return True


def reserve_champion_prefixes(shops: Iterable[str], bucket: str, s3: Any) -> None:
    """Put a note under each shop's prefix of the champion, because SageMaker refuses a job whose input prefix is empty."""
    note = "The archive of the shop's served model is kept here. The next candidate is compared with it.\n"
    for shop in shops:
        s3.put_object(Bucket=bucket, Key=f"{champion_prefix(shop)}README.txt", Body=note.encode())


def exists(s3: Any, bucket: str, key: str) -> bool:
    """Return True if the bucket contains the object."""
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return False
        raise
    return True
