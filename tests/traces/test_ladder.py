"""Who said what to whom, in order."""

from __future__ import annotations

from gateway.traces.ladder import draw, label_of, rungs
from gateway.traces.segments import Entry
from routing.call_records import CallMoment


def entry(at: float, out: bool, start: str, call_id: str, cseq: str, body: bytes = b"") -> Entry:
    data = f"{start}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\r\n".encode() + body
    return Entry(at, out, "udp", "192.0.2.1", 5060, "10.0.0.1", 5060, data)


CALL = [
    entry(100.0, False, "INVITE sip:a@b SIP/2.0", "c", "1 INVITE", b"v=0\r\n"),
    entry(100.1, True, "SIP/2.0 100 Trying", "c", "1 INVITE"),
    entry(100.3, True, "INVITE sip:bot@b SIP/2.0", "a", "1 INVITE", b"v=0\r\n"),
    entry(100.4, False, "INVITE sip:a@b SIP/2.0", "c", "1 INVITE", b"v=0\r\n"),
    entry(100.5, False, "SIP/2.0 200 OK", "a", "2 BYE"),
]


def test_messages_and_moments_lie_on_one_axis() -> None:
    ladder = rungs(CALL, [CallMoment(0.2, "route", "agent agt_a")], 100.0)
    assert [(round(each.at, 1), each.side, each.out, each.label, each.again) for each in ladder] == [
        (0.0, "caller", False, "INVITE +SDP", False),
        (0.1, "caller", True, "100 Trying", False),
        (0.2, "gateway", True, "agent agt_a", False),
        (0.3, "agent", True, "INVITE +SDP", False),
        (0.4, "caller", False, "INVITE +SDP", True),
        (0.5, "agent", False, "200 OK (BYE)", False),
    ]


def test_the_picture_shows_each_line_where_it_belongs() -> None:
    lines = draw(rungs(CALL, [CallMoment(0.2, "route", "agent agt_a")], 100.0)).splitlines()
    assert "caller" in lines[0]
    assert lines[1].split("│")[1].endswith("▶")
    assert lines[2].split("│")[1].startswith("◀")
    assert "● route: agent agt_a" in lines[3]
    assert lines[4].split("│")[2].endswith("▶")
    assert "(again)" in lines[5]


def test_labels_are_short_whatever_a_peer_says() -> None:
    assert len(label_of(b"SIP/2.0 200 " + b"x" * 500 + b"\r\n\r\n")) <= 70
    assert label_of(b"\xff\xfe") == "\ufffd\ufffd"
    assert label_of(b"") == ""
