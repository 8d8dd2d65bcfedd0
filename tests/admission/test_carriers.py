from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import carriers as carriers_module
from gateway.admission.carriers import Carrier, CarriersError, CarrierTable


def carrier(name: str, *sources: str, development: bool = False) -> Carrier:
    return Carrier(name, tuple(ip_network(source) for source in sources), development=development)


WIDE = carrier("wide", "192.0.2.0/24", "2001:db8::/32")
NARROW = carrier("narrow", "192.0.2.64/28", "192.0.2.200", "2001:db8:1::/48")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", "wide"),
        ("192.0.2.63", "wide"),
        ("192.0.2.64", "narrow"),
        ("192.0.2.79", "narrow"),
        ("192.0.2.80", "wide"),
        ("192.0.2.200", "narrow"),
        ("2001:db8::5060", "wide"),
        ("2001:db8:1:2::3", "narrow"),
        ("::ffff:192.0.2.70", "narrow"),
        ("192.0.3.1", None),
        ("2001:db9::1", None),
        ("agents.example", None),
        ("", None),
    ],
)
def test_the_longest_prefix_wins(host: str, expected: str | None) -> None:
    table = CarrierTable([WIDE, NARROW])
    for _ in range(2):  # looked up, and remembered
        found = table.match(host)
        assert (found.name if found else None) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"])
def test_loopback_needs_a_development_entry(host: str) -> None:
    everybody = carrier("everybody", "0.0.0.0/0", "::/0")
    assert CarrierTable([everybody]).match(host) is None
    development = carrier("loopback", "127.0.0.0/8", "::1", development=True)
    assert CarrierTable([everybody, development]).match(host) is development
    assert CarrierTable([everybody]).match("192.0.2.1") is everybody


def test_strangers_cost_no_memory_and_friends_a_bounded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriers_module, "KNOWN_SOURCES", 10)
    table = CarrierTable([WIDE])
    for last in range(256):
        assert table.match(f"198.51.100.{last}") is None
    assert not table._known
    for last in range(256):
        assert table.match(f"192.0.2.{last}") is WIDE
        assert len(table._known) <= 10


def test_a_known_source_costs_one_dictionary_lookup() -> None:
    table = CarrierTable([WIDE])
    table.match("192.0.2.1")
    calls: list[str] = []
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    table.match("192.0.2.1")
    sys.setprofile(None)
    assert calls.count("call") == 1  # match itself, no other function of ours


def test_the_order_of_the_files_is_kept() -> None:
    table = CarrierTable([WIDE, NARROW])
    assert list(table) == [WIDE, NARROW]
    assert len(table) == 2


def test_a_name_means_one_carrier() -> None:
    with pytest.raises(CarriersError, match='two entries are called "wide"'):
        CarrierTable([WIDE, carrier("wide", "198.51.100.0/24")])


def test_a_network_belongs_to_one_carrier() -> None:
    with pytest.raises(CarriersError, match=r'"wide" and "copy" both have 192\.0\.2\.0/24 in sources'):
        CarrierTable([WIDE, carrier("copy", "192.0.2.0/24")])
    CarrierTable([carrier("repeats", "192.0.2.0/24", "192.0.2.0/24")])


prefixes4 = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda pair: ip_network((pair[0], pair[1]), strict=False)
)
prefixes6 = st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
    lambda pair: ip_network((pair[0], pair[1]), strict=False)
)


@given(st.lists(prefixes4 | prefixes6, unique=True, max_size=20), st.data())
def test_the_index_agrees_with_asking_every_network(networks: list, data: st.DataObject) -> None:
    carriers = [Carrier(str(number), (network,)) for number, network in enumerate(networks)]
    table = CarrierTable(carriers)
    inside = [
        st.integers(int(network[0]), int(network[-1])).map(lambda n, v=network.version: _address(n, v))
        for network in networks
    ]
    outside = st.integers(0, 2**32 - 1).map(IPv4Address)
    address = data.draw(st.one_of(outside, *inside))
    mapped = getattr(address, "ipv4_mapped", None) or address
    holding = [c for c in carriers if mapped in c.sources[0] and not mapped.is_loopback]
    expected = max(holding, key=lambda c: c.sources[0].prefixlen, default=None)
    assert table.match(str(address)) is expected


def _address(number: int, version: int) -> IPv4Address | IPv6Address:
    return IPv4Address(number) if version == 4 else IPv6Address(number)


@given(st.text(max_size=60))
def test_any_text_may_be_asked_for(host: str) -> None:
    found = CarrierTable([WIDE]).match(host)
    if found is not None:
        ip_address(host)


@pytest.mark.parametrize(
    ("caller", "refused"),
    [
        ("+19005550100", True),
        ("19005550100", True),
        ("+14155550100", False),
        ("Anonymous", True),
        ("", False),
        ("+14155550166", True),
        ("+141555501660", False),
    ],
)
def test_callers_are_refused_by_number_and_by_its_beginning(caller: str, refused: bool) -> None:
    trunk = Carrier("pbx", (), refused_callers=("+1900*", "anonymous", "14155550166"))
    assert trunk.refuses(caller) is refused
