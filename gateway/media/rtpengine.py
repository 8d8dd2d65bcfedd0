"""rtpengine as the relay between carriers and SIP agents: its ng protocol, several instances, health.

The ng protocol is one datagram for a question and one for its answer, both with the same cookie before a
bencoded dictionary; a question that is repeated gets the answer that it had. A relayed call has two ports on
one instance from beginning to end (`port-latching`), so they are asked for once, before anybody is told of
them; what changes later is told, not asked. Only audio in the clear goes there: SRTP, recordings, voicemail
and agents over WebSocket stay with our own ports.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.media.bencode import BencodeError, Read, Written, decode, encode
from gateway.media.reception import PortStats

REPEATED_AFTER: Final = 0.1
"""Seconds until a question is asked again; twice that until the next time, and so on."""

PING_SECONDS: Final = 2.0
"""Between questions whether an instance is there: a call finds one that is gone sooner than that."""

MAX_TRIES: Final = 3
"""Instances asked for one call: a caller waits no longer than that many time limits."""

MAX_UNANSWERED: Final = 4096
"""Questions to one instance at once; more wait for nothing, the instance is overloaded or gone."""

MAX_ANSWER: Final = 65_535
"""Bytes of an answer, a datagram."""

CALLER, AGENT = "caller", "agent"
"""Tags of the two parties within an instance's call."""

_FLAGS: Final = ("trust-address", "strict-source", "port-latching")
"""Addresses are those of the descriptions; once learned, a source stays; ports stay whatever changes."""


class EngineUnavailable(Exception):  # noqa: N818 - it names a state, as `NoPortLeft` does
    """No instance takes the call, or this one does not answer; the text says why."""


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an instance listens for ng, and its share of calls."""

    host: str
    port: int
    weight: int = 1

    @classmethod
    def parse(cls, text: str) -> EngineAddress:
        """``host:port``, ``[v6]:port``, or either with ``*weight``. Raises ValueError."""
        place, _, weight = text.partition("*")
        host, _, port = place.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdigit() or not 0 < int(port) < 0x10000:
            raise ValueError(f"{text}: write host:port, and *weight behind it for another share than 1")
        if weight and (not weight.isdigit() or not 0 < int(weight) <= 100):
            raise ValueError(f"{text}: a weight is 1 to 100")
        return cls(host, int(port), int(weight or 1))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RtpEngine(asyncio.DatagramProtocol):
    """One instance; made and used inside of a running loop.

    Args:
        timeout: seconds for an answer, repetitions included.
        on_answer: told the command and ``ok``, ``error`` or ``timeout``.

    Attributes:
        up: whether it answered lately; believed of one that was never asked.
        calls: that are relayed there for us now.

    """

    def __init__(
        self, address: EngineAddress, *, timeout: float, on_answer: Callable[[str, str], None]
    ) -> None:
        self.address = address
        self.up = True
        self.calls = 0
        self._timeout = timeout
        self._on_answer = on_answer
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[bytes, asyncio.Future[Mapping[str, Read]]] = {}
        self._salt = secrets.token_hex(4)
        self._asked = 0

    async def command(self, name: str, **fields: Written) -> Mapping[str, Read]:
        """Ask, and wait for the answer.

        Raises:
            EngineUnavailable: there is none in time, or it is an error.

        """
        if len(self._waiting) >= MAX_UNANSWERED:
            raise EngineUnavailable(f"{self.address}: {MAX_UNANSWERED} questions without an answer")
        self._asked += 1
        cookie = f"{self._salt}_{self._asked}".encode()
        question = cookie + b" " + encode({"command": name, **fields})
        answered = self._waiting[cookie] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._asked_until(answered, question)
        except (TimeoutError, OSError) as error:
            self.up = False
            self._on_answer(name, "timeout")
            raise EngineUnavailable(f"{self.address}: {error or 'no answer in time'}") from None
        finally:
            del self._waiting[cookie]
        self.up = True
        if answer.get("result") not in (b"ok", b"pong"):
            self._on_answer(name, "error")
            raise EngineUnavailable(f"{self.address}: {_text(answer.get('error-reason'))}")
        self._on_answer(name, "ok")
        return answer

    async def ping(self) -> None:
        """See whether it is there. Raises EngineUnavailable."""
        await self.command("ping")

    def close(self) -> None:
        """Ask nothing more."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    async def _asked_until(
        self, answered: asyncio.Future[Mapping[str, Read]], question: bytes
    ) -> Mapping[str, Read]:
        """Ask again and again; whoever calls bounds the time."""
        pause = REPEATED_AFTER
        while True:
            (await self._opened()).sendto(question)
            done, _ = await asyncio.wait((answered,), timeout=pause)
            if done:
                return answered.result()
            pause *= 2

    async def _opened(self) -> asyncio.DatagramTransport:
        """Our socket; made anew after a loss, since the host's address may be another one now."""
        if self._transport is None or self._transport.is_closing():
            remote = self.address.host, self.address.port
            self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: self, remote_addr=remote
            )
        return self._transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """An answer; one that nobody waits for, or that makes no sense, is ignored."""
        cookie, _, body = data[:MAX_ANSWER].partition(b" ")
        waiting = self._waiting.get(cookie)
        if waiting is None or waiting.done():
            return
        try:
            answer = decode(body)
        except BencodeError:
            return
        if isinstance(answer, dict):
            waiting.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there: what waits is asked again until its time is over."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The next question opens another socket."""
        self._transport = None


@dataclass(slots=True, eq=False)
class EngineCall:
    """One call on one instance. What survives us, and how to speak of it, are its first three values.

    engine: the instance; id: the call's there; to_agent, to_caller: descriptions with the instance's ports,
    as each party is to see them.
    on_over: told when it is given back.
    caller, agent: what was heard of each party's stream; `packets_out` is what was sent to it.
    """

    engine: RtpEngine
    id: str
    to_agent: bytes
    to_caller: bytes
    on_over: Callable[[EngineCall], None]
    caller: PortStats = field(default_factory=PortStats)
    agent: PortStats = field(default_factory=PortStats)
    _latest: tuple[bytes, bytes] | None = None
    _telling: asyncio.Task[None] | None = None
    _over: bool = False

    def follow(self, offer: bytes, answer: bytes) -> None:
        """Tell the instance what caller and agent have agreed on, without waiting; the latest counts."""
        self._latest = offer, answer
        if self._telling is None and not self._over:
            self._telling = asyncio.ensure_future(self._tell())

    def block(self, *, blocked: bool) -> None:
        """Let nothing through, or everything again."""
        _in_background(self._blocked(blocked))

    async def look(self) -> bool:
        """Learn how many packets have come from each party; False if the instance does not tell."""
        try:
            self._count(await self.engine.command("query", **{"call-id": self.id}))
        except EngineUnavailable:
            return False
        return True

    def close(self) -> None:
        """Give the ports back, without waiting. Idempotent."""
        if not self._over:
            self._over = True
            self.on_over(self)
            _in_background(delete(self.engine, self.id))

    async def _tell(self) -> None:
        try:
            while self._latest is not None and not self._over:
                (offer, answer), self._latest = self._latest, None
                both = {"from-tag": CALLER, "to-tag": AGENT}
                await self.engine.command("offer", **_fields(self.id, offer), **both)
                await self.engine.command("answer", **_fields(self.id, answer), **both)
        except EngineUnavailable:
            return  # silence will tell
        finally:
            self._telling = None

    async def _blocked(self, blocked: bool) -> None:
        command = "block media" if blocked else "unblock media"
        for tag in (CALLER, AGENT):
            await self.engine.command(command, **{"call-id": self.id, "from-tag": tag})

    def _count(self, answer: Mapping[str, Read]) -> None:
        for tag, ours, theirs in ((CALLER, self.caller, self.agent), (AGENT, self.agent, self.caller)):
            stream = _rtp_stream(answer, tag)
            packets = _number(_dictionary(stream.get("stats")).get("packets"))
            reports = _dictionary(_dictionary(answer.get("SSRC")).get(str(_number(stream.get("SSRC")))))
            average = _dictionary(reports.get("average MOS"))
            ours.told(
                packets,
                loss=_number(average["packet loss"]) / 100 if "packet loss" in average else None,
                jitter=_number(average.get("jitter")) / 1000,
            )
            theirs.packets_out = packets


class RtpEngines:
    """All instances. Each new call goes to one that is up, by weight; the next one is asked if that fails.

    Args:
        timeout: seconds for an answer.
        on_answer: see `RtpEngine`.
        on_stream: told what was heard of each party's stream when a call is given back.
        chance: 0 to 1, evenly distributed.

    """

    def __init__(
        self,
        addresses: Sequence[EngineAddress],
        *,
        timeout: float,
        on_answer: Callable[[str, str], None] = lambda command, result: None,
        on_stream: Callable[[PortStats], None] = lambda stats: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.engines = tuple(RtpEngine(each, timeout=timeout, on_answer=on_answer) for each in addresses)
        self._on_stream = on_stream
        self._chance = chance
        self._calls: set[EngineCall] = set()
        self._pinging: asyncio.Task[None] | None = None

    def open_stats(self) -> list[PortStats]:
        """What is known of the streams of calls that are there now."""
        return [stats for call in self._calls for stats in (call.caller, call.agent)]

    def start(self) -> None:
        """Begin to look after the instances."""
        self._pinging = asyncio.ensure_future(self._ping())

    async def open(self, call_id: str, offer: bytes, answer: bytes, *, ipv6: bool = False) -> EngineCall:
        """Two ports for a call.

        offer: the caller's description; answer: one in the agent's place, which nobody knows yet.
        ipv6: whether the agent is reached over IPv6.

        Raises:
            EngineUnavailable: no instance gives any.

        """
        fault = "no instance is up"
        for engine in self._order()[:MAX_TRIES]:
            try:
                return await self._open(engine, call_id, offer, answer, ipv6)
            except EngineUnavailable as error:
                fault = str(error)
        raise EngineUnavailable(fault)

    def taken_up(self, address: str, call_id: str, to_agent: bytes, to_caller: bytes) -> EngineCall | None:
        """Go on with what another process opened, by what it knew; None if the instance is not ours."""
        engine = next((each for each in self.engines if str(each.address) == address), None)
        return (
            None
            if engine is None
            else self._taken(EngineCall(engine, call_id, to_agent, to_caller, self._over))
        )

    async def close(self) -> None:
        """Stop; what is being given back is given back, for as long as an answer may take."""
        if self._pinging is not None:
            self._pinging.cancel()
        if _background:
            await asyncio.wait(tuple(_background), timeout=1.0)
        for engine in self.engines:
            engine.close()

    async def _open(
        self, engine: RtpEngine, call_id: str, offer: bytes, answer: bytes, ipv6: bool
    ) -> EngineCall:
        agents = {"from-tag": CALLER, "address-family": "IP6" if ipv6 else "IP4"}
        callers = {"from-tag": CALLER, "to-tag": AGENT}
        callers["address-family"] = "IP6" if b"IN IP6" in offer else "IP4"
        try:
            asked = (await engine.command("offer", **_fields(call_id, offer), **agents)).get("sdp")
            answered = (await engine.command("answer", **_fields(call_id, answer), **callers)).get("sdp")
            if not isinstance(asked, bytes) or not isinstance(answered, bytes):
                raise EngineUnavailable(f"{engine.address}: an answer without a session description")
        except BaseException:  # a caller who has left among them
            _in_background(delete(engine, call_id))
            raise
        return self._taken(EngineCall(engine, call_id, asked, answered, self._over))

    def _taken(self, call: EngineCall) -> EngineCall:
        call.engine.calls += 1
        self._calls.add(call)
        return call

    def _over(self, call: EngineCall) -> None:
        call.engine.calls -= 1
        self._calls.discard(call)
        self._on_stream(call.caller)
        self._on_stream(call.agent)

    def _order(self) -> list[RtpEngine]:
        """Those that are up, each before the others as often as its weight says."""
        up = [engine for engine in self.engines if engine.up]
        return sorted(up, key=lambda engine: -(self._chance() ** (1 / engine.address.weight)))

    async def _ping(self) -> None:
        while True:
            await asyncio.gather(*(engine.ping() for engine in self.engines), return_exceptions=True)
            await asyncio.sleep(PING_SECONDS)


_background: set[asyncio.Task[Any]] = set()
"""Commands whose answer nobody waits for; each is bounded by its instance's time limit."""


async def delete(engine: RtpEngine, call_id: str) -> None:
    """Have an instance forget a call, whoever opened it. Raises EngineUnavailable."""
    fields: dict[str, Written] = {"call-id": call_id, "from-tag": CALLER, "delete-delay": 0}
    await engine.command("delete", **fields)


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_finished)


def _finished(task: asyncio.Task[Any]) -> None:
    _background.discard(task)
    if not task.cancelled():
        task.exception()  # an instance that is gone has given everything back already


def _fields(call_id: str, description: bytes) -> dict[str, Written]:
    return {
        "call-id": call_id,
        "sdp": description,
        "flags": _FLAGS,
        "replace": ("origin", "session-connection"),
        "ICE": "remove",
        "DTLS": "off",
        "rtcp-mux": ("demux",),
        "transport-protocol": "RTP/AVP",
    }


def _rtp_stream(answer: Mapping[str, Read], tag: str) -> Mapping[str, Read]:
    """The first stream of what a party sends."""
    party = _dictionary(_dictionary(answer.get("tags")).get(tag))
    medias = party.get("medias")
    media = _dictionary(medias[0]) if isinstance(medias, list) and medias else {}
    streams = media.get("streams")
    return _dictionary(streams[0]) if isinstance(streams, list) and streams else {}


def _dictionary(value: Read | None) -> Mapping[str, Read]:
    return value if isinstance(value, dict) else {}


def _number(value: Read | None) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _text(value: Read | None) -> str:
    return value.decode("utf-8", "replace")[:200] if isinstance(value, bytes) else "an error without a reason"
