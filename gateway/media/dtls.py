"""DTLS of one stream (RFC 6347, RFC 5764) without sockets or clocks: datagrams in, datagrams and keys out.

By OpenSSL, which keeps its own time for what it sends again: whoever owns an association asks `timeout` after
each step, and calls `expire` when that has passed.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

MTU: Final = 1_200
"""Bytes of a datagram: handshakes pass every tunnel."""

MAX_DATAGRAMS: Final = 200
"""Datagrams of one association that are looked at; a handshake has ten, and each may come a few times."""

RECORD_HEADER: Final = 13

_SUITES: Final = {
    b"SRTP_AES128_CM_SHA1_80": ("AES_CM_128_HMAC_SHA1_80", 16, 14),
    b"SRTP_AEAD_AES_256_GCM": ("AEAD_AES_256_GCM", 32, 12),
    b"SRTP_AEAD_AES_128_GCM": ("AEAD_AES_128_GCM", 16, 12),
    b"SRTP_AES128_CM_SHA1_32": ("AES_CM_128_HMAC_SHA1_32", 16, 14),
}
"""OpenSSL's names in the order in which we want them: what SDES calls them, bytes of key and of salt."""

_HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {
    "sha-256": hashes.SHA256,
    "sha-384": hashes.SHA384,
    "sha-512": hashes.SHA512,
}

_LABEL: Final = b"EXTRACTOR-dtls_srtp"  # RFC 5764 §4.2

Digest: TypeAlias = tuple[str, bytes]
"""An algorithm as fingerprints name it, and what it makes of a certificate."""


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """What a handshake ends with. ours: seals what we send; theirs: opens what comes; key and salt each."""

    suite: str
    ours: bytes = field(repr=False)
    theirs: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """The certificate that this process shows, whose SHA-256 stands in its session descriptions."""

    context: SSL.Context = field(repr=False)
    digest: bytes


@functools.cache
def identity() -> Identity:
    """Made at the first need, and new with each process: nobody vouches for it but the descriptions."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "voice-gateway")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3_650))
        .sign(key, hashes.SHA256())
    )
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES")
    context.set_tlsext_use_srtp(b":".join(_SUITES))
    # Peers sign their certificates themselves; which one it must be says the description.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *verified: True)
    return Identity(context, certificate.fingerprint(hashes.SHA256()))


class Association:
    """One handshake.

    Attributes:
        keys: what came of it; None before its end.
        failure: why it will not come to one; empty while it may.

    """

    def __init__(self, own: Identity, peer: Sequence[Digest], *, client: bool) -> None:
        """peer: of its certificate, one of which must be right. client: whether we begin."""
        self._connection = SSL.Connection(own.context, None)
        self._connection.set_ciphertext_mtu(MTU)
        self._peer = peer
        self._client = client
        self._left = MAX_DATAGRAMS
        if client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self.keys: StreamKeys | None = None
        self.failure = ""

    def begin(self) -> list[bytes]:
        """What is to be sent first; nothing if the peer begins."""
        return self._step() if self._client else []

    def receive(self, datagram: bytes) -> list[bytes]:
        """A datagram of the peer's; what is to be sent. Raises nothing."""
        if self.failure or not self._left:
            return []
        self._left -= 1
        self._connection.bio_write(datagram)
        if self.keys is None:
            return self._step()
        # Its last flight again, since ours got lost; or a goodbye, which the end of the call says anyway.
        with suppress(SSL.Error):
            self._connection.recv(1)
        return self._out()

    @property
    def timeout(self) -> float | None:
        """Seconds until `expire` is due; None if nothing is waited for."""
        if self.keys is not None or self.failure:
            return None
        left: float | None = self._connection.DTLSv1_get_timeout()
        return left

    def expire(self) -> list[bytes]:
        """The peer has not answered: what is to be sent again. Raises nothing."""
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self.failure = "no answer to the DTLS handshake"
        return self._out()

    def digest(self, algorithm: str) -> bytes:
        """The digest of the peer's certificate, by the name that fingerprints have for it."""
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        return b"" if certificate is None else certificate.fingerprint(_HASHES[algorithm]())

    def _step(self) -> list[bytes]:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.failure = f"DTLS: {_words(error)}"
        else:
            self._agree()
        return self._out()

    def _agree(self) -> None:
        if not any(self.digest(algorithm) == digest for algorithm, digest in self._peer):
            self.failure = "the certificate is not that of the session description"
            return
        chosen = _SUITES.get(self._connection.get_selected_srtp_profile())
        if chosen is None:
            self.failure = "DTLS without an SRTP suite of ours"
            return
        suite, key, salt = chosen
        material = self._connection.export_keying_material(_LABEL, 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        ours, theirs = (client, server) if self._client else (server, client)
        self.keys = StreamKeys(suite, ours, theirs)

    def _out(self) -> list[bytes]:
        """What OpenSSL has written, who knows no datagrams in memory: whole records, as many as fit."""
        written = b""
        with suppress(SSL.Error):
            while True:
                written += self._connection.bio_read(0x10000)
        datagrams: list[bytes] = []
        at = 0
        while at < len(written):
            length = RECORD_HEADER + int.from_bytes(written[at + 11 : at + 13], "big")
            record = written[at : at + length]
            at += length
            if datagrams and len(datagrams[-1]) + length <= MTU:
                datagrams[-1] += record
            else:
                datagrams.append(record)
        return datagrams


def _words(error: SSL.Error) -> str:
    """OpenSSL's reason."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return str(reasons[0][-1]) if reasons else "the handshake failed"
