"""The wiring of one Twilio account."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from api.carriers.connect import CarrierUrls, Credentials
from api.carriers.twilio_sdk import asked, twilio_client
from api.carriers.twilio_wiring import TwilioWiring
from api.carriers.wiring import Wiring


@contextlib.asynccontextmanager
async def wiring(credentials: Credentials, urls: CarrierUrls) -> AsyncIterator[Wiring]:
    """See `api.carriers.connect`."""
    async with twilio_client(credentials.account or "", credentials.key, urls.twilio) as client:
        yield TwilioWiring(client, asked)
