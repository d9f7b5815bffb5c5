"""Measure the bytes of an event as collect stores it, and the events of a session, on a generated shop.

The bill assumes these figures (deploy/bill/assumptions.json). The result is one JSON line.
"""

import gzip
import json
import uuid
from collections.abc import Iterator
from typing import Any

from benchmarks.conditions import conditions, parser
from demo import generator
from functions.collect.origin import origin
from functions.platform.events.contract import ServerField, Timing, accept, line
from storefront.sdk.build import DIST

USER_AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"


def stored_lines(events: list[dict[str, Any]]) -> Iterator[bytes]:
    """Yield each event as the line that Firehose receives."""
    sender = origin("203.0.113.7", USER_AGENT)._asdict()
    for event in events:
        received_at_ms = event["client_time_ms"] + 400
        accepted, event_time_ms = accept(event, frozenset({event["shop_id"]}), Timing(received_at_ms))
        common = {"source": "events", **sender, "request_id": str(uuid.uuid4())}
        yield line(accepted, ServerField(received_at_ms, common).encode(event_time_ms))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    command = parser("event_size", __doc__ or "", "--events 60000")
    command.add_argument("--events", type=int, default=60_000, help="default %(default)s")
    command.add_argument("--file-events", type=int, default=200, help="events per file (default %(default)s)")
    options = command.parse_args(arguments)
    history = generator.History(events=options.events, seed=1)
    events = list(generator.generate(history))
    lines = list(stored_lines(events))
    starts = range(0, len(lines), options.file_events)
    files = [gzip.compress(b"".join(lines[start : start + options.file_events])) for start in starts]
    sessions = {(event["client_id"], event["session_id"]) for event in events}
    print(
        json.dumps(
            {
                **conditions("event_size", data=f"demo.generator, {len(events)} events", seed=history.seed),
                "line_bytes": round(sum(map(len, lines)) / len(lines), 1),
                "file_events": options.file_events,
                "gzip_bytes_per_event": round(sum(map(len, files)) / len(lines), 1),
                "events_per_session": round(len(events) / len(sessions), 2),
                "scripts_gzip_bytes": sum(len(gzip.compress(one.read_bytes())) for one in DIST.glob("*.js")),
            }
        )
    )


if __name__ == "__main__":
    main()
