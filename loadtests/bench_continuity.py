"""What it costs to keep established calls in Redis, CPU a call: on the call path, and behind it.

    python loadtests/bench_continuity.py [--calls 5000]

The legs are those of the SIP core's bench, answered; a real redis-server of our own takes the records. A call
is written once with its agent and dropped once, as one is that lasts longer than the pause between writes.
Also what a call costs that is over before: nothing of it is written.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gateway.calls.records import CallRecord
from gateway.continuity.keeper import Keeper
from gateway.continuity.kept_call import decode, encode, kept
from gateway.destinations.base import Connection, Tried
from gateway.sip.leg import Leg
from gateway.sip.message import parse_message
from gateway.sip.user_agent import UserAgent
from loadtests.bench_core import AGENT, CARRIER, INVITE_HEAD, SDP, LastSent
from routing.kept_calls import KeptCalls
from routing.redis_clients import BACKGROUND_TIMEOUT, connect
from routing.redis_server import EmbeddedRedis

URL = "sip:agent@192.0.2.20;media=direct"


class Legs:
    """Answered legs of one user agent."""

    def __init__(self) -> None:
        self._sink = LastSent()
        self._callers: list[Any] = []
        self._numbers = iter(range(1 << 62))
        self._ua = UserAgent(
            self._sink,
            time.monotonic,
            lambda: f"{next(self._numbers):016x}",
            on_invite=self._callers.append,
        )

    def pair(self, number: int) -> tuple[Leg, Leg]:
        """A caller's leg and an agent's."""
        head = INVITE_HEAD.format(n=number) + f"Content-Length: {len(SDP)}\r\n\r\n"
        self._ua.receive(head.encode() + SDP, CARRIER)
        caller = self._callers.pop()
        caller.answer(SDP)
        agent = self._ua.invite(
            "sip:agent@192.0.2.20",
            AGENT,
            from_="<sip:a@b>",
            to="<sip:c@d>",
            body=SDP,
            listener=lambda event: None,
        )
        invite = parse_message(self._sink.to_agent)
        answer = (
            f"SIP/2.0 200 OK\r\nVia: {invite.headers.get('Via')}\r\nFrom: {invite.headers.get('From')}\r\n"
            f"To: {invite.headers.get('To')};tag=agent\r\nCall-ID: {invite.call_id}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:agent@192.0.2.20:5060>\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(SDP)}\r\n\r\n"
        )
        self._ua.receive(answer.encode() + SDP, AGENT)
        return caller, agent


def call(legs: Legs, number: int) -> Any:
    """What the keeper reads of a call."""
    caller, agent = legs.pair(number)
    record = CallRecord(
        call_id=f"{number:016x}",
        sip_call_id=caller.call_id,
        carrier="twilio",
        caller="+14155550111",
        dialled="+14155550100",
        started_at=time.time(),
        number="+14155550100",
        plan=("agt_reception", "agt_sales", "voicemail"),
        tried=[Tried("agt_reception", URL, "200 OK", 1.2)],
        source="203.0.113.1",
        carrier_call_id="CA" + "0" * 32,
        sip_call_ids=[caller.call_id, agent.call_id],
        stages={
            "lookup": 0.0001,
            "dispatch": 0.001,
            "agent_response": 0.01,
            "agent_answer": 1.2,
            "answer": 1.2,
        },
    )
    connection = Connection("agent", "agt_reception", URL, agent, "direct", SDP, SDP, 0.0)
    return SimpleNamespace(
        id=record.call_id,
        caller=caller,
        record=record,
        audio=SimpleNamespace(theirs=SDP, shown=SDP),
        connected=SimpleNamespace(connection=lambda: connection),
        rescued=False,
        destination="agt_reception",
        role="agent",
        carrier_headers=[("X-Twilio-CallSid", "CA" + "0" * 32)],
        max_forwards=67,
        asserted="+14155550111",
        withheld=False,
        ceded=False,
        answered=True,
    )


async def main(calls: int) -> None:
    legs = Legs()
    made = [call(legs, number) for number in range(calls)]
    record = encode(kept(made[0], time.time()))
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedRedis(Path(directory))
        await server.start()
        client = connect(server.url, BACKGROUND_TIMEOUT)
        keeper = Keeper(KeptCalls(client, "bench#1", 6.0), made, wall_clock=time.time, clock=time.monotonic)
        await keeper.turn()
        rows = [("the record, bytes", float(len(record)))]
        rows.append(("noted when it is answered, joined and over", _cpu(lambda: _noted(keeper, made), calls)))
        rows.append(("its record made", _cpu(lambda: [encode(kept(each, 0.0)) for each in made], calls)))
        rows.append(("… read", _cpu(lambda: [decode(record) for _ in made], calls)))
        rows.append(("written and dropped, with the record", await _written(keeper, made, calls)))
        rows.append(("of Redis", await _of_redis(client, keeper, made, calls)))
        await client.aclose()
        await server.stop()
    for name, value in rows:
        print(f"{name:45} {value:8.1f}")


def _noted(keeper: Keeper, made: list[Any]) -> None:
    for each in made:
        keeper.changed(each)
        keeper.changed(each)
        keeper.over(each)


def _cpu(work: Any, calls: int) -> float:
    """Microseconds a call, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best / calls * 1e6


async def _written(keeper: Keeper, made: list[Any], calls: int) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        await _once(keeper, made)
        best = min(best, time.process_time() - began)
    return best / calls * 1e6


async def _of_redis(client: Any, keeper: Keeper, made: list[Any], calls: int) -> float:
    before = await client.info("cpu")
    await _once(keeper, made)
    after = await client.info("cpu")
    used = sum(after[key] - before[key] for key in ("used_cpu_sys", "used_cpu_user"))
    return float(used) / calls * 1e6


async def _once(keeper: Keeper, made: list[Any]) -> None:
    for each in made:
        keeper.changed(each)
    await keeper.flush()
    for each in made:
        keeper.over(each)
    await keeper.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=5_000)
    asyncio.run(main(parser.parse_args().calls))
