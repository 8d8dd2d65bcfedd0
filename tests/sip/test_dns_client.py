"""Questions to a real server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import dns.rcode
import pytest

from gateway.sip import dns_client
from gateway.sip.dns_client import MAX_RECORDS, NEGATIVE_LIFETIME, DnsClient
from gateway.sip.dns_records import Answer, DnsError, Naptr, Srv
from tests.sip.dns_server import DnsServer

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    server = DnsServer()
    await server.start()
    yield server
    server.stop()


async def test_the_four_kinds(server: DnsServer) -> None:
    server.records = {
        ("example.com", "A"): ["192.0.2.1", "192.0.2.2"],
        ("example.com", "AAAA"): ["2001:db8::1"],
        ("example.com", "NAPTR"): ['10 20 "S" "SIP+D2U" "" _sip._udp.example.com.'],
        ("_sip._udp.example.com", "SRV"): ["1 2 5070 Server.Example.com.", "2 0 5060 ."],
    }
    client = DnsClient([server.address])
    found = await client.ask("example.com", "A")
    assert set(found.records) == {"192.0.2.1", "192.0.2.2"}
    assert found.lifetime == 60
    assert (await client.ask("example.com", "AAAA")).records == ("2001:db8::1",)
    assert (await client.ask("example.com", "NAPTR")).records == (
        Naptr(10, 20, "s", "sip+d2u", "_sip._udp.example.com"),
    )
    assert set((await client.ask("_sip._udp.example.com", "SRV")).records) == {
        Srv(1, 2, 5070, "server.example.com"),
        Srv(2, 0, 5060, "."),
    }


@pytest.mark.parametrize("name", ["nowhere.example", "example.com"])
async def test_that_there_is_none_counts_as_long_as_its_soa_says(server: DnsServer, name: str) -> None:
    server.records = {("example.com", "A"): ["192.0.2.1"]}
    server.negative = 17
    assert await DnsClient([server.address]).ask(name, "SRV") == Answer((), 17)
    server.negative = 0
    assert await DnsClient([server.address]).ask(name, "SRV") == Answer((), NEGATIVE_LIFETIME)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_servers_that_cannot(server: DnsServer, rcode: dns.rcode.Rcode) -> None:
    server.rcode = rcode
    with pytest.raises(DnsError, match=r"example\.com: DNS cannot answer"):
        await DnsClient([server.address]).ask("example.com", "A")


async def test_a_server_that_is_away(server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "TIMEOUT", 0.1)
    server.silent = True
    with pytest.raises(DnsError, match=r"no answer for example\.com from DNS"):
        await DnsClient([server.address]).ask("example.com", "A")


async def test_the_next_server_is_asked(server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "SERVER_TIMEOUT", 0.1)
    silent = DnsServer()
    await silent.start()
    silent.silent = True
    server.records = {("example.com", "A"): ["192.0.2.1"]}
    found = await DnsClient([silent.address, server.address]).ask("example.com", "A")
    assert found.records == ("192.0.2.1",)
    silent.stop()


async def test_names_that_are_none(server: DnsServer) -> None:
    for name in ("a" * 64 + ".example", "b" * 300, "", "..", "\0"):
        try:
            await DnsClient([server.address]).ask(name, "A")
        except DnsError as error:
            assert str(error)


async def test_an_answer_of_any_length_is_cut(server: DnsServer) -> None:
    server.records = {("example.com", "A"): [f"192.0.2.{last}" for last in range(70)]}
    assert len((await DnsClient([server.address]).ask("example.com", "A")).records) == MAX_RECORDS
