"""Twenty calls at once, each with a tone of its own both ways: nobody hears a stranger."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.e2e import audio
from tests.e2e.exchange import Exchange
from tests.e2e.two_ends import TwoEnds

pytestmark = pytest.mark.e2e

CALLS = 20
AGENT_TONES = [400 + 40 * i for i in range(CALLS)]  # 400…1160 Hz
CALLER_TONES = [1400 + 40 * i for i in range(CALLS)]  # 1400…2160 Hz


def test_each_of_twenty_callers_hears_its_own_agent_and_no_other(exchange: Exchange):
    with contextlib.ExitStack() as stack:
        scenes = [stack.enter_context(TwoEnds(exchange)) for _ in range(CALLS)]
        dialogs = [ends.connect() for ends in scenes]
        for ends, agent_tone, caller_tone in zip(scenes, AGENT_TONES, CALLER_TONES, strict=True):
            ends.agent_audio.say(audio.tone(agent_tone, 1), forever=True)
            ends.caller_audio.say(audio.tone(caller_tone, 1), forever=True)
        time.sleep(0.3)
        since = time.monotonic()
        for ends in scenes:
            ends.caller_audio.wait_for_packets(50, since=since)
            ends.agent_audio.wait_for_packets(50, since=since)
        every_tone = AGENT_TONES + CALLER_TONES
        for ends, agent_tone, caller_tone in zip(scenes, AGENT_TONES, CALLER_TONES, strict=True):
            for ear, own in [(ends.caller_audio, agent_tone), (ends.agent_audio, caller_tone)]:
                heard = ear.heard(since)
                shares = {hertz: audio.tone_share(heard, hertz) for hertz in every_tone}
                assert shares.pop(own) > 0.9
                assert max(shares.values()) < 0.01
                assert len({packet.ssrc for packet in ear.received}) == 1
        assert exchange.gateway.metric("gateway_calls_active") > 0
        for ends, (caller, callee) in zip(scenes, dialogs, strict=True):
            ends.hang_up(caller, callee)


def test_a_port_of_an_ended_call_brings_nothing_into_the_next(exchange: Exchange):
    """The old peer goes on sending after its BYE; a new caller hears only the new agent."""
    with TwoEnds(exchange) as old, TwoEnds(exchange) as new:
        ended = old.connect()
        old.agent_audio.say(audio.tone(1000, 1), forever=True)
        old.caller_audio.say(audio.tone(1100, 1), forever=True)
        old.caller_audio.wait_for_packets(10)
        old.hang_up(*ended)
        dialogs = new.connect()
        new.agent_audio.say(audio.tone(600, 1), forever=True)
        since = time.monotonic() + 0.2
        new.caller_audio.wait_for_packets(30, since=since)
        assert audio.tone_share(new.caller_audio.heard(since), 600) > 0.9
        assert len({packet.ssrc for packet in new.caller_audio.received}) == 1
        new.hang_up(*dialogs)
