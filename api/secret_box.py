"""Secrets at rest: AES-256-GCM, bound to the record that they belong to.

A sealed secret is: format (1 byte), which key (4 bytes), nonce (12 bytes), ciphertext and tag. The first key
of the ring seals; all of them open, so that a key can be replaced while what it sealed is being sealed anew.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
FORMAT: Final = b"\x01"
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD: Final = len(FORMAT) + _ID_BYTES

MAX_KEYS: Final = 8
"""In a ring: the present one, and those that a rotation has not finished with."""


class SecretKeyError(Exception):
    """The key is missing, malformed, unprotected, or not the one that sealed; the message says what to do."""


class SecretBox:
    """Seals and opens.

    Args:
        keys: of 32 bytes each; the first one seals.

    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.use(keys)

    def use(self, keys: Sequence[bytes]) -> None:
        """Take other keys from now on."""
        self._ring = {_key_id(key): AESGCM(key) for key in keys}
        self._current = _key_id(keys[0])

    def __repr__(self) -> str:
        return f"SecretBox({len(self._ring)} keys)"

    def seal(self, secret: bytes, owner: str) -> bytes:
        """Encrypt; owner: whose secret it is, as in `number:phn_…`, without which it does not open."""
        nonce = os.urandom(_NONCE_BYTES)
        head = FORMAT + self._current
        return head + nonce + self._ring[self._current].encrypt(nonce, secret, head + owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """Decrypt.

        Raises:
            SecretKeyError: no key of the ring sealed it, or it is damaged, or somebody else's.

        """
        head, nonce = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE_BYTES]
        if len(nonce) < _NONCE_BYTES:
            raise SecretKeyError(f"a secret of {owner} is cut off: restore the store from a backup")
        cipher = self._ring.get(head[len(FORMAT) :]) if head.startswith(FORMAT) else None
        if cipher is None:
            raise SecretKeyError(
                f"a secret of {owner} was sealed with a key that is not here: "
                "restore the key file, or add the old key to api.secret_key"
            )
        try:
            return cipher.decrypt(nonce, sealed[_HEAD + _NONCE_BYTES :], head + owner.encode())
        except InvalidTag:
            raise SecretKeyError(f"a secret of {owner} is damaged: restore the store from a backup") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether the present key sealed it."""
        return sealed[:_HEAD] == FORMAT + self._current


def parse_keys(text: str, where: str) -> list[bytes]:
    """Keys in base64, separated by commas or lines. Raises SecretKeyError; `where` stands in it."""
    keys = []
    for part in text.replace(",", "\n").split():
        try:
            key = base64.b64decode(part, altchars=b"-_" if {"-", "_"} & set(part) else None, validate=True)
        except (binascii.Error, ValueError):
            raise SecretKeyError(f"{where}: not base64: make a key with `openssl rand -base64 32`") from None
        if len(key) != KEY_BYTES:
            raise SecretKeyError(f"{where}: a key has {KEY_BYTES} bytes, this one {len(key)}")
        keys.append(key)
    if not 1 <= len(keys) <= MAX_KEYS:
        raise SecretKeyError(f"{where}: expected 1 to {MAX_KEYS} keys, found {len(keys)}")
    return keys


def load_keys(path: Path) -> list[bytes]:
    """Read a key file, or make it if there is none. Blocks.

    Raises:
        SecretKeyError: others may read it, or it is malformed.
        OSError: it cannot be read or made.

    """
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            _write(fresh, [new_key()])
            with contextlib.suppress(FileExistsError):  # another process was first: its key counts
                path.hardlink_to(fresh)
        finally:
            fresh.unlink(missing_ok=True)
        _keep_names(path.parent)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretKeyError(f"{path}: others may read it: chmod 600 {path}")
    return parse_keys(path.read_text(encoding="ascii", errors="replace"), str(path))


def save_keys(path: Path, keys: Sequence[bytes]) -> None:
    """Replace a key file in one step. Blocks. Raises OSError."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    _write(fresh, keys)
    fresh.replace(path)
    _keep_names(path.parent)


def _write(path: Path, keys: Sequence[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write("".join(base64.b64encode(key).decode() + "\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())


def _keep_names(directory: Path) -> None:
    """Have a file's new name survive a power cut: without its key a store is worth nothing."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def new_key() -> bytes:
    """A fresh key."""
    return os.urandom(KEY_BYTES)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"voice-gateway secret key id" + key).digest()[:_ID_BYTES]
