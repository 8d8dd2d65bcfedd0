"""A capture of ours as tshark reads it: SIP and RTP dissected, nothing malformed, over IPv4 and IPv6, UDP and TCP."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.traces.pcap import RTP_LENGTH, capture
from gateway.traces.segments import Entry

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

INVITE = (
    b"INVITE sip:+14155550100@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:b@10.0.0.1>\r\nCall-ID: one\r\nCSeq: 1 INVITE\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: " + str(len(SDP)).encode() + b"\r\n\r\n" + SDP
)
OK = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@192.0.2.1>;tag=1\r\n"
    b"To: <sip:b@10.0.0.1>;tag=2\r\nCall-ID: one\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
    b"Content-Length: " + str(len(SDP)).encode() + b"\r\n\r\n" + SDP
)

FOUR = ("192.0.2.1", 5062, "10.0.0.1", 40_000)
SIX = ("2001:db8::1", 5060, "2001:db8::2", 5060)


def tshark(path: Path, *fields: str) -> list[list[str]]:
    program = shutil.which("tshark")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("tshark is not installed; `make test` installs it")
        pytest.skip("tshark is not installed")
    command = [program, "-r", str(path), "-T", "fields", "-E", "separator=|"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("|") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("place", [FOUR, SIX])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_sip_is_dissected(tmp_path: Path, transport: str, place: tuple[str, int, str, int]) -> None:
    if transport == "tls":
        place = (place[0], place[1], place[2], 5061)
    messages = [Entry(1.5, False, transport, *place, INVITE), Entry(1.75, True, transport, *place, OK)]
    path = tmp_path / "call.pcap"
    path.write_bytes(capture(messages))
    rows = tshark(path, "frame.time_epoch", "sip.Method", "sip.Status-Code", "sdp.version", "_ws.malformed")
    assert [row[1:] for row in rows] == [["INVITE", "", "0", ""], ["", "200", "0", ""]]
    assert [float(row[0]) for row in rows] == [1.5, 1.75]


def test_heads_of_rtp_are_dissected_and_not_malformed(tmp_path: Path) -> None:
    audio = ("192.0.2.1", 4000, "10.0.0.1", 4000)
    head = bytes([0x80, 0]) + (7).to_bytes(2, "big") + bytes(8) + RTP_LENGTH.pack(172)
    entries = [
        Entry(1.0, False, "udp", *FOUR, INVITE),
        Entry(1.1, True, "udp", *FOUR, OK),
        Entry(1.2, False, "rtp", *audio, head),
        Entry(1.3, True, "rtp", *audio, head),
    ]
    path = tmp_path / "call.pcap"
    path.write_bytes(capture(entries))
    rows = tshark(path, "rtp.seq", "frame.len", "_ws.malformed")
    assert rows[2:] == [["7", "200", ""], ["7", "200", ""]]


def test_a_message_longer_than_a_packet_is_one_message(tmp_path: Path) -> None:
    head, _, body = INVITE.partition(b"\r\n\r\n")
    padding = b"".join(b"X-%d: %s\r\n" % (i, b"x" * 900) for i in range(80))
    path = tmp_path / "call.pcap"
    path.write_bytes(capture([Entry(1.0, False, "tcp", *FOUR, head + b"\r\n" + padding + b"\r\n" + body)]))
    rows = tshark(path, "sip.Method", "_ws.malformed")
    assert [row[0] for row in rows if row[0]] == ["INVITE"]
    assert all(row[1] == "" for row in rows)


def test_nothing_is_a_capture_too(tmp_path: Path) -> None:
    path = tmp_path / "call.pcap"
    path.write_bytes(capture([]))
    assert tshark(path, "frame.number") == []
