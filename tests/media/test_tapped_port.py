from __future__ import annotations

from gateway.media.relay import Relay
from gateway.media.srtp import SrtpSeal
from gateway.media.tapped_port import TappedPort
from tests.media.conftest import MemoryPort


class Tap:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    def from_caller(self, packet: bytes) -> bytes:
        self.heard.append(("caller", packet))
        return packet.upper()

    def to_caller(self, packet: bytes) -> bytes:
        self.heard.append(("agent", packet))
        return packet.upper()


async def test_a_tap_hears_both_directions_and_may_replace() -> None:
    port, tap, received = MemoryPort(), Tap(), list[bytes]()
    tapped = TappedPort(port, tap)
    tapped.sink = received.append
    port.sink(b"hello")
    tapped.send(b"good day")
    assert tap.heard == [("caller", b"hello"), ("agent", b"good day")]
    assert received == [b"HELLO"]
    assert [packet for _, packet in port.sent] == [b"GOOD DAY"]


async def test_a_caller_on_hold_hears_nothing_and_nothing_is_heard() -> None:
    port, tap = MemoryPort(), Tap()
    tapped = TappedPort(port, tap)
    tapped.sending = False
    tapped.send(b"music")
    assert not tap.heard
    assert not port.sent
    assert not port.sending


async def test_a_relay_does_not_notice() -> None:
    caller, agent, tap = MemoryPort(), MemoryPort(), Tap()
    relay = Relay(TappedPort(caller, tap), agent)
    caller.sink(b"from caller")
    agent.sink(b"from agent")
    assert [packet for _, packet in agent.sent] == [b"FROM CALLER"]
    assert [packet for _, packet in caller.sent] == [b"FROM AGENT"]
    assert isinstance(relay.detach(), TappedPort)
    caller.sink(b"alone")
    assert len(agent.sent) == 1


async def test_it_is_the_port_in_all_else() -> None:
    port = MemoryPort()
    tapped = TappedPort(port, Tap())
    tapped.set_remote("192.0.2.9", 4000)
    tapped.send_rtcp(b"report")
    tapped.rtcp_sink = print
    seal = SrtpSeal()
    tapped.secure(seal)
    tapped.close()
    assert port.remotes == [("192.0.2.9", 4000, None)]
    assert port.sent_rtcp == [b"report"]
    assert port.seal is seal
    assert port.rtcp_sink is tapped.rtcp_sink is print
    assert (tapped.stats, tapped.address, tapped.last_packet_at) == (port.stats, port.address, None)
    assert port.closed == 1
