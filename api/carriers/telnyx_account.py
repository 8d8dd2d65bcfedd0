"""The wiring of one Telnyx account."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from api.carriers.connect import CarrierUrls, Credentials
from api.carriers.telnyx_sdk import asked, telnyx_client
from api.carriers.telnyx_wiring import TelnyxWiring
from api.carriers.wiring import Wiring


@contextlib.asynccontextmanager
async def wiring(credentials: Credentials, urls: CarrierUrls) -> AsyncIterator[Wiring]:
    """See `api.carriers.connect`."""
    async with telnyx_client(credentials.key, urls.telnyx) as client:
        yield TelnyxWiring(client, asked)
