"""What a call is dispatched with: ways to agents, what callers hear meanwhile, and what its end sets off."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from gateway.admission.caller_verification import CallerVerification, CertificateFetch, load_roots
from gateway.admission.caller_verification import open_session as open_certificate_session
from gateway.admission.overload import OverloadControl
from gateway.calls.announcing import CallAnnouncer
from gateway.calls.keeping import CallKeeper
from gateway.calls.records import CallRecord
from gateway.calls.transfers import TransferRules
from gateway.composition.background import Background
from gateway.config import Media, Settings
from gateway.destinations.remote_control import RemoteControls
from gateway.destinations.stream_trunk import StreamTrunk, TrustError, open_web, trust
from gateway.destinations.trunk import Trunk
from gateway.destinations.waiting_sound import Kind, WaitingSounds
from gateway.faults import StartError
from gateway.media.rtpengine import RtpEngines
from gateway.media.session import AudioSession
from gateway.media.sound_file import SoundFileError, load_sound
from gateway.media_engine import own_relay_noted
from gateway.sip.endpoint import SipEndpoint
from gateway.telemetry.call_log import CallLog
from gateway.telemetry.metrics import Metrics
from routing.health import EndpointHealth
from routing.replica import Replica


async def load_trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whose certificates agents may have. Raises StartError."""
    try:
        return await asyncio.to_thread(trust, ca_file)
    except TrustError as error:
        raise StartError(f"agents.ca_file: {error}") from error


async def load_waiting_sounds(media: Media) -> WaitingSounds:
    """What callers hear until somebody takes the call. Raises StartError."""
    kinds: dict[str, Kind] = {"ringback": "ringback", "silence": "silence"}
    kind = kinds.get(media.waiting_sound)
    if kind is not None:
        return WaitingSounds(kind, media.ringback_country, early=media.early_media)
    try:
        recording = await asyncio.to_thread(load_sound, Path(media.waiting_sound))
    except SoundFileError as error:
        raise StartError(f"media.waiting_sound: {error}") from error
    return WaitingSounds("recording", recording=recording, early=media.early_media)


async def start_verification(roots_file: Path | None, background: Background) -> CallerVerification:
    """What verifies who calls (STIR, RFC 8224). Raises StartError: the roots cannot be read."""
    try:
        roots = await asyncio.to_thread(load_roots, roots_file)
    except (OSError, ValueError) as error:
        raise StartError(f"admission.stir_roots: {roots_file}: {error}") from error
    session = open_certificate_session()
    background.push_async_callback(session.close)
    verification = CallerVerification(CertificateFetch(session), roots, time.monotonic, time.time)
    background.push_async_callback(verification.close)
    return verification


def start_streams(
    settings: Settings, trusted: ssl.SSLContext, metrics: Metrics, background: Background
) -> StreamTrunk:
    """The way to agents that speak WebSocket."""

    def session_over(session: AudioSession) -> None:
        reception = session.reception
        metrics.underruns.inc(session.underruns)
        if reception is not None:
            metrics.underruns.inc(reception.underruns)
            metrics.concealed.inc(reception.concealed)
            metrics.playout_delay.observe(session.delay)

    streams = StreamTrunk(
        open_web(trusted),
        RemoteControls(),
        first_audio_timeout=settings.dispatch.first_audio_timeout,
        prefill=settings.media.agent_prefill,
        on_session_over=session_over,
    )
    background.push_async_callback(streams.close)
    return streams


def make_trunk(
    settings: Settings,
    sip: SipEndpoint,
    health: EndpointHealth,
    replica: Replica,
    engines: RtpEngines | None,
    metrics: Metrics,
) -> Trunk:
    """The way to agents that speak SIP."""
    return Trunk(
        sip,
        health,
        settings.sip.domain,
        response_timeout=settings.dispatch.response_timeout,
        ring_timeout=settings.dispatch.ring_timeout,
        agent_silence_timeout=settings.media.agent_silence_timeout,
        caller_silence_timeout=settings.media.caller_silence_timeout,
        max_duration=settings.dispatch.max_call_duration,
        transcoding=settings.media.transcoding,
        engines=engines,
        own_relay=settings.media.rtpengine_fallback,
        on_own_relay=own_relay_noted(metrics),
        trusted_hosts=tuple(host.lower() for host in settings.agents.trusted_hosts),
        transfers=TransferRules(
            settings.transfer.scope,
            settings.transfer.hosts,
            lambda: replica.agents,
            lambda: (each.url for agent in replica.view.agents() for each in agent.endpoints),
            replica.get,
        ),
    )


def on_call_over(
    metrics: Metrics,
    overload: OverloadControl,
    keep: CallKeeper | None,
    announcer: CallAnnouncer | None,
) -> Callable[[CallRecord], None]:
    """What is told of each call that is over; keep: its history; announcer: tells the API."""
    call_log = CallLog(metrics)

    def over(record: CallRecord) -> None:
        call_log(record)
        if record.outcome != "refused":
            overload.ended()
        if record.trace is not None:
            record.trace.finish(record)
        if keep is not None:
            keep(record)
        if announcer is not None:
            announcer.ended(record)

    return over
