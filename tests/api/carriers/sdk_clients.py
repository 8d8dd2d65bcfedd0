"""The carriers' own SDKs, pointed at local carriers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import aiohttp
import telnyx
from twilio.base.exceptions import TwilioException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from api.carriers.base import CarrierError
from api.carriers.connect import Account, CarrierUrls, Credentials, connect
from api.carriers.telnyx_wiring import TelnyxWiring
from api.carriers.twilio_wiring import TwilioWiring
from tests.carriers.telnyx_server import TelnyxServer
from tests.carriers.twilio_server import TwilioServer

SECONDS = 2.0
"""For a local carrier to answer; a silent one is given up after them."""


async def ask(call: Awaitable[Any]) -> Any:
    """One call of an SDK, whatever it raises."""
    try:
        async with asyncio.timeout(SECONDS):
            return await call
    except (TwilioException, telnyx.TelnyxError, aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CarrierError(str(error) or type(error).__name__) from error


async def no_pause(seconds: float) -> None:
    """Instead of sleeping."""
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def twilio_wiring(server: TwilioServer) -> AsyncIterator[TwilioWiring]:
    """Wires the account of a local Twilio, which must end without a violation."""
    async with server.running() as address:
        http = AsyncTwilioHttpClient()
        client = Client(server.account_sid, server.auth_token, http_client=http)
        client.api.base_url = client.trunking.base_url = client.voice.base_url = address
        try:
            yield TwilioWiring(client, ask, no_pause)
        finally:
            await http.close()
    server.check()


@contextlib.asynccontextmanager
async def telnyx_wiring(server: TelnyxServer) -> AsyncIterator[TelnyxWiring]:
    """Wires the account of a local Telnyx, which must end without a violation."""
    async with (
        server.running() as address,
        telnyx.AsyncTelnyx(api_key=server.api_key, base_url=f"{address}/v2", max_retries=0) as client,
    ):
        yield TelnyxWiring(client, ask, no_pause)
    server.check()


@contextlib.asynccontextmanager
async def account_at(server: TwilioServer | TelnyxServer) -> AsyncIterator[Account]:
    """The account of a local carrier as the API opens it; the carrier must end without a violation."""
    name = "twilio" if isinstance(server, TwilioServer) else "telnyx"
    key = server.auth_token if isinstance(server, TwilioServer) else server.api_key
    number = server.account_sid if isinstance(server, TwilioServer) else None
    async with (
        server.running() as address,
        connect(Credentials(name, number, key), CarrierUrls(address, address)) as account,
    ):
        yield account
    server.check()
