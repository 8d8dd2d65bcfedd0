"""Where a request inside a dialog goes."""

from __future__ import annotations

import pytest

from gateway.sip.flow import Flow
from gateway.sip.next_hop import next_hop
from tests.sip.rig import FakeClock, RecordingSink

SEEN = Flow("udp", "192.0.2.10", 5060, 3)
PUBLIC = Flow("udp", "8.8.8.8", 5080, 3)
PROVED = Flow("tls", "192.0.2.10", 5061, 0, "agents.example.com")
STREAM = Flow("tcp", "192.0.2.10", 40001, 9)

NAMES = {"known.example.com": "192.0.2.30"}

CASES = [
    # the same place
    ("sip:x@192.0.2.10", SEEN, SEEN),
    ("sip:x@192.0.2.10:5060;transport=udp", SEEN, SEEN),
    # another port, host or transport: what the dialog says
    ("sip:x@192.0.2.10:5070", SEEN, Flow("udp", "192.0.2.10", 5070, 3)),
    ("sip:192.0.2.20;lr", SEEN, Flow("udp", "192.0.2.20", 5060, 3)),
    ("sip:x@192.0.2.20;transport=tcp", SEEN, Flow("tcp", "192.0.2.20", 5060, 0)),
    ("sip:x@192.0.2.20;transport=TLS", SEEN, Flow("tls", "192.0.2.20", 5061, 0, "192.0.2.20")),
    ("sips:x@192.0.2.20", SEEN, Flow("tls", "192.0.2.20", 5061, 0, "192.0.2.20")),
    ("sips:x@known.example.com", SEEN, Flow("tls", "192.0.2.30", 5061, 0, "known.example.com")),
    # who has proved a name is known by it, whatever its Contact says
    ("sip:x@192.0.2.10:5061;transport=tls", PROVED, Flow("tls", "192.0.2.10", 5061, 0, "agents.example.com")),
    ("sip:x@192.0.2.10:5099;transport=tls", PROVED, Flow("tls", "192.0.2.10", 5099, 0, "agents.example.com")),
    ("sips:x@192.0.2.20", PROVED, Flow("tls", "192.0.2.20", 5061, 0, "192.0.2.20")),
    (
        "sip:x@known.example.com;transport=tls",
        PROVED,
        Flow("tls", "192.0.2.30", 5061, 0, "known.example.com"),
    ),
    ("sip:x@192.0.2.20;transport=sctp", SEEN, Flow("udp", "192.0.2.20", 5060, 3)),
    ("sip:x@192.0.2.10;maddr=192.0.2.21", SEEN, Flow("udp", "192.0.2.21", 5060, 3)),
    # names: from memory, else where the peer was seen
    ("sip:x@known.example.com:5070", SEEN, Flow("udp", "192.0.2.30", 5070, 3)),
    ("sip:x@unknown.example.com:5070", SEEN, SEEN),
    # a private address of a public peer is behind its NAT
    ("sip:x@10.0.0.9:5060", PUBLIC, PUBLIC),
    ("sip:x@9.9.9.9", PUBLIC, Flow("udp", "9.9.9.9", 5060, 3)),
    ("sip:x@10.0.0.9", Flow("udp", "10.0.0.8", 5060), Flow("udp", "10.0.0.9", 5060)),
    # an open connection to that host is used
    ("sip:x@192.0.2.10:5060;transport=tcp", STREAM, STREAM),
    ("sip:x@192.0.2.10", STREAM, STREAM),
    ("sip:x@192.0.2.20;transport=tcp", STREAM, Flow("tcp", "192.0.2.20", 5060, 0)),
    ("sip:x@unknown.example.com", STREAM, STREAM),
    # what is no SIP URI leads nowhere
    ("tel:+14155550100", SEEN, SEEN),
    ("sip:", SEEN, SEEN),
]


@pytest.mark.parametrize(("uri", "seen", "expected"), CASES)
def test_next_hop(uri: str, seen: Flow, expected: Flow) -> None:
    assert next_hop(uri, seen, RecordingSink(FakeClock()), NAMES.get) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:x@192.0.2.10:5066;transport=tcp", Flow("tcp", "192.0.2.10", 5066)),
        ("sip:x@192.0.2.10", Flow("tcp", "192.0.2.10", 5060)),
        ("sip:x@unknown.example.com:5066", Flow("tcp", "192.0.2.10", 5066)),
    ],
)
def test_a_connection_that_has_ended_is_made_anew_to_where_the_peer_listens(uri: str, expected: Flow) -> None:
    sink = RecordingSink(FakeClock())
    sink.closed.add(STREAM)
    assert next_hop(uri, STREAM, sink, NAMES.get) == expected
