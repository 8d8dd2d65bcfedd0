"""The phone-number API with a million numbers: import, sync, start of a node, lists, and calls beside it.

    .venv/bin/python loadtests/bench_api.py                        # all of it, ten to twenty minutes
    .venv/bin/python loadtests/bench_api.py --numbers 100000       # sooner
    .venv/bin/python loadtests/bench_api.py --only calls           # call latency with and without API load

Set-up, all on loopback of one machine: `voice-gateway api` with SQLite, a redis-server of its own, and
`voice-gateway serve`. Requests are timed at the client, one at a time. Call latency is INVITE→100 and
INVITE→200 of a probe of 40 calls a second, while a client asks for 100 changes and 100 reads a second: of no
API at all, of an API in its own process, and of one in the gateway's process.

Exit code 1 when a bar is missed: list and get p99 < 20 ms, propagation p99 < 100 ms, no lost call.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from loadtests import process_meter
from loadtests.api_office import (
    Client,
    api_process,
    client,
    gateway_process,
    number,
    redis_server,
    rng,
    timed,
    until_redis_holds,
)
from loadtests.latency_probe import Latencies, LatencyProbe, percentile
from routing.redis_clients import connect
from tests.e2e.gateway_process import GatewayProcess

BATCH = 1000
AT_ONCE = 2
REQUESTS = 1000
BAR_REQUEST_MS = 20.0
BAR_PROPAGATION = 0.1
PROBE_RATE = 40.0
LOAD = 100  # changes, and as many reads, a second
SECONDS = 30
SETUPS = ("no load", "load, in its own process", "load, in the gateway's process")

missed: list[str] = []


async def fill(asking: Client, count: int) -> None:
    """Import that many numbers for a hundred agents."""
    for index in range(100):
        body = {"id": f"agt_{index}", "name": f"Agent {index}", "endpoints": [{"url": "sip:bot@127.0.0.1:9"}]}
        await asking.ask("POST", "/v1/agents", body)
    batches = iter(range(0, count, BATCH))

    async def work() -> None:
        for start in batches:
            items = [
                {
                    "phone_number": number(index),
                    "provider": "telnyx" if index % 3 == 0 else "twilio",
                    "friendly_name": f"Line {index}",
                    "inbound_routing": {
                        "agent_id": f"agt_{index % 100}",
                        "fallback": {"agent_id": f"agt_{(index + 1) % 100}"},
                    },
                }
                for index in range(start, min(start + BATCH, count))
            ]
            result = await asking.ask("POST", "/v1/phone-numbers/import", {"items": items})
            assert result["created"] == len(items), result

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def at_scale(directory: Path, count: int, database_url: str) -> None:
    """Import, full sync, start of a node, requests."""
    print(f"## {count:,} numbers\n")
    print("| step | seconds | memory |\n|---|---:|---:|")
    with (
        redis_server(directory / "redis") as redis_url,
        api_process(directory, redis_url, database_url) as (pid, root),
    ):
        async with client(root) as asking:
            began = time.perf_counter()
            await fill(asking, count)
            row("import over HTTP, 1,000 a request", began, pid)
            await until_redis_holds(redis_url, count)
            row("… and all of them in Redis", began, pid)
            redis = connect(redis_url, 60.0)
            held = (await redis.info("memory"))["used_memory"]
            await redis.flushall()
            began = time.perf_counter()
            await until_redis_holds(redis_url, count)
            row("full sync into an empty Redis", began, pid)
            print(f"| Redis holds it in | | {held / 2**20:.0f} MiB |")
            await redis.aclose()
            node_starts(directory / "node", redis_url)
            store = directory / "data" / "api.sqlite"
            if store.exists():
                print(f"| the store's file | | {store.stat().st_size / 2**20:.0f} MiB |")
            print()
            await requests(asking, count)


def row(what: str, began: float, pid: int) -> None:
    memory = process_meter.resident_kib(pid) / 1024
    print(f"| {what} | {time.perf_counter() - began:.1f} | {memory:.0f} MiB |", flush=True)


def node_starts(directory: Path, redis_url: str) -> None:
    """From nothing, and again with the snapshot of the first time."""
    for what in ("start of a node, to ready", "… again, with its snapshot"):
        began = time.perf_counter()
        with gateway_process(directory, redis_url, serve=False) as gateway:
            row(what, began, gateway.pid)
            time.sleep(1)


async def requests(asking: Client, count: int) -> None:
    """Each sort of request, one after the other, anywhere in the set."""
    dice = rng()
    page = await asking.ask("GET", f"/v1/phone-numbers/cursor?limit={BATCH}")
    ids, cursors = [], []
    for _ in range(20):
        ids += [item["id"] for item in page["items"]]
        if not page["has_more"]:
            break
        cursors.append(page["next_cursor"])
        page = await asking.ask("GET", f"/v1/phone-numbers/cursor?limit={BATCH}&cursor={cursors[-1]}")

    def reach() -> int:
        return dice.randrange(min(count, 100_000))

    kinds: dict[str, Callable[[], str]] = {
        "get": lambda: f"/{dice.choice(ids)}",
        "list, first page": lambda: "?limit=20",
        "list, any offset": lambda: f"?limit=20&offset={reach()}",
        "list by number": lambda: f"?phone_number=%2B{number(dice.randrange(count))[1:]}",
        "list by agent": lambda: f"?agent_id=agt_{dice.randrange(100)}",
        "list by provider and status": lambda: f"?provider=telnyx&status=active&offset={reach() // 4}",
        "list by agent and provider": lambda: f"?agent_id=agt_{dice.randrange(100)}&provider=telnyx",
        "by cursor, 100 a page": lambda: f"/cursor?cursor={dice.choice(cursors or [''])}",
    }
    print("| request | p50 ms | p99 ms | max ms |\n|---|---:|---:|---:|")
    for what, path in kinds.items():
        times = [await timed(ask(asking, path())) for _ in range(REQUESTS)]
        p99 = percentile(times, 0.99)
        print(f"| {what} | {percentile(times, 0.5):.1f} | {p99:.1f} | {max(times):.1f} |", flush=True)
        if p99 > BAR_REQUEST_MS:
            missed.append(f"{what}: p99 {p99:.1f} ms")
    print()


def ask(asking: Client, path: str) -> Callable[[], Awaitable[object]]:
    return lambda: asking.ask("GET", f"/v1/phone-numbers{path}")


async def beside_calls(directory: Path, only: str) -> None:
    """Call latency with and without API load, and how long changes take."""
    print("## Calls beside the API\n")
    print(
        "| API | changes/s | INVITE→100 ms p50 / p99 | INVITE→200 ms p50 / p99 | lost | propagation p99 s |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for what in (name for name in SETUPS if only in name):
        await one_setup(directory / what.replace(" ", "-").replace(",", ""), what)
    print()


async def one_setup(directory: Path, what: str) -> None:
    apart = "own" in what
    probe = LatencyProbe()
    probe.number = "+14155550198"
    with redis_server(directory / "redis") as redis_url:
        if apart:
            with api_process(directory, redis_url) as (_, root):
                async with client(root) as asking:
                    await prepare(asking, probe)
                    with gateway_process(directory / "node", redis_url, serve=False) as gateway:
                        await measure(what, gateway, asking, probe)
        else:
            with gateway_process(directory, redis_url, serve=True) as gateway:
                async with client(f"http://{gateway.http[0]}:{gateway.http[1]}") as asking:
                    await prepare(asking, probe)
                    await measure(what, gateway, asking, probe)
    probe.close()


async def prepare(asking: Client, probe: LatencyProbe) -> None:
    await fill(asking, 10_000)
    body = {"id": "agt_probe", "name": "Probe", "endpoints": [{"url": probe.agent_uri}]}
    await asking.ask("POST", "/v1/agents", body)
    routed = {"inbound_routing": {"agent_id": "agt_probe"}}
    await asking.ask(
        "POST", "/v1/phone-numbers", {"phone_number": probe.number, "provider": "twilio", **routed}
    )


async def measure(what: str, gateway: GatewayProcess, asking: Client, probe: LatencyProbe) -> None:
    page = await asking.ask("GET", "/v1/phone-numbers/cursor?limit=1000")
    ids = [item["id"] for item in page["items"]]
    probe.gateway = gateway.sip
    while await asyncio.to_thread(gateway.metric, "routing_numbers") < 10_001:  # noqa: ASYNC110 - a process
        await asyncio.sleep(0.2)
    before = await asyncio.to_thread(propagations, gateway)
    probe.start(PROBE_RATE)
    changes = 0 if what == "no load" else await load(asking, ids)
    if not changes:
        await asyncio.sleep(SECONDS)
    latencies: Latencies = await asyncio.to_thread(probe.stop)
    await asyncio.sleep(1)
    after = await asyncio.to_thread(propagations, gateway)
    share = bucket_of(before, after, 0.99)
    cells = [what, f"{changes / SECONDS:.0f}"]
    cells += [
        f"{percentile(times, 0.5):.2f} / {percentile(times, 0.99):.2f}"
        for times in (latencies.trying, latencies.answered)
    ]
    cells += [str(latencies.lost), f"≤ {share:g}" if changes else "–"]
    print("| " + " | ".join(cells) + " |", flush=True)
    if latencies.lost:
        missed.append(f"{what}: {latencies.lost} calls lost")
    if changes and share > BAR_PROPAGATION:
        missed.append(f"{what}: propagation p99 ≤ {share} s")


async def load(asking: Client, ids: list[str]) -> int:
    """Changes and reads at a steady rate; returns how many changes were made."""
    dice, made = rng(), 0
    running: set[asyncio.Task[None]] = set()

    async def change(index: int) -> None:
        nonlocal made
        body = {"inbound_routing": {"voicemail_message": f"Message {index}."}}
        await asking.ask("PATCH", f"/v1/phone-numbers/{dice.choice(ids)}", body)
        made += 1

    async def read() -> None:
        await asking.ask("GET", f"/v1/phone-numbers?limit=20&offset={dice.randrange(5000)}")

    began = time.monotonic()
    for index in range(SECONDS * LOAD):
        await asyncio.sleep(max(0.0, began + index / LOAD - time.monotonic()))
        for work in (change(index), read()):
            task = asyncio.create_task(work)
            running.add(task)
            task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return made


_BUCKET = re.compile(r'^routing_propagation_seconds_bucket{le="([^"]+)"} (\S+)$', re.MULTILINE)


def propagations(gateway: GatewayProcess) -> dict[float, float]:
    _, text = gateway.get("/metrics")
    return {float(bound): float(count) for bound, count in _BUCKET.findall(text)}


def bucket_of(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The bucket that a share of what came in between lies in."""
    grown = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    total = grown.get(float("inf"), 0)
    return next((bound for bound in sorted(grown) if total and grown[bound] >= share * total), float("nan"))


def main() -> int:
    parser = argparse.ArgumentParser(description="The phone-number API with a million numbers.")
    parser.add_argument("--numbers", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["scale", "calls"])
    parser.add_argument(
        "--beside", help="with --only calls: of the three set-ups the one that has this in its name"
    )
    parser.add_argument("--database-url", default="", help="PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-api-") as directory:
        if arguments.only != "calls":
            asyncio.run(at_scale(Path(directory, "scale"), arguments.numbers, arguments.database_url))
        if arguments.only != "scale":
            asyncio.run(beside_calls(Path(directory, "calls"), arguments.beside or ""))
    print("bars: " + ("; ".join(missed) or "all cleared"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
