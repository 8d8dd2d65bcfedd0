"""The three protocols: what an agent reads of a call, and what is made of what it writes."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.streams.openai_realtime import OpenAiRealtime
from gateway.streams.protocol import (
    MAX_PARAMETER,
    MAX_PARAMETERS,
    AudioForm,
    AudioReceived,
    ClearReceived,
    GoodbyeReceived,
    MarkReceived,
    NonsenseReceived,
    OptionError,
    StreamedCall,
)
from gateway.streams.protocols import PROTOCOLS
from gateway.streams.telnyx import TelnyxStream
from gateway.streams.twilio import TwilioStream
from routing.endpoint_rules import OPTIONS, faults
from routing.models import Endpoint

SID = "CA" + "0123456789abcdef" * 2
ACCOUNT = "AC" + "fedcba9876543210" * 2
CALL = StreamedCall(
    "call-1",
    "+14155550123",
    "+14155550100",
    "agt_sales",
    "twilio",
    (("X-Twilio-CallSid", SID), ("X-Twilio-AccountSid", ACCOUNT)),
)
FRAME = bytes(range(160))


def text(**message: object) -> str:
    return json.dumps(message)


def read(messages: list[str]) -> list[dict]:
    return [json.loads(message) for message in messages]


def payload(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


class TestTwilio:
    stream_sid = "MZ" + CALL.derived("MZ")

    def test_connected_then_start(self):
        connected, start = read(TwilioStream(CALL, {}).opening())
        assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        assert start == {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": self.stream_sid,
            "start": {
                "streamSid": self.stream_sid,
                "accountSid": ACCOUNT,
                "callSid": SID,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {
                    "call_id": "call-1",
                    "from_number": "+14155550123",
                    "to_number": "+14155550100",
                    "agent_id": "agt_sales",
                    "carrier": "twilio",
                    "X-Twilio-CallSid": SID,
                    "X-Twilio-AccountSid": ACCOUNT,
                },
            },
        }

    def test_media_counts_in_strings_and_time_in_milliseconds(self):
        stream = TwilioStream(CALL, {})
        stream.opening()
        stream.audio(FRAME)
        assert json.loads(stream.audio(FRAME)) == {
            "event": "media",
            "sequenceNumber": "3",
            "streamSid": self.stream_sid,
            "media": {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": payload(FRAME)},
        }

    def test_keys_marks_and_stop(self):
        stream = TwilioStream(CALL, {})
        stream.opening()
        assert read([*stream.key("5"), *stream.reached("a"), *stream.cleared(["b", "c"], 0), *stream.closing()]) == [
            {"event": "dtmf", "sequenceNumber": "2", "streamSid": self.stream_sid, "dtmf": {"track": "inbound_track", "digit": "5"}},
            {"event": "mark", "sequenceNumber": "3", "streamSid": self.stream_sid, "mark": {"name": "a"}},
            {"event": "mark", "sequenceNumber": "4", "streamSid": self.stream_sid, "mark": {"name": "b"}},
            {"event": "mark", "sequenceNumber": "5", "streamSid": self.stream_sid, "mark": {"name": "c"}},
            {"event": "stop", "sequenceNumber": "6", "streamSid": self.stream_sid, "stop": {"accountSid": ACCOUNT, "callSid": SID}},
        ]  # fmt: skip

    def test_a_call_of_another_carrier_gets_sids_of_the_same_form_and_always_the_same(self):
        call = StreamedCall("call-1", "", "", "agt", "telnyx", (("X-Twilio-CallSid", "CAnot"),))
        other = StreamedCall("call-2", "", "", "agt", "telnyx")
        for sid, prefix in ((call.call_sid, "CA"), (call.account_sid, "AC")):
            assert sid[:2] == prefix and len(sid) == 34
            int(sid[2:], 16)
        assert call.call_sid == StreamedCall("call-1", "", "", "", "").call_sid != other.call_sid
        assert call.account_sid == other.account_sid


class TestTelnyx:
    def test_connected_then_start(self):
        stream = TelnyxStream(CALL, {"encoding": "L16"})
        connected, start = read(stream.opening())
        assert connected == {"event": "connected", "version": "1.0.0"}
        assert start["event"] == "start" and start["sequence_number"] == "1"
        assert start["start"]["from"] == "+14155550123" and start["start"]["to"] == "+14155550100"
        assert start["start"]["media_format"] == {"encoding": "L16", "sample_rate": 16000, "channels": 1}
        assert start["start"]["call_control_id"].startswith("v2:")
        assert start["start"]["custom_parameters"]["agent_id"] == "agt_sales"
        assert stream.form == AudioForm("L16", 16000)

    def test_media_dtmf_and_stop_in_snake_case(self):
        stream = TelnyxStream(CALL, {})
        _, start = read(stream.opening())
        media, key, stop = read([stream.audio(FRAME), *stream.key("#"), *stream.closing()])
        assert media == {
            "event": "media",
            "sequence_number": "2",
            "stream_id": start["stream_id"],
            "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": payload(FRAME)},
        }
        assert key["dtmf"] == {"digit": "#"} and key["occurred_at"].endswith("Z")
        assert stop["stop"]["call_control_id"] == start["start"]["call_control_id"]

    @pytest.mark.parametrize("options", [{"encoding": "MP3"}, {"sample_rate": "16000"}, {"codec": "PCMU"}])
    def test_options_that_make_no_sense(self, options: dict[str, str]):
        with pytest.raises(OptionError):
            TelnyxStream(CALL, options)


@pytest.mark.parametrize("stream", [TwilioStream(CALL, {}), TelnyxStream(CALL, {})])
class TestWhatAgentsWrite:
    def test_media_of_any_length(self, stream):
        assert stream.receive(text(event="media", media={"payload": payload(FRAME * 3 + b"x")})) == [
            AudioReceived(FRAME * 3 + b"x")
        ]

    def test_the_stream_id_is_not_looked_at(self, stream):
        message = text(event="media", streamSid="another", stream_id=7, media={"payload": payload(b"a")})
        assert stream.receive(message) == [AudioReceived(b"a")]

    def test_mark_clear_stop(self, stream):
        assert stream.receive(text(event="mark", mark={"name": "one"})) == [MarkReceived("one")]
        assert stream.receive(text(event="clear")) == [ClearReceived()]
        assert stream.receive(text(event="stop")) == [GoodbyeReceived()]

    @pytest.mark.parametrize(
        "message",
        [
            "",
            "{",
            "[]",
            "null",
            '{"event":"media"}',
            '{"event":"media","media":{"payload":"é"}}',
            '{"event":"media","media":{"payload":"abc"}}',
            '{"event":"mark"}',
            '{"event":7}',
            '{"event":"dance"}',
            "[" * 100_000,
        ],
    )
    def test_nonsense_is_told_as_such(self, stream, message: str):
        (event,) = stream.receive(message)
        assert isinstance(event, NonsenseReceived)


class TestOpenAi:
    def delta(self, item: str, audio: bytes, kind: str = "response.output_audio.delta") -> str:
        return text(type=kind, item_id=item, content_index=0, delta=payload(audio))

    def test_the_session_is_configured_first(self):
        (update,) = read(OpenAiRealtime(CALL, {"voice": "marin", "instructions": "Be brief."}).opening())
        assert update["type"] == "session.update"
        session = update["session"]
        assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
        assert session["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "marin"}
        assert session["instructions"] == "Be brief."

    def test_a_model_that_greets_and_speaks_pcm(self):
        stream = OpenAiRealtime(CALL, {"greeting": "true", "format": "pcm"})
        update, create = read(stream.opening())
        assert update["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert create == {"type": "response.create"}
        assert stream.form == AudioForm("PCM16", 24000)

    def test_audio_both_ways(self):
        stream = OpenAiRealtime(CALL, {})
        assert json.loads(stream.audio(FRAME)) == {
            "type": "input_audio_buffer.append",
            "audio": payload(FRAME),
        }
        for kind in ("response.output_audio.delta", "response.audio.delta"):
            assert stream.receive(self.delta("item_1", FRAME, kind)) == [AudioReceived(FRAME)]

    def test_an_interruption_truncates_at_what_was_heard(self):
        stream = OpenAiRealtime(CALL, {})
        stream.receive(self.delta("item_1", bytes(1600)))  # 200 ms, heard to the end
        stream.receive(self.delta("item_2", bytes(8000)))  # a second
        assert stream.receive(text(type="input_audio_buffer.speech_started")) == [ClearReceived()]
        assert read(stream.cleared([], 1600 + 2400)) == [
            {
                "type": "conversation.item.truncate",
                "item_id": "item_2",
                "content_index": 0,
                "audio_end_ms": 300,
            }
        ]
        # What comes after counts from what was really heard.
        stream.receive(self.delta("item_3", bytes(8000)))
        (truncate,) = read(stream.cleared([], 1600 + 2400 + 800))
        assert (truncate["item_id"], truncate["audio_end_ms"]) == ("item_3", 100)

    def test_nothing_is_truncated_that_was_heard_to_the_end(self):
        stream = OpenAiRealtime(CALL, {})
        stream.receive(self.delta("item_1", bytes(1600)))
        assert stream.cleared([], 1600) == []

    def test_other_events_of_the_session_are_nothing_to_us(self):
        stream = OpenAiRealtime(CALL, {})
        assert stream.receive(text(type="session.created", session={"id": "x"})) == []
        (event,) = stream.receive(text(type="error", error={"message": "secret"}))
        assert isinstance(event, NonsenseReceived) and "secret" not in event.reason


def test_parameters_are_bounded():
    headers = [(f"X-Twilio-{index}", "v" * 5000) for index in range(1000)]
    parameters = StreamedCall("c", "+1", "+2", "agt", "twilio", headers).parameters
    assert len(parameters) == MAX_PARAMETERS
    assert max(map(len, parameters.values())) == MAX_PARAMETER


def test_a_carriers_header_does_not_replace_what_we_say_ourselves():
    call = StreamedCall("c", "+1", "+2", "agt", "twilio", [("from_number", "+666")])
    assert call.parameters["from_number"] == "+1"


@given(
    st.sampled_from(sorted(PROTOCOLS)),
    st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "replace")),
)
def test_nothing_an_agent_writes_raises(name: str, message: str):
    for event in PROTOCOLS[name](CALL, {}).receive(message):
        assert isinstance(
            event, AudioReceived | MarkReceived | ClearReceived | GoodbyeReceived | NonsenseReceived
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["payload", "name", "x"]), inner)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(["event", "type", "media", "mark", "delta", "item_id", "content_index", "streamSid"])
KINDS = st.sampled_from(["media", "mark", "clear", "stop", "response.output_audio.delta", "error"])


@given(st.sampled_from(sorted(PROTOCOLS)), st.dictionaries(FIELDS, JSON), KINDS, st.integers(0, 10**9))
def test_no_message_of_the_right_shape_raises_either(name: str, message: dict, kind: str, played: int):
    stream = PROTOCOLS[name](CALL, {})
    stream.receive(json.dumps({**message, "event": kind, "type": kind}))
    for told in stream.cleared(["mark"], played):
        json.loads(told)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_whatever_a_carrier_says_is_written_as_json(caller: str, dialled: str, key: str):
    call = StreamedCall("c", caller, dialled, "agt", "twilio", [("X-Twilio-Note", key)])
    for make in PROTOCOLS.values():
        stream = make(call, {})
        for message in [*stream.opening(), stream.audio(b"\x00"), *stream.key(key), *stream.closing()]:
            json.loads(message)


def test_what_the_rules_allow_the_protocols_take():
    """The rules stand in routing, which knows no protocol; here they meet."""
    assert set(OPTIONS) == set(PROTOCOLS)
    for name, options in OPTIONS.items():
        for option, choices in options.items():
            for value in choices or ("any text",):
                given_options = {option: value}
                if value == "16000":
                    given_options["encoding"] = "L16"
                endpoint = Endpoint("wss://agent.example", protocol=name, options=given_options)
                assert list(faults(endpoint)) == []
                PROTOCOLS[name](CALL, given_options)


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [
        (Endpoint("wss://a.example", options={"encoding": "PCMU"}), "options"),
        (Endpoint("wss://a.example", protocol="telnyx", options={"encoding": "MP3"}), "options"),
        (Endpoint("wss://a.example", protocol="telnyx", options={"sample_rate": "16000"}), "options"),
        (Endpoint("sip:a.example", protocol="twilio"), "protocol"),
        (Endpoint("sip:a.example", auth_token="x"), "auth_token"),
        (Endpoint("sip:a.example", options={"encoding": "PCMU"}), "options"),
        (Endpoint("wss://a.example", auth_token="a\r\nb"), "auth_token"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told_by_field(endpoint: Endpoint, field: str):
    assert [name for name, _ in faults(endpoint)] == [field]
    assert endpoint.auth_token is None or repr(endpoint.auth_token) not in repr(endpoint)
