"""A soak test: send events at rising rates while every service is killed, and hangs, in turn; then reconcile all counts.

    python -m benchmarks.soak --events 50000
    python -m benchmarks.soak --events 1000000

It deploys a local stack of its own.
Shoppers send repeated, unordered, late and invalid events, and retry as the SDK does.
Meanwhile, kill -9 ends the Lambda workers, the AWS process (gateway, Firehose, S3) and Snowflake; each restarts as by `make up`.
SIGSTOP makes each of them hang for some seconds, and SIGCONT wakes it.
Once, Firehose is deleted for a while. Then Firehose alone hangs, and later drips: the collector parks events in S3 in time.
S3 drips for /recommend, which must say in time that it has no model.
Then load and transform run, and everything is counted.
It prints one JSON line.
It exits with 1 if an event was lost or counted twice, or if a shopper waited longer than the Lambda's limit.
"""

import json
import queue
import sys
import threading
import time
from typing import Any

from benchmarks.conditions import conditions, parser
from benchmarks.own_stack import deployed_stack
from benchmarks.soak_client import Events, Ledger, Sender
from benchmarks.soak_count import reconcile
from benchmarks.soak_drill import Drill, invoke, plan_of
from demo.terminal import Progress
from deploy.lambdas import LAMBDAS
from testing.stage import LOCAL, Stage

# Share of the events, connections, events per request: the rate rises to the stack's maximum.
PHASES = ((0.005, 1, 10), (0.03, 2, 50), (0.25, 4, 200), (0.715, 4, 500))
# No answer may take longer: after this time, Lambda ends a collector, and with it what it has not parked.
WAIT_MAX_S = next(one.timeout_s for one in LAMBDAS if one.name == "collect")


def send(stage: Stage, count: int, seed: int, timeout_s: float) -> tuple[Ledger, Drill, list[dict[str, Any]]]:
    """Send all events, phase by phase, during the drill."""
    shop, (key, *_) = next(iter(LOCAL.shops.items()))
    events, ledger, drill = Events(count, seed, shop), Ledger(), Drill(plan_of(stage))
    ends_s = time.monotonic() + timeout_s
    progress = Progress("soaking", count)
    over = threading.Event()

    def share_done() -> float:
        return (len(ledger.accepted) + len(ledger.refused)) / count

    driller = threading.Thread(target=drill.run, args=(share_done, over))
    driller.start()
    phases = []
    left = count
    for share, connections, size in PHASES:
        wanted = left if share == PHASES[-1][0] else round(count * share)
        left -= wanted
        started_s = time.monotonic()
        batches: queue.Queue[list[dict[str, Any]] | None] = queue.Queue(2 * connections)
        broken: list[BaseException] = []

        def work(batches: Any = batches, broken: Any = broken) -> None:
            sender = Sender(stage.api_url, key, ledger, ends_s, over)
            while (batch := batches.get()) is not None:
                while share_done() >= drill.open_until and not over.is_set():
                    time.sleep(0.05)
                try:
                    if not broken and not drill.broken:
                        sender.send(batch)
                except (TimeoutError, ValueError) as error:
                    broken.append(error)
                progress.update(len(ledger.accepted) + len(ledger.refused), f"{ledger.retries} retries")

        threads = [threading.Thread(target=work) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for batch in events.batches(wanted, size):
            batches.put(batch)
        for _ in threads:
            batches.put(None)
        for thread in threads:
            thread.join()
        if broken or drill.broken:
            over.set()
            driller.join()
            raise drill.broken or broken[0]
        ended_s = time.monotonic()
        phases.append(
            {
                "connections": connections,
                "events_a_request": size,
                "events_per_s": round(wanted / (ended_s - started_s)),
                "longest_wait_s": ledger.longest_wait_s(started_s, ended_s),
            }
        )
    over.set()
    driller.join()
    if drill.broken:
        raise drill.broken
    progress.finish(len(ledger.accepted) + len(ledger.refused))
    return ledger, drill, phases


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line."""
    command = parser(
        "soak",
        "Send events at rising rates while every service is killed and hangs in turn, then reconcile all counts.",
        "--events 50000",
    )
    add = command.add_argument
    add(
        "--events",
        type=int,
        default=1_000_000,
        help="distinct events (default %(default)s); below 20,000 they may end before the drill",
    )
    add("--seed", type=int, default=1, help="seed of the events (default 1)")
    add("--timeout", type=float, default=1800, metavar="SECONDS", help="limit of sending (default 1800)")
    options = command.parse_args(arguments)
    about = conditions("soak", data="generated events", seed=options.seed)
    with deployed_stack() as stage:
        started_s = time.monotonic()
        ledger, drill, phases = send(stage, options.events, options.seed, options.timeout)
        sent_s = time.monotonic()
        counts, wrong = reconcile(
            stage, options.events, ledger, lambda step: invoke(stage, step, run_id="soak")
        )
        ended_s = time.monotonic()
    if len(drill.happened) < len(drill.plan):
        wrong.append("every failure happened")
    if ledger.longest_wait_s(started_s, sent_s) > WAIT_MAX_S:
        wrong.append(f"no answer took longer than {WAIT_MAX_S} s")
    figures = {
        "drill": [
            {
                "at": failure.share,
                "what": failure.name,
                "seconds": round(over_s - began_s, 1),
                "longest_wait_s": ledger.longest_wait_s(began_s, over_s),
            }
            for failure, began_s, over_s in drill.happened
        ],
        "phases": phases,
        "seconds": {"sending": round(sent_s - started_s, 1), "reconciling": round(ended_s - sent_s, 1)},
        "events_per_s": round(options.events / (sent_s - started_s)),
        "requests": ledger.requests,
        "retries": ledger.retries,
        "failures_seen": ledger.failures,
        "counts": counts,
        "wrong": wrong,
    }
    print(json.dumps({**about, **figures}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
