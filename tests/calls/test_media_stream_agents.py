"""Agents over WebSocket: from the handshake to goodbye, and every way in which one fails."""

from __future__ import annotations

import asyncio
import base64

import pytest
from twilio.request_validator import RequestValidator

from gateway.destinations.stream_conversation import MAX_NONSENSE, MAX_UNSENT, STALLED_SECONDS
from gateway.media.dtmf import event_payloads
from gateway.media.g711 import PCMU
from gateway.media.rtp import RtpPacket, pack
from gateway.media.tones import tone
from gateway.sip.sdp import make_offer
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber
from tests.calls.rig import CALLER, CALLING, NUMBER, Rig, answering, in_virtual_time, refusing
from tests.simulation.peer import PORT
from tests.simulation.websockets import Socket, accept, never, refuse

URL, OTHER = "wss://agent.example/ws", "wss://other.example/ws"
LOUD = PCMU.encode(tone((700.0,), 0.02, -10.0))
SPOKEN = bytes([0x55]) * 160


def line(rig: Rig, primary: Endpoint | None, fallback: Endpoint | None = None, **routing: object) -> None:
    """Route the number to these endpoints, one for each agent."""
    for name, endpoint in (("agt_primary", primary), ("agt_fallback", fallback)):
        if endpoint is not None:
            rig.agents[name] = Agent(name, name, (endpoint,))
    rig.numbers[NUMBER] = PhoneNumber(
        "phn_1",
        NUMBER,
        inbound_routing=InboundRouting(
            agent_id="agt_primary" if primary else None,
            fallback=Fallback("agt_fallback") if fallback else None,
            voicemail_message="Leave a message.",
            **routing,
        ),
    )
    rig.speech.prerender("Leave a message.")


async def connected(rig: Rig, endpoint: Endpoint | None = None, **dialling: object) -> Socket:
    """A call that an agent on a WebSocket has; its socket."""
    rig.web.agents.setdefault(URL, accept)
    if not rig.numbers:
        line(rig, endpoint or Endpoint(URL))
    rig.dial(**dialling)
    await asyncio.sleep(0.1)
    return rig.web.sockets[-1]


def speak(rig: Rig, first: int, count: int, payload: bytes = LOUD, port: int = 0) -> None:
    for number in range(first, first + count):
        rig.ports.opened[port].sink(pack(0, number, number * 160, 7, payload))


async def speak_for(rig: Rig, seconds: float, first: int = 0) -> int:
    for number in range(first, first + round(seconds * 50)):
        speak(rig, number, 1)
        await asyncio.sleep(0.02)
    return first + round(seconds * 50)


def said(audio: bytes) -> dict:
    return {"event": "media", "media": {"payload": base64.b64encode(audio).decode()}}


def sent(rig: Rig, port: int = 0) -> list[bytes]:
    return [RtpPacket.parse(packet).payload for _, packet in rig.ports.opened[port].sent]


@in_virtual_time
async def test_the_caller_is_answered_when_the_agent_has_shaken_hands(rig: Rig):
    socket = await connected(rig, headers=[("X-Twilio-CallSid", "CA" + "0" * 32)])
    assert [message["event"] for message in socket.heard[:2]] == ["connected", "start"]
    start = socket.heard[1]["start"]
    assert start["callSid"] == "CA" + "0" * 32
    assert start["customParameters"]["from_number"] == CALLING
    assert start["customParameters"]["to_number"] == NUMBER
    assert start["customParameters"]["agent_id"] == "agt_primary"
    assert start["customParameters"]["X-Twilio-CallSid"] == "CA" + "0" * 32
    assert rig.caller.statuses() == [100, 180, 200]


@in_virtual_time
async def test_a_calls_ladder_shows_what_happened_on_the_websocket(rig: Rig):
    socket = await connected(rig)
    socket.say(said(SPOKEN))
    await asyncio.sleep(0.1)
    socket.hang_up(1000)
    await asyncio.sleep(1)
    told = [each.text for each in rig.record.moments if each.kind in {"websocket", "audio"}]
    assert told == [
        f"handshake with {URL} begins",
        "handshake done",
        "connected",
        "the agent is on the line",
        "the agent speaks for the first time",
        "agent hung up",
        "the agent is off the line",
    ]


@in_virtual_time
async def test_the_handshake_carries_headers_secrets_and_twilios_signature(rig: Rig):
    endpoint = Endpoint(
        "https://mycompany.com/myapp.php?foo=1&bar=2",
        headers={"Authorization": "Bearer secret", "X-Tenant": "7"},
        auth_token="12345",
    )
    rig.web.agents[endpoint.url] = accept
    socket = await connected(rig, endpoint)
    assert socket.headers["Authorization"] == "Bearer secret" and socket.headers["X-Tenant"] == "7"
    assert RequestValidator("12345").validate(endpoint.url, {}, socket.headers["X-Twilio-Signature"])
    assert "12345" not in str(socket.headers)


@in_virtual_time
async def test_the_caller_is_heard_in_frames_of_20_ms(rig: Rig):
    socket = await connected(rig)
    await speak_for(rig, 1.0)
    await asyncio.sleep(0.5)
    media = socket.of("media")
    assert [message["media"]["chunk"] for message in media] == [str(n) for n in range(1, len(media) + 1)]
    heard = [base64.b64decode(message["media"]["payload"]) for message in media]
    assert {len(frame) for frame in heard} == {160}
    assert heard.count(LOUD) == 50  # the same law on both sides: not a bit is changed
    beats = [b - a for a, b in zip(socket.times[5:], socket.times[6:], strict=False)]
    assert all(0.019 < beat < 0.021 for beat in beats)


@pytest.mark.parametrize("size", [20, 160, 320, 758, 1100, 8000])
@in_virtual_time
async def test_chunks_of_any_length_reach_the_caller_in_frames(rig: Rig, size: int):
    socket = await connected(rig)
    speech = bytes(index % 251 for index in range(8000))
    for at in range(0, len(speech), size):
        socket.say(said(speech[at : at + size]))
        await asyncio.sleep(size / 8000)
    await asyncio.sleep(1.0)
    packets = sent(rig)
    assert {len(packet) for packet in packets} == {160}
    assert speech in b"".join(packets)


@in_virtual_time
async def test_a_mark_comes_back_when_the_audio_before_it_has_been_sent(rig: Rig):
    socket = await connected(rig)
    socket.say(said(SPOKEN * 50))
    socket.say({"event": "mark", "mark": {"name": "said"}})
    await asyncio.sleep(0.9)
    assert socket.of("mark") == []
    await asyncio.sleep(0.5)
    assert [message["mark"]["name"] for message in socket.of("mark")] == ["said"]
    assert sent(rig).count(SPOKEN) == 50


@in_virtual_time
async def test_clear_is_silence_within_a_frame_and_gives_the_marks_back(rig: Rig):
    socket = await connected(rig)
    socket.say(said(SPOKEN * 50 * 600))  # ten minutes at once
    socket.say({"event": "mark", "mark": {"name": "never"}})
    await asyncio.sleep(1.0)
    before = sent(rig).count(SPOKEN)
    assert before > 30
    socket.say({"event": "clear"})
    await asyncio.sleep(0)
    await asyncio.sleep(1.0)
    assert sent(rig).count(SPOKEN) <= before + 1
    assert [message["mark"]["name"] for message in socket.of("mark")] == ["never"]
    socket.say(said(SPOKEN * 10))  # and the agent may go on
    await asyncio.sleep(1.0)
    assert sent(rig).count(SPOKEN) >= before + 10


@in_virtual_time
async def test_a_key_reaches_the_agent_once_however_often_it_is_told(rig: Rig):
    rig.web.agents[URL] = accept
    line(rig, Endpoint(URL))
    leg = rig.dial()
    await asyncio.sleep(0.1)
    socket = rig.web.sockets[0]
    for number, payload in enumerate(event_payloads("5")):
        rig.ports.opened[0].sink(pack(101, number, 160, 7, payload))
    leg.info("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")
    await asyncio.sleep(0.1)
    assert [message["dtmf"]["digit"] for message in socket.of("dtmf")] == ["5"]


@in_virtual_time
async def test_keys_by_info_reach_the_agent(rig: Rig):
    rig.web.agents[URL] = accept
    line(rig, Endpoint(URL))
    leg = rig.dial()
    await asyncio.sleep(0.1)
    leg.info("application/dtmf-relay", b"Signal=7\r\nDuration=160\r\n")
    await asyncio.sleep(0.1)
    leg.info("application/dtmf-relay", b"Signal=7\r\nDuration=160\r\n")
    await asyncio.sleep(0.1)
    assert [message["dtmf"]["digit"] for message in rig.web.sockets[0].of("dtmf")] == ["7", "7"]


@pytest.mark.parametrize("way", ["close", "stop"])
@in_virtual_time
async def test_the_agents_goodbye_ends_the_call(rig: Rig, way: str):
    socket = await connected(rig)
    if way == "close":
        socket.hang_up(1000)
    else:
        socket.say({"event": "stop"})
    await asyncio.sleep(0.1)
    assert rig.record.outcome == "agent" and rig.record.cause == "agent hung up"
    assert rig.caller.requests("BYE")


@in_virtual_time
async def test_the_callers_goodbye_is_told_to_the_agent(rig: Rig):
    rig.web.agents[URL] = accept
    line(rig, Endpoint(URL))
    leg = rig.dial()
    await asyncio.sleep(0.1)
    leg.hangup()
    await asyncio.sleep(0.1)
    socket = rig.web.sockets[0]
    assert socket.heard[-1]["event"] == "stop" and socket.closed
    assert rig.record.outcome == "agent" and rig.record.cause == "caller hung up"


@pytest.mark.parametrize(
    ("handshake", "answer"),
    [
        (None, "no connection: Connection refused"),
        (refuse(401), "handshake refused with 401"),
        (refuse(404), "handshake refused with 404"),
        (refuse(500), "handshake refused with 500"),
        (never, "no handshake in time"),
    ],
)
@in_virtual_time
async def test_an_agent_that_cannot_be_reached_is_left_for_the_fallback(rig: Rig, handshake, answer: str):
    if handshake is not None:
        rig.web.agents[URL] = handshake
    rig.web.agents[OTHER] = accept
    line(rig, Endpoint(URL), Endpoint(OTHER))
    rig.dial()
    await asyncio.sleep(2.5)
    socket = rig.web.sockets[-1]
    assert socket.url == OTHER
    socket.hang_up()
    await asyncio.sleep(0.1)
    assert rig.record.outcome == "fallback"
    assert [each.answer for each in rig.record.tried] == [answer, "connected"]
    assert rig.caller.statuses() == [100, 180, 200]


@in_virtual_time
async def test_a_sip_agent_takes_over_from_one_that_refuses_the_upgrade_and_the_other_way_round(rig: Rig):
    party = await rig.agent(answering())
    rig.web.agents[URL] = refuse(500)
    rig.agents["agt_primary"] = Agent(
        "agt_primary",
        "Both",
        (Endpoint(URL, priority=1), Endpoint(f"sip:bot@{party.host}:{PORT}", priority=2)),
    )
    line(rig, None)
    rig.numbers[NUMBER] = PhoneNumber("phn_1", NUMBER, inbound_routing=InboundRouting(agent_id="agt_primary"))
    rig.dial()
    await asyncio.sleep(0.5)
    party.leg.hangup()
    await asyncio.sleep(0.1)
    assert [each.answer for each in rig.record.tried] == ["handshake refused with 500", "200 OK"]


@pytest.mark.parametrize("code", [1001, 1006, 1011, None])
@in_virtual_time
async def test_a_loss_moves_the_call_on_and_keeps_the_caller(rig: Rig, code: int | None):
    rig.web.agents[URL] = rig.web.agents[OTHER] = accept
    line(rig, Endpoint(URL), Endpoint(OTHER))
    rig.dial()
    await asyncio.sleep(0.1)
    rig.web.sockets[0].hang_up(code)
    await asyncio.sleep(0.1)
    _, second = rig.web.sockets
    assert [message["event"] for message in second.heard[:2]] == ["connected", "start"]
    second.say(said(SPOKEN * 20))
    await asyncio.sleep(1)
    assert sent(rig).count(SPOKEN) == 20  # at the same port, in the same session
    second.hang_up(code)
    await asyncio.sleep(2)  # the message of the voicemail
    assert rig.caller.statuses() == [100, 180, 200] and not rig.caller.requests("BYE")
    await asyncio.sleep(60)
    assert rig.record.outcome == "voicemail_rescued"


@in_virtual_time
async def test_an_agent_that_stops_reading_is_given_up_and_fills_no_memory(rig: Rig):
    rig.web.agents[OTHER] = accept
    rig.web.agents[URL] = accept
    line(rig, Endpoint(URL), Endpoint(OTHER))
    rig.dial()
    await asyncio.sleep(0.1)
    socket = rig.web.sockets[0]
    socket.stop_reading()
    heard = len(socket.heard)
    await speak_for(rig, STALLED_SECONDS + 1)
    assert len(socket.heard) <= heard + 1
    assert rig.web.sockets[-1].url == OTHER
    assert rig.registry and next(iter(rig.registry)).tried[1].answer.startswith("agent read nothing")


@in_virtual_time
async def test_an_agent_that_reads_slowly_hears_what_is_new(rig: Rig):
    socket = await connected(rig)
    socket.stop_reading()
    first = await speak_for(rig, 5.0)
    socket.reading = True
    await speak_for(rig, 0.2, first)
    chunks = [int(message["media"]["chunk"]) for message in socket.of("media")]
    assert chunks == sorted(chunks)
    missing = chunks[-1] - len(chunks)
    assert 250 - MAX_UNSENT - 20 < missing < 250


@in_virtual_time
async def test_garbage_is_ignored_until_there_is_too_much_of_it(rig: Rig):
    rig.web.agents[URL] = rig.web.agents[OTHER] = accept
    line(rig, Endpoint(URL), Endpoint(OTHER))
    rig.dial()
    await asyncio.sleep(0.1)
    socket = rig.web.sockets[0]
    for number in range(MAX_NONSENSE - 1):
        socket.say(b"\x00\xff" if number % 2 else "{not json")
    socket.say(said(SPOKEN * 10))
    await asyncio.sleep(1)
    assert sent(rig).count(SPOKEN) == 10
    socket.say("nonsense")
    await asyncio.sleep(0.1)
    assert rig.web.sockets[-1].url == OTHER


@in_virtual_time
async def test_an_agent_that_must_speak_first_and_does_not(rig: Rig):
    rig.streams.first_audio_timeout = 3.0
    rig.web.agents[URL] = rig.web.agents[OTHER] = accept
    line(rig, Endpoint(URL), Endpoint(OTHER))
    rig.dial()
    await asyncio.sleep(0.1)
    await asyncio.sleep(3.0)
    assert [socket.url for socket in rig.web.sockets] == [URL, OTHER]
    rig.web.sockets[1].say(said(SPOKEN))
    await asyncio.sleep(10.0)
    assert len(rig.web.sockets) == 2 and not rig.caller.requests("BYE")


@in_virtual_time
async def test_a_caller_who_vanishes_without_a_word_is_not_kept(rig: Rig):
    socket = await connected(rig)
    rig.mute_since[CALLER] = rig.now()
    await asyncio.sleep(31)
    assert rig.record.cause == "caller silent for 30 s"
    assert socket.heard[-1]["event"] == "stop"


@in_virtual_time
async def test_a_caller_who_holds_is_not_taken_for_gone(rig: Rig):
    rig.web.agents[URL] = accept
    line(rig, Endpoint(URL))
    leg = rig.dial()
    await asyncio.sleep(0.1)
    leg.reinvite(rig.caller.sdp(6000, direction="sendonly"))
    await asyncio.sleep(60)
    assert not rig.records
    packets = len(rig.ports.opened[0].sent)
    leg.reinvite(rig.caller.sdp(6000))
    await asyncio.sleep(1)
    assert not rig.records and len(rig.ports.opened[0].sent) > packets


@in_virtual_time
async def test_max_calls_holds_and_the_place_is_given_back(rig: Rig):
    rig.web.agents[URL] = rig.web.agents[OTHER] = accept
    line(rig, Endpoint(URL, max_calls=1), Endpoint(OTHER))
    rig.dial()
    await asyncio.sleep(0.1)
    rig.dial()
    await asyncio.sleep(0.1)
    assert [socket.url for socket in rig.web.sockets] == [URL, OTHER]
    rig.web.sockets[0].hang_up()
    await asyncio.sleep(0.1)
    rig.dial()
    await asyncio.sleep(0.1)
    assert rig.web.sockets[-1].url == URL


@in_virtual_time
async def test_a_secure_offer_without_keys_is_not_answered(rig: Rig):
    rig.web.agents[URL] = accept
    line(rig, Endpoint(URL), voicemail=False)
    rig.dial(body=rig.caller.sdp(6000).replace(b"RTP/AVP", b"RTP/SAVP"))
    await asyncio.sleep(0.1)
    assert rig.caller.statuses() == [100, 488] and not rig.web.sockets


@in_virtual_time
async def test_an_offer_left_to_us(rig: Rig):
    socket = await connected(rig, body=b"")
    await speak_for(rig, 0.5)
    assert socket.of("media")


@pytest.mark.parametrize(("protocol", "options"), [("telnyx", {"encoding": "L16"}), ("openai-realtime", {})])
@in_virtual_time
async def test_other_protocols(rig: Rig, protocol: str, options: dict[str, str]):
    socket = await connected(rig, Endpoint(URL, protocol=protocol, options=options))
    await speak_for(rig, 1.0)
    if protocol == "telnyx":
        frames = [base64.b64decode(message["media"]["payload"]) for message in socket.of("media")]
        assert {len(frame) for frame in frames} == {640}  # 20 ms of 16 kHz
        socket.say(said(bytes(6400)))
    else:
        assert socket.heard[0]["type"] == "session.update"
        frames = [base64.b64decode(m["audio"]) for m in socket.of("input_audio_buffer.append")]
        assert LOUD in frames
        delta = base64.b64encode(SPOKEN * 10).decode()
        socket.say({"type": "response.output_audio.delta", "item_id": "i", "delta": delta})
        await asyncio.sleep(1)
        assert sent(rig).count(SPOKEN) == 10
        delta = base64.b64encode(SPOKEN * 100).decode()
        socket.say({"type": "response.output_audio.delta", "item_id": "j", "delta": delta})
        await asyncio.sleep(1.0)
        socket.say({"type": "input_audio_buffer.speech_started"})
        await asyncio.sleep(0.1)
        (truncate,) = socket.of("conversation.item.truncate")
        heard = sent(rig).count(SPOKEN) - 10
        assert truncate["item_id"] == "j" and abs(truncate["audio_end_ms"] - heard * 20) <= 20


@in_virtual_time
async def test_answer_first_then_the_agents(rig: Rig):
    rig.web.agents[URL] = never
    rig.web.agents[OTHER] = accept
    line(rig, Endpoint(URL), Endpoint(OTHER), answer_first=True)
    rig.dial()
    await asyncio.sleep(0.1)
    assert rig.caller.statuses() == [100, 180, 200]
    await asyncio.sleep(1.0)
    assert rig.ports.opened[0].sent  # ringback, while the first agent makes the caller wait
    await asyncio.sleep(1.5)
    socket = rig.web.sockets[-1]
    assert socket.url == OTHER
    socket.hang_up()
    await asyncio.sleep(0.1)
    assert rig.record.outcome == "fallback"


@in_virtual_time
async def test_answer_first_with_a_sip_agent_that_refuses_ends_in_the_voicemail(rig: Rig):
    party = await rig.agent(refusing(486))
    line(rig, Endpoint(f"sip:bot@{party.host}:{PORT}"), answer_first=True)
    rig.dial()
    await asyncio.sleep(40)
    assert rig.record.outcome == "voicemail"
    assert rig.caller.statuses() == [100, 180, 200]


@in_virtual_time
async def test_answer_first_refuses_what_cannot_be_answered_here(rig: Rig):
    party = await rig.agent(answering())
    line(rig, Endpoint(f"sip:bot@{party.host}:{PORT}"), answer_first=True)
    offer = make_offer("10.2.0.1", 6000, [], session_id=1).replace(b"RTP/AVP ", b"RTP/AVP 18")
    rig.dial(body=offer)
    await asyncio.sleep(0.1)
    assert rig.record.outcome == "refused" and rig.record.status == 488


class TestMovedFromOutside:
    """What an agent's framework does over HTTP, once the request has been found in order."""

    async def control(self, rig: Rig):
        await connected(rig, Endpoint(URL, auth_token="token"))
        socket = rig.web.sockets[-1]
        found = rig.streams.controls.find(socket.heard[1]["start"]["callSid"])
        assert found is not None and "token" not in repr(found) and CALLING not in repr(found)
        return found

    def test_hang_up(self):
        @in_virtual_time
        async def scenario(rig: Rig):
            (await self.control(rig)).hang_up()
            await asyncio.sleep(0.1)
            assert rig.record.cause == "agent hung up" and rig.caller.requests("BYE")
            assert rig.streams.controls.find("CA") is None

        scenario()

    def test_to_another_agent_and_back_along_the_plan(self):
        @in_virtual_time
        async def scenario(rig: Rig):
            from gateway.calls.remote_calls import RemoteCalls

            control = await self.control(rig)
            calls = RemoteCalls(rig.streams.controls, rig.dispatcher)
            rig.agents["agt_third"] = Agent("agt_third", "Third", (Endpoint(OTHER),))
            fault = calls.move(control.call_sid, agent_id="agt_nobody", number=None)
            assert fault is not None and "agt_nobody" in fault
            rig.web.agents[OTHER] = accept
            assert calls.move(control.call_sid, agent_id="agt_third", number=None) is None
            await asyncio.sleep(0.1)
            assert rig.web.sockets[0].heard[-1]["event"] == "stop"
            assert rig.web.sockets[1].url == OTHER
            rig.web.sockets[1].hang_up(1006)
            await asyncio.sleep(60)
            assert rig.record.outcome == "voicemail_rescued"

        scenario()

    def test_to_a_number_of_ours_and_never_to_anybody_elses(self):
        @in_virtual_time
        async def scenario(rig: Rig):
            from gateway.calls.remote_calls import RemoteCalls

            control = await self.control(rig)
            calls = RemoteCalls(rig.streams.controls, rig.dispatcher)
            assert calls.move(control.call_sid, agent_id=None, number="+442071838750") is not None
            assert calls.move(control.call_sid, agent_id=None, number="tomorrow") is not None
            rig.numbers["+14155550111"] = PhoneNumber(
                "phn_2", "+14155550111", inbound_routing=InboundRouting(voicemail_message="Elsewhere.")
            )
            assert calls.move(control.call_sid, agent_id=None, number="+14155550111") is None
            await asyncio.sleep(60)
            assert rig.record.outcome == "voicemail"

        scenario()

    def test_two_agents_that_send_a_call_to_each_other_come_to_an_end(self):
        @in_virtual_time
        async def scenario(rig: Rig):
            from gateway.calls.dispatcher import MAX_MOVES
            from gateway.calls.remote_calls import RemoteCalls

            control = await self.control(rig)
            calls = RemoteCalls(rig.streams.controls, rig.dispatcher)
            for _ in range(MAX_MOVES):
                assert calls.move(control.call_sid, agent_id="agt_primary", number=None) is None
                await asyncio.sleep(0.1)
            assert len(rig.web.sockets) == MAX_MOVES + 1
            assert calls.move(control.call_sid, agent_id="agt_primary", number=None) is None
            await asyncio.sleep(60)
            assert len(rig.web.sockets) == MAX_MOVES + 1
            assert rig.record.outcome == "voicemail"

        scenario()


@in_virtual_time
async def test_a_caller_who_leaves_in_the_instant_of_the_handshake_leaves_no_socket(rig: Rig):
    line(rig, Endpoint(URL))

    def dismissing(_: Socket) -> None:
        (call,) = rig.registry
        call.dismiss("cut off", 503)  # in the mailbox before the news of the socket is

    rig.web.agents[URL] = dismissing
    rig.dial()
    await asyncio.sleep(0.5)
    (socket,) = rig.web.sockets
    assert socket.closed and not socket.heard
    assert rig.record.status == 503
