"""The phone-number API as the configuration has it: the one place where the gateway meets it."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry

from api.metrics import ApiMetrics
from api.publisher import FAILURES as PUBLISHING_FAILURES
from api.service import FIRST_SYNC_SECONDS, ApiService, ApiStartError
from gateway.config import Settings

__all__ = ["FIRST_SYNC_SECONDS", "PUBLISHING_FAILURES", "ApiService", "ApiStartError", "make_service"]


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
        metrics=ApiMetrics(registry),
    )
