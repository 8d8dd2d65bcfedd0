"""The composition root: settings in, a running service out, and its ordered end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.asyncio import Redis

from gateway import turns
from gateway.admission.caller_verification import CallerVerification
from gateway.admission.carriers import Carrier, CarriersError, CarrierTable
from gateway.admission.carriers_file import load_carriers
from gateway.admission.doorkeeper import Doorkeeper
from gateway.admission.gate import CallGate
from gateway.admission.limits import AdmissionLimits
from gateway.admission.overload import OverloadControl
from gateway.admission.source_rates import SourceRates
from gateway.admission.trusted_proxies import TrustedProxies
from gateway.build import BUILD
from gateway.calls.announcing import CallAnnouncer
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.keeping import CallKeeper
from gateway.calls.registry import Registry
from gateway.calls.remote_calls import RemoteCalls
from gateway.calls.sampling import QualitySampler
from gateway.certificates import CertificateError, Certificates
from gateway.cluster import Cluster
from gateway.composition.addresses import web_address, with_public_address
from gateway.composition.background import Background
from gateway.composition.call_events import CallEvents, start_events
from gateway.composition.call_history import open_call_history
from gateway.composition.calling import (
    load_trust,
    load_waiting_sounds,
    make_trunk,
    on_call_over,
    start_streams,
    start_verification,
)
from gateway.composition.media import start_media
from gateway.composition.observing import Wire, on_trying, start_tracer, start_watching_the_wire
from gateway.composition.private_redis import start_private_redis
from gateway.composition.recorders import start_recorders
from gateway.composition.speech import start_speech
from gateway.composition.start_failures import start_error
from gateway.config import Settings
from gateway.continuity.adopter import Adopter
from gateway.continuity.service import CallContinuity
from gateway.destinations.prober import Prober
from gateway.destinations.waiting_sound import WaitingSounds
from gateway.faults import StartError
from gateway.garbage import collect_between_messages, collect_in_quiet, settle
from gateway.node import GatewayNode, node_name
from gateway.passed_sockets import Held, of_web
from gateway.recordings_place import local_directory
from gateway.redis_access import redis_place
from gateway.registrations import Registrations
from gateway.route_sources import RouteSources
from gateway.sip.digest_server import Authenticator
from gateway.sip.dns_client import DnsClient
from gateway.sip.endpoint import SipEndpoint, random_tokens
from gateway.sip.extensions import Extensions
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import HeaderList
from gateway.sip.message import Request, SipParseError, parse_message
from gateway.sip.resolver import Resolver
from gateway.sip.transport import SocketNetwork
from gateway.sip.transport_stream import StreamLimits
from gateway.telemetry.disk_space import watch_disk_space
from gateway.telemetry.gc_pauses import GcPauses
from gateway.telemetry.loop_lag import INTERVAL, LoopLagMonitor
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.refusal_log import RefusalLog
from gateway.telemetry.spans import Tracer
from gateway.web import twilio_calls
from gateway.web.server import WebServer, make_app
from gateway.worker_history import WorkerHistory
from gateway.worker_post import WorkerPost
from gateway.worker_seat import Seat
from gateway.worker_web import PrivateServer, make_worker_app
from gateway.workers.marks import marked
from gateway.workers.slots import web_socket
from routing.call_events import CallRecorded
from routing.health import EndpointHealth
from routing.redis_clients import BACKGROUND_TIMEOUT, HOT_TIMEOUT, connect
from routing.redis_place import RedisPlace
from routing.replica import Replica

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.api_service import ApiService, CallsService

LAST_WORDS_SECONDS: Final = 1.0
"""For BYEs to be answered before the sockets are closed."""

log = structlog.get_logger("gateway")


class Gateway:
    """Everything that takes calls, started and stopped in order."""

    def __init__(self, settings: Settings, seat: Seat | None = None, held: Held | None = None) -> None:
        """seat: among the workers of one machine; None for a gateway that is one process.

        held: sockets that were passed to us.
        """
        self.settings = settings
        self.seat = seat
        self._held = held or {}
        self.metrics = Metrics()
        if seat is None:
            self.metrics.passed_sockets.set(len(self._held))
        self.limits = AdmissionLimits(
            settings.admission.max_active_calls, draining=seat is not None and seat.order.draining
        )
        self.registry = Registry()
        self._proxies = TrustedProxies(settings.admission.trusted_proxies)
        self.overload = OverloadControl(settings.admission.overload_delay, INTERVAL)
        self.door = Doorkeeper()
        self.refusals = RefusalLog(self.metrics.call_refused, time.monotonic)
        self.gate = CallGate(
            self.limits,
            self.overload,
            rate=settings.admission.carrier_calls_per_second,
            active_calls=self.registry.__len__,
            clock=time.monotonic,
            on_refused=self._refused,
            share=1.0 if seat is None else 1 / len(seat.order.members),
        )
        self.carriers: CarrierTable
        self.sip: SipEndpoint
        self.web: WebServer | PrivateServer
        self.api: ApiService | None = None
        self.node = GatewayNode(
            node_name(settings, 0 if seat is None else seat.slot),
            self.registry,
            self.limits,
            mask=settings.logs.mask_personal_data,
        )
        self._tracer: Tracer | None = None
        self._calls: CallsService | WorkerHistory | None = None
        self._post: WorkerPost | None = None
        self.on_retired: Callable[[], None] = lambda: None
        self._events: CallEvents | None = None
        self.continuity: CallContinuity | None = None
        self._exit = Background()

    async def start(self) -> None:
        """Start everything, carriers' listeners last.

        Raises:
            StartError: something that is needed is missing, taken or wrong; what had started is stopped
            again.

        """
        try:
            await self._start()
        except BaseException as error:
            await self._exit.aclose()
            if (told := start_error(error)) is not None:
                raise told from error
            raise

    async def _start(self) -> None:
        self.settings = settings = await with_public_address(self.settings)
        await asyncio.to_thread(settings.data.dir.mkdir, parents=True, exist_ok=True)
        self.carriers = await self._load_carriers()
        self.certificates = await self._load_certificates()
        self._speech = await start_speech(settings, self._exit)
        await self._start_routing()
        await self._start_continuity()
        self.health = EndpointHealth(
            time.monotonic,
            threshold=settings.agents.failures_to_open,
            probe_interval=settings.agents.probe_interval,
            places=self.cluster.leases,
            region=settings.node.region,
        )
        self._media = await start_media(settings, self.metrics, self._exit)
        self.ports = self._media.ports
        sources = SourceRates(settings.admission.source_requests_per_second, time.monotonic)
        self._tracer = start_tracer(settings.tracing, self.node.name, self.metrics, self._exit)
        self._wire = await self._watch_the_wire()
        self.node.traces = self._wire.traces
        secure = settings.sip.tls_certificate is not None or any(
            each.registration is not None and each.registration.over_tls for each in self.carriers
        )
        if self.seat is not None:
            self._post = WorkerPost(
                self.seat,
                self._knows,
                lambda flow, data: self.sip.send_through(flow, data),
                self.metrics,
            )
            self._tell_how_calls_are_named()
        self.sip = SipEndpoint(
            listen=settings.sip.listen,
            agent_listen=settings.sip.agent_listen,
            tls_listen=settings.sip.tls_listen if secure else (),
            agent_tls_listen=settings.sip.agent_tls_listen,
            **self._shared_ports(),
            admit=self._admit,
            within_rate=sources.within,
            may_refuse=sources.may_refuse,
            refuse_call=self._refuse_call,
            authenticator=Authenticator(
                settings.sip.domain,
                settings.admission.digest_algorithms,
                secrets.token_bytes(32),
                self._account,
                lambda: self.carriers.uses_digest,
                time.monotonic,
                partial(secrets.token_hex, 8),
            ),
            admit_name=self._admit_name if settings.sip.tls_client_ca is not None else None,
            on_invite=self._on_invite,
            on_trying=on_trying(self.metrics, self._tracer),
            options_status=self._options_status,
            observer=self.metrics,
            on_error=self._caught,
            witness=self._wire.witness,
            on_turned_away=self.door,
            is_edge=self._proxies.__contains__ if self._proxies else None,
            advertised_host=settings.sip.advertised_host or None,
            reject_unknown=settings.admission.reject_unknown,
            extensions=Extensions(
                reliable=settings.sip.reliable_provisionals,
                session_expires=settings.sip.session_expires,
                min_se=settings.sip.min_session_expires,
            ),
            look_for=None if self.continuity is None else self.continuity.look_for,
            resolver=Resolver(DnsClient(settings.agents.dns_servers)),
            network=SocketNetwork(
                StreamLimits(
                    connections=settings.sip.max_connections,
                    connections_a_source=settings.sip.max_connections_per_source,
                    idle=settings.sip.idle_timeout,
                ),
                self.certificates.tls,
                () if self.seat is None else self.seat.shared,
                None if self._post is None else self._post.lend,
                self._held,
                counts_lost=self.seat is None or self.seat.first,
            ),
        )
        self.registrations = (
            Registrations(self.sip, self.metrics)
            if self.seat is None
            else Registrations(self.sip, self.metrics, self.seat.registers)
        )
        trusted = await load_trust(settings.agents.ca_file)
        self.streams = start_streams(settings, trusted, self.metrics, self._exit)
        self.dispatcher = self._make_dispatcher(
            await load_waiting_sounds(settings.media),
            await start_verification(settings.admission.stir_roots, self._exit),
        )
        self.web = await self._make_web() if self.seat is None else self._make_private_web(self.seat)
        await self.web.start()
        self._exit.push_async_callback(self.web.stop)
        if self._post is not None:
            await self._post.open()
            self._exit.callback(self._post.close)
        turns.shorten()
        settle()  # takes a while, in which nothing that is sent to us must wait
        await self.sip.start()
        self._exit.push_async_callback(self.sip.stop)
        if self.continuity is not None:
            self._exit.run(self.continuity.keep, "call-continuity")
            self._exit.run(self.continuity.adopt, "orphaned-calls")
        await self.registrations.follow(self.carriers)
        self._exit.push_async_callback(self.registrations.stop)
        lag = LoopLagMonitor(self._measured)
        lag.start()
        self._exit.callback(lag.stop)
        pauses = GcPauses(self.metrics.gc_pause)
        pauses.start()
        self._exit.callback(pauses.stop)
        prober = Prober(self.sip, trusted, self.health, lambda: self.replica.view.agents())
        self._exit.run(prober.run, "agent-probes")
        places = {"data": settings.data.dir, "recordings": local_directory(settings)}
        self._exit.run(partial(watch_disk_space, places, self.metrics.disk_space), "disk-space")
        self._exit.run(QualitySampler(self.registry).run, "audio-quality")
        self._exit.run(self.cluster.run, "cluster")
        self._exit.run(collect_between_messages, "young garbage")
        self._exit.run(partial(collect_in_quiet, self.registry.__len__), "garbage")

    async def _watch_the_wire(self) -> Wire:
        directory = self.settings.data.dir / "traces"
        if self.seat is not None:
            directory /= f"worker-{self.seat.slot}"
        return await start_watching_the_wire(
            self.settings,
            directory,
            lambda flow: self.sip.bound_address(flow),
            self.ports,
            self.metrics,
            self._exit,
        )

    async def _make_web(self) -> WebServer:
        app = make_app(self.metrics.registry, self.obstacles, self.refresh)
        twilio_calls.install(app, RemoteCalls(self.streams.controls, self.dispatcher))
        service: ApiService | CallsService
        if self.api is not None:
            service = self.api
        else:
            service = self._calls = await open_call_history(
                self.settings, self.metrics.registry, self.node, self.cluster.registry, self._exit
            )
        await service.install(app)
        await self._install_console(app, service)
        return WebServer(app, *web_address(self.settings.web.listen), held=of_web(self._held, self.settings))

    def _make_private_web(self, seat: Seat) -> PrivateServer:
        app = make_worker_app(
            self, slot=seat.slot, begin=self.begin, retire=self.retire, retired=lambda: self.retired
        )
        twilio_calls.install(app, RemoteCalls(self.streams.controls, self.dispatcher))
        if not seat.order.events and self.settings.history.max_calls:
            history = WorkerHistory(seat.directory, self.metrics.events_dropped.inc)
            self._exit.push_async_callback(history.close)
            self._exit.run(history.run, "history")
            self._calls = history
        return PrivateServer(app, web_socket(seat.directory, seat.slot))

    def _shared_ports(self) -> dict[str, Any]:
        """What a worker's endpoint is told besides."""
        seat, post = self.seat, self._post
        if seat is None or post is None:
            return {}
        return {
            "own_listen": seat.own,
            "own_tls_listen": seat.own_tls,
            "steer": post.steer,
            "steer_own": post.steer_own,
            "tokens": marked(random_tokens(), seat.slot),
        }

    @property
    def retired(self) -> bool:
        """Another version takes new calls."""
        return self._post is not None and self._post.retired

    def begin(self) -> None:
        """Take new calls: the workers of another version do not any more."""
        if self._post is not None:
            self._post.begin()

    async def retire(self, successors: Sequence[int]) -> None:
        """Leave new calls to the workers of another version, finish the others, and end."""
        if self._post is not None:
            self._post.retire(successors)
        self.on_retired()
        await self.registrations.stop()

    async def _load_certificates(self) -> Certificates:
        try:
            certificates = await Certificates.load(self.settings, _log_handshake_failure)
        except CertificateError as error:
            raise StartError(str(error)) from error
        certificates.on_reloaded = self._certificates_reloaded
        self._exit.run(certificates.watch, "certificates")
        return certificates

    def _certificates_reloaded(self, result: str, why: str) -> None:
        self.metrics.certificate_reloads.labels(result).inc()
        if why:
            log.error("certificate not reloaded", detail=why, key="sip.tls_certificate")
        else:
            log.info("certificate reloaded")

    def _make_dispatcher(self, waiting: WaitingSounds, verification: CallerVerification) -> Dispatcher:
        settings = self.settings
        trunk = make_trunk(settings, self.sip, self.health, self.replica, self._media.engines, self.metrics)
        recorders = start_recorders(
            settings,
            self._speech,
            self._events,
            self.metrics,
            self._exit,
            sweeps=self.seat is None or self.seat.first,
        )
        keep = CallKeeper(self._remember, self.node.name) if settings.history.max_calls else None
        announcer = None if self._events is None else CallAnnouncer(self._events.writer.put)
        dispatcher = Dispatcher(
            directory=self.replica,
            limits=self.limits,
            ports=self._media.ports if self._wire.heads is None else self._wire.heads,
            trunk=trunk,
            streams=self.streams,
            voicemail=recorders.voicemail,
            registry=self.registry,
            observer=self.metrics,
            sink=on_call_over(self.metrics, self.overload, keep, announcer),
            on_started=announcer.started if announcer is not None else lambda record: None,
            default_voicemail=settings.voicemail.default_message,
            endpoint_template=settings.agents.endpoint_template,
            waiting=waiting,
            recordings=recorders.calls,
            default_recording=settings.recording.policy,
            verification=verification,
            tracer=self._tracer,
            source_of=self._proxies.source_of,
            continuity=None if self.continuity is None else self.continuity.keeper,
        )
        if self.continuity is not None:
            adopter = Adopter(
                self.sip,
                trunk,
                dispatcher.take_up,
                carriers=lambda name: next((each for each in self.carriers if each.name == name), None),
                agents=lambda: self.replica.agents,
                wall_clock=self.continuity.clock,
            )
            self.continuity.adopt_with(adopter.adopt)
        return dispatcher

    async def _load_carriers(self) -> CarrierTable:
        paths = [Path(name) for name in self.settings.admission.carriers_files]
        return await asyncio.to_thread(load_carriers, paths)

    async def _start_continuity(self) -> None:
        """What lets another gateway go on with our calls, and us with others'."""
        settings = self.settings
        if not settings.continuity.enabled:
            return
        self.continuity = CallContinuity(
            self._redis_place,
            f"{self.node.name}#{self.cluster.incarnation}",
            settings.continuity.lease,
            settings.data.dir / "continuity",
            self.registry,
            self.metrics,
        )
        self._exit.push_async_callback(self.continuity.close)
        await self.continuity.open()

    async def _start_routing(self) -> None:
        settings = self.settings
        place = redis_place(settings)
        if not settings.redis.url.get_secret_value():
            await start_private_redis(settings, self._exit)
        self._start_cluster(place)
        self._redis_place = place
        self._sources = RouteSources(
            settings, place, self.metrics, self.node, self.cluster.registry, self._exit
        )
        await self._sources.start()
        self.api = self._sources.api
        if settings.routing.numbers_file is None and not settings.api.remote_url and self._told_of_calls:
            self._events = await start_events(
                settings, self._writer(place), self.node.name, self._is_gone, self.metrics, self._exit
            )
        self.replica = Replica(
            place,
            self.metrics,
            snapshot_path=settings.data.dir / "routes.snapshot",
            saves=self.seat is None,
            on_loaded=self._speech.prepare,
            on_error=lambda text: log.error("routing", detail=text),
        )
        await self.replica.start()
        self._exit.push_async_callback(self.replica.stop)
        await self._sources.follow(self.replica)

    @property
    def _told_of_calls(self) -> bool:
        """Somebody takes what is told of calls out of Redis."""
        return self.seat is None or self.seat.order.events

    def _is_gone(self, recorder: str) -> bool:
        """Whether a process that recorded voicemails on this directory is not there any more."""
        if self.seat is None or recorder == self.node.name:
            return True
        order = self.seat.order
        others = {node_name(self.settings, slot) for slot in (*order.members, *order.elders)}
        return self.seat.first and recorder not in others

    def _writer(self, place: RedisPlace, timeout: float = BACKGROUND_TIMEOUT) -> Redis:
        writer = connect(place, timeout)
        self._exit.push_async_callback(writer.aclose)
        return writer

    def _start_cluster(self, place: RedisPlace) -> None:
        """Be one of the gateways that share this Redis; said once everything else has started."""
        self.cluster = Cluster(
            self._writer(place, HOT_TIMEOUT),
            self._writer(place),
            self.node.name,
            self.metrics,
            region=self.settings.node.region,
            calls=self.registry.__len__,
            draining=lambda: self.limits.draining,
            addresses=lambda: self.sip.carrier_addresses,
            advertised_host=self.settings.sip.advertised_host,
            routes=lambda: self.replica.view,
            sync_age=lambda: self.replica.age,
        )
        self._exit.push_async_callback(self.cluster.stop)

    def _remember(self, event: CallRecorded) -> None:
        """A call is over: it goes to the API's history, or to our own."""
        if self._events is not None:
            self._events.writer.put(event)
        if self._calls is not None:
            self._calls.put(event.call)

    async def _install_console(self, app: web.Application, service: ApiService | CallsService) -> None:
        if not self.settings.web.console:
            return
        from gateway.console_desk import ConsoleDesk
        from gateway.web.console.pages import Console

        mask = self.settings.logs.mask_personal_data
        desk = ConsoleDesk(self, self.node, service.calls, mask=mask, nodes=self.cluster.registry)
        console = await asyncio.to_thread(Console, desk, service.keys)
        console.install(app)

    def _tell_how_calls_are_named(self) -> None:
        if self._post is not None:
            self._post.calls_are_named(each.call_id_header for each in self.carriers if each.call_id_header)

    # What the endpoint asks.

    def _knows(self, data: bytes) -> bool:
        """Whether what a request is about, which a sibling has read, is here."""
        if self.sip.knows(data):
            return True
        if not data.startswith(b"INVITE "):
            return False
        try:
            request = parse_message(data)
        except SipParseError:
            return False
        return isinstance(request, Request) and self.dispatcher.knows(request, self.carriers)

    def _admit(self, host: str) -> object | None:
        return self.carriers.match(host) or self.registrations.match(host)

    def _refused(self, carrier: str, rule: str) -> None:
        self.refusals(carrier, rule)
        self.door(carrier, rule)

    def _refuse_call(self, peer: object) -> tuple[int, HeaderList] | None:
        refusal = self.gate.refusal(peer) if isinstance(peer, Carrier) else None
        return None if refusal is None else (refusal.status, refusal.headers)

    def _measured(self, lag: float) -> None:
        """Ten times a second: how late the loop is, and how long messages wait for it."""
        waited = self.sip.waited()
        self.metrics.loop_lag.observe(lag)
        self.metrics.message_wait.observe(waited)
        self.overload.measured(max(lag, waited), self.sip.user_agent.fill)
        self.refusals.tell()

    def _account(self, username: str) -> tuple[object, str] | None:
        carrier = self.carriers.match_username(username)
        return None if carrier is None else (carrier, carrier.password)

    def _admit_name(self, name: str) -> object | None:
        return self.carriers.match_certificate(name)

    def _on_invite(self, leg: InboundLeg) -> None:
        self.limits.routes_loaded = self.replica.loaded
        self.dispatcher.on_invite(leg)

    def _options_status(self) -> tuple[int, HeaderList]:
        self.limits.routes_loaded = self.replica.loaded
        refusal = self.limits.unready()
        return (200, ()) if refusal is None else (refusal.status, refusal.headers)

    def _caught(self, where: str, error: Exception) -> None:
        log.error("internal error", where=where, exc_info=error)

    # What operators ask.

    def obstacles(self) -> list[str]:
        """Why no calls are taken; empty while they are."""
        reasons = []
        if self.limits.draining:
            reasons.append("draining")
        if not self.replica.loaded:
            reasons.append("no routes: Redis has none and there is no snapshot")
        return reasons

    def refresh(self) -> None:
        """Bring the gauges up to date; called at each scrape."""
        metrics = self.metrics
        metrics.transactions(self.sip.user_agent.transaction_counts)
        metrics.media_ports.set(self.ports.in_use)
        metrics.ready.set(not self.obstacles())
        metrics.sync_age.set(self.replica.age)
        metrics.remote_age.set(self._sources.remote_age)
        active = len(self.registry) / self.settings.admission.max_active_calls
        metrics.overload_level.set(max(active, self.overload.level))
        metrics.dropped("receive_buffer_full", self.sip.lost())
        if self.certificates.certificate is not None:
            metrics.certificate_expiry.labels("sip").set(self.certificates.certificate.seconds_left)
        self.cluster.refresh()
        metrics.agent_calls.clear()
        metrics.endpoint_up.clear()
        for status in self.health.snapshot():
            metrics.endpoint_up.labels(status.agent_id, status.url).set(status.up)
            metrics.agent_calls.labels(status.agent_id).inc(status.calls)
        self._media.totals.refresh()
        if self.continuity is not None:
            self.continuity.refresh()

    async def reload(self) -> None:
        """Read carriers, certificates and numbers again (SIGHUP): each whole, or not at all and said so."""
        try:
            self.carriers = await self._load_carriers()
        except CarriersError as error:
            log.error("carriers not reloaded", detail=str(error), key="admission.carriers_files")
        self._tell_how_calls_are_named()
        await self.registrations.follow(self.carriers)
        await self.certificates.reload()
        await self._sources.reload()

    async def stop(self) -> None:
        """Refuse new calls, let the others finish, end what is left, then close everything. Bounded."""
        self.limits.draining = True
        ended = await self.registry.drain(self.settings.drain.timeout)
        log.info("drained", ended_by_us=ended)
        await asyncio.sleep(LAST_WORDS_SECONDS if ended else 0)
        await self._exit.aclose()

    async def abort(self) -> None:
        """Close everything at once; calls get their BYE if the network takes it."""
        await self.registry.drain(0)
        await self._exit.aclose()


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that runs for as long as the block does."""
    gateway = Gateway(settings)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


async def serve(
    settings: Settings,
    on_ready: Callable[[Gateway], None] = lambda gateway: None,
    held: Held | None = None,
) -> None:
    """Run until SIGTERM or SIGINT; a second one stops at once. SIGHUP reloads. held: as `Gateway` has it.

    Raises:
        StartError: see `Gateway.start`.

    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    gateway = Gateway(settings, held=held)
    reloads: set[asyncio.Task[None]] = set()
    drain: asyncio.Task[None] | None = None

    def asked_to_stop() -> None:
        if stop.is_set() and drain is not None:
            drain.cancel()
        stop.set()

    def asked_to_reload() -> None:
        task = loop.create_task(gateway.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    await gateway.start()
    loop.add_signal_handler(signal.SIGHUP, asked_to_reload)
    on_ready(gateway)
    log.info(
        "ready",
        version=BUILD.version,
        build=BUILD.kind,
        sip=gateway.sip.carrier_addresses,
        tls=gateway.sip.tls_addresses,
        web=gateway.web.address,
    )
    await stop.wait()
    log.info("draining", calls=len(gateway.registry), timeout=settings.drain.timeout)
    drain = asyncio.create_task(gateway.stop())
    try:
        await drain
    except asyncio.CancelledError:
        log.warning("stopped at once", calls=len(gateway.registry))
        await gateway.abort()


def _log_handshake_failure(peer: str, reason: str) -> None:
    log.warning("TLS handshake failed", peer=peer, reason=reason)
