"""The certificates of SIP over TLS: read at start, and again whenever their files change.

A renewal replaces files one after the other, so what is read may be half of each: a certificate that does
not fit its key, or a file cut short, is told and changes nothing, and is looked at again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.config import Settings
from gateway.destinations.stream_trunk import TrustError, trust
from gateway.sip.tls import Tls

LOOK_SECONDS: Final = 5.0
"""Between looks at the files: five `stat` calls, and nobody waits for a renewed certificate."""

SETTLE_SECONDS: Final = 1.0
"""After a change before the files are read: the other file of the pair is being written."""


class CertificateError(Exception):
    """A certificate cannot be used; the message names the configuration key, the file and the fault."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is said of a certificate.

    names: domains that it vouches for.
    """

    names: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime

    @property
    def seconds_left(self) -> float:
        """Until it expires; negative afterwards."""
        return (self.valid_until - datetime.now(UTC)).total_seconds()


@dataclass(slots=True)
class Certificates:
    """The files that SIP over TLS needs, and what was last read of them.

    tls: what connections are made with; its contexts are replaced by `reload`.
    certificate: ours; None if none is configured.
    on_reloaded: told ``"loaded"`` or ``"failed"``, and why.
    """

    settings: Settings
    tls: Tls
    certificate: Certificate | None
    on_reloaded: Callable[[str, str], None] = lambda result, why: None
    _seen: tuple[object, ...] = field(default=())

    @classmethod
    async def load(cls, settings: Settings, on_failure: Callable[[str, str], None]) -> Certificates:
        """Read everything.

        on_failure: see `Tls`.

        Raises:
            CertificateError: a file is missing, or is not what its key says.

        """
        seen = await asyncio.to_thread(_seen, settings)
        client, server, certificate = await asyncio.to_thread(_load, settings)
        return cls(settings, Tls(client, server, on_failure), certificate, _seen=seen)

    async def reload(self) -> None:
        """Read everything again, and take it over whole or not at all."""
        try:
            self._seen = await asyncio.to_thread(_seen, self.settings)
            client, server, certificate = await asyncio.to_thread(_load, self.settings)
        except CertificateError as error:
            self.on_reloaded("failed", str(error))
            return
        self.tls.client, self.tls.server, self.certificate = client, server, certificate
        self.on_reloaded("loaded", "")

    async def watch(self) -> None:
        """Reload whenever a file changes, for as long as the task lives."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if await asyncio.to_thread(_seen, self.settings) != self._seen:
                await asyncio.sleep(SETTLE_SECONDS)
                await self.reload()


def _files(settings: Settings) -> list[Path]:
    sip = settings.sip
    files = (sip.tls_certificate, sip.tls_key, sip.tls_client_ca, settings.agents.ca_file)
    return [file for file in files if file is not None]


def _seen(settings: Settings) -> tuple[object, ...]:
    """What tells one state of the files from another. Blocking."""
    states: list[object] = []
    for file in _files(settings):
        try:
            stat = file.stat()
        except OSError:
            states.append(None)
        else:
            states.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(states)


def _load(settings: Settings) -> tuple[ssl.SSLContext, ssl.SSLContext | None, Certificate | None]:
    """Contexts for our connections and for peers', and our certificate. Blocking. Raises CertificateError."""
    try:
        client = trust(settings.agents.ca_file)
    except TrustError as error:
        raise CertificateError(f"agents.ca_file: {error}") from None
    _harden(client)
    file = settings.sip.tls_certificate
    if file is None:
        return client, None, None
    certificate = read_certificate(file)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(server)
    for context in (server, client):  # agents that ask us for a certificate get it, too
        _load_chain(context, file, settings.sip.tls_key)
    authorities = settings.sip.tls_client_ca
    if authorities is not None:
        try:
            server.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(f"sip.tls_client_ca: {authorities}: {_words(error)}") from None
        # Not required: carriers that are known by their address have none, and others are turned away after.
        server.verify_mode = ssl.CERT_OPTIONAL
    return client, server, certificate


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996: older ones must not be spoken
    context.options |= ssl.OP_NO_RENEGOTIATION  # a peer could have us sign again and again


def _load_chain(context: ssl.SSLContext, file: Path, key: Path | None) -> None:
    def no_password() -> str:
        raise CertificateError(
            f"sip.tls_key: {key or file}: the key is encrypted; write it without a password"
        )

    try:
        context.load_cert_chain(file, key, no_password)
    except (OSError, ssl.SSLError) as error:
        named = f"sip.tls_key: {key}" if key is not None else f"sip.tls_certificate: {file}"
        raise CertificateError(f"{named}: {_words(error)}") from None


def read_certificate(file: Path) -> Certificate:
    """The first certificate of a file. Blocking.

    Raises:
        CertificateError: there is none.

    """
    try:
        first = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except OSError as error:
        raise CertificateError(f"sip.tls_certificate: {file}: {error.strerror}") from None
    except ValueError:
        raise CertificateError(f"sip.tls_certificate: {file}: no certificate in PEM") from None
    try:
        alternatives = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(
            [*alternatives.get_values_for_type(x509.DNSName)]
            + [str(address) for address in alternatives.get_values_for_type(x509.IPAddress)]
        )
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(names, first.not_valid_before_utc, first.not_valid_after_utc)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate"
        return f"not usable: {(error.reason or 'no PEM').replace('_', ' ').lower()}"
    return error.strerror or str(error)
