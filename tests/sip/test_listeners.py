from __future__ import annotations

import errno

import pytest

from gateway.sip.flow import Flow
from gateway.sip.ingress import CALLED_HOSTS, CalledHosts
from gateway.sip.listeners import PORT_ATTEMPTS, ListenError, Listeners, PortTakenError, Side
from gateway.sip.network import LISTENER_BITS, LISTENER_MASK, Address, Receiver
from tests.sip.recorder import Recorder


class FakeTransport:
    def __init__(self, network: FakeNetwork, name: str, address: Address) -> None:
        self._network, self._name = network, name
        self.address = address
        network.open_now.append((name, address))

    def send(self, flow: Flow, data: bytes) -> None:
        raise AssertionError("nothing is sent here")

    def is_open(self, flow: Flow) -> bool:
        return True

    def waited(self) -> float:
        return 0.25

    def lost(self) -> int:
        return 2

    def close(self) -> None:
        self._network.open_now.remove((self._name, self.address))


class FakeNetwork:
    """Gives out ports one after the other; some are taken."""

    def __init__(self, *taken: tuple[str, int]) -> None:
        self.taken = set(taken)
        self.open_now: list[tuple[str, Address]] = []
        self._next_port = 40_000

    async def open(self, transport: str, address: Address, channel: int, receiver: Receiver) -> FakeTransport:
        host, port = address
        if port == 0:
            port, self._next_port = self._next_port, self._next_port + 1
        if (transport, port) in self.taken:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return FakeTransport(self, transport, (host, port))

    def local_host(self, peer: str) -> str:
        return "192.0.2.77"


def side(key: str = "sip.listen") -> Side:
    return Side(key, Recorder(), lambda peer, local: f"{local} for {peer}")


async def test_a_free_port_is_free_for_both_transports() -> None:
    network = FakeNetwork(("tcp", 40_000), ("tcp", 40_001))
    listeners = Listeners(network)
    await listeners.open(side(), ("192.0.2.1", 0))
    assert network.open_now == [("udp", ("192.0.2.1", 40_002)), ("tcp", ("192.0.2.1", 40_002))]
    assert [listener.channel for listener in listeners] == [1, 2]


async def test_the_search_for_a_free_port_ends() -> None:
    network = FakeNetwork(*(("tcp", port) for port in range(40_000, 41_000)))
    listeners = Listeners(network)
    with pytest.raises(PortTakenError):
        await listeners.open(side(), ("192.0.2.1", 0))
    assert network._next_port == 40_000 + PORT_ATTEMPTS
    listeners.close()
    assert not network.open_now


async def test_a_fixed_port_is_tried_once() -> None:
    listeners = Listeners(FakeNetwork(("tcp", 5060)))
    with pytest.raises(PortTakenError, match=r"^sip\.listen: TCP 192\.0\.2\.1:5060 is taken"):
        await listeners.open(side(), ("192.0.2.1", 5060))


async def test_more_listeners_than_a_flow_can_name() -> None:
    listeners = Listeners(FakeNetwork())
    for _ in range(LISTENER_MASK // 2):
        await listeners.open(side(), ("192.0.2.1", 0))
    with pytest.raises(ListenError, match="one listener too many; 63 is the most"):
        await listeners.open(side(), ("192.0.2.1", 0))


async def test_a_flow_finds_its_listener_whatever_its_connection() -> None:
    listeners = Listeners(FakeNetwork())
    await listeners.open(side(), ("192.0.2.1", 5060))
    found = listeners.of(Flow("tcp", "192.0.2.9", 40_000, 2 | 1_000 << LISTENER_BITS))
    assert found is not None
    assert found.transport_name == "tcp"
    assert listeners.of(Flow("udp", "192.0.2.9", 5060, 0)) is None
    assert listeners.of(Flow("udp", "192.0.2.9", 5060, 9)) is None


async def test_the_way_out_is_of_the_same_side_and_family_and_best_of_the_same_address() -> None:
    listeners = Listeners(FakeNetwork())
    carriers, agents = side(), side("sip.agent_listen")
    for each, host in (
        (agents, "192.0.2.1"),
        (carriers, "192.0.2.2"),
        (carriers, "192.0.2.3"),
        (carriers, "::1"),
    ):
        await listeners.open(each, (host, 5060))
    third = next(listener for listener in listeners if listener.address[0] == "192.0.2.3")
    found = listeners.find(carriers, "tcp", "198.51.100.1", third)
    assert found is not None
    assert (found.address[0], found.transport_name) == ("192.0.2.3", "tcp")
    sixth = listeners.find(carriers, "tcp", "2001:db8::1", third)
    assert sixth is not None
    assert sixth.address[0] == "::1"
    assert listeners.find(agents, "udp", "2001:db8::1") is None
    assert listeners.find(agents, "tls", "198.51.100.1") is None


@pytest.mark.parametrize(("bound", "local"), [("192.0.2.1", "192.0.2.1"), ("0.0.0.0", "192.0.2.77")])
async def test_a_wildcard_asks_the_network_which_address_faces_the_peer(bound: str, local: str) -> None:
    listeners = Listeners(FakeNetwork())
    await listeners.open(side(), (bound, 5060))
    assert next(iter(listeners)).advertised("198.51.100.1") == (f"{local} for 198.51.100.1", 5060)


async def test_the_last_opened_is_the_first_closed() -> None:
    network = FakeNetwork()
    listeners = Listeners(network)
    await listeners.open(side(), ("192.0.2.1", 5060))
    listeners.close()
    listeners.close()
    assert not network.open_now
    assert not list(listeners)


def test_hosts_called_lately_are_a_bounded_memory() -> None:
    called = CalledHosts()
    for number in range(CALLED_HOSTS + 1):
        called.add(f"2001:db8::{number:x}")
        called.add("2001:db8::400")
    assert "2001:db8::0" not in called
    assert "2001:db8::400" in called
    assert len(called._hosts) == CALLED_HOSTS
