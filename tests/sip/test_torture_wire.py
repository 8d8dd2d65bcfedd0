"""Every message of RFC 4475 and RFC 5118 through the real listeners: what comes back, over UDP and over TCP.

The answers, and the reading behind each, are in `tests/data/torture/answers.toml`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.sip.test_endpoint import House

TORTURE = Path(__file__).parents[1] / "data" / "torture"
ANSWERS: dict[str, dict[str, dict[str, Any]]] = tomllib.loads((TORTURE / "answers.toml").read_text())

MESSAGES = [(rfc, name) for rfc, names in ANSWERS.items() for name in names]

SENDER = "127.44.75.1"
"""Of the loopback network, where nobody else listens: answers go to the port that the message's Via names."""

NOBODY_THERE = 480
"""What a call gets here: the messages have no SDP worth an answer."""

_VIA = re.compile(
    rb"(?im)^(?:via|v)\s*:\s*SIP\s*/[^/]*/\s*\S+\s+(?:\[[^\]]*\]|[^\s:;,]+)\s*(?::\s*(\d+))?", re.MULTILINE
)

MARK = (
    b"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP mark;rport;branch=z9hG4bKmark\r\nFrom: <sip:m@m>;tag=m\r\n"
    b"To: <sip:x@y>\r\nCall-ID: mark\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def test_every_message_has_its_answer() -> None:
    files = [(path.parent.name, path.stem) for path in TORTURE.glob("*/*.dat")]
    assert sorted(files) == sorted(MESSAGES)
    assert len([rfc for rfc, _ in files if rfc == "rfc4475"]) == 49


def read(rfc: str, name: str) -> bytes:
    return (TORTURE / rfc / f"{name}.dat").read_bytes()


def expected(rfc: str, name: str, transport: str) -> list[int]:
    verdict = ANSWERS[rfc][name]
    status = verdict[transport]
    if status == "silence":
        return []
    later = [verdict["then"]] if transport == "tcp" and "then" in verdict else []
    return [100, NOBODY_THERE] if status == "taken" else [status, *later]


async def opened() -> House:
    house = House()
    house.on_invite = lambda leg: leg.refuse(NOBODY_THERE)
    await house.endpoint.start()
    return house


def statuses(answers: list[bytes]) -> list[int]:
    """Of whole responses; the rest of one repeats what the message said, malformed or not."""
    assert all(answer.startswith(b"SIP/2.0 ") for answer in answers)
    return [int(answer[8:11]) for answer in answers]


@pytest.mark.parametrize(("rfc", "name"), MESSAGES)
async def test_over_udp(rfc: str, name: str) -> None:
    data = read(rfc, name)
    via = _VIA.search(data)
    port = int(via.group(1) or 5060) if via is not None else 5060
    house = await opened()
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker,
    ):
        for each, bound in ((sender, port), (marker, 0)):
            each.bind((SENDER, bound))
            each.setblocking(False)
        for each, what in ((sender, data), (marker, MARK)):
            each.sendto(what, ("127.0.0.1", house.port))
        # One socket reads both in their order: when the mark is answered, so is the message.
        await asyncio.wait_for(loop.sock_recv(marker, 65_535), 5)
        answers = []
        while True:
            try:
                answers.append(sender.recv(65_535))
            except BlockingIOError:
                break
    await house.endpoint.stop()
    assert statuses(answers) == expected(rfc, name, "udp")
    assert house.errors == []


@pytest.mark.parametrize(("rfc", "name"), MESSAGES)
async def test_over_tcp(rfc: str, name: str) -> None:
    house = await opened()
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(read(rfc, name))
    writer.write_eof()
    try:
        received = await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:  # what could not be framed ended the connection
        received = b""
    writer.close()
    await house.endpoint.stop()
    assert statuses(_whole(received)) == expected(rfc, name, "tcp")
    assert house.errors == []


def _whole(stream: bytes) -> list[bytes]:
    """Responses without bodies, one after another."""
    return [part + b"\r\n\r\n" for part in stream.split(b"\r\n\r\n")[:-1]]
