"""Addresses as the configuration means them: of the web server, of the media, and in public."""

from __future__ import annotations

import socket

import structlog

from gateway.config import Settings
from gateway.faults import StartError
from gateway.nat.discovery import DiscoveryError, discover

log = structlog.get_logger("gateway")


def web_address(text: str) -> tuple[str, int]:
    """Host and port of `web.listen`. Raises StartError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise StartError(f"web.listen: {text!r} is not host:port")
    return host.strip("[]"), int(port)


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


def media_host(bind: str, configured: str) -> str:
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
