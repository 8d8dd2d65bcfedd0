"""The composition root: settings in, a running service out, and its ordered end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.asyncio import Redis

from gateway.admission.caller_verification import CallerVerification, CertificateFetch, load_roots
from gateway.admission.caller_verification import open_session as open_certificate_session
from gateway.admission.carriers import Carrier, CarriersError, CarrierTable
from gateway.admission.carriers_file import load_carriers
from gateway.admission.doorkeeper import Doorkeeper
from gateway.admission.gate import CallGate
from gateway.admission.limits import AdmissionLimits
from gateway.admission.overload import OverloadControl
from gateway.admission.source_rates import SourceRates
from gateway.admission.trusted_proxies import TrustedProxies
from gateway.build import BUILD
from gateway.calls.announcing import CallAnnouncer, recording_available
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.keeping import CallKeeper
from gateway.calls.recording import CallRecordings
from gateway.calls.records import CallRecord
from gateway.calls.registry import Registry
from gateway.calls.remote_calls import RemoteCalls
from gateway.calls.sampling import QualitySampler
from gateway.calls.transfers import TransferRules
from gateway.certificates import CertificateError, Certificates
from gateway.cluster import Cluster
from gateway.config import Settings
from gateway.continuity.adopter import Adopter
from gateway.continuity.service import CallContinuity
from gateway.destinations.announcement import Announcement
from gateway.destinations.prober import Prober
from gateway.destinations.remote_control import RemoteControls
from gateway.destinations.stream_trunk import StreamTrunk, TrustError, open_web, trust
from gateway.destinations.trunk import Trunk
from gateway.destinations.voicemail import VoicemailBox
from gateway.destinations.voicemail_message import VoicemailMessages
from gateway.destinations.voicemail_outbox import VoicemailOutbox
from gateway.destinations.waiting_sound import Kind, WaitingSounds
from gateway.faults import StartError
from gateway.garbage import collect_in_quiet, settle
from gateway.media.disk import Disk
from gateway.media.dual_stack_ports import DualStackPorts
from gateway.media.g711 import CODECS
from gateway.media.port_pool import PortPool
from gateway.media.quality import stream_mos
from gateway.media.reception import PortStats
from gateway.media.session import AudioSession
from gateway.media.sound_file import SoundFileError, load_sound
from gateway.media_engine import media_engine, own_relay_noted
from gateway.nat.discovery import DiscoveryError, discover
from gateway.node import GatewayNode, node_name
from gateway.operator_key import operator_key
from gateway.recordings.retention import Limits, Swept, keep_swept
from gateway.recordings.shelf import Shelf
from gateway.recordings_place import local_directory, open_store
from gateway.redis_access import redis_place
from gateway.registrations import Registrations
from gateway.sip.bridge import Witness
from gateway.sip.digest_server import Authenticator
from gateway.sip.dns_client import DnsClient
from gateway.sip.endpoint import SipEndpoint, random_tokens
from gateway.sip.extensions import Extensions
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import HeaderList
from gateway.sip.listeners import ListenError
from gateway.sip.resolver import Resolver
from gateway.sip.transport import SocketNetwork
from gateway.sip.transport_stream import StreamLimits
from gateway.speech.cache import MEMORY_BYTES, SpeechCache
from gateway.speech.engine import Engine, make_engine
from gateway.speech.errors import SpeechError
from gateway.stored_greetings import StoredGreetings
from gateway.telemetry.call_log import CallLog
from gateway.telemetry.disk_space import watch_disk_space
from gateway.telemetry.gc_pauses import GcPauses
from gateway.telemetry.loop_lag import INTERVAL, LoopLagMonitor
from gateway.telemetry.media_totals import MediaTotals
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.refusal_log import RefusalLog
from gateway.telemetry.span_exporter import SpanExporter
from gateway.telemetry.spans import Tracer
from gateway.traces.hep_sender import HepSender, Witnesses
from gateway.traces.log import TraceLog
from gateway.traces.of_call import CallTraces
from gateway.traces.rtp_heads import RtpHeads
from gateway.traces.segments import Segments
from gateway.traces.writer import TraceWriter
from gateway.web import twilio_calls
from gateway.web.server import PortTaken, WebServer, make_app
from gateway.worker_history import WorkerHistory
from gateway.worker_post import WorkerPost
from gateway.worker_seat import Seat
from gateway.worker_web import PrivateServer, make_worker_app
from gateway.workers.marks import marked
from gateway.workers.slots import web_socket
from routing.cache import RoutingCache
from routing.call_events import CallRecorded
from routing.event_stream import FAILURES as EVENT_FAILURES
from routing.event_stream import EventWriter
from routing.follower import FAILURES
from routing.health import EndpointHealth
from routing.message_variables import MARK
from routing.models import Agent, PhoneNumber
from routing.numbers_file import NumbersFileError
from routing.redis_clients import BACKGROUND_TIMEOUT, HOT_TIMEOUT, connect
from routing.redis_place import RedisPlace
from routing.redis_server import EmbeddedRedis, RedisUnavailable
from routing.remote_api import RemoteApi
from routing.remote_sync import RemoteSync
from routing.replica import Replica
from routing.sync import FileSync, Synced
from storage.objects import StorageError

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.api_service import ApiService, CallsService

FIRST_LOOK_SECONDS: Final = 10.0
"""For the routes of a remote API to be there before calls are taken."""

LOOKUP_SECONDS: Final = 5.0
"""For a name in the configuration to be resolved."""

LAST_WORDS_SECONDS: Final = 1.0
"""For BYEs to be answered before the sockets are closed."""

LAST_EVENTS_SECONDS: Final = 2.0
"""For the events of calls that ended with us to be in Redis."""

PERSONAL_BYTES: Final = 8 * 1024 * 1024
"""Of messages that name their caller: they are wanted again only if the same caller tries again."""

log = structlog.get_logger("gateway")


class Gateway:
    """Everything that takes calls, started and stopped in order."""

    def __init__(self, settings: Settings, seat: Seat | None = None) -> None:
        """seat: among the workers of one machine; None for a gateway that is one process."""
        self.settings = settings
        self.seat = seat
        self.metrics = Metrics()
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
        self._heads: RtpHeads | None = None
        self._sync: FileSync | None = None
        self._remote: RemoteSync | None = None
        self._events: EventWriter | None = None
        self._outbox: VoicemailOutbox | None = None
        self.continuity: CallContinuity | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Start everything, carriers' listeners last.

        Raises:
            StartError: something that is needed is missing, taken or wrong; what had started is stopped
            again.

        """
        try:
            await self._start()
        except (
            CarriersError,
            ListenError,
            PortTaken,
            RedisUnavailable,
            NumbersFileError,
            SpeechError,
        ) as error:
            await self._exit.aclose()
            raise StartError(str(error)) from error
        except OSError as error:
            await self._exit.aclose()
            raise StartError(f"{error.filename or 'data.dir'}: {error.strerror or error}") from error
        except BaseException:
            await self._exit.aclose()
            raise

    async def _start(self) -> None:
        self.settings = settings = await with_public_address(self.settings)
        await asyncio.to_thread(settings.data.dir.mkdir, parents=True, exist_ok=True)
        self.carriers = await self._load_carriers()
        self.certificates = await self._load_certificates()
        await self._start_speech()
        await self._start_routing()
        await self._start_continuity()
        self.health = EndpointHealth(
            time.monotonic,
            threshold=settings.agents.failures_to_open,
            probe_interval=settings.agents.probe_interval,
            places=self.cluster.leases,
            region=settings.node.region,
        )
        media = settings.media
        host = await asyncio.to_thread(
            _media_host, media.bind, media.advertised_host or settings.sip.advertised_host
        )
        host6 = await asyncio.to_thread(_media_host, media.bind6, media.advertised_host6)
        self.ports = DualStackPorts(
            self._port_pool(media.bind, host), self._port_pool(media.bind6, host6) if media.bind6 else None
        )
        self._exit.callback(self.ports.close)
        self.engines = media_engine(media, self.metrics, lambda stats: self._media_totals.closed(stats))
        if self.engines is not None:
            self.engines.start()
            self._exit.push_async_callback(self.engines.close)
        self._media_totals = MediaTotals(self.metrics, self._streams_of_calls, stream_mos)
        sources = SourceRates(settings.admission.source_requests_per_second, time.monotonic)
        self._tracer = self._start_tracing()
        secure = settings.sip.tls_certificate is not None or any(
            each.registration is not None and each.registration.over_tls for each in self.carriers
        )
        if self.seat is not None:
            self._post = WorkerPost(self.seat, lambda data: self.sip.knows(data), self.metrics)
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
            on_trying=self._on_trying(),
            options_status=self._options_status,
            observer=self.metrics,
            on_error=self._caught,
            witness=await self._witness(),
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
            ),
        )
        self.registrations = (
            Registrations(self.sip, self.metrics)
            if self.seat is None
            else Registrations(self.sip, self.metrics, self.seat.registers)
        )
        trusted = await self._load_trust()
        self.streams = StreamTrunk(
            open_web(trusted),
            RemoteControls(),
            first_audio_timeout=settings.dispatch.first_audio_timeout,
            prefill=settings.media.agent_prefill,
            on_session_over=self._count_session,
        )
        self._exit.push_async_callback(self.streams.close)
        self.dispatcher = self._make_dispatcher(
            await self._load_waiting_sounds(), await self._start_verification()
        )
        self.web = await self._make_web() if self.seat is None else self._make_private_web(self.seat)
        await self.web.start()
        self._exit.push_async_callback(self.web.stop)
        if self._post is not None:
            await self._post.open()
            self._exit.callback(self._post.close)
        await self.sip.start()
        self._exit.push_async_callback(self.sip.stop)
        if self.continuity is not None:
            self._run(self.continuity.keep, "call-continuity")
            self._run(self.continuity.adopt, "orphaned-calls")
        await self.registrations.follow(self.carriers)
        self._exit.push_async_callback(self.registrations.stop)
        lag = LoopLagMonitor(self._measured)
        lag.start()
        self._exit.callback(lag.stop)
        pauses = GcPauses(self.metrics.gc_pause)
        pauses.start()
        self._exit.callback(pauses.stop)
        prober = Prober(self.sip, trusted, self.health, lambda: self.replica.view.agents())
        self._run(prober.run, "agent-probes")
        places = {"data": settings.data.dir, "recordings": local_directory(settings)}
        self._run(partial(watch_disk_space, places, self.metrics.disk_space), "disk-space")
        self._run(QualitySampler(self.registry).run, "audio-quality")
        self._run(self.cluster.run, "cluster")
        self._run(partial(collect_in_quiet, self.registry.__len__), "garbage")
        settle()

    async def _make_web(self) -> WebServer:
        app = make_app(self.metrics.registry, self.obstacles, self.refresh)
        twilio_calls.install(app, RemoteCalls(self.streams.controls, self.dispatcher))
        service = self.api or await self._start_calls()
        await service.install(app)
        await self._install_console(app, service)
        return WebServer(app, *web_address(self.settings.web.listen))

    def _make_private_web(self, seat: Seat) -> PrivateServer:
        app = make_worker_app(self, slot=seat.slot, retire=self.retire, retired=lambda: self.retired)
        twilio_calls.install(app, RemoteCalls(self.streams.controls, self.dispatcher))
        if not seat.order.events and self.settings.history.max_calls:
            history = WorkerHistory(seat.directory, self.metrics.events_dropped.inc)
            self._exit.push_async_callback(history.close)
            self._run(history.run, "history")
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
            "tokens": marked(random_tokens(), seat.slot),
        }

    @property
    def retired(self) -> bool:
        """Another version takes new calls."""
        return self._post is not None and self._post.retired

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
        self._run(certificates.watch, "certificates")
        return certificates

    def _certificates_reloaded(self, result: str, why: str) -> None:
        self.metrics.certificate_reloads.labels(result).inc()
        if why:
            log.error("certificate not reloaded", detail=why, key="sip.tls_certificate")
        else:
            log.info("certificate reloaded")

    def _port_pool(self, bind: str, advertise: str) -> PortPool:
        media = self.settings.media
        return PortPool(
            bind,
            media.port_low,
            media.port_high,
            advertise=advertise,
            on_closed=lambda stats: self._media_totals.closed(stats),
        )

    async def _load_trust(self) -> ssl.SSLContext:
        try:
            return await asyncio.to_thread(trust, self.settings.agents.ca_file)
        except TrustError as error:
            raise StartError(f"agents.ca_file: {error}") from error

    async def _load_waiting_sounds(self) -> WaitingSounds:
        media = self.settings.media
        kinds: dict[str, Kind] = {"ringback": "ringback", "silence": "silence"}
        kind = kinds.get(media.waiting_sound)
        if kind is not None:
            return WaitingSounds(kind, media.ringback_country, early=media.early_media)
        try:
            recording = await asyncio.to_thread(load_sound, Path(media.waiting_sound))
        except SoundFileError as error:
            raise StartError(f"media.waiting_sound: {error}") from error
        return WaitingSounds("recording", recording=recording, early=media.early_media)

    async def _start_verification(self) -> CallerVerification:
        path = self.settings.admission.stir_roots
        try:
            roots = await asyncio.to_thread(load_roots, path)
        except (OSError, ValueError) as error:
            raise StartError(f"admission.stir_roots: {path}: {error}") from error
        session = open_certificate_session()
        self._exit.push_async_callback(session.close)
        verification = CallerVerification(CertificateFetch(session), roots, time.monotonic, time.time)
        self._exit.push_async_callback(verification.close)
        return verification

    def _make_dispatcher(self, waiting: WaitingSounds, verification: CallerVerification) -> Dispatcher:
        settings = self.settings
        trunk = Trunk(
            self.sip,
            self.health,
            settings.sip.domain,
            response_timeout=settings.dispatch.response_timeout,
            ring_timeout=settings.dispatch.ring_timeout,
            agent_silence_timeout=settings.media.agent_silence_timeout,
            caller_silence_timeout=settings.media.caller_silence_timeout,
            max_duration=settings.dispatch.max_call_duration,
            transcoding=settings.media.transcoding,
            engines=self.engines,
            own_relay=settings.media.rtpengine_fallback,
            on_own_relay=own_relay_noted(self.metrics),
            trusted_hosts=tuple(host.lower() for host in settings.agents.trusted_hosts),
            transfers=TransferRules(
                settings.transfer.scope,
                settings.transfer.hosts,
                lambda: self.replica.agents,
                lambda: (each.url for agent in self.replica.view.agents() for each in agent.endpoints),
                self.replica.get,
            ),
        )
        disk = Disk()
        shelf = self._start_shelf()
        box = VoicemailBox(
            VoicemailMessages(
                self._speech,
                self._personal_speech,
                self._greetings,
                settings.voicemail.withheld_caller,
                lambda result: self.metrics.greetings.labels(result).inc(),
            ),
            local_directory(settings),
            max_seconds=settings.voicemail.max_seconds,
            silence_seconds=settings.voicemail.silence_seconds,
            finish_key=settings.voicemail.finish_key,
            min_seconds=settings.voicemail.min_seconds,
            outbox=self._outbox,
            on_underruns=self.metrics.underruns.inc,
            on_error=self._recording_failed,
            on_recorded=shelf.take,
            disk=disk,
            min_free=settings.recording.min_free_bytes,
        )
        recordings = CallRecordings(
            local_directory(settings),
            disk,
            clock=time.monotonic,
            wall_clock=time.time,
            on_error=self._recording_failed,
            on_recorded=shelf.take,
            max_seconds=settings.dispatch.max_call_duration,
            min_free=settings.recording.min_free_bytes,
            consent_interval=_consent_interval(settings),
            announcement=self._consent(),
        )
        self._exit.push_async_callback(recordings.close)
        call_log = CallLog(self.metrics)
        announcer = None if self._events is None else CallAnnouncer(self._events.put)
        keep = CallKeeper(self._remember, self.node.name)

        def over(record: CallRecord) -> None:
            call_log(record)
            if record.outcome != "refused":
                self.overload.ended()
            if record.trace is not None:
                record.trace.finish(record)
            if settings.history.max_calls:
                keep(record)
            if announcer is not None:
                announcer.ended(record)

        dispatcher = Dispatcher(
            directory=self.replica,
            limits=self.limits,
            ports=self.ports if self._heads is None else self._heads,
            trunk=trunk,
            streams=self.streams,
            voicemail=box,
            registry=self.registry,
            observer=self.metrics,
            sink=over,
            on_started=announcer.started if announcer is not None else lambda record: None,
            default_voicemail=settings.voicemail.default_message,
            endpoint_template=settings.agents.endpoint_template,
            waiting=waiting,
            recordings=recordings,
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
                wall_clock=time.time,
            )
            self.continuity.adopt_with(adopter.adopt)
        return dispatcher

    def _consent(self) -> Announcement | None:
        """What callers are told before they are recorded; ready before anybody calls."""
        text = self.settings.recording.consent_message
        if not text:
            return None
        self._speech.prerender(text)
        return Announcement(text, self._speech)

    def _streams_of_calls(self) -> list[PortStats]:
        elsewhere = self.engines.open_stats() if self.engines is not None else []
        return [*self.ports.open_stats(), *elsewhere]

    def _count_session(self, session: AudioSession) -> None:
        """What became of the audio of a session with an agent, for the metrics."""
        reception = session.reception
        self.metrics.underruns.inc(session.underruns)
        if reception is not None:
            self.metrics.underruns.inc(reception.underruns)
            self.metrics.concealed.inc(reception.concealed)
            self.metrics.playout_delay.observe(session.delay)

    def _start_shelf(self) -> Shelf:
        """What happens to recordings when they are finished."""
        settings, metrics, store = self.settings, self.metrics, self._store
        shelf = Shelf(
            local_directory(settings),
            store,
            looks=self.seat is None or self.seat.first,
            form=settings.recording.format,
            on_available=self._recording_available,
            on_waiting=metrics.recordings_waiting.set,
            on_failure=metrics.recordings.labels("upload_failed").inc,
        )
        self._exit.push_async_callback(shelf.close)
        self._run(shelf.run, "recordings")
        limits = Limits(settings.recording.retention_days, settings.recording.max_total_bytes)
        if self.seat is None or self.seat.first:
            self._run(partial(keep_swept, store, limits, self._swept), "retention")
        return shelf

    def _recording_available(self, key: str, record: dict[str, Any]) -> None:
        self.metrics.recordings.labels("stored").inc()
        if record.get("kind") == "call" and self._events is not None:
            self._events.put(recording_available(key, record))

    def _swept(self, swept: Swept) -> None:
        self.metrics.recordings_swept(swept.files, swept.total_bytes, swept.deleted, swept.failed)

    def _recording_failed(self, error: Exception) -> None:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        self.metrics.recordings.labels("disk_full" if full else "disk_failed").inc()
        log.error("recording failed", error=str(error), key="voicemail.directory")

    async def _load_carriers(self) -> CarrierTable:
        paths = [Path(name) for name in self.settings.admission.carriers_files]
        return await asyncio.to_thread(load_carriers, paths)

    async def _start_speech(self) -> None:
        """What callers of the voicemail hear: text that is spoken, and greetings out of the store."""
        speech, directory = self.settings.speech, self.settings.data.dir
        engine = make_engine(
            speech.engine,
            voice=speech.voice,
            url=speech.url,
            key=speech.api_key.get_secret_value(),
            model=speech.model,
            timeout=speech.timeout,
        )
        try:
            self._store = await asyncio.to_thread(open_store, self.settings)
        except StorageError as error:
            raise StartError(f"storage.url: {error}") from error
        self._exit.push_async_callback(self._store.close)
        self._speech = await self._start_cache(engine, directory / "speech")
        self._personal_speech = await self._start_cache(engine, None, PERSONAL_BYTES)
        self._greetings = await self._start_cache(StoredGreetings(self._store), directory / "greetings")
        self._speech.prerender(self.settings.voicemail.default_message)

    async def _start_cache(
        self, engine: Engine, directory: Path | None, memory_bytes: int = MEMORY_BYTES
    ) -> SpeechCache:
        cache = SpeechCache(
            engine,
            directory,
            encoders={name: codec.frames for name, codec in CODECS.items()},
            memory_bytes=memory_bytes,
            on_error=lambda name, error: log.error("speech failed", engine=name, error=str(error)),
        )
        await cache.start()
        self._exit.push_async_callback(cache.close)
        return cache

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
            server = EmbeddedRedis(settings.data.dir, lambda text: log.warning("redis", detail=text))
            await server.start()
            self._exit.push_async_callback(server.stop)
        self._start_cluster(place)
        self._redis_place = place
        if settings.routing.numbers_file is not None:
            writer = self._writer(place)
            self._sync = FileSync(
                settings.routing.numbers_file,
                RoutingCache(writer),
                on_synced=_log_synced,
                on_error=lambda text: log.error("numbers file", detail=text, key="routing.numbers_file"),
            )
            await self._first_sync(self._sync)
            self._run(partial(self._sync.watch, settings.routing.reload_interval), "numbers-file")
        elif settings.api.serve and not settings.api.remote_url:
            await self._start_api(self._writer(place))
        if settings.routing.numbers_file is None and not settings.api.remote_url and self._told_of_calls:
            await self._start_events(self._writer(place))
        self.replica = Replica(
            place,
            self.metrics,
            snapshot_path=settings.data.dir / "routes.snapshot",
            saves=self.seat is None,
            on_loaded=self._prepare,
            on_error=lambda text: log.error("routing", detail=text),
        )
        await self.replica.start()
        self._exit.push_async_callback(self.replica.stop)
        if settings.api.remote_url:  # after the replica: what it serves by is not given up lightly
            self._remote = self._remote_sync(self._writer(place))
            self._run(self._remote.run, "remote-api")
            if not self.replica.loaded:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FIRST_LOOK_SECONDS):
                        await self._remote.synced.wait()

    def _remote_sync(self, writer: Redis) -> RemoteSync:
        api = self.settings.api
        return RemoteSync(
            RemoteApi(api.remote_url, api.remote_key.get_secret_value()),
            RoutingCache(writer),
            interval=api.remote_interval,
            deletion_limit=api.remote_deletion_limit,
            serving=lambda: len(self.replica.view),
            on_synced=_log_synced,
            on_error=_log_remote,
            on_looked=lambda result: self.metrics.remote_looks.labels(result).inc(),
        )

    async def _start_events(self, redis: Redis) -> None:
        """Tell the API, wherever it runs, of calls and of voicemails."""
        settings = self.settings
        self._events = EventWriter(
            redis,
            on_dropped=self.metrics.events_dropped.inc,
            on_error=lambda text: log.error("events not written", detail=text, key="redis.url"),
        )
        self._exit.push_async_callback(self._last_events, self._events)
        self._run(self._events.run, "call-events")
        self._outbox = VoicemailOutbox(
            settings.data.dir / "voicemail-outbox",
            local_directory(settings),
            self._events,
            min_seconds=settings.voicemail.min_seconds,
            recorder=self.node.name,
            abandoned=self._is_gone,
            on_error=lambda text: log.error("voicemail not delivered yet", detail=text),
        )
        self._exit.push_async_callback(self._outbox.close)
        await self._outbox.recover()
        self._run(self._outbox.run, "voicemail-outbox")

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

    async def _last_events(self, events: EventWriter) -> None:
        with contextlib.suppress(*EVENT_FAILURES):
            async with asyncio.timeout(LAST_EVENTS_SECONDS):
                await events.flush()

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
            self._events.put(event)
        if self._calls is not None:
            self._calls.put(event.call)

    async def _start_calls(self) -> CallsService:
        """The operations on calls, where no API has them."""
        from gateway.api_service import FAILURES as STORE_FAILURES
        from gateway.api_service import make_calls_service

        key = await asyncio.to_thread(operator_key, self.settings.data.dir)
        self._calls = make_calls_service(
            self.settings, self.metrics.registry, self.node, key, self.cluster.registry
        )
        try:
            await self._calls.open()
        except STORE_FAILURES as error:
            raise StartError(f"data.dir: calls.sqlite: {error}") from error
        self._exit.push_async_callback(self._calls.close)
        self._run(self._calls.run, "history")
        return self._calls

    async def _install_console(self, app: web.Application, service: ApiService | CallsService) -> None:
        if not self.settings.web.console:
            return
        from gateway.console_desk import ConsoleDesk
        from gateway.web.console.pages import Console

        mask = self.settings.logs.mask_personal_data
        desk = ConsoleDesk(self, self.node, service.calls, mask=mask, nodes=self.cluster.registry)
        console = await asyncio.to_thread(Console, desk, service.keys)
        console.install(app)

    def _on_trying(self) -> Callable[[float], None]:
        """Who is told how long each INVITE waited for its 100."""
        counted, tracer = partial(self.metrics.stage, "trying"), self._tracer
        if tracer is None:
            return counted

        def told(seconds: float) -> None:
            counted(seconds)
            tracer.admitted(seconds)

        return told

    def _start_tracing(self) -> Tracer | None:
        """What makes a trace of each call, if a collector is named."""
        tracing = self.settings.tracing
        if not tracing.otlp_endpoint:
            return None
        authorization = tracing.otlp_authorization.get_secret_value()
        exporter = SpanExporter(
            tracing.otlp_endpoint,
            {"Authorization": authorization} if authorization else {},
            {
                "service.name": "voice-gateway",
                "service.version": version("voice-gateway"),
                "service.instance.id": self.node.name,
            },
            count=lambda result, calls: self.metrics.spans.labels(result).inc(calls),
            on_error=lambda text: log.error("traces not exported", detail=text, key="tracing.otlp_endpoint"),
        )
        self._run(exporter.run, "span-exporter")
        return Tracer(exporter.put, tracing.share, clock=time.monotonic, wall_clock=time.time)

    async def _witness(self) -> Witness | None:
        """Who sees every SIP message."""
        witnesses = [
            each for each in (await self._start_traces(), await self._start_hep()) if each is not None
        ]
        return Witnesses(*witnesses) if len(witnesses) > 1 else next(iter(witnesses), None)

    async def _start_hep(self) -> HepSender | None:
        """What sends SIP messages to Homer, if it is named."""
        tracing = self.settings.tracing
        if not tracing.hep_address:
            return None
        host, _, port = tracing.hep_address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        except (OSError, ValueError, TimeoutError) as error:
            raise StartError(
                f"tracing.hep_address: cannot resolve {tracing.hep_address!r}: {error}"
            ) from error
        sender = HepSender(
            (str(found[0][4][0]), int(port)),
            tracing.hep_agent_id,
            tracing.hep_password.get_secret_value(),
            lambda flow: self.sip.bound_address(flow),
            count=lambda result, messages: self.metrics.hep.labels(result).inc(messages),
        )
        self._run(sender.run, "hep")
        return sender

    async def _start_traces(self) -> TraceLog | None:
        """What keeps the wire's messages, and if asked to, the heads of RTP packets."""
        settings, counted = self.settings, self.metrics.traces_dropped.inc
        room, place = settings.traces.max_total_bytes, settings.data.dir / "traces"
        if self.seat is not None:
            place /= f"worker-{self.seat.slot}"
        if not room:
            return None

        def failed(error: OSError) -> None:
            log.error("traces not written", error=str(error), key="data.dir")

        traces = TraceLog(
            Segments(place, room),
            lambda flow: self.sip.bound_address(flow),
            on_dropped=counted,
            on_error=failed,
        )
        writers: list[TraceWriter[Any]] = [traces.writer]
        if settings.traces.rtp:
            self._heads = RtpHeads(self.ports, Segments(place / "rtp", room))
            writers.append(self._heads.writer)
        for writer in writers:
            await writer.open()
            self._exit.push_async_callback(writer.flush)
            self._run(writer.run, "traces")
        self.node.traces = CallTraces(traces, self._heads, mask=settings.logs.mask_personal_data)
        return traces

    async def _start_api(self, writer: Redis) -> None:
        """Open the phone-number API; the web server serves it once it is installed there."""
        from gateway.api_service import FIRST_SYNC_SECONDS, ApiStartError, make_service

        self.api = make_service(self.settings, self.metrics.registry, self.node, self.cluster.registry)
        try:
            await self.api.open()
        except ApiStartError as error:
            raise StartError(str(error)) from error
        self._exit.push_async_callback(self.api.close)
        self.api.admit(await asyncio.to_thread(operator_key, self.settings.data.dir))
        publisher = self.api.publisher(writer)
        self._run(partial(self.api.run, publisher, self.api.intake(writer)), "api")
        with contextlib.suppress(TimeoutError):  # Redis may be away: then there may be a snapshot
            async with asyncio.timeout(FIRST_SYNC_SECONDS):
                await publisher.synced.wait()

    async def _first_sync(self, sync: FileSync) -> None:
        """A wrong file stops the start; a Redis that is away does not: there may be a snapshot."""
        try:
            await sync.reload()
        except NumbersFileError:
            raise
        except FAILURES as error:
            sync.complain(error if isinstance(error, Exception) else RuntimeError(str(error)))

    def _prepare(self, numbers: Sequence[PhoneNumber], agents: Sequence[Agent]) -> None:
        """Have voicemail messages spoken, and greetings fetched, before anybody calls."""
        for each in (*agents, *(number.inbound_routing for number in numbers)):
            if each is None:
                continue
            if each.voicemail_message and MARK not in each.voicemail_message:
                self._speech.prerender(each.voicemail_message)
            if each.voicemail_greeting:
                self._greetings.prerender(each.voicemail_greeting)

    # What the endpoint asks.

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
        metrics.remote_age.set(self._remote.age if self._remote is not None else 0)
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
        self._media_totals.refresh()
        if self.continuity is not None:
            self.continuity.refresh()

    async def reload(self) -> None:
        """Read carriers, certificates and numbers again (SIGHUP): each whole, or not at all and said so."""
        try:
            self.carriers = await self._load_carriers()
        except CarriersError as error:
            log.error("carriers not reloaded", detail=str(error), key="admission.carriers_files")
        await self.registrations.follow(self.carriers)
        await self.certificates.reload()
        if self._sync is not None:
            try:
                await self._sync.reload()
            except (NumbersFileError, *FAILURES) as error:
                log.error("numbers not reloaded", detail=str(error), key="routing.numbers_file")
        if self._remote is not None:
            self._remote.look_soon()

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

    def _run(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        async def guarded() -> None:
            try:
                await work()
            except Exception:
                log.exception("background task failed", task=name)

        task = asyncio.create_task(guarded(), name=name)
        self._tasks.append(task)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._exit.push_async_callback(end)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that runs for as long as the block does."""
    gateway = Gateway(settings)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


async def serve(settings: Settings, on_ready: Callable[[Gateway], None] = lambda gateway: None) -> None:
    """Run until SIGTERM or SIGINT; a second one stops at once. SIGHUP reloads.

    Raises:
        StartError: see `Gateway.start`.

    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    gateway = Gateway(settings)
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


def web_address(text: str) -> tuple[str, int]:
    """Host and port of `web.listen`. Raises StartError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise StartError(f"web.listen: {text!r} is not host:port")
    return host.strip("[]"), int(port)


def _consent_interval(settings: Settings) -> float | None:
    """Seconds between consent tones; 0 for one, None for none."""
    match settings.recording.consent_tone:
        case "off":
            return None
        case "tone":
            return 0.0
        case "repeat":
            return settings.recording.consent_interval


async def with_public_address(settings: Settings) -> Settings:
    """The same with the address under which the world sees us, if somebody is to be asked for it."""
    source = settings.sip.discover_host
    if not source:
        return settings
    try:
        address = await discover(source)
    except DiscoveryError as error:
        raise StartError(
            f"sip.discover_host: {error}; or write the address into sip.advertised_host"
        ) from error
    log.info("public address found", address=address, source=source)
    return settings.model_copy(
        update={"sip": settings.sip.model_copy(update={"advertised_host": address, "discover_host": ""})}
    )


def _media_host(bind: str, configured: str) -> str:
    """What SDP names: as configured, or as bound, or the address that the default route leaves from."""
    if configured:
        return configured
    if bind not in {"0.0.0.0", "::"}:  # noqa: S104 - a comparison
        return bind
    family, nowhere = (socket.AF_INET6, "2001:db8::1") if ":" in bind else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((nowhere, 9))  # sends nothing: only asks which address would be used
        except OSError:
            return "::1" if ":" in bind else "127.0.0.1"
        host: str = probe.getsockname()[0]
        return host


def _log_handshake_failure(peer: str, reason: str) -> None:
    log.warning("TLS handshake failed", peer=peer, reason=reason)


def _log_remote(text: str) -> None:
    if text:
        log.error("remote API", detail=text, key="api.remote_url")
    else:
        log.info("remote API is well again")


def _log_synced(synced: Synced) -> None:
    log.info(
        "routes synchronised",
        numbers=synced.numbers,
        agents=synced.agents,
        written=synced.written,
        removed=synced.removed,
    )
