"""`voice-gateway api`."""

from __future__ import annotations

import sys

import uvloop

from gateway.api_process import serve_api
from gateway.api_service import ApiService
from gateway.cli.first_key import FIRST_KEY
from gateway.config import Settings
from gateway.telemetry import logs


def run(settings: Settings, listen: str | None) -> None:
    """Run until told to stop. Raises StartError."""
    writer = logs.configure(settings.logs.level, settings.logs.format, mask=settings.logs.mask_personal_data)
    try:
        uvloop.run(serve_api(settings, listen or settings.web.listen, _show_first_key))
    finally:
        writer.close()


def _show_first_key(service: ApiService, address: tuple[str, int]) -> None:
    if service.first_key is not None:
        web = "{}:{}".format(*address)
        sys.stderr.write(FIRST_KEY.format(key=service.first_key, web=web))
        sys.stderr.flush()
