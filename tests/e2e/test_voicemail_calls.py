"""Nobody takes the call: the caller hears the message and a tone, and what the caller says is kept."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gateway.speech.engine import make_engine
from tests.e2e import audio, carriers
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.rtp import RtpPeer
from tests.e2e.sipp import Sipp, free_port
from tests.e2e.wire import Dialog, Peer

pytestmark = pytest.mark.e2e

CALLER_TONE = 700
BEEP = 1000


def rendering(message: str) -> audio.Samples:
    """The message as the gateway's engine speaks it, rendered here once more and not taken from its cache."""
    pcm = asyncio.run(make_engine("espeak").render(message))
    return np.frombuffer(pcm, dtype=np.int16)


class Caller:
    """A caller who has reached the voicemail of a number of its own, and hears and speaks there."""

    def __init__(self, exchange: Exchange, message: str, *, codec: str = "PCMU", **agents: Any) -> None:
        self.peer, self.audio = Peer(carriers.TWILIO_HOST), RtpPeer(codec=codec)
        down = {"primary": f"sip:agent@{HOST}:{free_port(HOST)}"} | agents
        self.line = exchange.line(**down, voicemail_message=message)
        self.recordings = exchange.gateway.data / "recordings"
        self.spoken = rendering(message)
        offer = audio_offer(*self.audio.address, formats=f"{self.audio.payload_type} 101")
        self.call = Call(self.peer, exchange.gateway.sip, self.line.number, offer)

    def dial(self) -> Dialog:
        self.call.send()
        ok, dialog = self.call.answered(10)
        self.audio.connect(ok.rtp_address)
        return dialog

    def hear_message_and_beep(self) -> int:
        """Wait until both have been played; the sample at which the message begins."""
        seconds = len(self.spoken) / audio.RATE + 0.5
        self.audio.wait_for_packets(int(seconds * 50), timeout=seconds + 30)
        heard = self.audio.heard()
        score, start = audio.heard(heard, self.spoken)
        assert score > 0.95, f"the message was not heard (correlation {score:.2f})"
        after = heard[start + len(self.spoken) :][:3200]
        assert audio.heard(after, audio.tone(BEEP, 0.2))[0] > 0.9, "no tone after the message"
        return start

    def record(self) -> dict[str, Any]:
        """The JSON record that belongs to this call, once it is complete."""

        def found() -> dict[str, Any] | None:
            for path in self.recordings.rglob("*.json"):
                record = json.loads(path.read_text())
                if self.line.number in json.dumps(record):
                    return record | {"path": path}
            return None

        wait_until(lambda: found() is not None, "the recording's JSON is written")
        record = found()
        assert record is not None
        return record

    def recorded(self) -> audio.Samples:
        path: Path = self.record()["path"].with_suffix(".wav")
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == audio.RATE
        return np.asarray(samples)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.audio.close()
        self.peer.close()


def test_the_message_the_tone_and_the_recording(exchange: Exchange):
    labels = {"carrier": "twilio", "outcome": "voicemail"}
    before = exchange.gateway.metric("gateway_calls_total", **labels)
    with Caller(exchange, "You have reached the first witness. Please speak after the tone.") as caller:
        dialog = caller.dial()
        caller.hear_message_and_beep()
        caller.audio.say(audio.tone(CALLER_TONE, 1.5))
        time.sleep(1.3)
        dialog.hang_up()
        recorded = caller.recorded()
        assert 1.0 < len(recorded) / audio.RATE < 3.0
        score, _ = audio.heard(recorded, audio.tone(CALLER_TONE, 1.0))
        assert score > 0.95
        text = json.dumps(caller.record(), default=str)
        assert carriers.CALLER in text
        assert caller.line.primary in text  # and why it did not take the call
    assert exchange.gateway.metric("gateway_calls_total", **labels) == before + 1


def test_in_a_law(exchange: Exchange):
    with Caller(exchange, "This message travels in A law.", codec="PCMA") as caller:
        dialog = caller.dial()
        caller.hear_message_and_beep()
        caller.audio.say(audio.tone(CALLER_TONE, 1.0))
        time.sleep(1.0)
        dialog.hang_up()
        assert audio.heard(caller.recorded(), audio.tone(CALLER_TONE, 0.5))[0] > 0.95


def test_playing_starts_with_the_ack(exchange: Exchange):
    """Rendered when the route was loaded: nothing is left to be done when the caller is there."""
    with Caller(exchange, "No one is kept waiting for this message.") as caller:
        dialog = caller.dial()
        caller.audio.wait_for_packets(1)
        assert caller.audio.received[0].marker  # RFC 3551 §4.1: the first packet of a talkspurt
        assert caller.hear_message_and_beep() < 0.5 * audio.RATE
        dialog.hang_up()


def test_the_hash_key_ends_the_recording_and_the_call(exchange: Exchange):
    with Caller(exchange, "Press the hash key when you are done.") as caller:
        dialog = caller.dial()
        caller.hear_message_and_beep()
        caller.audio.say(audio.tone(CALLER_TONE, 1.0))
        time.sleep(1.2)
        caller.audio.press("#")
        dialog.expect_bye()
        assert audio.heard(caller.recorded(), audio.tone(CALLER_TONE, 0.5))[0] > 0.95


def test_silence_ends_it(exchange: Exchange):
    with Caller(exchange, "Say nothing, and I hang up.") as caller:
        dialog = caller.dial()
        caller.hear_message_and_beep()
        caller.audio.say(audio.tone(CALLER_TONE, 0.6))
        dialog.expect_bye(10)
        assert audio.heard(caller.recorded(), audio.tone(CALLER_TONE, 0.5))[0] > 0.95


def test_both_agents_refuse_and_the_record_says_how(exchange: Exchange, tmp_path):
    with (
        Sipp(tmp_path, "agent_refuses", status=486) as primary,
        Sipp(tmp_path, "agent_refuses", status=503) as fallback,
        Caller(exchange, "Both are busy.", primary=primary.uri, fallback=fallback.uri) as caller,
    ):
        dialog = caller.dial()
        primary.succeed()
        fallback.succeed()
        caller.hear_message_and_beep()
        time.sleep(0.5)
        dialog.hang_up()
        text = json.dumps(caller.record(), default=str)
        assert "486" in text
        assert "503" in text


def test_an_offer_on_hold_is_not_played_to(exchange: Exchange):
    """A caller whose offer is sendonly cannot hear; the answer says recvonly (RFC 3264 §6.1)."""
    with Caller(exchange, "You cannot hear this.") as caller:
        caller.call.sdp = audio_offer(*caller.audio.address, formats="0 101", direction="sendonly")
        caller.call.send()
        ok, dialog = caller.call.answered(10)
        assert "a=recvonly" in ok.body.decode()
        dialog.hang_up()


def test_sipp_reaches_the_voicemail(exchange: Exchange, tmp_path):
    line = exchange.line(f"sip:agent@{HOST}:{free_port(HOST)}", voicemail_message="For SIPp.")
    with Sipp(
        tmp_path,
        "carrier_telnyx",
        host=carriers.TELNYX_HOST,
        remote=exchange.gateway.sip,
        arguments=("-s", line.number.removeprefix("+")),
        talk=500,
    ) as carrier:
        carrier.succeed()
