from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.rtp import RtpError, RtpPacket, signed32

packets = st.builds(
    RtpPacket,
    st.integers(0, 127),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=200),
    st.booleans(),
)


@given(packets)
def test_what_is_built_can_be_read(packet: RtpPacket) -> None:
    assert RtpPacket.parse(packet.to_bytes()) == packet


@given(st.binary(max_size=80))
def test_garbage_raises_only_its_own_error(data: bytes) -> None:
    try:
        packet = RtpPacket.parse(data)
    except RtpError:
        return
    assert len(packet.payload) <= len(data) - 12


@given(st.binary(max_size=60))
def test_flags_and_garbage(data: bytes) -> None:
    """Every combination of padding, extension and CSRC count over arbitrary bytes."""
    for first in range(0x80, 0xC0):
        try:
            RtpPacket.parse(bytes([first]) + data)
        except RtpError:
            continue


def test_csrcs_extension_and_padding_are_not_payload() -> None:
    header = b"\xb2\x00" + b"\x00\x05" + b"\x00\x00\x00\xa0" + b"\x11\x22\x33\x44"
    data = header + b"CSR1CSR2" + b"\xbe\xde\x00\x01" + b"EXT1" + b"voice" + b"\0\0\x03"
    packet = RtpPacket.parse(data)
    assert packet.payload == b"voice"
    assert (packet.sequence, packet.timestamp, packet.ssrc) == (5, 160, 0x11223344)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80" * 11,
        b"\x00" * 20,  # STUN has these two bits zero
        b"\x8f" + bytes(11),  # 15 CSRCs in no bytes
        b"\x90" + bytes(13),  # an extension cut short
        b"\x90" + bytes(13) + b"\xff\xff",
        b"\xa0" + bytes(11) + b"\x02",  # more padding than payload
        b"\xa0" + bytes(12),  # padding of zero bytes cannot be
    ],
)
def test_what_claims_more_than_it_has_is_refused(data: bytes) -> None:
    with pytest.raises(RtpError):
        RtpPacket.parse(data)


def test_differences_wrap() -> None:
    assert signed32(5 - 0xFFFFFFFE) == 7
    assert signed32(0xFFFFFFFE - 5) == -7
    assert signed32(0x80000000) == -0x80000000
