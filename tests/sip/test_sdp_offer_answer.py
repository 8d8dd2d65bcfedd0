"""Offers and answers (RFC 3264): answered, moved to another address, restricted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.offer_answer import with_codecs, with_more_codecs
from gateway.sip.sdp import (
    Answer,
    Codec,
    Media,
    SdpError,
    SessionDescription,
    answer_offer,
    make_offer,
    restrict_to,
    with_media_address,
)

HERE = ("198.51.100.9", 20000)


def offer(*media: str, connection: str = "c=IN IP4 192.0.2.1") -> bytes:
    lines = ["v=0", "o=- 7 8 IN IP4 192.0.2.1", "s=-", connection, "t=0 0", *media, ""]
    return "\r\n".join(lines).encode()


USUAL = offer(
    "m=audio 11706 RTP/AVP 18 0 8 101",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "a=ptime:20",
)


def answered(data: bytes, **options: str) -> Answer:
    return answer_offer(data, *HERE, session_id=42, **options)  # type: ignore[arg-type]


def audio_of(data: bytes) -> Media:
    audio = SessionDescription.parse(data).audio
    assert audio is not None
    return audio


def test_an_offer_of_ours() -> None:
    assert make_offer(*HERE, session_id=42).decode().split("\r\n") == [
        "v=0",
        "o=- 42 1 IN IP4 198.51.100.9",
        "s=-",
        "c=IN IP4 198.51.100.9",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]


def test_an_offer_in_ipv6() -> None:
    session = SessionDescription.parse(make_offer("2001:db8::1", 4, session_id=1))
    assert b"c=IN IP6 2001:db8::1\r\n" in session.to_bytes()
    assert session.origin.host == session.connection == "2001:db8::1"


def test_the_offerers_first_codec_that_we_speak_is_taken() -> None:
    answer = answered(USUAL)
    assert (answer.codec.name, answer.dtmf_payload_type, answer.remote) == ("PCMU", 101, ("192.0.2.1", 11706))
    assert answer.direction == "sendrecv"
    media = audio_of(answer.sdp)
    assert (media.formats, media.rtp_address) == (("0", "101"), HERE)
    assert [codec.name for codec in media.codecs] == ["PCMU", "telephone-event"]
    assert answered(USUAL, supported=("pcma",)).codec.name == "PCMA"  # type: ignore[arg-type]


def test_what_the_agent_answers_an_offer_of_ours_can_be_read() -> None:
    answer = answered(make_offer("192.0.2.1", 4000, session_id=1))
    assert answer.codec == Codec(0, "PCMU", 8000)
    assert answer.dtmf == Codec(101, "telephone-event", 8000, 1, "0-15")


def test_telephone_events_are_taken_at_the_codecs_clock() -> None:
    """RFC 4733 §2.1: both count time in the same stream. Opus offers bring one for each clock."""
    opus_first = offer(
        "m=audio 4 RTP/AVP 96 0 97 98",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:97 telephone-event/48000",
        "a=rtpmap:98 telephone-event/8000",
    )
    assert answered(opus_first).dtmf_payload_type == 98
    assert answered(offer("m=audio 4 RTP/AVP 0 97", "a=rtpmap:97 telephone-event/48000")).dtmf is None
    without = answered(offer("m=audio 4 RTP/AVP 0"))
    assert without.dtmf_payload_type is None
    assert audio_of(without.sdp).formats == ("0",)


@pytest.mark.parametrize(
    ("lines", "connection", "direction"),
    [
        (["a=sendrecv"], "c=IN IP4 192.0.2.1", "sendrecv"),
        (["a=sendonly"], "c=IN IP4 192.0.2.1", "recvonly"),
        (["a=recvonly"], "c=IN IP4 192.0.2.1", "sendonly"),
        (["a=inactive"], "c=IN IP4 192.0.2.1", "inactive"),
        ([], "c=IN IP4 0.0.0.0", "recvonly"),
        (["a=inactive"], "c=IN IP4 0.0.0.0", "inactive"),
    ],
)
def test_a_hold_is_answered_as_a_hold(lines: list[str], connection: str, direction: str) -> None:
    answer = answered(offer("m=audio 4 RTP/AVP 0", *lines, connection=connection))
    assert answer.direction == direction
    assert audio_of(answer.sdp).direction == direction


@pytest.mark.parametrize(
    ("offered", "wanted", "direction"),
    [
        ("sendrecv", "sendonly", "sendonly"),
        ("sendonly", "sendrecv", "recvonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "recvonly", "inactive"),
        ("sendrecv", "inactive", "inactive"),
    ],
)
def test_an_answer_does_no_more_than_both_sides_want(offered: str, wanted: str, direction: str) -> None:
    data = offer("m=audio 4 RTP/AVP 0", f"a={offered}")
    assert answered(data, direction=wanted).direction == direction


def test_further_media_are_refused_in_their_places() -> None:
    answer = answered(offer("m=video 6 RTP/AVP 99", "m=audio 4 RTP/AVP 0", "m=audio 8 RTP/AVP 8"))
    media = SessionDescription.parse(answer.sdp).media
    assert [(one.kind, one.port, one.formats) for one in media] == [
        ("video", 0, ("99",)), ("audio", 20000, ("0",)), ("audio", 0, ("8",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (offer("m=audio 4 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"), 488),
        (offer("m=audio 4 UDP/TLS/RTP/SAVPF 0"), 488),
        (offer("m=audio 4 RTP/AVP 18 96"), 488),
        (offer("m=audio 4 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"), 488),
        (offer("m=video 4 RTP/AVP 99"), 488),
        (offer("m=audio 0 RTP/AVP 0"), 488),
        (offer(), 488),
        (offer("m=audio x RTP/AVP 0"), 400),
        (b"", 400),
        (b"hello", 400),
    ],
)
def test_offers_that_cannot_be_agreed_to(data: bytes, status: int) -> None:
    with pytest.raises(SdpError) as caught:
        answered(data)
    assert caught.value.status == status
    assert caught.value.reason


def test_moving_media_passes_formats_direction_and_keys_and_nobodys_name() -> None:
    data = offer(
        "a=ice-lite", "m=audio 11706 RTP/AVP 0 101", "b=AS:64", "a=rtpmap:101 telephone-event/8000",
        "a=candidate:1 1 UDP 1 192.0.2.1 11706 typ host", "a=end-of-candidates", "a=ice-ufrag:x",
        "a=rtcp:11707 IN IP4 192.0.2.1", "a=rtcp-mux", "a=X-strange: 192.0.2.1", "a=sendonly",
        "a=ssrc:1 cname:alice@192.0.2.1", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KEY",
    )  # fmt: skip
    data = data.replace(b"o=- ", b"o=alice ").replace(b"s=-", b"s=Alice\r\ni=her phone\r\ne=alice@192.0.2.1")
    assert with_media_address(data, *HERE).decode().split("\r\n") == [
        "v=0",
        "o=- 7 8 IN IP4 198.51.100.9",
        "s=-",
        "c=IN IP4 198.51.100.9",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 101",
        "b=AS:64",
        "a=rtpmap:101 telephone-event/8000",
        "a=sendonly",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KEY",
        "",
    ]


def test_moving_media_needs_an_address_to_move_it_from() -> None:
    data = offer("m=audio 11706 RTP/AVP 0")
    assert b"c=" in data
    with pytest.raises(SdpError, match="No connection address") as caught:
        with_media_address(b"\r\n".join(line for line in data.split(b"\r\n") if line[:2] != b"c="), *HERE)
    assert caught.value.status == 400


def test_moving_media_between_address_families() -> None:
    moved = with_media_address(USUAL, "2001:db8::9", 20000)
    assert b"o=- 7 8 IN IP6 2001:db8::9\r\n" in moved
    assert audio_of(moved).rtp_address == ("2001:db8::9", 20000)


def test_moving_media_refuses_all_but_the_first_audio() -> None:
    data = offer(
        "m=video 6 RTP/AVP 99", "c=IN IP4 192.0.2.7", "a=rtpmap:99 H264/90000",
        "m=audio 4 RTP/AVP 0", "c=IN IP4 192.0.2.8", "m=audio 8 RTP/AVP 8", "m=audio 0 RTP/AVP 8",
    )  # fmt: skip
    moved = with_media_address(data, *HERE)
    assert b"192.0.2." not in moved
    media = SessionDescription.parse(moved).media
    assert [(one.kind, one.port) for one in media] == [
        ("video", 0),
        ("audio", 20000),
        ("audio", 0),
        ("audio", 0),
    ]
    assert media[1].rtp_address == HERE


def test_moving_media_keeps_a_hold() -> None:
    """A hold without an address becomes one with ours, so its direction has to be said (RFC 3264 §8.4)."""
    for line, direction in (
        ("a=sendrecv", "sendonly"),
        ("a=recvonly", "inactive"),
        ("a=ptime:20", "sendonly"),
    ):
        held = offer("m=audio 4 RTP/AVP 0", line, connection="c=IN IP4 0.0.0.0")
        assert audio_of(held).direction == direction
        moved = audio_of(with_media_address(held, *HERE))
        assert (moved.direction, moved.rtp_address) == (direction, HERE)
    held = offer("m=audio 4 RTP/AVP 0", connection="c=IN IP6 ::")
    assert audio_of(with_media_address(held, *HERE)).direction == "sendonly"


@pytest.mark.parametrize(
    "data",
    [b"", offer(), offer("m=audio 0 RTP/AVP 0"), offer("m=video 4 RTP/AVP 0"), offer("m=audio 4"), b"o=x\n"],
)
def test_what_cannot_be_moved(data: bytes) -> None:
    with pytest.raises(SdpError):
        with_media_address(data, *HERE)


def test_restricting_leaves_one_voice_codec_and_its_events() -> None:
    restricted = audio_of(restrict_to(USUAL, Codec(0, "pcmu", 8000), Codec(101, "telephone-event", 8000)))
    assert restricted.formats == ("0", "101")
    assert [codec.name for codec in restricted.codecs] == ["PCMU", "telephone-event"]
    assert restricted.attribute("ptime") == "20"
    assert restricted.rtp_address == ("192.0.2.1", 11706)
    assert audio_of(restrict_to(USUAL, Codec(8, "PCMA", 8000), None)).formats == ("8",)


@pytest.mark.parametrize("codec", [Codec(9, "G722", 8000), Codec(0, "PCMA", 8000), Codec(0, "PCMU", 16000)])
def test_restricting_to_what_is_not_there(codec: Codec) -> None:
    with pytest.raises(SdpError) as caught:
        restrict_to(USUAL, codec, None)
    assert caught.value.status == 488


LINES = st.sampled_from(
    ["m=audio 4 RTP/AVP 0", "m=audio 0 RTP/AVP 0", "m=video 6 RTP/AVP 99", "m=audio 4 RTP/SAVP 0", "m=audio",
     "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=sendonly", "a=rtcp:5",
     "c=IN IP4 0.0.0.0", "c=IN", "b=AS:1", "o=x", "é", "m=audio 4 RTP/AVP 101 8"]
)  # fmt: skip


@given(st.lists(LINES, max_size=12))
def test_any_offer_is_answered_moved_and_restricted_or_refused(lines: list[str]) -> None:
    data = offer(*lines)
    try:
        answer = answered(data)
        assert audio_of(answer.sdp).rtp_address == HERE
        assert len(SessionDescription.parse(answer.sdp).media) == len(SessionDescription.parse(data).media)
        restricted = restrict_to(data, answer.codec, answer.dtmf)
        assert answered(restricted).codec == answer.codec
        moved = with_media_address(data, *HERE)
        assert audio_of(moved).rtp_address == HERE
    except SdpError as error:
        assert error.status in {400, 488}


NO_AUDIO = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=image 6000 udptl t38\r\n"
)
AND_A_FAX = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 6000 RTP/AVP 0\r\nm=image 6002 udptl t38\r\n"
)
SPEEX = Codec(97, "speex", 8000)


def test_a_description_without_audio_takes_no_codecs() -> None:
    with pytest.raises(SdpError):
        restrict_to(NO_AUDIO, SPEEX, None)
    with pytest.raises(SdpError):
        with_codecs(NO_AUDIO, [SPEEX])
    with pytest.raises(SdpError):
        with_more_codecs(NO_AUDIO, [], [SPEEX])
    with pytest.raises(SdpError):
        with_more_codecs(AND_A_FAX.replace(b"audio 6000", b"audio 0"), [], [SPEEX])  # refused audio is none


def test_further_codecs_are_described_where_their_audio_ends() -> None:
    session = SessionDescription.parse(with_more_codecs(AND_A_FAX, [SPEEX], []))
    audio, fax = session.media
    assert [codec.name for codec in audio.codecs] == ["speex", "PCMU"]
    assert not fax.attributes
