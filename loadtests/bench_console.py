"""How long the console's pages take with a full history and many live calls.

    .venv/bin/python loadtests/bench_console.py                     # 10,000 calls in history, 500 live
    .venv/bin/python loadtests/bench_console.py --history 100000 --live 1000

Set-up, all on loopback of one machine and bounded in count and time: one gateway whose history is filled
before it starts, SIPp as a trunk and as agents with direct media for the live calls, two browsers' worth of
live feeds open. Times are those of whole requests, as a client beside the gateway sees them: more than the
server's own.

Exit code 1 when the median of a page is above 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.cookiejar
import statistics
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from api.call_history import CallHistory
from api.calls_service import FILE
from api.store.sqlite import SqliteDatabase
from loadtests import sipp_load
from routing.call_events import moment
from routing.call_records import AudioSample, CallMoment, CallShown, LegAudio, TriedDestination
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import GatewayProcess, wait_until

BAR_MS = 100.0
REQUESTS = 20
TALK_MS = 120_000
CALLS_A_SECOND = 50
AGENTS = 2

CALL = CallShown(
    id="",
    node="elsewhere",
    state="over",
    started_at="",
    began=0.0,
    seconds=61.5,
    carrier="twilio",
    carrier_call_id="",
    source="192.0.2.1",
    caller="+14155550142",
    dialled="+14155550100",
    number="+14155550100",
    sip_call_ids=[],
    plan=["agt_primary", "agt_fallback", "voicemail"],
    destination="agt_primary",
    position=1,
    outcome="agent",
    status=200,
    cause="caller hung up",
    rule="",
    tried=[TriedDestination("agt_primary", "sip:bot@192.0.2.10:5060", "200 OK", 0.4)],
    stages={"lookup": 0.0002, "dispatch": 0.001, "agent_response": 0.02, "agent_answer": 0.4, "answer": 0.41},
    legs=[LegAudio("agt_primary", "PCMU", 3000, 3000, 2, 0.002, mos=4.3)],
    moments=[CallMoment(0.001, "route", "agent agt_primary (inbound_routing.agent_id); voicemail")] * 4,
    quality=[AudioSample(5.0 * index, 4.3, 0.001, 0.002) for index in range(12)],
    mos=4.3,
)


async def fill(path: Path, count: int) -> None:
    """Put calls into a history that nobody has opened."""
    database, history, now = SqliteDatabase(path), CallHistory(), time.time()
    await database.open()
    for start in range(0, count, 1000):
        calls = [made(index, now - count + index) for index in range(start, min(count, start + 1000))]
        await database.write(lambda tx, calls=calls: history.keep(tx, calls))  # type: ignore[misc]
    await database.close()


def made(index: int, began: float) -> CallShown:
    """One of them: every tenth refused."""
    refused: dict[str, Any] = (
        {
            "outcome": "refused",
            "status": 404,
            "cause": "number not known",
            "tried": [],
            "legs": [],
            "mos": None,
        }
        if index % 10 == 0
        else {}
    )
    return msgspec.structs.replace(
        CALL,
        id=f"{index:016x}",
        began=began,
        started_at=moment(began),
        number=f"+1415555{index % 10_000:04}",
        carrier_call_id=f"CA{index:032x}",
        sip_call_ids=[f"caller-{index}@192.0.2.1", f"agent-{index}"],
        **refused,
    )


class Browser:
    """Asks for pages with a session's cookie."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._root = f"http://{gateway.http[0]}:{gateway.http[1]}/console"
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        key = (gateway.data / "operator.key").read_text().strip()
        form = urllib.parse.urlencode({"key": key}).encode()
        self._opener.open(f"{self._root}/login", form, timeout=30).close()

    def get(self, path: str) -> tuple[float, str]:
        """Milliseconds, and the page."""
        began = time.perf_counter()
        with self._opener.open(f"{self._root}{path}", timeout=60) as answer:
            text = answer.read().decode()
        return (time.perf_counter() - began) * 1000, text

    def watch(self) -> Any:
        """An open feed of live calls."""
        return self._opener.open(f"{self._root}/live/events", timeout=60)


def measure(browser: Browser, live_id: str, count: int) -> bool:
    """Print a line a page; True if all of them clear the bar."""
    middle = made(count // 2, time.time())
    pages = {
        "live calls": "/live",
        "history": "/calls",
        "search by a number's beginning": "/calls?search=%2B1415555",
        "search by Call-ID": f"/calls?search={middle.sip_call_ids[0]}",
        "search by the carrier's id": f"/calls?search={middle.carrier_call_id}",
        "refused calls": "/refused",
        "a call that is over": f"/calls/{middle.id}",
        "a live call with its ladder": f"/calls/{live_id}",
        "numbers": "/numbers",
        "agents": "/agents",
        "route tester": "/test?number=14155550100",
    }
    good = True
    print("| page | bytes | ms p50 | ms max |\n|---|---:|---:|---:|")
    for name, path in pages.items():
        taken = [browser.get(path) for _ in range(REQUESTS)]
        times, size = [milliseconds for milliseconds, _ in taken], len(taken[0][1])
        median = statistics.median(times)
        print(f"| {name} | {size} | {median:.1f} | {max(times):.1f} |", flush=True)
        good = good and median <= BAR_MS
    return good


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--history", type=int, default=10_000)
    parser.add_argument("--live", type=int, default=500)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (directory / "data").mkdir()
        asyncio.run(fill(directory / "data" / FILE, asked.history))
        agents = [sipp_load.agent(directory) for _ in range(AGENTS)]
        for agent in agents:
            stack.callback(agent.stop)
        exchange = Exchange(directory, logs={"level": "warning"}, drain={"timeout": 0.0})
        gateway = stack.enter_context(exchange.gateway)
        numbers = [f"+1{201 + index // 100}55501{index % 100:02d}" for index in range(200)]
        exchange.load([(number, agents[index % AGENTS].agent_uri) for index, number in enumerate(numbers)])
        sheet = directory / "numbers.csv"
        sheet.write_text("\n".join(["SEQUENTIAL", *(f"{number};" for number in numbers), ""]))
        caller = sipp_load.caller(
            directory, gateway.sip, sheet, rate=CALLS_A_SECOND, calls=asked.live, talk_ms=TALK_MS
        )
        stack.callback(caller.stop)
        browser = Browser(gateway)
        wait_until(
            lambda: gateway.metric("gateway_calls_active", leg="agent") >= asked.live, "calls are live", 120
        )
        for _ in range(2):
            stack.enter_context(contextlib.closing(browser.watch()))
        rows = browser.get("/live")[1].split('data-id="')[1:]
        print(f"{asked.history} calls in history, {len(rows)} live")
        good = measure(browser, rows[0].partition('"')[0], asked.history)
        caller.stop()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
