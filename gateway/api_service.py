"""The phone-number API as the configuration has it: the one place where the gateway meets it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry

from api.backup import BackupError, back_up, restore
from api.email_sender import Mailbox
from api.examination import examine
from api.metrics import ApiMetrics
from api.publisher import FAILURES as PUBLISHING_FAILURES
from api.secret_box import SecretKeyError
from api.secret_keys import KEY_FILE
from api.service import FIRST_SYNC_SECONDS, ApiService, ApiStartError
from api.store.database import StoreUnavailable
from api.store.schema import SchemaError
from gateway.config import Settings
from gateway.recordings_place import open_store

__all__ = [
    "FIRST_SYNC_SECONDS",
    "KEY_FILE",
    "PUBLISHING_FAILURES",
    "ApiService",
    "ApiStartError",
    "BackupError",
    "SchemaError",
    "SecretKeyError",
    "StoreUnavailable",
    "back_up",
    "examine",
    "make_service",
    "restore",
]


def make_service(settings: Settings, registry: CollectorRegistry | None = None) -> ApiService:
    """The API, not yet opened; registry: where its metrics go."""
    api = settings.api
    return ApiService(
        settings.data.dir,
        version=version("voice-gateway"),
        database_url=api.database_url.get_secret_value(),
        bootstrap_key=api.bootstrap_key.get_secret_value(),
        secret_key=api.secret_key.get_secret_value(),
        seed_file=api.seed_file,
        rate_limit=api.rate_limit,
        verify_interval=api.verify_interval,
        carrier_nodes=carrier_nodes(settings),
        carrier_urls=(settings.carriers.twilio_url, settings.carriers.telnyx_url),
        public_url=settings.carriers.public_url,
        webhooks_private=settings.webhooks.allow_private,
        mailbox=mailbox(settings),
        recordings=lambda: open_store(settings),
        metrics=ApiMetrics(registry),
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


def carrier_nodes(settings: Settings) -> Sequence[str]:
    """Where carriers reach this deployment; empty if nobody told."""
    if settings.carriers.nodes or not settings.sip.advertised_host:
        return settings.carriers.nodes
    host, port = settings.sip.advertised_host, settings.sip.listen[0].rpartition(":")[2]
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}",)
