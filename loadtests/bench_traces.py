"""What it costs to remember a call: its messages on disk, its record in the history.

    .venv/bin/python loadtests/bench_traces.py

CPU of everything that happens for it, on the event loop and in threads, for the 14 messages of a call over
two SIP legs; beside it what parsing one carrier's INVITE costs at the same moment, since the machine is
shared and only ratios mean anything. Writes to a temporary directory, some 100 MB.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from api.call_history import CallHistory
from api.store.sqlite import SqliteDatabase
from gateway.calls.keeping import CallKeeper
from gateway.calls.records import CallRecord
from gateway.destinations.base import Tried
from gateway.sip.flow import Flow
from gateway.sip.message import parse_message
from gateway.traces.log import TraceLog
from gateway.traces.segments import Segments
from gateway.traces.writer import BATCH
from loadtests.bench_console import made
from routing.call_events import CallRecorded
from routing.call_records import CallMoment

MESSAGES = 14
CALLS = 160  # a transaction's worth at 80 calls a second
ROUNDS = 20

INVITE = (
    b"INVITE sip:+14155550100@voice.example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 54.172.60.1:5060;branch=z9hG4bK5f3a.1\r\nMax-Forwards: 60\r\n"
    b"From: <sip:+14155550142@example.pstn.twilio.com>;tag=91523\r\n"
    b"To: <sip:+14155550100@voice.example.com>\r\n"
    b"Call-ID: 5cf2b1f0a3b1@0.0.0.0\r\nCSeq: 1 INVITE\r\nContact: <sip:+14155550142@172.25.1.2:5060>\r\n"
    b"X-Twilio-AccountSid: AC00000000000000000000000000000000\r\n"
    b"X-Twilio-CallSid: CA00000000000000000000000000000000\r\nContent-Type: application/sdp\r\n"
    b"Content-Length: 190\r\n\r\nv=0\r\no=root 1 1 IN IP4 172.18.0.9\r\ns=-\r\nc=IN IP4 54.172.60.9\r\n"
    b"t=0 0\r\n"
    b"m=audio 18000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)
SHORT = INVITE.partition(b"X-Twilio")[0] + b"Content-Length: 0\r\n\r\n"


async def cpu(work: Callable[[], Awaitable[None] | None], count: int) -> float:
    """Microseconds of CPU for each of `count` things that one run of `work` does; the best of a few runs."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        pending = work()
        if pending is not None:
            await pending
        best = min(best, time.process_time() - began)
    return best / count * 1e6


async def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        rows = [("parsing a carrier's INVITE, as a yardstick", await cpu(_parse, 256))]
        log = TraceLog(Segments(directory / "traces", 10**9), lambda flow: ("10.0.0.1", 5060))
        await log.writer.open()
        flow = Flow("udp", "54.172.60.1", 5060, 1)
        messages = [INVITE, SHORT, SHORT, SHORT]

        async def trace() -> None:
            for index in range(BATCH):
                log.received(flow, messages[index % 4])
            await log.writer.flush()

        def take() -> None:
            for _ in range(100):
                log.received(flow, SHORT)

        rows.append(("a call's messages traced, on the call path", MESSAGES * await cpu(take, 100)))
        await log.writer.flush()
        rows.append(("a call's messages traced, in all", MESSAGES * await cpu(trace, BATCH)))
        told: list[CallRecorded] = []
        keeper, record = CallKeeper(told.append, "here"), _record()

        def keep() -> None:
            for _ in range(CALLS):
                keeper(record)

        rows.append(("a call's record made for the history", await cpu(keep, CALLS)))
        database, history, number = SqliteDatabase(directory / "calls.sqlite"), CallHistory(), 0
        await database.open()

        async def store() -> None:
            nonlocal number
            calls = [made(number + index, 1.0 + number + index) for index in range(CALLS)]
            number += CALLS
            await database.write(lambda tx: history.keep(tx, calls))

        rows.append((f"… and stored, {CALLS} in a transaction", await cpu(store, CALLS)))
        await database.close()
    print("| what | µs of CPU |\n|---|---:|")
    for what, microseconds in rows:
        print(f"| {what} | {microseconds:.0f} |")


def _parse() -> None:
    for _ in range(256):
        parse_message(INVITE)


def _record() -> CallRecord:
    return CallRecord(
        "0123456789abcdef",
        "5cf2b1f0a3b1@0.0.0.0",
        "twilio",
        "+14155550142",
        "+14155550100",
        time.time(),
        number="+14155550100",
        plan=("agt_primary", "voicemail"),
        tried=[Tried("agt_primary", "sip:bot@192.0.2.10:5060", "200 OK", 0.4)],
        outcome="agent",
        status=200,
        cause="caller hung up",
        seconds=60.0,
        stages=dict.fromkeys(("lookup", "dispatch", "agent_response", "agent_answer", "answer"), 0.001),
        sip_call_ids=["5cf2b1f0a3b1@0.0.0.0", "0123456789abcdef0123456789abcdef"],
        moments=[CallMoment(0.001, "route", "agent agt_primary; voicemail")] * 4,
    )


if __name__ == "__main__":
    asyncio.run(main())
