"""One Telnyx account."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from api.carriers.connect import Account, CarrierUrls, Credentials
from api.carriers.telnyx import TelnyxCarrier
from api.carriers.telnyx_sdk import asked, telnyx_client
from api.carriers.telnyx_wiring import TelnyxWiring


@contextlib.asynccontextmanager
async def account(credentials: Credentials, urls: CarrierUrls) -> AsyncIterator[Account]:
    """See `api.carriers.connect`."""
    async with telnyx_client(credentials.key, urls.telnyx) as client:
        yield Account(TelnyxCarrier(client, asked), TelnyxWiring(client, asked))
