"""`voice-gateway call`: a real call from the terminal."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import soundfile
import soxr
import uvloop
from rich.console import Console

from gateway.cli.errors import UsageError
from gateway.destinations.stream_trunk import trust
from gateway.media.g711 import FRAME_SAMPLES, SAMPLE_RATE
from gateway.media.port_pool import PortPool
from gateway.media.quality import stream_mos
from gateway.media.session import AudioSession
from gateway.media.wav_file import wav_header
from gateway.sip.endpoint import SipEndpoint
from gateway.sip.events import (
    AnswerReceived,
    Event,
    FailureReceived,
    HungUp,
    LegEnded,
    ReinviteReceived,
)
from gateway.sip.message import Response
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.reasons import reason_phrase
from gateway.sip.sdp import SdpError, SessionDescription, make_offer
from gateway.sip.tls import Tls
from gateway.sip.transport import SocketNetwork
from gateway.telemetry.ladder import Message, draw

PORTS: Final = (14_000, 14_998)
"""Media ports of this command, apart from a gateway's on the same machine."""

ANSWER_SECONDS: Final = 90.0
"""Until the call must be answered or refused."""

LISTEN_SECONDS: Final = 10.0
"""Of listening after what is played, if not told otherwise."""

GOODBYE_SECONDS: Final = 5.0
"""For our BYE to be answered, over UDP with a loss or two."""

SILENT_FRAME: Final = bytes(2 * FRAME_SAMPLES)

MAX_RECORDED_SECONDS: Final = 3600.0

MAX_PLAYED_SECONDS: Final = 600.0


@dataclass(slots=True)
class _Witness:
    """Sees every SIP message, for the ladder and the timings."""

    messages: list[Message] = field(default_factory=list)
    first: dict[str, float] = field(default_factory=dict)

    def message(self, direction: Literal["in", "out"], method: str, code: int) -> None:
        now = time.perf_counter()
        label = f"{code} {reason_phrase(code)}" if code else method
        self.messages.append(
            Message(now, direction, label if method == "INVITE" or not code else f"{label} ({method})")
        )
        self.first.setdefault(f"{direction} {method} {code}", now)

    def retransmission(self, direction: Literal["in", "out"]) -> None:
        """The message itself is counted already."""

    def dropped(self, reason: str) -> None:
        self.messages.append(Message(time.perf_counter(), "in", f"dropped: {reason}"))

    def milliseconds(self, event: str) -> float | None:
        start, end = self.first.get("out INVITE 0"), self.first.get(f"in INVITE {event}")
        return None if start is None or end is None else (end - start) * 1000


def run(
    uri: str, *, play: Path | None, record: Path | None, dtmf: str, duration: float | None, caller: str
) -> int:
    """Place the call; 0 if it was answered, 1 if not. Ctrl-C hangs up.

    duration: seconds from the answer; None means `LISTEN_SECONDS` after what is played.

    Raises:
        UsageError: the URI leads nowhere, or a file cannot be read or written.

    """
    return uvloop.run(_run(uri, play, record, dtmf, duration, caller))


async def _run(
    uri: str, play: Path | None, record: Path | None, dtmf: str, duration: float | None, caller: str
) -> int:
    pcm = await asyncio.to_thread(_read, play) if play is not None else b""
    if duration is None:
        duration = len(pcm) / 2 / SAMPLE_RATE + LISTEN_SECONDS
    witness, console = _Witness(), Console(highlight=False, soft_wrap=True)
    errors: list[str] = []
    trusted = await asyncio.to_thread(trust, None)
    anywhere = "[::]:0" if "[" in uri else "0.0.0.0:0"  # an IPv6 address stands in brackets
    sip = SipEndpoint(
        agent_listen=(anywhere,),
        agent_tls_listen=(anywhere,),
        network=SocketNetwork(tls=Tls(trusted, on_failure=lambda peer, why: errors.append(f"{peer}: {why}"))),
        on_invite=lambda leg: leg.refuse(486),
        observer=witness,
        on_error=lambda where, error: errors.append(f"{where}: {error!r}"),
        product="voice-gateway-call",
    )
    await sip.start()
    ports: PortPool | None = None
    try:
        try:
            flow = await sip.connect(uri)
        except (OSError, ValueError) as error:
            raise UsageError(f"{uri}: {error}") from None
        host = await asyncio.to_thread(SocketNetwork().local_host, flow.host)
        ports = PortPool("::" if ":" in host else "0.0.0.0", *PORTS, advertise=host)  # noqa: S104
        talk = _Talk(sip, ports)
        answered = await talk.place(uri, flow, caller, host)
        if answered:
            await talk.converse(pcm, dtmf, duration)
        console.print(draw(witness.messages, "voice-gateway call", uri))
        _report(console, witness, talk)
        if record is not None and answered:
            await asyncio.to_thread(_write, record, bytes(talk.heard))
            console.print(f"heard      {len(talk.heard) / 2 / SAMPLE_RATE:.1f} s → {record}")
        for text in errors:
            console.print(f"error      {text}")
        return 0 if answered else 1
    finally:
        if ports is not None:
            ports.close()
        await sip.stop()


class _Talk:
    """One call, from INVITE to BYE."""

    def __init__(self, sip: SipEndpoint, ports: PortPool) -> None:
        self._sip = sip
        self._port = ports.open()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.stats = self._port.stats
        self.heard = bytearray()
        self.answered = False
        self.ended_by = "us"
        self.result = ""

    async def place(self, uri: str, flow: object, caller: str, host: str) -> bool:
        """Send the INVITE and wait for a final answer."""
        self._offer = make_offer(*self._port.address, session_id=int(time.time()))
        self._leg: OutboundLeg = self._sip.invite(
            uri,
            flow,  # type: ignore[arg-type]
            from_=f"<sip:{caller}@{host}>",
            to=f"<{uri}>",
            body=self._offer,
            listener=self._events.put_nowait,
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    match await self._events.get():
                        case FailureReceived() as failure:
                            self.result = f"{failure.status} {failure.reason}"
                            if failure.response is not None and (
                                why := failure.response.headers.get("Reason")
                            ):
                                self.result += f" — {why}"
                            return False
                        case AnswerReceived() as answer:
                            return self._connect(answer.response)
        except TimeoutError:
            self.result = f"not answered within {ANSWER_SECONDS:g} s"
        except asyncio.CancelledError:
            _stay()
            self.result = "cancelled"
        self._leg.hangup()
        await self._wait_for_goodbye()
        return False

    def _connect(self, response: Response) -> bool:
        try:
            audio = SessionDescription.parse(response.body).audio
            codec = next(one for one in audio.codecs if not one.is_dtmf) if audio else None
        except (SdpError, StopIteration):
            audio = codec = None
        if audio is None or codec is None:
            self.result = "answered with a session description that makes no sense"
            self._leg.hangup()
            return False
        events = next((one.payload_type for one in audio.codecs if one.is_dtmf), None)
        self._audio = AudioSession(
            self._port, codec.name.upper(), codec.payload_type, events, continuous=True
        )
        self._port.set_remote(*audio.addresses)
        self._audio.on_audio = self._hear
        self.answered = True
        self.result = f"answered, {codec.name}"
        return True

    async def converse(self, pcm: bytes, dtmf: str, duration: float) -> None:
        """Play, press keys, listen, hang up."""
        self._audio.play(pcm or SILENT_FRAME)  # a telephone always sends, silence if nothing else
        if dtmf:
            try:
                self._audio.send_dtmf(dtmf)
            except ValueError as error:
                self.result += f"; keys not sent: {error}"
        try:
            async with asyncio.timeout(duration):
                await self._until_over()
        except (TimeoutError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                _stay()
            self._leg.hangup()
            await self._wait_for_goodbye()
        self._audio.close()

    async def _wait_for_goodbye(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._until_over()
        except TimeoutError:
            self.result += "; our goodbye was not answered"

    async def _until_over(self) -> None:
        while True:
            match await self._events.get():
                case HungUp() as event:
                    self.ended_by = (
                        f"the other side{f' ({event.reason_header})' if event.reason_header else ''}"
                    )
                    return
                case LegEnded() | FailureReceived():
                    return
                case ReinviteReceived() as change:
                    change.leg.answer_reinvite(self._offer)

    def _hear(self, frame: bytes) -> None:
        if len(self.heard) < MAX_RECORDED_SECONDS * SAMPLE_RATE * 2:
            self.heard += frame


def _stay() -> None:
    """Ctrl-C has cancelled this task; it goes on to say goodbye."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _report(console: Console, witness: _Witness, talk: _Talk) -> None:
    ended = f"; ended by {talk.ended_by}" if talk.answered else ""
    console.print(f"\nresult     {talk.result}{ended}")
    timings = [
        f"INVITE→{code} {elapsed:.1f} ms"
        for code in ("100", "180", "183", "200")
        if (elapsed := witness.milliseconds(code)) is not None
    ]
    console.print(f"timings    {', '.join(timings) or 'no response'}")
    if not talk.answered:
        return
    stats = talk.stats
    way, score = stats.round_trip, stream_mos(stats)
    console.print(
        f"audio      {stats.packets_out} packets sent, {stats.packets_in} received, {stats.lost} lost,"
        f" jitter {stats.jitter * 1000:.1f} ms"
        + (f", round trip {way * 1000:.1f} ms" if way is not None else "")
        + (f", estimated MOS {score:.1f}" if score is not None else "")
    )


def _read(path: Path) -> bytes:
    """A sound file as PCM16 mono 8 kHz. Raises UsageError."""
    try:
        with soundfile.SoundFile(path) as file:
            samples = file.read(int(MAX_PLAYED_SECONDS * file.samplerate), dtype="float32", always_2d=True)
            rate = file.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        raise UsageError(f"--play {path}: {error}") from None
    mono = samples.mean(axis=1)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    pcm: bytes = (mono.clip(-1.0, 1.0) * 32767).astype("<i2").tobytes()
    return pcm


def _write(path: Path, pcm: bytes) -> None:
    try:
        path.write_bytes(wav_header(len(pcm)) + pcm)
    except OSError as error:
        raise UsageError(f"--record {path}: {error.strerror}") from None
