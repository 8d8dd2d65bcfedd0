"""Whether an agent's WebSocket can be reached: TCP, and TLS with its certificate; never a handshake.

A handshake may start a paid session, or make an agent greet nobody. What listens and shows the right
certificate is alive; whether it takes a call is for the call to find out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from yarl import URL


async def fault_of(url: str, trusted: ssl.SSLContext) -> str | None:
    """What is wrong with the way to a ``ws:`` or ``wss:`` URL, None if nothing is; give it a time limit."""
    try:
        address = URL(url)
        host, port = address.host, address.port
    except ValueError as error:
        return f"not a URL: {error}"
    if not host or port is None:
        return "the URL names no host"
    try:
        _, writer = await asyncio.open_connection(
            host, port, ssl=trusted if address.scheme == "wss" else None
        )
    except ssl.SSLCertVerificationError as error:
        return f"certificate refused: {error.verify_message}"
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None
