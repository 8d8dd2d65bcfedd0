"""RFC 3261 §18.2 and RFC 3581: where a response goes, and what the top Via learns on the way."""

from __future__ import annotations

import pytest

from gateway.sip.flow import Flow
from gateway.sip.headers import Via
from gateway.sip.response_path import response_path, stamped
from tests.sip.rig import FakeClock, RecordingSink

SOURCE = Flow("udp", "192.0.2.10", 40001, 3)
STREAM = Flow("tcp", "192.0.2.10", 40001, 9)

UDP_CASES = [
    ("192.0.2.10:5062;branch=z", "192.0.2.10", 5062),
    ("192.0.2.10;branch=z", "192.0.2.10", 5060),
    ("10.0.0.1:5062;branch=z", "192.0.2.10", 5062),
    ("proxy.example.com;branch=z", "192.0.2.10", 5060),
    ("10.0.0.1:5062;rport;branch=z", "192.0.2.10", 40001),
    ("10.0.0.1:5062;rport=1;branch=z", "192.0.2.10", 40001),
    ("10.0.0.1:5062;maddr=198.51.100.9;rport", "198.51.100.9", 5062),
    ("10.0.0.1;maddr=198.51.100.9", "198.51.100.9", 5060),
    ("10.0.0.1;maddr=nothing.example.com", "192.0.2.10", 5060),
]


@pytest.mark.parametrize(("sent_by", "host", "port"), UDP_CASES)
def test_by_udp_the_via_decides(sent_by: str, host: str, port: int) -> None:
    path = response_path(Via.parse(f"SIP/2.0/UDP {sent_by}"), SOURCE)
    assert path.flow == Flow("udp", host, port, 3)


def test_by_a_stream_the_connection_is_used_while_it_is_open() -> None:
    sink = RecordingSink(FakeClock())
    path = response_path(Via.parse("SIP/2.0/TCP 10.0.0.1:5062;branch=z"), STREAM)
    assert path.resolve(sink) == STREAM


@pytest.mark.parametrize(
    ("transport", "via", "port"),
    [("tcp", "10.0.0.1:5062", 5062), ("tcp", "10.0.0.1", 5060), ("tls", "10.0.0.1", 5061)],
)
def test_when_the_connection_is_gone_a_new_one_is_opened(transport: str, via: str, port: int) -> None:
    sink = RecordingSink(FakeClock())
    source = STREAM._replace(transport=transport)
    sink.closed.add(source)
    path = response_path(Via.parse(f"SIP/2.0/{transport.upper()} {via};branch=z"), source)
    assert path.resolve(sink) == Flow(transport, "192.0.2.10", port)


STAMPS = [
    ("192.0.2.10:5060;branch=z", None),
    ("10.0.0.1:5060;branch=z", "10.0.0.1:5060;branch=z;received=192.0.2.10"),
    ("proxy.example.com;branch=z", "proxy.example.com;branch=z;received=192.0.2.10"),
    ("192.0.2.10:5060;rport;branch=z", "192.0.2.10:5060;branch=z;rport=40001;received=192.0.2.10"),
    ("10.0.0.1;branch=z;received=1.2.3.4", "10.0.0.1;branch=z;received=192.0.2.10"),
]


@pytest.mark.parametrize(("sent_by", "expected"), STAMPS)
def test_the_top_via_is_told_where_the_packet_came_from(sent_by: str, expected: str | None) -> None:
    result = stamped(Via.parse(f"SIP/2.0/UDP {sent_by}"), SOURCE)
    assert (None if result is None else str(result)) == (expected and f"SIP/2.0/UDP {expected}")
