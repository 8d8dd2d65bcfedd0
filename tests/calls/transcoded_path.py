"""Audio across a relay whose two sides speak different codecs, in virtual time: how late, how whole, how straight.

Bursts of a tone go in at one side's network, packets lost and delayed at will, and are looked for at the other
side's port. A transcoder has no jitter buffer: what is lost stays a gap for the receiver to conceal, jitter stays
jitter, and what is measured is what comes on top, and whether each burst stands where its timestamp says.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from gateway.destinations import audio_path as relayed
from gateway.media import codecs
from gateway.media.codecs import AudioCodec
from gateway.media.rtp import RtpPacket, pack
from gateway.media.tones import tone
from gateway.sip.sdp import SessionDescription, answer_offer
from tests.calls.audio_path import BURST, PAUSE, loud
from tests.calls.rig import CALLER, NUMBER, Port, Rig

DYNAMIC = 96
"""Payload type under which the caller offers what has none of its own."""

SPOKEN: dict[str, AudioCodec] = {
    "PCMU/8000": codecs.PCMU,
    "PCMA/8000": codecs.PCMA,
    "G722/8000": codecs.G722,
    "L16/8000": codecs.L16_8000,
    "L16/16000": codecs.L16_16000,
    "OPUS/48000/2": codecs.OPUS,
}
PAIRS = [(caller, agent) for caller in SPOKEN for agent in SPOKEN if caller != agent]


@dataclass(frozen=True, slots=True)
class Crossing:
    """One direction.

    added: milliseconds from a packet's arrival to what it became, the median; slowest: the most of all.
    passed: share of the packets that were not lost that went on.
    heard: share of the bursts. off: milliseconds by which a burst stands elsewhere than it should, the median.
    """

    added: float
    slowest: float
    passed: float
    heard: float
    off: float


async def cross(
    rig: Rig, caller: str, agent: str, *, loss: float, jitter: float, bursts: int = 20
) -> tuple[Crossing, Crossing]:
    """To the agent, and from it. caller, agent: of `SPOKEN`; jitter: seconds by which packets come late at most."""
    original = relayed.StreamTranscoder
    relayed.StreamTranscoder = partial(original, clock=rig.now)  # type: ignore[assignment,misc]
    try:
        return await _cross(rig, caller, agent, loss, jitter, bursts)
    finally:
        relayed.StreamTranscoder = original  # type: ignore[misc]


async def _cross(
    rig: Rig, caller: str, agent: str, loss: float, jitter: float, bursts: int
) -> tuple[Crossing, Crossing]:
    party = await rig.agent(_answering(agent))
    rig.line(party)
    theirs = SPOKEN[caller].payload_type
    number = DYNAMIC if theirs is None else theirs
    offer = (
        f"v=0\r\no=- 1 1 IN IP4 {CALLER}\r\ns=-\r\nc=IN IP4 {CALLER}\r\nt=0 0\r\n"
        f"m=audio 6000 RTP/AVP {number}\r\na=rtpmap:{number} {caller}\r\na=ptime:20\r\n"
    )
    leg = rig.dial(body=offer.encode(), dialled=NUMBER)
    await asyncio.sleep(1)
    audio = SessionDescription.parse(party.invite.body).audio
    assert audio is not None
    offered = {codec.key: codec.payload_type for codec in audio.codecs}
    ports = rig.ports.opened
    sides = [(SPOKEN[caller], number, ports[0]), (SPOKEN[agent], offered[agent], ports[1])]
    found = await asyncio.gather(
        _crossing(*sides, loss, jitter, bursts, seed=1), _crossing(*sides[::-1], loss, jitter, bursts, seed=2)
    )
    leg.hangup()
    await asyncio.sleep(1)
    return found[0], found[1]


def _answering(key: str):
    def invited(leg) -> None:
        party = leg.listener.__self__
        leg.answer(answer_offer(leg.request.body, party.host, 7000, supported=(key,), session_id=5).sdp)

    return invited


async def _crossing(
    source: tuple[AudioCodec, int, Port],
    target: tuple[AudioCodec, int, Port],
    loss: float,
    jitter: float,
    bursts: int,
    seed: int,
) -> Crossing:
    codec, payload_type, port = source
    loop, dice = asyncio.get_running_loop(), random.Random(seed)
    frames = codec.frames((tone((700.0,), 0.02 * BURST, -10.0) + bytes(320 * PAUSE)) * bursts)
    before = len(target[2].sent)
    came: dict[int, float] = {}

    def arrive(number: int, frame: bytes) -> None:
        came[number] = loop.time()
        port.sink(pack(payload_type, number & 0xFFFF, number * codec.frame_units, 7, frame))

    for number, frame in enumerate(frames):
        if number == 0 or dice.random() >= loss:  # the first one says where the clock begins
            late = dice.uniform(0, jitter) if number else 0.0
            loop.call_later(late, arrive, number, frame)
        await asyncio.sleep(0.02)
    await asyncio.sleep(1)
    return _judged(target, target[2].sent[before:], came, bursts)


def _judged(
    target: tuple[AudioCodec, int, Port],
    sent: list[tuple[float, bytes]],
    came: dict[int, float],
    bursts: int,
) -> Crossing:
    codec, payload_type, _ = target
    packets = [(at, RtpPacket.parse(data)) for at, data in sent]
    assert {packet.payload_type for _, packet in packets} == {payload_type}
    assert len({packet.ssrc for _, packet in packets}) == 1
    first = packets[0][1].timestamp
    decode = codec.decoder(8000).decode
    waits: list[float] = []
    starts: list[int] = []
    last_loud = -PAUSE
    for at, packet in packets:
        frame = round(((packet.timestamp - first) & 0xFFFFFFFF) / codec.frame_units)
        if frame in came:
            waits.append(at - came[frame])
        if loud(decode(packet.payload)):
            if frame - last_loud > PAUSE // 2:
                starts.append(frame)
            last_loud = max(last_loud, frame)
    period = BURST + PAUSE
    off = [abs((start + period // 2) % period - period // 2) * 20.0 for start in starts]
    assert all(np.diff([packet.sequence for _, packet in packets]) % 0x10000 >= 1), "in order, each once"
    return Crossing(
        added=median(waits) * 1000,
        slowest=max(waits) * 1000,
        passed=len(packets) / len(came),
        heard=len(starts) / bursts,
        off=median(off),
    )
