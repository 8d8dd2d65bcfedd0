"""`voice-gateway trace`: what went over the wire for one call."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli.api_client import ApiClient, ApiTarget
from gateway.cli.calls import call_id
from gateway.cli.errors import UsageError
from gateway.cli.gateway_client import with_gateway
from gateway.cli.output import print_json, say


def run(target: ApiTarget, call: str, pcap: Path | None, *, as_json: bool) -> None:
    """Print a trace, or write its packets to a file. Raises UsageError."""

    async def work(api: ApiClient) -> Any:
        path = f"/calls/{quote(await call_id(api, call), safe='')}/trace"
        if as_json:
            return await api.request("GET", path)
        received = io.BytesIO()
        await api.download(f"{path}.txt" if pcap is None else f"{path}.pcap", received)
        return received.getvalue()

    found = with_gateway(target, work)
    if as_json:
        print_json(found)
    elif pcap is None:
        sys.stdout.write(found.decode())
    elif str(pcap) == "-":
        sys.stdout.buffer.write(found)
    else:
        try:
            pcap.write_bytes(found)
        except OSError as error:
            raise UsageError(f"{pcap}: {error.strerror or error}") from None
        say(f"{len(found)} bytes in {pcap}")
