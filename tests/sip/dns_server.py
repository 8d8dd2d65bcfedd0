"""A DNS server on loopback that says what the test wants, and nothing when it is to be away."""

from __future__ import annotations

import asyncio
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer(asyncio.DatagramProtocol):
    """Authoritative for everything; names that it has nothing about do not exist.

    lifetime: seconds, of all records; negative: that of "there is none".
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.lifetime = 60
        self.negative = 30
        self.silent = False
        self.rcode = dns.rcode.NOERROR
        self.address = ""

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        host, port = self._transport.get_extra_info("sockname")[:2]
        self.address = f"{host}:{port}"

    def stop(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing to do."""

    def datagram_received(self, data: bytes, peer: tuple[str | Any, int]) -> None:
        question = dns.message.from_wire(data)
        name = question.question[0].name
        kind = dns.rdatatype.to_text(question.question[0].rdtype)
        text = name.to_text(omit_final_dot=True).lower()
        self.asked.append((text, kind))
        if self.silent:
            return
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA | dns.flags.RA
        found = self.records.get((text, kind), [])
        if self.rcode != dns.rcode.NOERROR:
            answer.set_rcode(self.rcode)
        elif found:
            answer.answer.append(dns.rrset.from_text_list(name, self.lifetime, "IN", kind, found))
        else:
            if not any(text == known for known, _ in self.records):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            soa = f"ns.example. admin.example. 1 3600 600 86400 {self.negative}"
            answer.authority.append(dns.rrset.from_text(name, self.negative, "IN", "SOA", soa))
        self._transport.sendto(answer.to_wire(), peer)
