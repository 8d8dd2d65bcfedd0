"""Reports on the wire, against the layout of RFC 3550 §6.4 and against bytes that nobody should send."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.media.rtcp import (
    MAX_BLOCKS,
    Compound,
    Report,
    ReportBlock,
    RtcpError,
    SenderInfo,
    middle,
    ntp_time,
)

U32 = st.integers(0, 0xFFFFFFFF)

BLOCKS = st.builds(
    ReportBlock,
    ssrc=U32,
    fraction_lost=st.integers(0, 255),
    lost=st.integers(-0x800000, 0x7FFFFF),
    highest=U32,
    jitter=U32,
    last_report=U32,
    delay=U32,
)
SENDERS = st.builds(
    SenderInfo, ntp=st.integers(0, 0xFFFFFFFFFFFFFFFF), timestamp=U32, packets=U32, octets=U32
)
REPORTS = st.builds(
    Report, ssrc=U32, sender=st.none() | SENDERS, blocks=st.lists(BLOCKS, max_size=3).map(tuple)
)
CNAMES = st.tuples(U32, st.text(max_size=63))
COMPOUNDS = st.builds(
    Compound,
    reports=st.lists(REPORTS, min_size=1, max_size=2).map(tuple),
    cnames=st.lists(CNAMES, max_size=3).map(tuple),
    goodbyes=st.lists(U32, max_size=3).map(tuple),
)

RECEIVER_REPORT = bytes.fromhex("81c90007 00000001 00000002 40fffffe 00010005 00000010 12345678 00010000")


def test_a_receiver_report_is_read_field_by_field() -> None:
    (report,) = Compound.parse(RECEIVER_REPORT).reports
    (block,) = report.blocks
    assert (report.ssrc, report.sender, block.ssrc) == (1, None, 2)
    assert (block.fraction_lost, block.lost, block.highest) == (0x40, -2, 0x10005)
    assert (block.jitter, block.last_report, block.delay) == (16, 0x12345678, 0x10000)


def test_a_sender_report_with_a_name_and_a_goodbye_is_written_word_by_word() -> None:
    sender = SenderInfo(0x0102030405060708, 160, 1, 172)
    data = Compound((Report(9, sender),), ((9, "me"),), (9,)).to_bytes()
    assert data == bytes.fromhex(
        "80c80006 00000009 01020304 05060708 000000a0 00000001 000000ac"
        "81ca0003 00000009 01026d65 00000000"
        "81cb0001 00000009"
    )


@given(COMPOUNDS)
def test_what_is_written_is_read(compound: Compound) -> None:
    assert Compound.parse(compound.to_bytes()) == compound


def test_a_count_has_five_bits() -> None:
    block = ReportBlock(1, 0, 0, 0, 0)
    full = Compound((Report(1, None, (block,) * MAX_BLOCKS),), ((1, "me"),) * MAX_BLOCKS, (1,) * MAX_BLOCKS)
    assert Compound.parse(full.to_bytes()) == full
    with pytest.raises(ValueError, match="do not fit"):
        Compound((Report(1, None, (block,) * (MAX_BLOCKS + 1)),)).to_bytes()


@given(st.binary(max_size=300))
@example(b"")
@example(RECEIVER_REPORT[:-1])
@example(RECEIVER_REPORT + b"\x80")
@example(b"\xa0\xc9\x00\x00")
@example(bytes.fromhex("80c90001 00000001 a1ca0001 00000001"))
@example(bytes.fromhex("80c90001 00000001 81ca0001 00000001"))
@example(bytes.fromhex("80c90001 00000001 81ca0002 00000001 01ff4141"))
@example(bytes.fromhex("80c90001 00000001 9fcb0000"))
def test_bytes_that_are_none_raise_its_own_error_and_no_other(data: bytes) -> None:
    try:
        Compound.parse(data)
    except RtcpError as error:
        assert str(error)


@given(COMPOUNDS, st.data())
def test_a_report_with_one_byte_changed_raises_no_other_error(
    compound: Compound, data: st.DataObject
) -> None:
    raw = bytearray(compound.to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        Compound.parse(bytes(raw))
    except RtcpError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x80", "cut off"),
        (bytes.fromhex("40c90001 00000001"), "version 1"),
        (bytes.fromhex("80c90002 00000001"), "longer than the datagram"),
        (bytes.fromhex("81ca0001 00000001"), "no report"),
        (bytes.fromhex("81c90001 00000001"), "count of blocks"),
        (bytes.fromhex("80c80001 00000001"), "count of blocks"),
        (bytes.fromhex("a0c90001 00000001 80c90001 00000001"), "padding"),
        (bytes.fromhex("80c90001 00000001 82cb0001 00000001"), "count of sources"),
    ],
)
def test_the_error_says_what_is_wrong(data: bytes, words: str) -> None:
    with pytest.raises(RtcpError, match=words):
        Compound.parse(data)


def test_what_says_nothing_of_quality_is_skipped() -> None:
    application = struct.pack("!BBHI4s", 0x80, 204, 2, 1, b"name")
    extended = struct.pack("!BBHI", 0x80, 207, 1, 1)
    assert len(Compound.parse(RECEIVER_REPORT + application + extended).reports) == 1


def test_padding_behind_the_last_packet_is_taken_off() -> None:
    padded = bytes.fromhex("a1cb0002 00000007 00000004")
    assert Compound.parse(RECEIVER_REPORT + padded).goodbyes == (7,)


def test_the_ntp_time_of_a_known_moment() -> None:
    """RFC 5905 figure 4: the first second of 1970 is 2,208,988,800 s of NTP time."""
    assert ntp_time(0.5) == 2_208_988_800 << 32 | 0x80000000
    assert middle(0x1122334455667788) == 0x33445566
