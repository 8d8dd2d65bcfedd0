"""Handshakes with agents' WebSockets on real sockets: TLS and its certificates, and what never comes to an end."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.destinations import stream_probe
from gateway.destinations.remote_control import RemoteControls
from gateway.destinations.stream_trunk import StreamTrunk, TrustError, open_web, trust
from routing.models import Endpoint


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private authority's, for 127.0.0.1: certificate and key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agents of our own")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "agent.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@asynccontextmanager
async def agent(certificate: Path | None = None) -> AsyncIterator[str]:
    """A WebSocket server that takes calls; its URL."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        call = web.WebSocketResponse()
        await call.prepare(request)
        async for _ in call:
            pass
        return call

    app = web.Application()
    app.router.add_get("/ws", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        await asyncio.to_thread(context.load_cert_chain, certificate)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'wss' if certificate else 'ws'}://127.0.0.1:{port}/ws"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def deaf() -> AsyncIterator[str]:
    """A server that accepts TCP and never says a word: no TLS, no HTTP."""
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for connection in connections:
            connection.close()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def trunk(ca_file: Path | None = None) -> AsyncIterator[StreamTrunk]:
    made = StreamTrunk(open_web(await asyncio.to_thread(trust, ca_file)), RemoteControls())
    try:
        yield made
    finally:
        await made.close()


async def test_a_certificate_nobody_vouches_for_is_refused_and_one_of_a_private_authority_taken(
    certificate: Path,
):
    async with agent(certificate) as url:
        async with trunk() as streams:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await streams.connect(Endpoint(url))
            assert "certificate" in str(
                await stream_probe.fault_of(url, await asyncio.to_thread(trust, None))
            )
        async with trunk(certificate) as streams:
            socket = await streams.connect(Endpoint(url))
            await socket.close()
            assert await stream_probe.fault_of(url, await asyncio.to_thread(trust, certificate)) is None


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_what_never_comes_to_an_end_is_given_up_and_leaves_nothing(scheme: str):
    async with deaf() as address, trunk() as streams:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await streams.connect(Endpoint(f"{scheme}://{address}/ws"))
        connector = streams.web.session.connector
        assert connector is not None and not connector._acquired


async def test_a_probe_connects_and_never_shakes_hands():
    async with agent() as url:
        context = await asyncio.to_thread(trust, None)
        assert await stream_probe.fault_of(url, context) is None
    assert await stream_probe.fault_of(url, context) is not None  # nobody listens any more
    assert await stream_probe.fault_of("ws://", context) is not None
    assert await stream_probe.fault_of("ws://host:99999/", context) is not None


async def test_certificates_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(TrustError, match="No such file"):
        await asyncio.to_thread(trust, tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(TrustError, match=r"empty\.pem"):
        await asyncio.to_thread(trust, tmp_path / "empty.pem")
