"""A caller's audio through the whole gateway to an agent and back, in virtual time: how late, how much concealed.

Bursts of a tone go in at the caller's network side, packets lost and delayed at will, and are looked for at
the agent's socket; the agent's bursts are looked for at the caller's port. What is measured is the gateway's
own part: the jitter buffer's delay is taken off, since it is chosen, not lost. What an agent says in one piece
is held back by no playout buffer, once that has learned so.
"""

from __future__ import annotations

import asyncio
import base64
import random
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from gateway.destinations import media_stream_agent
from gateway.media.codecs import AudioCodec, find
from gateway.media.rtp import RtpPacket, pack
from gateway.media.session import AudioSession
from gateway.media.tones import tone
from routing.models import Agent, Endpoint, InboundRouting, PhoneNumber
from tests.calls.rig import CALLER, NUMBER, Rig
from tests.simulation.websockets import Socket, accept

URL = "wss://agent.example/ws"
BURST, PAUSE = 6, 24
"""Frames of tone, and of silence after it: long enough for what the agent says next to be a new utterance."""

PAIRS = [
    (codec, protocol, options)
    for codec in ("PCMU", "PCMA", "G722")
    for protocol, options in (
        ("twilio", {}),
        ("telnyx", {"encoding": "PCMA"}),
        ("telnyx", {"encoding": "L16"}),
        ("openai-realtime", {}),
    )
]
OFFERS = {"PCMU": "0", "PCMA": "8", "G722": "9"}


@dataclass(frozen=True, slots=True)
class Found:
    """towards, back: milliseconds that the gateway added, the median over all bursts, to the agent and from it.

    concealed: share of the frames that the agent heard. underruns: frames sent late, holes in what the agent said.
    heard, said: bursts that arrived, of those that were sent.
    """

    towards: float
    back: float
    buffer: float
    concealed: float
    underruns: int
    heard: float
    said: float


def loud(pcm: bytes) -> bool:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    return bool(len(samples)) and float(np.sqrt(np.mean(samples**2))) > 1500


async def measure(
    rig: Rig,
    codec: str,
    protocol: str,
    options: dict[str, str],
    *,
    loss: float,
    jitter: float,
    bursts: int = 40,
) -> Found:
    """loss: share of packets; jitter: seconds by which packets are delayed at most, each by its own dice."""
    sessions: list[AudioSession] = []

    class Watched(AudioSession):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            sessions.append(self)

    original, media_stream_agent.AudioSession = media_stream_agent.AudioSession, Watched  # type: ignore[misc]
    try:
        rig.web.agents[URL] = accept
        endpoint = Endpoint(URL, protocol=protocol, options=options)
        rig.agents["agt"] = Agent("agt", "agt", (endpoint,))
        rig.numbers[NUMBER] = PhoneNumber("phn", NUMBER, inbound_routing=InboundRouting(agent_id="agt"))
        offer = (
            f"v=0\r\no=- 1 1 IN IP4 {CALLER}\r\ns=-\r\nc=IN IP4 {CALLER}\r\nt=0 0\r\n"
            f"m=audio 6000 RTP/AVP {OFFERS[codec]}\r\na=ptime:20\r\n"
        )
        rig.dial(body=offer.encode())
        await asyncio.sleep(0.1)
        return await _measure(rig, find(codec), rig.web.sockets[0], sessions[0], loss, jitter, bursts)
    finally:
        media_stream_agent.AudioSession = original  # type: ignore[misc]


async def _measure(
    rig: Rig,
    codec: AudioCodec | None,
    socket: Socket,
    session: AudioSession,
    loss: float,
    jitter: float,
    bursts: int,
) -> Found:
    assert codec is not None and codec.payload_type is not None
    loop, dice, port = asyncio.get_running_loop(), random.Random(3389), rig.ports.opened[0]
    sound = tone((700.0,), 0.02 * BURST, -10.0) + bytes(320 * PAUSE)
    frames = codec.frames(sound * bursts)
    spoken: list[float] = []
    delays: list[float] = []
    form = session.form
    chunk = b"".join(form.frames(tone((500.0,), 0.02 * BURST, -10.0)))
    began = loop.time()
    for number, frame in enumerate(frames):
        if number % (BURST + PAUSE) == 0:
            spoken.append(loop.time())
            delays.append(session.delay)
            said(socket, chunk)
        if dice.random() >= loss:
            packet = pack(codec.payload_type, number & 0xFFFF, number * codec.frame_units, 7, frame)
            loop.call_later(dice.uniform(0, jitter), port.sink, packet)
        await asyncio.sleep(max(0.0, began + (number + 1) * 0.02 - loop.time()))
    await asyncio.sleep(1.0)
    decode = form.decoder(8000).decode
    arrived = onsets([(at, decode(audio)) for at, audio in heard_by(socket)])
    hear = codec.decoder(8000).decode
    returned = onsets(
        [(at, hear(RtpPacket.parse(packet).payload)) for at, packet in port.sent if at >= began]
    )
    towards = matched(spoken, arrived)
    back = matched(spoken, returned)
    stats = session.reception
    assert stats is not None
    return Found(
        towards=median(late - delay for late, delay in zip(towards, delays, strict=False)) * 1000,
        back=median(back) * 1000,
        buffer=median(delays) * 1000,
        concealed=stats.concealed / len(frames),
        underruns=session.underruns + session.pushed.starved,
        heard=len(arrived) / bursts,
        said=len(returned) / bursts,
    )


def said(socket: Socket, audio: bytes) -> None:
    """The agent says it, in its protocol."""
    text = base64.b64encode(audio).decode()
    if socket.heard[0].get("type"):
        socket.say({"type": "response.output_audio.delta", "item_id": "item", "delta": text})
    else:
        socket.say({"event": "media", "media": {"payload": text}})


def heard_by(socket: Socket) -> list[tuple[float, bytes]]:
    """What the agent heard, with the times."""
    found = []
    for at, message in zip(socket.times, socket.heard, strict=True):
        payload = message["media"]["payload"] if message.get("event") == "media" else message.get("audio")
        if payload is not None:
            found.append((at, base64.b64decode(payload)))
    return found


def onsets(frames: list[tuple[float, bytes]]) -> list[float]:
    """When bursts begin: loud after at least three quiet frames."""
    found, quiet = [], 3
    for at, pcm in frames:
        if loud(pcm):
            if quiet >= 3:
                found.append(at)
            quiet = 0
        else:
            quiet += 1
    return found


def matched(sent: list[float], found: list[float]) -> list[float]:
    """For each burst sent, how much later one began; those that never did are left out."""
    delays = []
    for at in sent:
        later = [each - at for each in found if 0 <= each - at < 0.02 * (BURST + PAUSE)]
        if later:
            delays.append(later[0])
    return delays
