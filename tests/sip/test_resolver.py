from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from gateway.sip import resolver as resolver_module
from gateway.sip.flow import Flow
from gateway.sip.resolver import ResolveError, Resolver


class Dns:
    """Stands in for the system's resolver, whose faults cannot be ordered up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.silent = asyncio.Event()
        self.silent.set()
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._getaddrinfo)

    async def _getaddrinfo(self, name: str, port: None, **options: Any) -> list[Any]:
        self.asked.append(name)
        await self.silent.wait()
        if name not in self.records:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (host, 0)) for host in self.records[name]]


@pytest.fixture
async def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    return Dns(monkeypatch)


@pytest.mark.parametrize(
    ("uri", "flow"),
    [
        ("sip:agent@192.0.2.1", Flow("udp", "192.0.2.1", 5060)),
        ("sip:192.0.2.1:5070;transport=TCP", Flow("tcp", "192.0.2.1", 5070)),
        ("sip:agent@[2001:db8::1]:5080", Flow("udp", "2001:db8::1", 5080)),
        ("sip:agent@agents.example;maddr=192.0.2.9", Flow("udp", "192.0.2.9", 5060)),
    ],
)
async def test_literals_need_nobody(dns: Dns, uri: str, flow: Flow) -> None:
    assert await Resolver().resolve(uri) == (flow,)
    assert not dns.asked


async def test_a_name_leads_to_all_its_addresses_in_order(dns: Dns) -> None:
    dns.records["agents.example"] = ["192.0.2.1", "2001:db8::1", "192.0.2.1"]
    assert await Resolver().resolve("sip:a@agents.example:5070") == (
        Flow("udp", "192.0.2.1", 5070),
        Flow("udp", "2001:db8::1", 5070),
    )


async def test_a_tls_server_must_prove_the_name_that_was_asked_for(dns: Dns) -> None:
    dns.records["agents.example"] = ["192.0.2.1"]
    for uri in ("sips:a@Agents.example.", "sip:a@agents.example;transport=tls"):
        assert await Resolver().resolve(uri) == (Flow("tls", "192.0.2.1", 5061, 0, "agents.example"),)
    (flow,) = await Resolver().resolve("sips:a@192.0.2.1:5071;transport=tcp")
    assert flow == Flow("tls", "192.0.2.1", 5071, 0, "192.0.2.1")


async def test_the_real_resolver_knows_localhost() -> None:
    hosts = {flow.host for flow in await Resolver().resolve("sip:a@localhost")}
    assert hosts & {"127.0.0.1", "::1"}


async def test_an_answer_counts_for_its_lifetime(dns: Dns) -> None:
    dns.records["agents.example"] = ["192.0.2.1"]
    resolver = Resolver(lifetime=3600)
    for uri in ("sip:a@agents.example", "sip:b@AGENTS.example.", "sip:c@agents.example;transport=tcp"):
        assert (await resolver.resolve(uri))[0].host == "192.0.2.1"
    assert dns.asked == ["agents.example"]
    short = Resolver(lifetime=0)
    await short.resolve("sip:a@agents.example")
    await short.resolve("sip:a@agents.example")
    assert len(dns.asked) == 3


async def test_an_old_answer_serves_when_there_is_no_new_one(dns: Dns) -> None:
    dns.records["agents.example"] = ["192.0.2.1"]
    resolver = Resolver(lifetime=0)
    await resolver.resolve("sip:a@agents.example")
    dns.records.clear()
    assert (await resolver.resolve("sip:a@agents.example"))[0].host == "192.0.2.1"
    assert len(dns.asked) == 2


async def test_memory_answers_without_asking(dns: Dns) -> None:
    dns.records["agents.example"] = ["192.0.2.1", "192.0.2.2"]
    resolver = Resolver(lifetime=0)
    assert resolver.recall("agents.example") is None
    await resolver.resolve("sip:a@agents.example")
    assert resolver.recall("Agents.Example.") == "192.0.2.1"
    assert len(dns.asked) == 1


async def test_an_unknown_name(dns: Dns) -> None:
    with pytest.raises(ResolveError, match=r"nowhere\.example: Name or service not known"):
        await Resolver().resolve("sip:a@nowhere.example")
    assert len(dns.asked) == 1


async def test_a_silent_dns_is_asked_once_and_its_late_answer_is_used(dns: Dns) -> None:
    dns.records["agents.example"] = ["192.0.2.1"]
    dns.silent.clear()
    resolver = Resolver(timeout=0.01)
    for _ in range(3):
        with pytest.raises(ResolveError, match=r"no answer for agents\.example within 0\.01 s"):
            await resolver.resolve("sip:a@agents.example")
    assert dns.asked == ["agents.example"]
    dns.silent.set()
    await asyncio.sleep(0)
    assert (await resolver.resolve("sip:a@agents.example"))[0].host == "192.0.2.1"
    assert dns.asked == ["agents.example"]


async def test_a_late_failure_is_nobodys_unhandled_exception(dns: Dns) -> None:
    dns.silent.clear()
    resolver = Resolver(timeout=0.01)
    with pytest.raises(ResolveError):
        await resolver.resolve("sip:a@nowhere.example")
    dns.silent.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not resolver._asking


async def test_callers_together_ask_once(dns: Dns) -> None:
    dns.records["agents.example"] = ["192.0.2.1"]
    resolver = Resolver()
    flows = await asyncio.gather(*(resolver.resolve(f"sip:{user}@agents.example") for user in "abc"))
    assert [flow.host for (flow,) in flows] == ["192.0.2.1"] * 3
    assert dns.asked == ["agents.example"]


async def test_the_memory_is_bounded(dns: Dns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "KNOWN_NAMES", 2)
    resolver = Resolver()
    for name in ("one.example", "two.example", "three.example"):
        dns.records[name] = ["192.0.2.1"]
        await resolver.resolve(f"sip:a@{name}")
    assert resolver.recall("one.example") is None
    assert resolver.recall("three.example") == "192.0.2.1"


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
async def test_what_leads_nowhere_says_why(uri: str, fault: str) -> None:
    with pytest.raises(ResolveError) as caught:
        await Resolver().resolve(uri)
    assert fault in str(caught.value)
    assert str(caught.value).startswith(uri)
