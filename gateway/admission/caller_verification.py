"""Whether the calling number is the caller's: PASSporTs verified, their certificates fetched and kept."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509

from gateway.admission.carriers import IdentityPolicy
from gateway.admission.passport import IdentityError, Passport, read_chain
from gateway.sip.addresses import is_ip_literal, is_public

MAX_CERTIFICATE: Final = 65_536
"""Bytes of a certificate chain; they take four thousand."""

KNOWN_CERTIFICATES: Final = 512
"""Chains kept: a country's providers have some hundreds. The longest known goes first."""

KEPT_SECONDS: Final = 3600.0
"""Seconds until a chain is fetched anew: what is revoked is believed no longer than that."""

REFUSED_SECONDS: Final = 30.0
"""Seconds until a place that gave none is asked again, lest every call waits for it."""

PATIENCE: Final = 1.0
"""Seconds that a call waits for a certificate: its 100 is out, and the carrier waits for the 180."""

PASSED: Final = "TN-Validation-Passed"
FAILED: Final = "TN-Validation-Failed"
NONE: Final = "No-TN-Validation"

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets what is at an https URL. Raises OSError, TimeoutError or aiohttp.ClientError."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a caller's number.

    verstat: as Twilio and others call it: ``TN-Validation-Passed-A``, ``TN-Validation-Failed``,
        ``No-TN-Validation``.
    refusal: with what a call is refused that must be verified; None for one that may go on.
    """

    verstat: str
    refusal: IdentityError | None = None


class CallerVerification:
    """Verifies callers by their Identity headers.

    Args:
        fetch: gets certificates.
        roots: whom we trust to vouch for signers; nobody passes without.
        clock: monotonic seconds; wall_clock: seconds since the epoch.

    """

    def __init__(
        self,
        fetch: Fetch,
        roots: Sequence[x509.Certificate],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._roots = roots
        self._clock = clock
        self._wall_clock = wall_clock
        self._known: dict[str, tuple[float, list[x509.Certificate] | None]] = {}
        self._fetching: dict[str, asyncio.Task[list[x509.Certificate]]] = {}

    async def judge(
        self, policy: IdentityPolicy, identities: Sequence[str], caller: str, called: str
    ) -> Verdict:
        """What a call's Identity headers prove. Bounded by `PATIENCE`; raises nothing.

        identities: their values; the first that is valid counts.
        """
        if not identities:
            missing = IdentityError(428, "Use Identity Header")
            return Verdict(NONE, missing if policy == "require" else None)
        failure: IdentityError | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                for value in identities:
                    try:
                        passport = Passport.parse(value)
                        passport.check(caller, called, self._wall_clock())
                        chain = await self._chain(passport.info)
                        passport.verify(chain, self._roots, datetime.fromtimestamp(self._wall_clock(), UTC))
                    except IdentityError as error:
                        failure = failure or error
                    else:
                        grade = f"-{passport.attestation}" if passport.attestation else ""
                        return Verdict(PASSED + grade)
        failure = failure or IdentityError(436, "Bad Identity Info")
        return Verdict(FAILED, failure if policy == "require" else None)

    async def _chain(self, url: str) -> list[x509.Certificate]:
        """The chain at a URL, from memory if it is not too old. Raises IdentityError (436)."""
        known = self._known.get(url)
        if known is not None and known[0] > self._clock():
            if known[1] is None:
                raise IdentityError(436, "Bad Identity Info")
            return known[1]
        task = self._fetching.get(url)
        if task is None:
            if len(self._fetching) >= KNOWN_CERTIFICATES:
                raise IdentityError(436, "Bad Identity Info")
            task = self._fetching[url] = asyncio.create_task(self._fetched(url))
            task.add_done_callback(lambda done: self._fetch_over(url, done))
        return await asyncio.shield(task)

    def _fetch_over(self, url: str, task: asyncio.Task[list[x509.Certificate]]) -> None:
        self._fetching.pop(url, None)
        if not task.cancelled():
            task.exception()  # perhaps nobody waits for it any more

    async def _fetched(self, url: str) -> list[x509.Certificate]:
        """Fetch a chain for all calls that wait for it, and keep it, or that there is none."""
        chain: list[x509.Certificate] | None = None
        try:
            chain = read_chain(await self._fetch(url))
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError):
            raise IdentityError(436, "Bad Identity Info") from None
        finally:
            self._keep(url, chain)
        return chain

    def _keep(self, url: str, chain: list[x509.Certificate] | None) -> None:
        self._known.pop(url, None)
        if len(self._known) >= KNOWN_CERTIFICATES:
            del self._known[next(iter(self._known))]
        seconds = KEPT_SECONDS if chain is not None else REFUSED_SECONDS
        self._known[url] = self._clock() + seconds, chain

    async def close(self) -> None:
        """Stop fetching."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class CertificateFetch:
    """Gets certificates over https, from public addresses only: any caller may name the place.

    Args:
        session: made by `open_session`.

    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(self, url: str) -> bytes:
        """See `Fetch`; no redirect is followed, and `MAX_CERTIFICATE` bytes are read at most."""
        host = urlsplit(url).hostname or ""
        if is_ip_literal(host) and not is_public(host):
            raise OSError(f"{host} is not public")
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise OSError(f"{response.status} from {host}")
            data = await response.content.read(MAX_CERTIFICATE + 1)
            while len(data) <= MAX_CERTIFICATE and (more := await response.content.readany()):
                data += more
            if len(data) > MAX_CERTIFICATE:
                raise OSError(f"too much from {host}")
            return data


class _PublicOnly(AbstractResolver):
    """Resolves names, and leaves out addresses that are not on the public Internet."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        public = [each for each in found if is_public(each["host"])]
        if not public:
            raise OSError(f"{host} is not public")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def open_session() -> aiohttp.ClientSession:
    """What certificates are fetched with."""
    options: dict[str, Any] = {"resolver": _PublicOnly(), "limit": 16, "force_close": True}
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(**options), timeout=aiohttp.ClientTimeout(total=10.0)
    )


def load_roots(path: Path | None) -> list[x509.Certificate]:
    """The certificates of a PEM file; none without a file.

    Raises:
        OSError, ValueError: it cannot be read, or has none.

    """
    return [] if path is None else x509.load_pem_x509_certificates(path.read_bytes())
