"""One Twilio account."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from api.carriers.connect import Account, CarrierUrls, Credentials
from api.carriers.twilio import TwilioCarrier
from api.carriers.twilio_sdk import asked, twilio_client
from api.carriers.twilio_wiring import TwilioWiring


@contextlib.asynccontextmanager
async def account(credentials: Credentials, urls: CarrierUrls) -> AsyncIterator[Account]:
    """See `api.carriers.connect`."""
    async with twilio_client(credentials.account or "", credentials.key, urls.twilio) as client:
        yield Account(TwilioCarrier(client, asked), TwilioWiring(client, asked))
