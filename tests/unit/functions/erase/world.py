"""A lake with two persons, and a driver that works on an erasure call by call as deploy/erase.py does."""

import gzip
import hashlib
import json
from typing import Any

from functions.compact.compact import compact
from functions.erase.erase import erase
from functions.erase.rows import erase_rows
from functions.platform.contract import EraseResult
from functions.platform.settings import CompactSettings, EraseSettings
from testing.fakes import VersionedS3

EVENTS, MODELS = "events", "models"
SETTINGS = EraseSettings("test", EVENTS, MODELS, "snowflake", "TUGBOAT_TEST_ERASER", "erasures", 30, 60)
KEY = "secret-key"
DAY = "2023-11-14"
ANNA, BERT = "client-anna-01", "client-bert-02"
ROWS_PHASES = ("find", "rows")


def line(client: str, number: int = 0, shop: str = "demo", **more: Any) -> bytes:
    """Return a line of raw/."""
    server = {"received_at_ms": 1_700_000_000_000 + number, "event_time_ms": 1_700_000_000_000 + number}
    event = {"event_id": f"{client}-{number}", "client_id": client, "shop_id": shop, **more, "server": server}
    return json.dumps(event).encode()


def refused(client: str, whole_body: bool = False) -> bytes:
    """Return a line of rejected/: its payload is JSON within JSON, twice for a refused body."""
    event = {"client_id": client, "event_name": "dance"}
    payload = json.dumps({"events": [event]}) if whole_body else event
    return json.dumps(
        {"payload": json.dumps(payload), "sender": "demo", "index": None if whole_body else 0}
    ).encode()


def raw_key(hour: int, name: str) -> str:
    return f"raw/2023/11/14/{hour:02}/{name}.gz"


class Warehouse:
    """RAW.EVENTS and RAW.LOAD_LOG, with the statements that an erasure sends before the first Transform."""

    def __init__(self, lake: "Lake") -> None:
        self.lake = lake
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.loaded: set[str] = set()
        self.statements: list[str] = []
        self._found: list[tuple[Any, ...]] = []

    def load(self) -> None:
        """Load every file that is not loaded, as COPY does."""
        for (bucket, key), body in sorted(self.lake.s3.objects.items()):
            if bucket == EVENTS and key.startswith("raw/") and key not in self.loaded:
                self._copy(key, body)

    def _copy(self, key: str, body: bytes) -> None:
        try:
            events = [json.loads(text) for text in gzip.decompress(body).splitlines()]
        except (ValueError, OSError):
            return
        self.rows += [(key, event) for event in events]
        self.loaded.add(key)

    def cursor(self) -> "Warehouse":
        return self

    def __enter__(self) -> "Warehouse":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._found

    def execute(self, sql: str, parameters: tuple[Any, ...] | None = None) -> "Warehouse":
        self.lake.s3.before_request()
        given, text = parameters or (), " ".join(sql.split())
        self.statements.append(text + repr(given))
        self._found = self._answer(text, given)
        return self

    def _answer(self, text: str, given: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        theirs = [row for row in self.rows if _client_key(row[1]) in given]
        if "INFORMATION_SCHEMA" in text:
            return [("RAW", "EVENTS"), ("RAW", "LOAD_LOG")]
        if text.startswith("select distinct PAYLOAD"):
            field = "user_id" if "PAYLOAD:user_id" in text else "client_id"
            found = {
                (event["shop_id"], event["client_id"])
                for _, event in self.rows
                if _md5(str(event.get(field))) in given
            }
            return sorted(found)
        if "RAW.LOAD_LOG where" in text:
            return [(f"s3://{EVENTS}/{key}",) for key in sorted(self.loaded)]
        if text.startswith("select distinct FILENAME"):
            named = [key for key, _ in self.rows if key in given]
            return [(key,) for key in sorted({*named, *(key for key, _ in theirs)})]
        if text.startswith("select count(*) from RAW.EVENTS"):
            return [(len(theirs),)]
        if text.startswith("delete from RAW.EVENTS"):
            self.rows = [row for row in self.rows if row[0] not in given and row not in theirs]
            return []
        if text.startswith("copy into"):
            for key in list(self.loaded):
                if f"'{key.removeprefix('raw/')}'" in text:
                    self._copy(key, self.lake.s3.objects[EVENTS, key])
            return []
        assert text.startswith("update RAW.LOAD_LOG"), text
        return []


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _client_key(event: dict[str, Any]) -> str:
    return _md5(f"{event['shop_id']}\x1f{event['client_id']}")


class Lake:
    """A bucket with raw, packed and refused events of two persons, and its warehouse."""

    def __init__(self) -> None:
        self.s3 = VersionedS3(page_size=3)
        self.warehouse = Warehouse(self)

    def put(self, key: str, lines: list[bytes], end: bytes = b"\n") -> None:
        body = gzip.compress(b"\n".join(lines) + (end if lines else b""))
        self.s3.put_object(Bucket=EVENTS, Key=key, Body=body)

    def lines(self, key: str) -> list[bytes]:
        return gzip.decompress(self.s3.objects[EVENTS, key]).splitlines(keepends=True)

    def fill(self) -> None:
        """Store loaded, packed, repaired and unloaded files, and refused events."""
        self.put(raw_key(1, "both"), [line(ANNA, 1), line(BERT, 1), line(ANNA, 2)])
        self.put(raw_key(1, "bert"), [line(BERT, 2)])
        self.put(raw_key(2, "anna"), [line(ANNA, 3, user_id="user-anna")], end=b"")
        # A repaired file: only its old version, which was never loaded, has the person.
        self.put(raw_key(4, "twice"), [line(ANNA, 6), line(BERT, 6)])
        self.put(raw_key(4, "twice"), [line(BERT, 6)])
        self.warehouse.load()
        self.pack()
        self.put(raw_key(3, "late"), [line(BERT, 4), line(ANNA, 4)])
        self.put(raw_key(3, "half"), [line(BERT, 5), b'{"client_id": "' + ANNA.encode()])
        self.put(
            "rejected/2023/11/14/01/a.gz", [refused(ANNA), refused(BERT), refused(ANNA, whole_body=True)]
        )

    def pack(self) -> None:
        asked = {"from_day": DAY, "to_day": DAY}
        compact(asked, CompactSettings(EVENTS, 90), self.s3, lambda: 900_000)

    def call(self, event: dict[str, Any], phase: str) -> EraseResult:
        """Invoke the Lambda of a phase."""
        if phase in ROWS_PHASES:
            return erase_rows(event, SETTINGS, self.warehouse, self.s3, KEY)
        return erase(event, SETTINGS, self.s3, KEY)

    def erase(self, seconds: float = 600, **person: Any) -> EraseResult:
        """Call until the erasure is done."""
        event = {**person, "seconds": seconds}
        result = erase({**event, "action": "look"}, SETTINGS, self.s3, KEY)
        for _ in range(200):
            result = self.call(event, result["phase"])
            if result["phase"] == "done":
                return result
        raise AssertionError(f"the erasure stays in the phase {result['phase']}")

    def everything(self) -> bytes:
        """Return all bytes of all versions of all objects, decompressed, and all rows."""
        found = []
        for (_, key), versions in self.s3.versions.items():
            for _, body in versions:
                found.append(key.encode())
                found.append(_decoded(key, body))
        found.append(json.dumps(self.warehouse.rows).encode())
        return b"\n".join(found)


def _decoded(key: str, body: bytes | None) -> bytes:
    if body is None:
        return b""
    if key.endswith(".parquet"):
        import io

        import pyarrow.parquet

        return json.dumps(pyarrow.parquet.read_table(io.BytesIO(body)).to_pylist()).encode()
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
