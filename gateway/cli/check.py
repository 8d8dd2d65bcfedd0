"""`voice-gateway check`: a configuration tested without starting it, the way `nginx -t` does."""

from __future__ import annotations

import asyncio
import errno
import secrets
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.markup import escape

from gateway.admission.carriers import CarriersError
from gateway.admission.carriers_file import load_carriers
from gateway.certificates import CertificateError, Certificates, read_certificate
from gateway.cli import redis_check
from gateway.cli.errors import UsageError
from gateway.cli.routes import find_routes
from gateway.composition.speech import configured_engine
from gateway.config import Settings
from gateway.destinations import stream_probe
from gateway.destinations.prober import SILENT, UNREACHABLE, fault_of
from gateway.destinations.stream_trunk import TrustError, trust
from gateway.faults import file_fault
from gateway.listening import Place, agent_places, carrier_places, try_to_bind, web_place
from gateway.media.rtpengine import EngineAddress, EngineUnavailable, RtpEngine
from gateway.media.sound_file import SoundFileError, load_sound
from gateway.nat.discovery import DiscoveryError, discover
from gateway.recordings_place import open_store
from gateway.redis_access import redis_place
from gateway.sip.addresses import AddressError
from gateway.sip.dns_client import DnsClient
from gateway.sip.endpoint import SipEndpoint
from gateway.sip.registration import Registration
from gateway.sip.resolver import Resolver
from gateway.sip.transport import SocketNetwork
from gateway.speech.errors import SpeechError
from gateway.telemetry.unobserved import Unobserved
from routing.models import Agent, Endpoint
from routing.numbers_file import NumbersFileError, load
from routing.remote_api import RemoteApi, RemoteError
from storage.objects import StorageError

PROBE_SECONDS: Final = 3.0
"""For an agent endpoint to answer OPTIONS."""

MAX_PROBES_AT_ONCE: Final = 20

SPEECH_SECONDS: Final = 20.0
"""For one rendering, whatever `speech.timeout` says."""

EXPIRING_DAYS: Final = 14
"""Before a certificate's end in which `check` fails: a renewal that works is done weeks before."""

STORAGE_SECONDS: Final = 30.0
"""For the store of recordings to keep, give, list and delete a few bytes."""

WIDTH: Final = len("sip.tls_certificate")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    fix: what to do; empty if all is well.
    """

    what: str
    passed: bool
    text: str
    fix: str = ""


def run(settings: Settings) -> int:
    """Print one line a finding; 0 if everything passed, 1 if not."""
    return uvloop.run(_run(settings))


async def _run(settings: Settings) -> int:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[green]✓[/green] {'configuration':<{WIDTH}} valid")
    failed = 0
    async for finding in _findings(settings):
        mark = "[green]✓[/green]" if finding.passed else "[red]✗[/red]"
        console.print(f"{mark} {finding.what:<{WIDTH}} {escape(finding.text)}")
        if not finding.passed:
            failed += 1
            console.print(f"  [yellow]fix:[/yellow] {escape(finding.fix)}")
    return 1 if failed else 0


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    checks: list[Callable[[Settings], Awaitable[list[Finding]]]] = [
        _data_directory,
        _ports,
        _certificate,
        _public_address,
        _carriers,
        _registrations,
        _redis,
        _api,
        _speech,
        _waiting_sound,
        _relays,
        _storage,
    ]
    for check in checks:
        for finding in await check(settings):
            yield finding
    routes = await _routes(settings)
    if isinstance(routes, Finding):
        yield routes
        return
    yield Finding("numbers", True, f"{routes.origin}: {routes.numbers} numbers, {len(routes.agents)} agents")
    for finding in await _endpoints(settings, routes.agents):
        yield finding


@dataclass(frozen=True, slots=True)
class _Routes:
    origin: str
    numbers: int
    agents: Sequence[Agent]


async def _routes(settings: Settings) -> _Routes | Finding:
    """The file as it is now, which is what would be loaded; without a file, what others wrote."""
    path = settings.routing.numbers_file
    if path is None:
        try:
            view, origin = await find_routes(settings)
        except UsageError as error:
            if settings.api.serve:
                return Finding("numbers", True, "none yet: start it, and register some over the API")
            fix = "start what fills Redis (voice-gateway api), or name a file in routing.numbers_file"
            return Finding("numbers", False, str(error), fix)
        return _Routes(origin, len(view), view.agents())
    try:
        routes = await asyncio.to_thread(load, path)
    except NumbersFileError as error:
        fix = "correct the file; the old routes stay in force until then"
        return Finding("numbers", False, str(error), fix)
    return _Routes(str(path), len(routes.numbers), routes.agents)


async def _public_address(settings: Settings) -> list[Finding]:
    if not settings.sip.discover_host:
        return []
    try:
        address = await discover(settings.sip.discover_host)
    except DiscoveryError as error:
        fix = "write the public address into sip.advertised_host, or ask somebody else"
        return [Finding("public address", False, str(error), fix)]
    return [Finding("public address", True, f"{address}, says {settings.sip.discover_host}")]


async def _data_directory(settings: Settings) -> list[Finding]:
    def write() -> None:
        settings.data.dir.mkdir(parents=True, exist_ok=True)
        probe = settings.data.dir / ".write-test"
        probe.write_bytes(b"")
        probe.unlink()

    try:
        await asyncio.to_thread(write)
    except OSError as error:
        fix = "make the directory writable for this user, or set data.dir"
        return [Finding("data.dir", False, f"{settings.data.dir}: {error.strerror}", fix)]
    return [Finding("data.dir", True, f"{settings.data.dir.absolute()} is writable")]


async def _ports(settings: Settings) -> list[Finding]:
    bind = settings.media.bind
    media = Place("media.bind", f"[{bind}]:0" if ":" in bind else f"{bind}:0", "udp")
    places = (*carrier_places(settings), *agent_places(settings), web_place(settings), media)
    return [_port(place) for place in places]


def _port(place: Place) -> Finding:
    key, told = place.key, f"{place.text}/{place.kind}"
    try:
        try_to_bind(place)
    except AddressError as error:
        return Finding(key, False, str(error), f"write {key} as host:port")
    except OSError as error:
        fix = f"stop what listens there (a running gateway?), or change {key}"
        if error.errno == errno.EADDRNOTAVAIL:
            fix = f"set {key} to an address that this machine has"
        return Finding(key, False, f"{told}: {error.strerror}", fix)
    return Finding(key, True, f"{told} can be used")


async def _certificate(settings: Settings) -> list[Finding]:
    """The certificate of SIP over TLS: whether it can be used, for how long, and whom it vouches for."""
    file, key = settings.sip.tls_certificate, "sip.tls_certificate"
    if file is None:
        return []
    try:
        await Certificates.load(settings, lambda peer, reason: None)
        certificate = await asyncio.to_thread(read_certificate, file)
    except CertificateError as error:
        return [Finding(key, False, str(error), "correct it; a running gateway keeps the old certificate")]
    days = certificate.seconds_left / 86_400
    dates = f"{certificate.valid_from:%Y-%m-%d} to {certificate.valid_until:%Y-%m-%d}"
    host, names = settings.sip.advertised_host, certificate.names
    told = f"{', '.join(names) or 'no name'}, valid from {dates}"
    if certificate.valid_from > datetime.now(UTC):
        return [Finding(key, False, f"{told}: not yet", "check this machine's clock, or wait")]
    if days < EXPIRING_DAYS:
        left = f"{days:.0f} days left" if days > 0 else "expired"
        return [Finding(key, False, f"{told}: {left}", "renew it; it is read again when the file changes")]
    if host and not any(_vouches(name, host) for name in names):
        fix = f"get one for {host}: peers that verify it will not call"
        return [Finding(key, False, f"{told}: not for sip.advertised_host, {host}", fix)]
    return [Finding(key, True, f"{told}: {days:.0f} days left")]


def _vouches(name: str, host: str) -> bool:
    """Whether a name in a certificate is this host's, or its domain's with a star (RFC 6125 §6.4.3)."""
    name, host = name.lower(), host.lower()
    return name == host or (name.startswith("*.") and name[1:] == f".{host.partition('.')[2]}")


async def _carriers(settings: Settings) -> list[Finding]:
    paths = [Path(name) for name in settings.admission.carriers_files]
    try:
        table = await asyncio.to_thread(load_carriers, paths)
    except CarriersError as error:
        return [Finding("carriers", False, str(error), "correct the file named in admission.carriers_files")]
    if not len(table):
        return [Finding("carriers", False, "no trunk at all", "add a [[trunk]]: nobody could call")]
    if table.certificate_names and settings.sip.tls_client_ca is None:
        text = "certificate_names are written, but no TLS client is asked for a certificate"
        return [Finding("carriers", False, text, "set sip.tls_client_ca to who vouches for these carriers")]
    return [Finding("carriers", True, ", ".join(carrier.name for carrier in table))]


async def _redis(settings: Settings) -> list[Finding]:
    if not settings.redis.url.get_secret_value():
        binary = await asyncio.to_thread(shutil.which, "redis-server")
        if binary is None:
            fix = "apt-get install redis-server (macOS: brew install redis), or set redis.url"
            return [Finding("redis", False, "redis.url is empty and no redis-server is installed", fix)]
        return [Finding("redis", True, f"private server, {binary}")]
    text, fix = await redis_check.examine(redis_place(settings))
    return [Finding("redis", not fix, text, fix)]


async def _api(settings: Settings) -> list[Finding]:
    """Where the routes come from, unless it is a file."""
    api = settings.api
    if api.remote_url:
        return [await _remote(api.remote_url, api.remote_key.get_secret_value())]
    if settings.routing.numbers_file is not None or not api.serve:
        return []
    from gateway.api_service import SchemaError, SecretKeyError, StoreUnavailable, examine

    url, key = api.database_url.get_secret_value(), api.secret_key.get_secret_value()
    try:
        return [Finding("api", True, await examine(settings.data.dir, url, key, api.replica_urls))]
    except StoreUnavailable as error:
        fix = "check host, user, password and database in api.database_url"
        if str(error).startswith("api."):
            return [
                Finding("api", False, str(error), "correct or remove it; lists are read from the primary")
            ]
        return [Finding("api", False, f"api.database_url: {error}", fix)]
    except SecretKeyError as error:
        fix = "bring the key back; see docs/backup.md if it is lost"
        return [Finding("api", False, str(error), fix)]
    except SchemaError as error:
        return [Finding("api", False, str(error), "see docs/backup.md")]
    except OSError as error:
        fix = "make it readable for this user alone: chmod 600"
        return [Finding("api", False, file_fault(error), fix)]


async def _remote(url: str, key: str) -> Finding:
    api = RemoteApi(url, key)
    try:
        glance = await api.glance()
    except RemoteError as error:
        fix = "correct it, or wait for that API; the last routes stay in force"
        return Finding("api.remote_url", False, str(error), fix)
    finally:
        await api.close()
    told = "its numbers" if glance.total is None else f"{glance.total} numbers"
    return Finding("api.remote_url", True, f"{api.url} tells {told}")


async def _waiting_sound(settings: Settings) -> list[Finding]:
    wanted = settings.media.waiting_sound
    if wanted in ("ringback", "silence"):
        return []
    try:
        pcm = await asyncio.to_thread(load_sound, Path(wanted))
    except SoundFileError as error:
        return [Finding("media.waiting_sound", False, str(error), "name an audio file, ringback, or silence")]
    return [Finding("media.waiting_sound", True, f"{wanted}: {len(pcm) / 16000:.1f} s")]


async def _relays(settings: Settings) -> list[Finding]:
    """Each instance of rtpengine, asked."""
    if settings.media.engine == "own":
        return []
    return [await _relay(EngineAddress.parse(each)) for each in settings.media.rtpengine]


async def _relay(address: EngineAddress) -> Finding:
    engine = RtpEngine(address, timeout=PROBE_SECONDS, on_answer=lambda command, result: None)
    try:
        await engine.ping()
    except EngineUnavailable as error:
        fix = "start it there, with --listen-ng; or correct media.rtpengine"
        return Finding("media.rtpengine", False, str(error), fix)
    finally:
        engine.close()
    return Finding("media.rtpengine", True, f"{address} answers")


async def _storage(settings: Settings) -> list[Finding]:
    """Whether recordings can be kept, read and deleted where they are to go."""
    fix = "correct storage.url and its keys; they need to put, get, delete and list below the prefix"
    key = f"check/{secrets.token_hex(8)}.txt"
    try:
        store = await asyncio.to_thread(open_store, settings)
    except StorageError as error:
        return [Finding("storage.url", False, str(error), fix)]
    try:
        async with asyncio.timeout(STORAGE_SECONDS):
            with tempfile.TemporaryDirectory(prefix="voice-gateway-") as directory:
                draft = Path(directory, "check.txt")
                await asyncio.to_thread(draft.write_bytes, b"voice-gateway check")
                await store.put(key, draft)
            kept = b"".join([piece async for piece in store.read(key)])
            listed = [info.key async for info in store.list("check")]
            await store.delete(key)
    except (StorageError, OSError) as error:
        return [Finding("storage.url", False, f"{store.place}: {error}", fix)]
    except TimeoutError:
        text = f"{store.place} has not answered for {STORAGE_SECONDS:g} s"
        return [Finding("storage.url", False, text, fix)]
    finally:
        await store.close()
    if kept != b"voice-gateway check" or key not in listed:
        text = f"{store.place} does not give back what was put there"
        return [Finding("storage.url", False, text, "see whether something in between keeps old answers")]
    return [Finding("storage.url", True, f"{store.place} keeps, gives, lists and deletes")]


async def _speech(settings: Settings) -> list[Finding]:
    speech = settings.speech
    fix = 'set speech.engine to one that is installed ("espeak" comes with the package)'
    try:
        engine = configured_engine(settings)
        try:
            async with asyncio.timeout(SPEECH_SECONDS):
                pcm = await engine.render(settings.voicemail.default_message)
        finally:
            await engine.close()
    except (SpeechError, TimeoutError) as error:
        return [Finding("speech", False, str(error) or f"{speech.engine} took too long", fix)]
    return [
        Finding("speech", True, f"{speech.engine} speaks the default message in {len(pcm) / 16000:.1f} s")
    ]


async def _endpoints(settings: Settings, agents: Sequence[Agent]) -> list[Finding]:
    try:
        trusted = await asyncio.to_thread(trust, settings.agents.ca_file)
    except TrustError as error:
        return [Finding("agents.ca_file", False, str(error), "name a file of certificates in PEM")]
    handshakes: dict[str, str] = {}
    try:
        certificates = await Certificates.load(settings, handshakes.__setitem__)
    except CertificateError:  # told already
        return []
    hosts = dict.fromkeys(text.rpartition(":")[0] for text in settings.sip.agent_listen)
    anywhere = [f"{host}:0" for host in hosts]
    sip = SipEndpoint(
        agent_listen=anywhere,
        agent_tls_listen=anywhere,
        network=SocketNetwork(tls=certificates.tls),
        on_invite=lambda leg: leg.refuse(486),
        observer=Unobserved(),
        on_error=lambda where, error: None,
        product="voice-gateway-check",
        resolver=Resolver(DnsClient(settings.agents.dns_servers)),
    )
    await sip.start()
    limit = asyncio.Semaphore(MAX_PROBES_AT_ONCE)

    async def probe(agent: Agent, endpoint: Endpoint) -> Finding:
        async with limit:
            fault = await _ask(sip, trusted, endpoint)
        for peer, reason in handshakes.items():
            if fault == UNREACHABLE and peer in endpoint.url:
                fault = reason
        if fault is None:
            return Finding("agent", True, f"{agent.id} answers at {endpoint.url}")
        fix = "start the agent, or correct its url; calls go to its fallback or voicemail until then"
        return Finding("agent", False, f"{agent.id} at {endpoint.url}: {fault}", fix)

    try:
        return await asyncio.gather(*(probe(agent, each) for agent in agents for each in agent.endpoints))
    finally:
        await sip.stop()


async def _registrations(settings: Settings) -> list[Finding]:
    """Whether carriers would take the accounts that are to be registered; asks, and changes nothing there."""
    try:
        paths = [Path(name) for name in settings.admission.carriers_files]
        carriers = await asyncio.to_thread(load_carriers, paths)
        accounts = [(each.name, each.registration) for each in carriers if each.registration is not None]
        handshakes: dict[str, str] = {}
        certificates = await Certificates.load(settings, handshakes.__setitem__)
    except (CarriersError, CertificateError):  # told already
        return []
    if not accounts:
        return []
    sip = SipEndpoint(
        listen=("0.0.0.0:0",),
        tls_listen=("0.0.0.0:0",),
        network=SocketNetwork(tls=certificates.tls),
        on_invite=lambda leg: leg.refuse(486),
        observer=Unobserved(),
        on_error=lambda where, error: None,
        product="voice-gateway-check",
    )
    await sip.start()
    try:
        found = []
        for name, account in accounts:
            why = await Registration(sip, account, lambda up, reason: None).query()
            if why is None:
                found.append(Finding("registration", True, f"{name}: {account.registrar} takes our account"))
                continue
            why = "; ".join([why, *handshakes.values()])
            fix = f'correct registration of trunk "{name}": it sends no calls until then'
            found.append(Finding("registration", False, f"{name} at {account.registrar}: {why}", fix))
        return found
    finally:
        await sip.stop()


async def _ask(sip: SipEndpoint, trusted: ssl.SSLContext, endpoint: Endpoint) -> str | None:
    """What is wrong with an endpoint, None if it answers. A WebSocket is connected to and left again."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            if not endpoint.is_sip:
                return await stream_probe.fault_of(endpoint.url, trusted)
            return await fault_of(sip, endpoint)
    except TimeoutError:
        silent = SILENT if endpoint.is_sip else "no connection"
        return f"{silent} within {PROBE_SECONDS:g} s"
    except OSError as error:
        return str(error)
