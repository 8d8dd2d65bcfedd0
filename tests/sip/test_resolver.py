"""Where URIs lead, with a real DNS server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.sip import resolver as resolver_module
from gateway.sip.dns_client import DnsClient
from gateway.sip.flow import Flow
from gateway.sip.hosts_file import HostsFile
from gateway.sip.resolver import MAX_WAYS, ResolveError, Resolver
from tests.sip.dns_server import DnsServer

Make = Callable[..., Resolver]


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    server = DnsServer()
    await server.start()
    yield server
    server.stop()


@pytest.fixture
async def make(dns: DnsServer, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Resolver] = []

    def make(hosts: str = "", **options: Any) -> Resolver:
        path = tmp_path / "hosts"
        path.write_text(hosts)
        made.append(Resolver(DnsClient([dns.address]), HostsFile(path), **options))
        return made[-1]

    yield make
    for resolver in made:
        await resolver.close()


def shown(flows: tuple[Flow, ...]) -> list[str]:
    return [f"{flow.transport} {flow.host} {flow.port}" for flow in flows]


@pytest.mark.parametrize(
    ("uri", "way"),
    [
        ("sip:agent@192.0.2.1", "udp 192.0.2.1 5060"),
        ("sip:192.0.2.1:5070;transport=TCP", "tcp 192.0.2.1 5070"),
        ("sip:agent@[2001:db8::1]:5080", "udp 2001:db8::1 5080"),
        ("sip:agent@agents.example;maddr=192.0.2.9", "udp 192.0.2.9 5060"),
    ],
)
async def test_literals_need_nobody(dns: DnsServer, make: Make, uri: str, way: str) -> None:
    assert shown(await make().resolve(uri)) == [way]
    assert not dns.asked


async def test_a_name_leads_to_all_its_addresses(dns: DnsServer, make: Make) -> None:
    dns.records[("agents.example", "A")] = ["127.0.0.7", "127.0.0.8"]
    dns.records[("agents.example", "AAAA")] = ["::1"]
    found = shown(await make().resolve("sip:a@agents.example:5070"))
    assert sorted(found) == ["udp 127.0.0.7 5070", "udp 127.0.0.8 5070", "udp ::1 5070"]
    assert {kind for _, kind in dns.asked} == {"A", "AAAA"}  # a port in the URI is final


async def test_a_tls_server_must_prove_the_name_that_was_asked_for(dns: DnsServer, make: Make) -> None:
    dns.records = {
        ("agents.example", "A"): ["127.0.0.7"],
        ("_sips._tcp.secure.example", "SRV"): ["1 0 5063 agents.example."],
    }
    resolver = make()
    for uri in ("sips:a@Agents.example.", "sip:a@agents.example;transport=tls"):
        assert await resolver.resolve(uri) == (Flow("tls", "127.0.0.7", 5061, 0, "agents.example"),)
    assert await resolver.resolve("sips:secure.example") == (
        Flow("tls", "127.0.0.7", 5063, 0, "secure.example"),
    )
    (flow,) = await resolver.resolve("sips:a@192.0.2.1:5071;transport=tcp")
    assert flow == Flow("tls", "192.0.2.1", 5071, 0, "192.0.2.1")


async def test_servers_by_priority_each_with_its_addresses(dns: DnsServer, make: Make) -> None:
    dns.records = {
        ("_sip._udp.agents.example", "SRV"): ["2 0 5062 b.agents.example.", "1 0 5061 a.agents.example."],
        ("_sip._tcp.agents.example", "SRV"): ["1 0 5063 a.agents.example."],
        ("a.agents.example", "A"): ["127.0.0.7"],
        ("b.agents.example", "A"): ["127.0.0.8"],
    }
    assert shown(await make().resolve("sip:agents.example")) == [
        "udp 127.0.0.7 5061",
        "udp 127.0.0.8 5062",
        "tcp 127.0.0.7 5063",
    ]


async def test_a_way_that_failed_goes_behind_the_others_for_a_while(
    dns: DnsServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns.records = {
        ("_sip._udp.agents.example", "SRV"): ["1 0 5061 a.agents.example.", "2 0 5062 b.agents.example."],
        ("a.agents.example", "A"): ["127.0.0.7"],
        ("b.agents.example", "A"): ["127.0.0.8"],
    }
    resolver = make()
    first, second = await resolver.resolve("sip:agents.example")
    resolver.failed(first._replace(channel=3))
    assert await resolver.resolve("sip:agents.example") == (second, first)
    resolver.failed(second)
    assert await resolver.resolve("sip:agents.example") == (first, second)  # both: as DNS says
    monkeypatch.setattr(resolver_module, "AVOIDED", -1.0)
    resolver.failed(first)
    monkeypatch.setattr(resolver_module, "KNOWN_NAMES", 2)
    for last in range(5):
        resolver.failed(Flow("udp", f"192.0.2.{last}", 5060))
    assert len(resolver._avoided) == 2
    assert await resolver.resolve("sip:agents.example") == (first, second)


async def test_names_of_the_hosts_file_go_before_dns(dns: DnsServer, make: Make) -> None:
    dns.records[("agents.example", "A")] = ["127.0.0.7"]
    resolver = make("192.0.2.5 agents.example\n")
    assert shown(await resolver.resolve("sip:a@Agents.example.;transport=tcp")) == ["tcp 192.0.2.5 5060"]
    assert not dns.asked


async def test_the_machines_own_names_work() -> None:
    resolver = Resolver()
    hosts = {flow.host for flow in await resolver.resolve("sip:a@localhost")}
    assert hosts & {"127.0.0.1", "::1"}
    await resolver.close()


async def test_what_has_been_asked_is_in_memory(dns: DnsServer, make: Make) -> None:
    dns.records[("agents.example", "A")] = ["127.0.0.7"]
    resolver = make()
    assert resolver.recall("agents.example") is None
    for _ in range(3):
        assert shown(await resolver.resolve("sip:b@AGENTS.example")) == ["udp 127.0.0.7 5060"]
    assert len(dns.asked) == len(set(dns.asked)) == 6  # NAPTR, three of SRV, A, AAAA
    assert resolver.recall("Agents.Example.") == "127.0.0.7"


async def test_an_unknown_name(make: Make) -> None:
    with pytest.raises(ResolveError, match=r"nowhere\.example: no such name"):
        await make().resolve("sip:a@nowhere.example")


async def test_a_silent_dns_and_its_late_answer(dns: DnsServer, make: Make) -> None:
    dns.records[("agents.example", "A")] = ["127.0.0.7"]
    dns.silent = True
    resolver = make(timeout=0.05)
    with pytest.raises(ResolveError, match=r"no answer for agents\.example within 0\.05 s"):
        await resolver.resolve("sip:a@agents.example:5060")
    dns.silent = False  # its client asks again after a second
    for _ in range(100):
        if all(resolver._memory.fresh("agents.example", kind) is not None for kind in ("A", "AAAA")):
            break
        await asyncio.sleep(0.05)
    assert shown(await resolver.resolve("sip:a@agents.example:5060")) == ["udp 127.0.0.7 5060"]


async def test_a_dns_that_fails_is_named(dns: DnsServer, make: Make) -> None:
    dns.rcode = 2  # SERVFAIL
    with pytest.raises(ResolveError, match=r"agents\.example: DNS cannot answer"):
        await make().resolve("sip:a@agents.example")


async def test_so_many_ways_and_no_more(dns: DnsServer, make: Make) -> None:
    dns.records[("agents.example", "A")] = [f"127.0.1.{last}" for last in range(50)]
    assert len(await make().resolve("sip:a@agents.example")) == MAX_WAYS


async def test_the_memory_of_names_is_bounded(
    dns: DnsServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "KNOWN_NAMES", 2)
    resolver = make()
    for name in ("one.example", "two.example", "three.example"):
        dns.records[(name, "A")] = ["127.0.0.7"]
        await resolver.resolve(f"sip:a@{name}:5060")
    assert resolver.recall("one.example") is None
    assert resolver.recall("three.example") == "127.0.0.7"


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("sips:agent@192.0.2.1;transport=udp", "a sips URI cannot be reached over UDP"),
        ("sip:agent@192.0.2.1;transport=sctp", 'we do not speak transport "sctp"'),
        ("tel:+14155550100", "tel URIs lead to no host"),
        ("https://agents.example", "https URIs lead to no host"),
        ("agents.example", "agents.example: "),
        ("sip:", "sip:: "),
    ],
)
async def test_what_leads_nowhere_says_why(make: Make, uri: str, fault: str) -> None:
    with pytest.raises(ResolveError) as caught:
        await make().resolve(uri)
    assert fault in str(caught.value)
    assert str(caught.value).startswith(uri)
