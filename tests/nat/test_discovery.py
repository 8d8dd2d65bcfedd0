"""Who says which address we have: a real STUN server, clouds as they describe themselves, and nobody."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.nat import discovery, metadata
from gateway.nat.discovery import DiscoveryError, discover, stun_server
from tests.e2e.sipp import free_port, require


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """coturn as Debian ships it, for STUN alone; its port."""
    directory = tmp_path_factory.mktemp("coturn")
    port = free_port("127.0.0.1")
    process = subprocess.Popen(
        [
            require("turnserver"),
            *("-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--log-file", "stdout"),
            *("--listening-ip", "127.0.0.1", "--listening-port", str(port)),
            *("--pidfile", str(directory / "pid"), "--db", str(directory / "db")),
        ],
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while f":{port:04X} 00000000:0000" not in Path("/proc/net/udp").read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline, "coturn does not listen"
        time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(10)


async def test_a_real_server_says_where_we_come_from(coturn: int) -> None:
    assert await discover(f"stun:127.0.0.1:{coturn}") == "127.0.0.1"


async def test_where_nothing_listens_that_is_said_at_once() -> None:
    with pytest.raises(DiscoveryError, match="nothing listens there"):
        await discover(f"stun:127.0.0.1:{free_port('127.0.0.1')}")


class Server(asyncio.DatagramProtocol):
    """Answers each question with what it is told to; keeps the questions."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.questions: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.questions.append(data)
        for answer in self.answers:
            self.transport.sendto(answer.replace(b"TRANSACTION!", data[8:20]), addr)  # type: ignore[attr-defined]


async def asked(answers: list[bytes]) -> tuple[Server, str]:
    server = Server(answers)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0)
    )
    return server, f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"


async def test_a_silent_server_is_asked_again_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "RETRANSMIT_AFTER", (0.01, 0.01, 0.01))
    server, source = await asked([])
    with pytest.raises(DiscoveryError, match="no answer"):
        await discover(source)
    assert len(server.questions) == 3
    assert len(set(server.questions)) == 1  # one transaction
    server.transport.close()


async def test_a_strangers_answer_is_passed_over() -> None:
    head = b"\x01\x01\x00\x0c\x21\x12\xa4\x42"
    address = b"\x00\x20\x00\x08\x00\x01\x00\x00" + bytes(
        a ^ b for a, b in zip(b"\xcb\x00\x71\x05", b"\x21\x12\xa4\x42", strict=True)
    )
    server, source = await asked([head + bytes(12) + address, head + b"TRANSACTION!" + address])
    assert await discover(source) == "203.0.113.5"
    server.transport.close()


async def test_a_refusal_is_passed_on() -> None:
    server, source = await asked(
        [b"\x01\x11\x00\x08\x21\x12\xa4\x42TRANSACTION!\x00\x09\x00\x04\x00\x00\x04\x00"]
    )
    with pytest.raises(DiscoveryError, match="refused with 400"):
        await discover(source)
    server.transport.close()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("stun:stun.example.com", ("stun.example.com", 3478)),
        ("stun:stun.example.com:19302", ("stun.example.com", 19302)),
        ("stun:[2001:db8::1]", ("2001:db8::1", 3478)),
        ("stun:[2001:db8::1]:3479", ("2001:db8::1", 3479)),
    ],
)
def test_servers_as_they_are_written(source: str, expected: tuple[str, int]) -> None:
    assert stun_server(source) == expected


@pytest.mark.parametrize("source", ["stun:", "stun::3478", "stun:host:", "stun:host:70000", "stun:host:x"])
def test_servers_that_are_none(source: str) -> None:
    with pytest.raises(DiscoveryError, match="write it as"):
        stun_server(source)


class Metadata:
    """A metadata service as the three clouds document theirs."""

    def __init__(self) -> None:
        self.address = "203.0.113.7"
        self.app = web.Application()
        self.app.router.add_put("/latest/api/token", self._token)
        self.app.router.add_get("/latest/meta-data/public-ipv4", self._aws)
        self.app.router.add_get(metadata.CLOUDS["gcp"].path, self._gcp)
        self.app.router.add_get(metadata.CLOUDS["azure"].path.partition("?")[0], self._azure)

    async def _token(self, request: web.Request) -> web.Response:
        assert request.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "60"
        return web.Response(text="a-token")

    async def _aws(self, request: web.Request) -> web.Response:
        if request.headers.get("X-aws-ec2-metadata-token") != "a-token":
            return web.Response(status=401)
        return web.Response(text=self.address)

    async def _gcp(self, request: web.Request) -> web.Response:
        return web.Response(
            text=self.address, status=200 if request.headers["Metadata-Flavor"] == "Google" else 403
        )

    async def _azure(self, request: web.Request) -> web.Response:
        assert request.query == {"api-version": "2021-02-01", "format": "text"}
        return web.Response(text=self.address, status=200 if request.headers["Metadata"] == "true" else 400)


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Metadata]:
    service = Metadata()
    async with TestServer(service.app) as server:
        root = str(server.make_url("")).rstrip("/")
        here = {
            name: metadata.Cloud(root, each.path, each.headers, each.token, each.token_header)
            for name, each in metadata.CLOUDS.items()
        }
        monkeypatch.setattr(discovery, "CLOUDS", here)
        yield service


@pytest.mark.parametrize("name", ["aws", "gcp", "azure"])
async def test_clouds_are_asked_their_own_way(cloud: Metadata, name: str) -> None:
    assert await discover(name) == "203.0.113.7"


@pytest.mark.parametrize("answer", ["", "<html>", "0.0.0.0", "ünlesbar", "x" * 5000])
async def test_an_answer_that_is_no_address_is_refused(cloud: Metadata, answer: str) -> None:
    cloud.address = answer
    with pytest.raises(DiscoveryError):
        await discover("gcp")


async def test_a_machine_without_a_public_address_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with TestServer(web.Application()) as server:
        root = str(server.make_url("")).rstrip("/")
        monkeypatch.setattr(discovery, "CLOUDS", {"gcp": metadata.Cloud(root, "/nothing")})
        with pytest.raises(DiscoveryError, match="404 from its metadata service"):
            await discover("gcp")


async def test_a_cloud_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    here = metadata.Cloud(f"http://127.0.0.1:{free_port('127.0.0.1')}", "/")
    monkeypatch.setattr(discovery, "CLOUDS", {"aws": here})
    with pytest.raises(DiscoveryError, match="no metadata service"):
        await discover("aws")


async def test_an_unknown_source_names_the_known_ones() -> None:
    with pytest.raises(DiscoveryError, match=r"known are stun:HOST, aws, gcp, azure"):
        await discover("digitalis")
