from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.dtls_setup import (
    MAX_FINGERPRINTS,
    NO_FINGERPRINT,
    DtlsEnd,
    Fingerprint,
    by_dtls,
    read_end,
    with_end,
)
from gateway.sip.secure_profiles import cleared, profiles
from gateway.sip.session_description import SdpError

OURS = Fingerprint("sha-256", bytes(range(32)))
PLAIN = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)
SECURE = PLAIN.replace(b"RTP/AVP", b"UDP/TLS/RTP/SAVP")


def test_what_is_written_is_read_and_taken_out_again() -> None:
    offer = with_end(PLAIN, OURS, "actpass")
    assert by_dtls(offer)
    assert read_end(offer) == DtlsEnd((OURS,), "actpass")
    assert cleared(offer) == PLAIN


def test_an_answer_repeats_the_profile_of_its_offer() -> None:
    offer = SECURE.replace(b"SAVP", b"SAVPF")
    answer = with_end(PLAIN, OURS, "passive", profiles(offer))
    assert b"UDP/TLS/RTP/SAVPF" in answer


def test_the_sessions_attributes_hold_where_the_medias_own_are_missing() -> None:
    general = SECURE.replace(b"t=0 0\r\n", b"t=0 0\r\n" + OURS.line() + b"\r\na=setup:active\r\n")
    assert read_end(general) == DtlsEnd((OURS,), "active")
    other = Fingerprint("sha-384", bytes(48))
    assert read_end(general + other.line() + b"\r\n") == DtlsEnd((other,), "active")


def test_another_medias_attributes_are_not_the_audios() -> None:
    video = b"m=video 5000 UDP/TLS/RTP/SAVP 99\r\n" + OURS.line() + b"\r\n"
    with pytest.raises(SdpError, match=NO_FINGERPRINT):
        read_end(SECURE + video)


@pytest.mark.parametrize(
    "line",
    [
        b"a=fingerprint:sha-1 " + b":".join([b"00"] * 20),
        b"a=fingerprint:sha-256 AA",
        b"a=fingerprint:sha-256 " + b":".join([b"00"] * 31) + b":0",
        b"a=fingerprint:" + b"s" * 1000 + b" AA",
    ],
)
def test_a_fingerprint_that_vouches_for_nothing(line: bytes) -> None:
    with pytest.raises(SdpError, match=NO_FINGERPRINT):
        read_end(SECURE + line + b"\r\n")


def test_hundreds_of_fingerprints_are_not_read() -> None:
    many = b"".join(Fingerprint("sha-256", bytes([n % 256]) * 32).line() + b"\r\n" for n in range(500))
    assert len(read_end(SECURE + many).fingerprints) == MAX_FINGERPRINTS


@pytest.mark.parametrize("setup", [b"holdconn", b"", b"active passive"])
def test_a_setup_that_we_do_not_know_is_none(setup: bytes) -> None:
    assert read_end(SECURE + OURS.line() + b"\r\na=setup:" + setup + b"\r\n").setup is None


@pytest.mark.parametrize("description", [PLAIN, b"", b"m=audio\r\n", SECURE.replace(b"4000", b"0")])
def test_other_descriptions_are_not_by_dtls(description: bytes) -> None:
    assert not by_dtls(description)


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_nothing_but_a_fault_comes_of_garbage(head: bytes, tail: bytes) -> None:
    for description in (head, head + SECURE + tail, head + OURS.line() + b"\r\n" + SECURE + tail):
        by_dtls(description)
        try:
            end = read_end(description)
        except SdpError as fault:
            assert fault.status == 488
        else:
            assert end.fingerprints
