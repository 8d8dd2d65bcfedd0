from __future__ import annotations

import pytest

from gateway.media.dual_stack_ports import DualStackPorts
from gateway.media.port_pool import PortPool
from tests.media.test_port_pool import free_range


async def test_each_family_has_ports_of_its_own() -> None:
    ipv4, ipv6 = PortPool("127.0.0.1", *free_range(2)), PortPool("::1", *free_range(2))
    ports = DualStackPorts(ipv4, ipv6)
    four, six = ports.open(), ports.open(ipv6=True)
    assert four.address[0] == "127.0.0.1"
    assert six.address[0] == "::1"
    assert ports.in_use == 2
    assert {id(stats) for stats in ports.open_stats()} == {id(four.stats), id(six.stats)}
    four.close()
    assert (ipv4.in_use, ipv6.in_use, ports.in_use) == (0, 1, 1)
    ports.close()
    assert ports.in_use == 0


async def test_a_family_without_an_address_gets_ports_of_the_other() -> None:
    ports = DualStackPorts(PortPool("127.0.0.1", *free_range(2)), None)
    assert ports.open(ipv6=True).address[0] == "127.0.0.1"
    ports.close()
    with pytest.raises(ValueError, match="no media address"):
        DualStackPorts(None, None)
