"""/etc/hosts: names that an operator, Docker or Kubernetes gave to addresses; they go before DNS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from gateway.sip.addresses import is_ip_literal

HOSTS: Final = Path("/etc/hosts")

MAX_HOSTS_BYTES: Final = 1_048_576
"""What is read of it: some ten thousand names."""

REREAD: Final = 30.0
"""Seconds after which it is read again."""

LOCAL: Final = ("127.0.0.1", "::1")
"""What localhost means without being in the file (RFC 6761 §6.3)."""


class HostsFile:
    """The addresses of names; read again now and then. Belongs to one event loop."""

    def __init__(self, path: Path = HOSTS) -> None:
        self._path = path
        self._names: dict[str, tuple[str, ...]] = {}
        self._read_at = float("-inf")

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name in lower case, in order; none if the file does not have it."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at > REREAD:
            self._read_at = now
            self._names = await asyncio.to_thread(_read, self._path)
        found = self._names.get(name, ())
        return found or (LOCAL if name == "localhost" or name.endswith(".localhost") else ())


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    try:
        with path.open("rb") as file:
            text = file.read(MAX_HOSTS_BYTES).decode("utf-8", "replace")
    except OSError:
        return {}
    for line in text.splitlines():
        address, *named = line.partition("#")[0].split()[:64] or ("",)
        if is_ip_literal(address):
            for name in named:
                known = names.get(name.lower(), ())
                names[name.lower()] = known if address in known else (*known, address)
    return names
