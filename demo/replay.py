"""Send events through POST /events, and account for every event by the collector's responses.

History is older than a page may send, so it is sent with secret keys, as a shop's back end sends it.

python -m demo.replay --events clicks.csv
python -m demo.replay --generate 60000 --seed 7
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from demo import environment, source
from demo.http import Http, RequestFailed
from demo.secret_keys import temporary_secret_keys
from demo.split import Split, cutoff_of
from demo.terminal import Progress, duration
from deploy.command import DeployError
from imports.rejects import Rejects

Event = dict[str, Any]

BATCH_MAX = 500  # the collector's limit
CONNECTIONS = 4
REMEMBERED_IDS = 200_000
DEFAULT_USER_AGENT = "tugboat-replay/1"
DEFAULT_REJECTS = Path(".local/replay/rejected-rows.jsonl")


class ReplayFailed(Exception):
    """The replay stopped. It is safe to run it again, because event ids do not change."""


@dataclass
class Replayed:
    """The numbers of events sent, accepted and refused."""

    sent: int = 0
    accepted: int = 0
    refused: int = 0
    repeated: int = 0  # ids that the source repeats within its last 200,000 events
    batches: int = 0
    retries: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    landed: int | None = None

    @property
    def rate(self) -> float:
        """Return events per second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def summary(self) -> str:
        """Format the result as one paragraph."""
        lines = [
            f"{self.sent:,} events sent in {duration(self.seconds)} ({self.rate:,.0f}/s):"
            f" {self.accepted:,} accepted, {self.refused:,} refused, {self.repeated:,} of them repeats,"
            f" {self.batches:,} batches, {self.retries:,} retries"
        ]
        lines += [f"  refused, {reason}: {count:,}" for reason, count in self.reasons.most_common()]
        lines += [f"    {example}" for example in self.examples]
        return "\n".join(lines)


def batches(
    events: Iterable[Event], user_agent_of: Callable[[str], str] | None, size: int = BATCH_MAX
) -> Iterator[tuple[str, list[Event]]]:
    """Group events into batches in order of arrival, each with one user agent and one shop."""
    open_batches: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        agent = user_agent_of(event["client_id"]) if user_agent_of else DEFAULT_USER_AGENT
        kind = agent, event["shop_id"]
        batch = open_batches.setdefault(kind, [])
        batch.append(event)
        if len(batch) >= size:
            yield agent, open_batches.pop(kind)
    yield from ((agent, batch) for (agent, _), batch in open_batches.items() if batch)


class _Sender:
    """A client that posts batches from several threads and adds up the responses."""

    def __init__(
        self, url: str, keys: Mapping[str, str], secret_key_of: Callable[[str], str] | None, http: Http
    ) -> None:
        self.result = Replayed()
        self._url, self._keys, self._secret_key_of, self._http = url, keys, secret_key_of, http
        self._lock = threading.Lock()

    def post(self, agent: str, batch: list[Event]) -> None:
        shop = batch[0]["shop_id"]
        if shop not in self._keys:
            raise ReplayFailed(
                f"shop {shop!r} has no key in deploy/stages.toml: add one there and deploy,"
                f" or send as another shop: --shop {next(iter(self._keys), 'ID')}"
            )
        body = json.dumps({"events": batch}, separators=(",", ":"), ensure_ascii=False).encode()
        url, headers = self._url, {"User-Agent": agent}
        if self._secret_key_of:
            headers["Authorization"] = f"Bearer {self._secret_key_of(shop)}"
        else:
            url += f"?key={self._keys[shop]}"
        try:
            answer = self._http.post(url, body, headers).body
        except RequestFailed as failed:
            if failed.status != 413 or len(batch) == 1:
                raise
            # The batch has too many bytes, not too many events: send two halves.
            half = len(batch) // 2
            self.post(agent, batch[:half])
            self.post(agent, batch[half:])
            return
        accepted, refused = answer.get("accepted"), answer.get("refused", [])
        if (
            not isinstance(accepted, int)
            or not isinstance(refused, list)
            or accepted + len(refused) != len(batch)
        ):
            raise ReplayFailed(
                f"{self._url} took a batch of {len(batch)} but accounts for accepted={accepted} and"
                f" refused={len(refused) if isinstance(refused, list) else refused}; read the collector's log with `make logs`"
            )
        with self._lock:
            self.result.sent += len(batch)
            self.result.accepted += accepted
            self.result.refused += len(refused)
            self.result.batches += 1
            for one in refused:
                self.result.reasons[str(one.get("reason"))] += 1
                if len(self.result.examples) < 3:
                    self.result.examples.append(f"{one.get('event_id')}: {one.get('message')}")


def send(
    events: Iterable[Event],
    api_url: str,
    keys: Mapping[str, str],
    *,
    secret_key_of: Callable[[str], str] | None = None,
    user_agent_of: Callable[[str], str] | None = None,
    connections: int = CONNECTIONS,
    expected: int | None = None,
    http: Http | None = None,
) -> Replayed:
    """Send all events, each shop's with its own key: with its secret key if `secret_key_of` is given, else as a page.

    Raises:
        ReplayFailed: a shop has no key, or the collector cannot be reached, refuses a batch whole, or does not account
            for every event.
    """
    http = http or Http(connections)
    sender = _Sender(f"{api_url}/events", keys, secret_key_of, http)
    progress = Progress("sending", expected)
    started_s = time.monotonic()
    repeats = _Repeats()
    under_way: set[Future[None]] = set()
    try:
        with ThreadPoolExecutor(connections, thread_name_prefix="replay") as pool:
            try:
                for agent, batch in batches(repeats.counted(events), user_agent_of):
                    under_way.add(pool.submit(sender.post, agent, batch))
                    # At most two batches wait per connection, so that a long history needs little memory.
                    while len(under_way) >= 2 * connections:
                        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                        for one in done:
                            one.result()
                    progress.update(sender.result.sent, _retry_note(http.retries))
                for one in under_way:
                    one.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except RequestFailed as failed:
        raise ReplayFailed(
            f"{failed} {sender.result.sent:,} events had been sent; sending all again is safe: their ids do not change."
        ) from failed
    result = sender.result
    result.seconds = time.monotonic() - started_s
    result.retries = http.retries
    result.repeated = repeats.count
    progress.finish(result.sent, _retry_note(http.retries))
    return result


def _retry_note(retries: int) -> str:
    return f"{retries} retries" if retries else ""


class _Repeats:
    """A count of event ids that repeat within the last events."""

    def __init__(self) -> None:
        self.count = 0
        self._recent: deque[int] = deque()
        self._known: set[int] = set()

    def counted(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            key = hash(event["event_id"])
            if key in self._known:
                self.count += 1
            else:
                self._known.add(key)
                self._recent.append(key)
                if len(self._recent) > REMEMBERED_IDS:
                    self._known.discard(self._recent.popleft())
            yield event


def main(arguments: list[str] | None = None) -> int:
    """Send a data set or a generated shop; return 0 if any event was accepted."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.replay",
        description="Send events through POST /events.",
        epilog="example: python -m demo.replay --generate 60000 --seed 7",
    )
    source.add_arguments(parser)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        where = environment.from_variables()
        dataset = source.from_options(options)
        split = Split(dataset, None if options.all else cutoff_of(dataset), for_report=False)
        with Rejects(options.rejects) as rejects, temporary_secret_keys(where) as secret_key_of:
            result = send(
                split.training_events(rejects),
                where.api_url,
                where.shop_keys,
                secret_key_of=secret_key_of,
                user_agent_of=dataset.user_agent_of,
                connections=options.connections,
                expected=dataset.expected,
            )
    except (source.FileRefused, environment.NotDeployed, DeployError, ReplayFailed) as failed:
        print(f"replay: {failed}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"replay: {environment.unanswered(error)}", file=sys.stderr)
        return 1
    print(result.summary())
    if rejects.count:
        print(rejects.summary())
    if split.cutoff_ms is not None:
        moment = datetime.fromtimestamp(split.cutoff_ms / 1000, UTC)
        print(
            f"{split.held_out_events:,} events from {moment:%Y-%m-%d %H:%M} UTC on were held out; --all sends them"
        )
    return 0 if result.accepted else 1


def at_least_one(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose how to send."""
    parser.add_argument("--all", action="store_true", help="send the held-out events too")
    parser.add_argument(
        "--connections",
        type=at_least_one,
        default=CONNECTIONS,
        help="connections at a time (default %(default)s)",
    )
    parser.add_argument(
        "--rejects",
        type=Path,
        default=DEFAULT_REJECTS,
        help="file for rows that cannot be read (default %(default)s)",
    )


if __name__ == "__main__":
    sys.exit(main())
