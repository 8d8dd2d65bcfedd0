"""RFC 3263 §4, case by case."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sip.dns_records import DnsError, Kind, Naptr, Record, Srv
from gateway.sip.server_location import Server, answers, servers
from gateway.sip.uri import SipUri, parse_uri


class Domain:
    """Fulfils `Names`; nothing is in memory."""

    def __init__(self, records: dict[str, list[Record]] | None = None) -> None:
        self.records = records or {}
        self.asked: list[tuple[str, Kind]] = []
        self.away = False
        self.remembered: dict[tuple[str, Kind], tuple[Record, ...]] = {}

    def fresh(self, name: str, kind: Kind) -> tuple[Record, ...] | None:
        return self.remembered.get((name, kind))

    async def ask(self, name: str, kind: Kind) -> tuple[Record, ...]:
        self.asked.append((name, kind))
        if self.away:
            raise DnsError("away")
        types = {"SRV": Srv, "NAPTR": Naptr}
        return tuple(r for r in self.records.get(name, ()) if type(r) is types.get(kind, str))


def located(uri: str, domain: Domain) -> list[Server]:
    target = parse_uri(uri)
    assert isinstance(target, SipUri)
    return asyncio.run(servers(target, domain, lambda: 0.5))


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("sip:a@192.0.2.1", Server("udp", "192.0.2.1", 5060)),
        ("sip:a@192.0.2.1;transport=tcp", Server("tcp", "192.0.2.1", 5060)),
        ("sips:a@192.0.2.1", Server("tls", "192.0.2.1", 5061)),
        ("sips:a@[2001:db8::1]:5070;transport=tcp", Server("tls", "2001:db8::1", 5070)),
        ("sip:a@example.com:5080", Server("udp", "example.com", 5080)),
        ("sip:a@example.com:5080;transport=TCP", Server("tcp", "example.com", 5080)),
        ("sips:a@example.com:5081", Server("tls", "example.com", 5081)),
        ("sip:a@example.com;maddr=192.0.2.7", Server("udp", "192.0.2.7", 5060)),
    ],
)
def test_what_the_uri_says_is_not_asked_for(uri: str, server: Server) -> None:
    domain = Domain()
    assert located(uri, domain) == [server]
    assert not domain.asked


UDP = "_sip._udp.example.com"
TCP = "_sip._tcp.example.com"
TLS = "_sips._tcp.example.com"


def test_the_domain_chooses_by_naptr() -> None:
    """As in the example of RFC 3263 §4.1."""
    domain = Domain(
        {
            "example.com": [
                Naptr(100, 50, "s", "sip+d2u", UDP),
                Naptr(50, 50, "s", "sips+d2t", TLS),
                Naptr(90, 50, "s", "sip+d2t", TCP),
                Naptr(10, 50, "s", "sip+d2w", "_sip._ws.example.com"),
                Naptr(20, 50, "u", "e2u+sip", "x"),
            ],
            UDP: [Srv(0, 1, 5070, "server1.example.com")],
            TCP: [Srv(1, 2, 5060, "server2.example.com"), Srv(0, 1, 5060, "server1.example.com")],
            TLS: [Srv(0, 1, 5061, "server3.example.com")],
        }
    )
    assert located("sip:a@EXAMPLE.com.", domain) == [
        Server("tls", "server3.example.com", 5061),
        Server("tcp", "server1.example.com", 5060),
        Server("tcp", "server2.example.com", 5060),
        Server("udp", "server1.example.com", 5070),
    ]
    assert located("sips:a@example.com", domain) == [Server("tls", "server3.example.com", 5061)]


def test_without_naptr_whatever_has_srv_records() -> None:
    domain = Domain({TCP: [Srv(0, 1, 5062, "b.example.com")], UDP: [Srv(0, 1, 5060, "a.example.com")]})
    expected = [Server("udp", "a.example.com", 5060), Server("tcp", "b.example.com", 5062)]
    assert located("sip:example.com", domain) == expected
    assert ("example.com", "NAPTR") in domain.asked


def test_a_transport_in_the_uri_asks_for_its_servers_only() -> None:
    domain = Domain({TCP: [Srv(0, 1, 5062, "b.example.com")], UDP: [Srv(0, 1, 5060, "a.example.com")]})
    assert located("sip:example.com;transport=tcp", domain) == [Server("tcp", "b.example.com", 5062)]
    assert domain.asked == [(TCP, "SRV")]
    domain = Domain({TLS: [Srv(0, 1, 5063, "c.example.com")]})
    assert located("sips:example.com;transport=tcp", domain) == [Server("tls", "c.example.com", 5063)]


@pytest.mark.parametrize("away", [False, True])
def test_a_domain_without_servers_is_a_server(away: bool) -> None:
    domain = Domain()
    domain.away = away
    assert located("sip:example.com", domain) == [Server("udp", "example.com", 5060)]
    assert located("sip:example.com;transport=tcp", domain) == [Server("tcp", "example.com", 5060)]
    assert located("sips:example.com", domain) == [Server("tls", "example.com", 5061)]


def test_what_is_in_memory_is_not_asked_again() -> None:
    domain = Domain()
    domain.remembered = {("a", "A"): ("192.0.2.1",)}
    domain.records = {"b": ["192.0.2.2"]}
    told = asyncio.run(answers(domain, [("a", "A"), ("b", "A"), ("c", "A")]))
    assert told == [("a", ("192.0.2.1",)), ("b", ("192.0.2.2",)), ("c", ())]
    assert domain.asked == [("b", "A"), ("c", "A")]


def test_part_of_the_answers_is_better_than_none_and_none_is_an_error() -> None:
    domain = Domain()
    domain.away = True
    domain.remembered = {("a", "A"): ("192.0.2.1",)}
    told = asyncio.run(answers(domain, [("a", "A"), ("a", "AAAA")]))
    assert told == [("a", ("192.0.2.1",)), ("a", ())]
    with pytest.raises(DnsError, match="away"):
        asyncio.run(answers(domain, [("b", "A"), ("b", "AAAA")]))
