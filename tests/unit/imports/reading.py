"""Reading a file's text in tests, without S3."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from imports.history import Account, History, find_files, identify_all
from imports.rejects import Reject, Rejects

HEADER = "event_time,event_name,item_id,client_id,price,quantity,transaction_id\n"


class Read(NamedTuple):
    """The stored events of an import, its rejects and its account."""

    events: list[dict[str, Any]]
    rejects: list[Reject]
    account: Account

    def reasons(self) -> list[str]:
        """Return the sentence of each reject."""
        return [reject.reason for reject in self.rejects]


def read_path(path: Path, **options: Any) -> Read:
    """Import what lies at a path."""
    rejected: list[Reject] = []
    with History("demo", Rejects(), on_reject=rejected.append, **options) as history:
        for opened in identify_all(find_files(path)):
            history.add(opened)
        lines = [line for batch in history.batches() for line in batch.lines.to_pylist()]
    return Read([json.loads(line) for line in lines], rejected, history.account)


def read(folder: Path, content: str | bytes, name: str = "events.csv", **options: Any) -> Read:
    """Import one file with this content."""
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_path(file, **options)


def rows(*cells: str, header: str = "event_time,event_name,item_id,client_id,price") -> str:
    """Return a CSV of views that differ in their last column."""
    return header + "\n" + "".join(f"2026-03-01T10:00:00Z,view_item,a,c1,{cell}\n" for cell in cells)
