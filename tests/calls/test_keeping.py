"""What is told of calls while they live and when they are over, and the reasons given for their ends."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.calls.keeping import CallKeeper, live
from gateway.calls.reasons import reason_of
from gateway.calls.sampling import QualitySampler
from routing.call_records import (
    MAX_SAMPLES,
    AudioSample,
    CallShown,
    TriedDestination,
    decode_call,
    encode_call,
    thinned,
)
from tests.calls.rig import NUMBER, REFUSED, Rig, answering, in_virtual_time, refusing


def kept(rig: Rig) -> CallShown:
    told: list[CallShown] = []
    CallKeeper(lambda event: told.append(event.call), "here")(rig.record)
    return told[0]


@in_virtual_time
async def test_a_live_call_shows_where_it_is_in_its_plan(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial(headers=(("X-Twilio-CallSid", "CA1"),))
    await asyncio.sleep(1)
    (call,) = rig.registry
    shown = live(call, "here")
    assert (shown.state, shown.destination, shown.position) == ("talking", "agt_primary", 1)
    assert (shown.carrier, shown.carrier_call_id, shown.number) == ("twilio", "CA1", NUMBER)
    assert len(shown.sip_call_ids) == 2
    assert shown.outcome == ""
    assert 0.9 < shown.seconds < 1.1
    leg.hangup()
    await asyncio.sleep(1)
    over = kept(rig)
    assert (over.state, over.outcome, over.status) == ("over", "agent", 200)
    assert over.sip_call_ids == shown.sip_call_ids
    assert [each.kind for each in over.moments] == ["route", "destination", "audio", "audio"]
    assert decode_call(encode_call(over)) == over
    assert reason_of(over).text == "The agent took it; it ended because the caller hung up."
    assert not reason_of(over).fix


@in_virtual_time
async def test_a_voicemail_says_why_it_is_one(rig: Rig):
    agent = await rig.agent(refusing(503))
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(2)
    (call,) = rig.registry
    assert live(call, "here").state == "voicemail"
    leg.hangup()
    await asyncio.sleep(1)
    over = kept(rig)
    assert over.destination == "voicemail"
    assert any("did not take it" in each.text for each in over.moments)
    reason = reason_of(over)
    assert "agt_primary answered “503" in reason.text
    assert reason.fix


@pytest.mark.parametrize(
    ("number", "dialled", "caller", "said"),
    [
        ("missing", NUMBER, None, "Nobody has registered"),
        ("there", "1", None, "no telephone number"),
        ("there", NUMBER, REFUSED, "list of refused callers"),
        ("outbound", NUMBER, None, "has no inbound_routing"),
    ],
)
def test_refusals_name_the_rule_and_the_fix(number, dialled, caller, said):
    @in_virtual_time
    async def scenario(rig: Rig):
        agent = await rig.agent(answering())
        if number != "missing":
            rig.line(agent)
        if number == "outbound":
            rig.numbers[NUMBER] = msgspec.structs.replace(rig.numbers[NUMBER], inbound_routing=None)
        arguments = {} if caller is None else {"calling": caller}
        rig.dial(dialled=dialled, **arguments)
        await asyncio.sleep(1)
        reason = reason_of(kept(rig))
        assert said in reason.text
        assert reason.fix

    scenario()


@in_virtual_time
async def test_a_refusal_before_any_plan_is_told_too(rig: Rig):
    rig.limits.draining = True
    rig.dial()
    await asyncio.sleep(1)
    over = kept(rig)
    assert (over.outcome, over.rule, over.status) == ("refused", "draining", 503)
    assert "being drained" in reason_of(over).text


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        ("no response in time", "firewall"),
        ("no connection: Connection refused", "Nothing listens"),
        ("handshake refused with 401", "credentials"),
        ("486 Busy Here", "busy"),
        ("488 Not Acceptable Here", "codecs"),
        ("500 Server Error", "its log"),
        ("certificate verify failed", "certificate"),
        ("agent silent for 60 s", "no audio"),
    ],
)
def test_what_agents_answer_has_a_fix(answer: str, fix: str) -> None:
    call = msgspec.structs.replace(
        _CALL, outcome="failed", status=480, tried=[TriedDestination("agt_a", "sip:a@b", answer, 0.5)]
    )
    assert fix in reason_of(call).fix
    assert "500 ms" in reason_of(call).text


_CALL = CallShown(
    **dict.fromkeys(
        ("id", "node", "state", "started_at", "carrier", "carrier_call_id", "source", "caller", "dialled"),
        "x",
    ),
    number="",
    began=0.0,
    seconds=0.0,
    sip_call_ids=[],
    plan=[],
    destination="",
    position=0,
    outcome="",
    status=0,
    cause="",
    rule="",
    tried=[],
    stages={},
    legs=[],
    moments=[],
    quality=[],
    mos=None,
)


@pytest.mark.parametrize("state", ["routing", "ringing", "waiting", "talking", "voicemail"])
@pytest.mark.parametrize(
    "outcome", ["", "agent", "agent_rescued", "fallback", "voicemail", "abandoned", "refused"]
)
def test_every_call_has_a_reason(state: str, outcome: str) -> None:
    assert reason_of(msgspec.structs.replace(_CALL, state=state, outcome=outcome)).text


@in_virtual_time
async def test_audio_is_measured_over_time(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    (call,) = rig.registry
    sampler = QualitySampler(rig.registry)
    stats = call.audio.heard
    assert stats is not None
    await sampler.measure()
    assert call.record.samples == []
    for sequence in (*range(100), *range(150, 250)):
        stats.received(
            bytes([0x80, 0]) + sequence.to_bytes(2, "big") + (160 * sequence).to_bytes(4, "big") + bytes(4),
            sequence / 50,
        )
        if sequence in {99, 249}:
            await sampler.measure()
    first, second = call.record.samples
    assert first.loss == 0
    assert second.loss == pytest.approx(1 / 3, abs=0.01)
    assert second.mos < first.mos
    leg.hangup()
    await asyncio.sleep(1)


def test_a_long_call_has_a_bounded_number_of_measurements() -> None:
    samples: list[AudioSample] = []
    for at in range(10_000):
        samples.append(AudioSample(at, 4.0, 0.0, 0.0))
        samples = thinned(samples)
        assert len(samples) <= MAX_SAMPLES
    assert samples[-1].at == 9_999
