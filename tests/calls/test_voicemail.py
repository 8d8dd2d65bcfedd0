"""The voicemail: message, tone, recording, record, and how it ends."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import wave
from pathlib import Path

import numpy as np
import pytest

from gateway.destinations.voicemail_message import VoicemailMessages
from gateway.media.codecs import find
from gateway.media.dtmf import event_payloads
from gateway.media.g711 import CODECS, PCMA, PCMU
from gateway.media.rtp import pack
from gateway.media.tones import tone
from gateway.sip import sdp as codecs
from gateway.sip.offer_answer import DTMF
from gateway.sip.offer_answer import PCMA as PCMA_ONLY
from gateway.sip.sdp import SessionDescription, make_offer
from gateway.speech.cache import SpeechCache
from gateway.speech.errors import SpeechError, UnspeakableTextError
from routing.call_events import VoicemailCreated
from tests.calls.rig import CALLING, NUMBER, Port, Rig, Voice, answering, in_virtual_time, refusing
from tests.e2e.audio import tone_share

MESSAGE_SECONDS = len(Voice.pcm) / 2 / 8000
UNTIL_RECORDING = MESSAGE_SECONDS + 0.2 + 0.4 + 0.1
"""Message, pause, tone, and a little."""


class Speaker:
    """The caller's voice, as packets into our port."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.sequence = 0

    async def say(self, seconds: float, *, frame: bytes | None = None) -> None:
        pcm = tone((700.0,), 0.02, -10.0)
        for _ in range(round(seconds * 50)):
            self._send(0, frame or PCMU.encode(pcm))
            await asyncio.sleep(0.02)

    def press(self, key: str) -> None:
        began = self.sequence * 160
        for payload in event_payloads(key):
            self._send(101, payload, timestamp=began)

    def _send(self, payload_type: int, payload: bytes, timestamp: int | None = None) -> None:
        stamp = self.sequence * 160 if timestamp is None else timestamp
        self.port.sink(pack(payload_type, self.sequence, stamp, 7, payload, marker=False))
        self.sequence += 1


async def reach(rig: Rig, **arguments):
    """Call a line with nobody there; our leg's port and the caller's leg, once the message plays."""
    await asyncio.sleep(0.1)  # the message is rendered when routes are loaded
    leg = rig.dial(**arguments)
    await asyncio.sleep(0.1)
    return rig.ports.opened[0], leg


def payloads(port: Port) -> bytes:
    return b"".join(packet[12:] for _, packet in port.sent)


def written(rig: Rig) -> tuple[dict, Path]:
    (record,) = rig.box.directory.rglob("*.json")
    return json.loads(record.read_text()), record.with_suffix(".wav")


@in_virtual_time
async def test_the_message_starts_with_the_ack_and_is_followed_by_the_tone(rig: Rig):
    rig.line()
    port, leg = await reach(rig)
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 180, 200]
    spoken = payloads(port)
    assert spoken.startswith(PCMU.encode(Voice.pcm))
    after = PCMU.decode(spoken[len(Voice.pcm) // 2 :])
    assert max(after[1601 * 2 + 1 :: 2]) > 0x10  # the tone is loud
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "voicemail"
    assert rig.record.stages["voicemail_start"] < 0.02
    assert port.sent[0][0] - rig.record.stages["answer"] < 1


@in_virtual_time
async def test_what_the_caller_says_is_recorded_with_everything_about_the_call(rig: Rig):
    agent = await rig.agent(refusing(503))
    rig.line(agent)
    port, leg = await reach(rig)
    await asyncio.sleep(UNTIL_RECORDING)
    await Speaker(port).say(2)
    leg.hangup()
    await asyncio.sleep(1)
    record, path = written(rig)
    with wave.open(str(path)) as recording:
        assert (recording.getframerate(), recording.getnchannels()) == (8000, 1)
        assert 1.8 < recording.getnframes() / 8000 <= 2.0
    assert (record["call_id"], record["caller"], record["dialled"]) == ("call-1", CALLING, NUMBER)
    assert record["carrier"] == "twilio"
    assert record["ended_by"] == "caller hung up"
    assert [tried["answer"] for tried in record["tried"]] == ["503 Service Unavailable", "answered"]
    assert record["recording"] == path.name
    assert record["recording_error"] is None
    assert record["answered_at"] < record["ended_at"]


@in_virtual_time
async def test_the_message_is_not_recorded(rig: Rig):
    rig.line()
    port, leg = await reach(rig)
    await Speaker(port).say(0.1)
    leg.hangup()
    await asyncio.sleep(1)
    assert list(rig.box.directory.rglob("*")) == []
    assert rig.record.outcome == "voicemail"


@in_virtual_time
async def test_the_hash_key_ends_it(rig: Rig):
    rig.line()
    port, _ = await reach(rig)
    await asyncio.sleep(UNTIL_RECORDING)
    speaker = Speaker(port)
    await speaker.say(1)
    speaker.press("5")
    await asyncio.sleep(0.5)
    assert not rig.records
    speaker.press("#")
    await asyncio.sleep(0.5)
    assert rig.record.cause == "caller pressed #"
    assert rig.caller.kinds()[-1] == "HungUp"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/dtmf-relay", b"Signal=#\r\nDuration=160\r\n"), ("application/dtmf", b"#")],
)
@in_virtual_time
async def test_the_hash_key_by_info_ends_it(rig: Rig, content_type: str, body: bytes):
    rig.line()
    _, leg = await reach(rig)
    await asyncio.sleep(UNTIL_RECORDING)
    leg.info("text/plain", b"#")
    leg.info("application/dtmf", b"")
    await asyncio.sleep(0.5)
    assert not rig.records
    leg.info(content_type, body)
    await asyncio.sleep(0.5)
    assert rig.record.cause == "caller pressed #"


@in_virtual_time
async def test_silence_ends_it(rig: Rig):
    rig.line()
    port, _ = await reach(rig)
    await asyncio.sleep(UNTIL_RECORDING)
    await Speaker(port).say(3)
    await asyncio.sleep(3.5)
    assert not rig.records
    await asyncio.sleep(1)
    assert rig.record.cause == "silence for 4 s"


@in_virtual_time
async def test_a_caller_who_never_stops_is_stopped(rig: Rig):
    rig.line()
    port, _ = await reach(rig)
    await asyncio.sleep(UNTIL_RECORDING)
    await Speaker(port).say(21)
    await asyncio.sleep(1)
    assert rig.record.cause == "recording limit reached"


@in_virtual_time
async def test_a_law_callers_hear_a_law(rig: Rig):
    rig.line()
    offer = make_offer(rig.caller.host, 6000, (PCMA_ONLY,), session_id=1)
    port, leg = await reach(rig, body=offer)
    await asyncio.sleep(0.5)
    assert payloads(port).startswith(PCMA.encode(Voice.pcm))
    assert port.sent[0][1][1] & 0x7F == 8
    leg.hangup()


@in_virtual_time
async def test_a_caller_who_leaves_the_offer_to_us_hears_the_message_too(rig: Rig):
    rig.line()
    port, leg = await reach(rig, body=b"")
    await asyncio.sleep(0.5)
    assert port.remote == (rig.caller.host, 6000)
    assert payloads(port).startswith(PCMU.encode(Voice.pcm))
    leg.hangup()


@pytest.mark.parametrize(
    "offer",
    [
        make_offer("10.2.0.1", 6000, session_id=1).replace(b"RTP/AVP", b"RTP/SAVP"),
        make_offer("10.2.0.1", 6000, session_id=1).replace(b"0 8 101", b"18").replace(b"PCM", b"G72"),
        b"v=0\r\no=- 1 1 IN IP4 10.2.0.1\r\ns=-\r\nt=0 0\r\nm=video 6000 RTP/AVP 96\r\n",
        b"nonsense",
    ],
    ids=["secure", "no common codec", "no audio", "no description"],
)
@in_virtual_time
async def test_an_offer_that_it_cannot_answer_is_488_before_any_180(rig: Rig, offer: bytes):
    rig.line()
    await reach_nothing(rig, offer)
    assert rig.caller.statuses() == [100, 488]
    assert rig.record.outcome == "refused"


async def reach_nothing(rig: Rig, offer: bytes) -> None:
    rig.dial(body=offer)
    await asyncio.sleep(1)


@in_virtual_time
async def test_hold_is_mirrored_and_resume_goes_on_at_the_new_address(rig: Rig):
    rig.line()
    port, leg = await reach(rig)
    await asyncio.sleep(0.1)
    leg.reinvite(make_offer(rig.caller.host, 6000, session_id=1, version=2, direction="sendonly"))
    await asyncio.sleep(0.1)
    assert SessionDescription.parse(rig.caller.events[-1].response.body).audio.direction == "recvonly"
    assert port.sending is False
    leg.reinvite(make_offer(rig.caller.host, 6100, session_id=1, version=3))
    await asyncio.sleep(0.1)
    assert port.sending is True
    assert port.remote == (rig.caller.host, 6100)
    versions = [
        int(SessionDescription.parse(m.body).origin.version)
        for m in rig.caller.messages
        if getattr(m, "status", 0) == 200 and m.body
    ]
    assert versions == sorted(set(versions))  # RFC 3264 §8: each change counts up
    leg.reinvite(make_offer(rig.caller.host, 6100, (PCMA_ONLY,), session_id=1, version=4))
    await asyncio.sleep(0.1)
    assert rig.caller.events[-1].status == 488  # the codec in use is gone from the offer
    leg.reinvite(b"")
    await asyncio.sleep(0.1)
    leg.ack(rig.caller.answer_to(rig.caller.events[-1].response.body, 6200))
    await asyncio.sleep(0.1)
    assert port.remote == (rig.caller.host, 6200)
    leg.hangup()


@in_virtual_time
async def test_an_engine_that_fails_leaves_the_default_message(rig: Rig):
    async def render(self: Voice, text: str) -> bytes:
        raise SpeechError("no voice")

    rig.speech._engine.render = render.__get__(rig.speech._engine)
    rig.line()
    leg = rig.dial()
    await asyncio.sleep(6)
    assert rig.caller.statuses() == [100, 180, 200]
    assert payloads(rig.ports.opened[0]).startswith(b"".join(rig.speech.default.encoded("PCMU"))[:1600])
    leg.hangup()


@in_virtual_time
async def test_a_disk_that_takes_nothing_is_reported_and_the_caller_is_still_heard_out(rig: Rig):
    rig.box.directory.write_text("a file where a directory should be")
    rig.line()
    port, leg = await reach(rig)
    await asyncio.sleep(UNTIL_RECORDING)
    await Speaker(port).say(2)
    assert not rig.records
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "voicemail"
    assert rig.recording_errors
    assert all(isinstance(error, OSError) for error in rig.recording_errors)


@in_virtual_time
async def test_a_caller_who_cancels_while_the_message_is_rendered(rig: Rig):
    async def render(self: Voice, text: str) -> bytes:
        await asyncio.sleep(2)
        return Voice.pcm

    rig.speech._engine.render = render.__get__(rig.speech._engine)
    rig.line()
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.hangup()
    await asyncio.sleep(2)
    assert rig.record.outcome == "abandoned"


@in_virtual_time
async def test_an_agent_is_never_followed_by_a_second_answer(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.hangup()
    await asyncio.sleep(1)
    assert all(not port.sent for port in rig.ports.opened)


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ((codecs.Codec(9, "G722", 8000), DTMF), "G722/8000"),
        ((codecs.Codec(97, "L16", 16000), codecs.Codec(98, "telephone-event", 16000)), "L16/16000"),
        ((codecs.Codec(96, "L16", 44100), codecs.Codec(97, "l16", 8000), DTMF), "L16/8000"),
        (
            (codecs.Codec(111, "opus", 48000, 2), DTMF, codecs.Codec(110, "telephone-event", 48000)),
            "OPUS/48000/2",
        ),
        ((codecs.Codec(18, "G729", 8000), codecs.Codec(9, "G722", 8000), PCMA_ONLY), "G722/8000"),
    ],
)
@in_virtual_time
async def test_callers_with_other_codecs_are_spoken_to_and_recorded_in_theirs(rig: Rig, offered, answered):
    """The first of the offer that we speak is the one, and the keys have its clock."""
    rig.line()
    port, leg = await reach(rig, body=make_offer("10.2.0.1", 6000, offered, session_id=5))
    await asyncio.sleep(UNTIL_RECORDING)
    audio = SessionDescription.parse(rig.caller.response(200).body).audio
    voice = audio.codecs[0]
    assert voice.key == answered
    assert [event.clock_rate for event in audio.codecs[1:]] in ([], [voice.clock_rate])
    codec = find(voice.name, voice.clock_rate)
    decode = codec.decoder(8000).decode
    spoken = b"".join(decode(packet[12:]) for _, packet in port.sent)
    samples = np.frombuffer(spoken, np.int16)
    if answered != "OPUS/48000/2":  # what the voice says is one value, and Opus lets no direct current pass
        assert np.abs(samples[400:1500]).mean() == pytest.approx(0x1000, rel=0.3)
    assert tone_share(samples[3600:5600], 1000) > 0.9
    assert {packet[1] & 0x7F for _, packet in port.sent} == {voice.payload_type}
    encode = codec.encoder(8000).encode
    for number in range(100):
        frame = encode(tone((700.0,), 0.02, -10.0))
        port.sink(pack(voice.payload_type, number, number * codec.frame_units, 7, frame))
        await asyncio.sleep(0.02)
    leg.hangup()
    await asyncio.sleep(1)
    record, path = written(rig)
    assert record["recorded_seconds"] == pytest.approx(2, abs=0.2)
    with wave.open(str(path)) as recording:
        heard = np.frombuffer(recording.readframes(10**6), np.int16)
    assert np.abs(heard[4000:]).mean() > 3000


@in_virtual_time
async def test_silence_at_the_end_is_cut_off_and_the_message_goes_to_the_outbox(rig: Rig):
    kept: list[VoicemailCreated] = []

    class Outbox:
        def begun(self, message: VoicemailCreated) -> None:
            kept.append(message)

        async def finished(self, message: VoicemailCreated) -> None:
            kept.append(message)

    rig.box = dataclasses.replace(rig.box, outbox=Outbox())
    rig.dispatcher._voicemail = rig.box
    rig.line()
    port, _ = await reach(rig)
    await asyncio.sleep(UNTIL_RECORDING)
    speaker = Speaker(port)
    await speaker.say(2)
    await speaker.say(5, frame=PCMU.encode(bytes(320)))
    await asyncio.sleep(1)
    record, path = written(rig)
    assert record["ended_by"] == "silence for 4 s"
    with wave.open(str(path)) as recording:
        assert 2.3 < recording.getnframes() / 8000 < 2.7
    begun, finished = kept
    assert begun.recording_key == finished.recording_key == path.relative_to(rig.box.directory).as_posix()
    assert finished.voicemail_id == "vm_call-1"
    assert 2.3 < finished.duration_seconds < 2.7
    assert 1.8 < finished.speech_seconds <= 2.0
    assert not finished.too_short


@in_virtual_time
async def test_a_caller_who_says_nothing_leaves_a_message_that_is_too_short(rig: Rig):
    kept: list[VoicemailCreated] = []

    class Outbox:
        def begun(self, message: VoicemailCreated) -> None:
            assert message.too_short

        async def finished(self, message: VoicemailCreated) -> None:
            kept.append(message)

    rig.box = dataclasses.replace(rig.box, outbox=Outbox())
    rig.dispatcher._voicemail = rig.box
    rig.line()
    port, leg = await reach(rig)
    await asyncio.sleep(UNTIL_RECORDING)
    await Speaker(port).say(0.6, frame=PCMU.encode(bytes(320)))
    leg.hangup()
    await asyncio.sleep(1)
    (message,) = kept
    assert message.too_short
    assert 0.4 < message.duration_seconds <= 0.6


class Greetings(Voice):
    """Has one greeting, and no other."""

    pcm = b"\x00\x20" * 1600

    async def render(self, text: str) -> bytes:
        if text != "grt_1":
            raise UnspeakableTextError(f"no {text}")
        return self.pcm


class Heard(Voice):
    """Keeps what it was to speak."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def render(self, text: str) -> bytes:
        self.texts.append(text)
        return self.pcm


async def spoken_by(engine: Voice) -> SpeechCache:
    encoders = {name: codec.frames for name, codec in CODECS.items()}
    cache = SpeechCache(engine, None, encoders=encoders)
    await cache.start()
    return cache


@pytest.mark.parametrize(("greeting", "result"), [("grt_1", "played"), ("grt_2", "missing")])
@in_virtual_time
async def test_a_greeting_is_played_and_one_that_is_missing_is_replaced_by_its_text(
    rig: Rig, greeting: str, result: str
):
    greetings = await spoken_by(Greetings())
    counted: list[str] = []
    messages = VoicemailMessages(rig.speech, greetings=greetings, on_greeting=counted.append)
    rig.use(messages)
    rig.line(voicemail_greeting=greeting)
    port, leg = await reach(rig)
    await asyncio.sleep(1)
    expected = Greetings.pcm if result == "played" else Voice.pcm
    assert payloads(port).startswith(PCMU.encode(expected))
    assert counted == [result]
    leg.hangup()
    await greetings.close()


@in_virtual_time
async def test_a_store_that_is_silent_costs_the_caller_a_second(rig: Rig):
    class Silent(Greetings):
        async def render(self, text: str) -> bytes:
            await asyncio.sleep(100)
            return self.pcm

    greetings = await spoken_by(Silent())
    rig.use(VoicemailMessages(rig.speech, greetings=greetings))
    rig.line(voicemail_greeting="grt_1")
    await asyncio.sleep(0.1)
    leg = rig.dial()
    await asyncio.sleep(1.5)
    assert rig.caller.statuses() == [100, 180, 200]
    assert payloads(rig.ports.opened[0]).startswith(PCMU.encode(Voice.pcm)[:160])
    leg.hangup()
    await greetings.close()


@pytest.mark.parametrize(
    ("calling", "text"),
    [
        ("+14155550123", "4 1 5, 5 5 5, 0 1 2 3 for agt_primary at 4 1 5, 5 5 5, 0 1 0 0"),
        ("anonymous", "somebody for agt_primary at 4 1 5, 5 5 5, 0 1 0 0"),
    ],
)
@in_virtual_time
async def test_a_message_says_who_calls_whom(rig: Rig, calling: str, text: str):
    voice, personal = Heard(), Heard()
    caches = [await spoken_by(voice), await spoken_by(personal)]
    rig.use(VoicemailMessages(*caches, withheld_caller="somebody"))
    agent = await rig.agent(refusing(503))
    rig.line(agent, voicemail_message="{{caller}} for {{agent}} at {{dialled}}")
    leg = rig.dial(calling=calling)
    await asyncio.sleep(1)
    assert personal.texts == [text]  # who calls is in no cache that outlives us
    assert voice.texts == []
    leg.hangup()
    rig.line(agent, voicemail_message="{{agent}} is out")
    leg = rig.dial(calling=calling)
    await asyncio.sleep(1)
    assert (voice.texts, len(personal.texts)) == (["agt_primary is out"], 1)
    leg.hangup()
    for cache in caches:
        await cache.close()
