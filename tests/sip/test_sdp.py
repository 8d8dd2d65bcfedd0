"""Session descriptions: read, written, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.sdp import Codec, Media, Origin, SdpError, SessionDescription
from gateway.sip.session_description import MAX_MEDIA

FULL = (
    "v=0\r\n"
    "o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\n"
    "s=Call to John Smith\r\n"
    "i=SDP Offer #1\r\n"
    "u=http://www.example.com/home.html\r\n"
    "e=Jane Doe <jane@example.com>\r\n"
    "p=+1 617 555-6011\r\n"
    "c=IN IP4 198.51.100.1\r\n"
    "b=AS:64\r\n"
    "t=0 0\r\n"
    "a=sendonly\r\n"
    "m=audio 49170/2 RTP/AVP 0 9 96 101\r\n"
    "i=Audio\r\n"
    "c=IN IP6 2001:db8::2\r\n"
    "b=AS:32\r\n"
    "a=rtpmap:96 opus/48000/2\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-15\r\n"
    "a=ptime:20\r\n"
    "m=video 0 RTP/AVP 99\r\n"
    "a=inactive\r\n"
)

SESSION = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def parse(text: str) -> SessionDescription:
    return SessionDescription.parse(text.encode())


def audio(text: str) -> Media:
    found = parse(SESSION + text).audio
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("", None),
        ("a=rtcp:53020\r\n", 53020),
        ("a=rtcp:53020 IN IP4 126.16.64.4\r\n", 53020),  # RTCP goes to RTP's host nonetheless
        ("a=rtcp:0\r\n", None),
        ("a=rtcp:65536\r\n", None),
        ("a=rtcp:\r\n", None),
        ("a=rtcp-mux\r\n", None),
    ],
)
def test_the_rtcp_port_is_the_named_one(line: str, port: int | None) -> None:
    media = audio(f"m=audio 49170 RTP/AVP 0\r\n{line}")
    assert media.addresses == ("192.0.2.1", 49170, port)


def test_a_full_description_round_trips() -> None:
    session = parse(FULL)
    assert str(session) == FULL
    assert session.to_bytes() == FULL.encode()
    assert session.origin == Origin("jdoe", "3724394400", "3724394405", "198.51.100.1")
    assert (session.name, session.connection, session.attributes) == (
        "Call to John Smith", "198.51.100.1", ("sendonly",),
    )  # fmt: skip
    first, second = session.media
    assert (first.kind, first.proto, first.formats, first.port_count) == (
        "audio", "RTP/AVP", ("0", "9", "96", "101"), 2,
    )  # fmt: skip
    assert first.rtp_address == ("2001:db8::2", 49170)
    assert (first.direction, second.direction) == ("sendonly", "inactive")
    assert second.rtp_address == ("198.51.100.1", 0)
    assert session.audio is first


def test_codecs_come_with_their_parameters_and_in_order() -> None:
    assert parse(FULL).media[0].codecs == [
        Codec(0, "PCMU", 8000),
        Codec(9, "G722", 8000),
        Codec(96, "opus", 48000, 2),
        Codec(101, "telephone-event", 8000, 1, "0-15"),
    ]


@pytest.mark.parametrize(
    ("media", "codecs"),
    [
        ("m=audio 4 RTP/AVP 8", [Codec(8, "PCMA", 8000)]),
        # A static number may be given its name all the same, in any case.
        ("m=audio 4 RTP/AVP 0\r\na=rtpmap:0 pcmu/8000/1", [Codec(0, "pcmu", 8000)]),
        # Dynamic numbers without a name, and what is no number, mean nothing.
        ("m=audio 4 RTP/AVP 96 x -1 128 ٣ 0", [Codec(0, "PCMU", 8000)]),
        ("m=audio 4 RTP/AVP 96\r\na=rtpmap:96 opus", []),
        ("m=audio 4 RTP/AVP 96\r\na=rtpmap:96 opus/x", []),
        ("m=audio 4 RTP/AVP 96\r\na=rtpmap:96 /8000", []),
        ("m=audio 4 RTP/AVP 0 96\r\na=rtpmap:0 X/9\r\na=rtpmap:0 Y/9", [Codec(0, "X", 9)]),
    ],
)
def test_codecs(media: str, codecs: list[Codec]) -> None:
    assert audio(f"{media}\r\n").codecs == codecs


def test_a_codec_describes_itself() -> None:
    assert Codec(0, "PCMU", 8000).lines() == ["rtpmap:0 PCMU/8000"]
    assert Codec(96, "opus", 48000, 2, "useinbandfec=1").lines() == [
        "rtpmap:96 opus/48000/2", "fmtp:96 useinbandfec=1",
    ]  # fmt: skip
    assert Codec(101, "Telephone-Event", 8000).is_dtmf


@pytest.mark.parametrize(
    ("lines", "direction"),
    [
        ("", "sendrecv"),
        ("a=recvonly\r\n", "recvonly"),
        ("c=IN IP4 0.0.0.0\r\n", "sendonly"),
        ("c=IN IP6 ::\r\n", "sendonly"),
        ("c=IN IP4 0.0.0.0\r\na=recvonly\r\n", "inactive"),
        ("c=IN IP4 0.0.0.0\r\na=inactive\r\n", "inactive"),
        ("c=IN IP4 0.0.0.0\r\na=sendonly\r\n", "sendonly"),
    ],
)
def test_directions_and_both_ways_to_hold(lines: str, direction: str) -> None:
    """RFC 3264 §8.4: by attribute, or by no address as in RFC 2543."""
    assert audio(f"m=audio 4 RTP/AVP 0\r\n{lines}").direction == direction


def test_the_session_direction_holds_where_media_have_none() -> None:
    session = parse(f"{SESSION}a=inactive\r\nm=audio 4 RTP/AVP 0\r\nm=audio 4 RTP/AVP 0\r\na=sendrecv\r\n")
    assert [media.direction for media in session.media] == ["inactive", "sendrecv"]


def test_the_first_audio_that_is_not_refused_counts() -> None:
    session = parse(f"{SESSION}m=video 2 RTP/AVP 0\r\nm=audio 0 RTP/AVP 0\r\nm=audio 4 RTP/AVP 8\r\n")
    assert session.audio is session.media[2]
    assert parse(SESSION).audio is None


@pytest.mark.parametrize(
    ("proto", "secure"), [("RTP/AVP", False), ("RTP/SAVP", True), ("UDP/TLS/RTP/SAVPF", True)]
)
def test_srtp_is_told_apart(proto: str, secure: bool) -> None:
    assert audio(f"m=audio 4 {proto} 0\r\n").secure is secure


def test_attributes_by_name() -> None:
    media = audio("m=audio 4 RTP/AVP 0\r\na=ptime:20\r\na=rtcp-mux\r\n")
    assert (media.attribute("ptime"), media.attribute("rtcp-mux"), media.attribute("x")) == ("20", "", None)


def test_bare_line_feeds_and_blank_lines_are_taken() -> None:
    assert parse(FULL.replace("\r\n", "\n")) == parse(FULL)
    assert parse(f"{FULL}\r\n\r\n") == parse(FULL)


def test_multicast_suffixes_are_no_part_of_the_address() -> None:
    assert audio("m=audio 4 RTP/AVP 0\r\nc=IN IP4 233.252.0.1/127\r\n").host == "233.252.0.1"


def test_no_address_at_all() -> None:
    media = parse("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4 RTP/AVP 0\r\n").media[0]
    assert media.rtp_address == ("", 4)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "v=1\r\n", "v=0\r\n", "v=0\r\ns=-\r\n", "v=0\r\no=- 1 1 IN IP4\r\n", f"{SESSION}x\r\n",
        f"{SESSION}A=b\r\n", f"{SESSION}c=IN\r\n", f"{SESSION}c=ATM IP4 x\r\n", f"{SESSION}m=audio\r\n",
        f"{SESSION}m=audio x RTP/AVP 0\r\n", f"{SESSION}m=audio -1 RTP/AVP 0\r\n",
        f"{SESSION}m=audio 65536 RTP/AVP 0\r\n", f"{SESSION}m=audio 4/x RTP/AVP 0\r\n",
        f"{SESSION}m=audio 4/ RTP/AVP 0\r\n", f"{SESSION}m=audio ٣ RTP/AVP 0\r\n",
        SESSION + "m=audio 4 RTP/AVP 0\r\n" * (MAX_MEDIA + 1),
    ],
)  # fmt: skip
def test_what_is_no_description(text: str) -> None:
    with pytest.raises(SdpError) as caught:
        parse(text)
    assert caught.value.status == 400


WORDS = st.from_regex(r"[A-Za-z0-9./+-]{1,8}", fullmatch=True)
MEDIA = st.builds(
    lambda kind, port, formats, lines: "\r\n".join(
        [f"m={kind} {port} RTP/AVP {' '.join(formats)}", *lines, ""]
    ),
    st.sampled_from(["audio", "video", "image"]),
    st.integers(0, 65535),
    st.lists(st.integers(0, 127).map(str), min_size=1, max_size=4),
    st.lists(WORDS.map(lambda word: f"a={word}"), max_size=4),
)


@given(st.lists(MEDIA, max_size=MAX_MEDIA))
def test_every_description_round_trips(media: list[str]) -> None:
    text = SESSION + "".join(media)
    assert str(parse(text)) == text


@given(st.binary(max_size=200) | st.lists(st.sampled_from([*FULL.split("\r\n"), "c=IN IP4", "m=", "é"])).map(
    lambda lines: "\r\n".join(["v=0", *lines]).encode()
))  # fmt: skip
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        session = SessionDescription.parse(data)
    except SdpError as error:
        assert error.status == 400
    else:
        # Lines may come in another order than RFC 8866 wants; they are written in that order.
        assert SessionDescription.parse(session.to_bytes()).to_bytes() == session.to_bytes()
        _ = [(media.codecs, media.direction, media.rtp_address) for media in session.media]
