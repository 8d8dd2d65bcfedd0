"""The phone-number API as the configuration has it: the one place where the gateway meets it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry

from api.backup import BackupError, back_up, restore
from api.call_history import CallHistory
from api.calls import Calls
from api.calls_service import CallsService
from api.email_sender import Mailbox
from api.examination import examine
from api.live_gateway import LiveGateway
from api.metrics import ApiMetrics
from api.nodes import NodeDirectory
from api.publisher import FAILURES as PUBLISHING_FAILURES
from api.secret_box import SecretKeyError
from api.secret_keys import KEY_FILE
from api.service import FIRST_SYNC_SECONDS, ApiService, ApiStartError
from api.store.database import StoreUnavailable
from api.store.schema import SchemaError
from api.transcriber import Endpoint as TranscriptionEndpoint
from gateway.config import Settings
from gateway.recordings_place import open_store

FAILURES = (StoreUnavailable, SchemaError, OSError)
"""What opening a store of calls may raise."""

__all__ = [
    "FAILURES",
    "FIRST_SYNC_SECONDS",
    "KEY_FILE",
    "PUBLISHING_FAILURES",
    "ApiService",
    "ApiStartError",
    "BackupError",
    "Calls",
    "CallsService",
    "LiveGateway",
    "SchemaError",
    "SecretKeyError",
    "StoreUnavailable",
    "back_up",
    "examine",
    "make_calls_service",
    "make_service",
    "restore",
]


def make_service(
    settings: Settings,
    registry: CollectorRegistry | None = None,
    node: LiveGateway | None = None,
    nodes: NodeDirectory | None = None,
) -> ApiService:
    """The API, not yet opened.

    registry: where its metrics go; node: the gateway of this process; nodes: who knows all; None for none.
    """
    api = settings.api
    return ApiService(
        settings.data.dir,
        version=version("voice-gateway"),
        database_url=api.database_url.get_secret_value(),
        database_replica_urls=api.replica_urls,
        bootstrap_key=api.bootstrap_key.get_secret_value(),
        secret_key=api.secret_key.get_secret_value(),
        seed_file=api.seed_file,
        rate_limit=api.rate_limit,
        verify_interval=api.verify_interval,
        carrier_nodes=carrier_nodes(settings),
        carrier_urls=(settings.carriers.twilio_url, settings.carriers.telnyx_url),
        seller=settings.carriers.seller,
        public_url=settings.carriers.public_url,
        webhooks_private=settings.webhooks.allow_private,
        mailbox=mailbox(settings),
        transcription=transcription(settings),
        recordings=lambda: open_store(settings),
        node=node,
        nodes=nodes,
        history=call_history(settings),
        metrics=ApiMetrics(registry),
    )


def make_calls_service(
    settings: Settings,
    registry: CollectorRegistry,
    node: LiveGateway,
    key: str,
    nodes: NodeDirectory | None = None,
) -> CallsService:
    """The operations on calls alone, not yet opened, where no API is served; key: the operator's."""
    keys = [key]
    if settings.api.bootstrap_key.get_secret_value():
        keys.append(settings.api.bootstrap_key.get_secret_value())
    return CallsService(
        settings.data.dir,
        version=version("voice-gateway"),
        keys=keys,
        node=node,
        nodes=nodes,
        history=call_history(settings),
        rate_limit=settings.api.rate_limit,
        metrics=ApiMetrics(registry),
    )


def call_history(settings: Settings) -> CallHistory:
    """What is kept of calls."""
    history = settings.history
    return CallHistory(
        max_calls=history.max_calls, days=history.retention_days, mask=settings.logs.mask_personal_data
    )


def mailbox(settings: Settings) -> Mailbox | None:
    """Where voicemails are sent by email; None if nowhere."""
    email = settings.email
    if not email.host:
        return None
    return Mailbox(
        host=email.host,
        port=email.port,
        tls=email.tls,
        username=email.username,
        password=email.password.get_secret_value(),
        sender=email.sender,
        to=email.to,
        max_attachment=email.max_attachment_bytes,
    )


def transcription(settings: Settings) -> TranscriptionEndpoint | None:
    """Who writes voicemails down; None if nobody."""
    told = settings.transcription
    if not told.url:
        return None
    key = told.api_key.get_secret_value()
    return TranscriptionEndpoint(told.url, key, told.model, told.language, told.timeout)


def carrier_nodes(settings: Settings) -> Sequence[str]:
    """Where carriers reach this deployment; empty if nobody told."""
    if settings.carriers.nodes or not settings.sip.advertised_host:
        return settings.carriers.nodes
    host, port = settings.sip.advertised_host, settings.sip.listen[0].rpartition(":")[2]
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}",)
