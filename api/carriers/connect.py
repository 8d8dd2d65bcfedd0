"""From an integration's credentials to the wiring of its account."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from api.carriers.sdk import asked, telnyx_client, twilio_client
from api.carriers.telnyx_wiring import TelnyxWiring
from api.carriers.twilio_wiring import TwilioWiring
from api.carriers.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of an account. account: Twilio's SID, which Telnyx does not need; key: token or API key."""

    carrier: str
    account: str | None
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CarrierUrls:
    """Where carriers' APIs are; empty: where the carriers have them."""

    twilio: str = ""
    telnyx: str = ""


@contextlib.asynccontextmanager
async def connect(credentials: Credentials, urls: CarrierUrls) -> AsyncIterator[Wiring]:
    """The wiring of an account; its connections are closed at the end."""
    if credentials.carrier == "twilio":
        async with twilio_client(credentials.account or "", credentials.key, urls.twilio) as twilio:
            yield TwilioWiring(twilio, asked)
    else:
        async with telnyx_client(credentials.key, urls.telnyx) as telnyx:
            yield TelnyxWiring(telnyx, asked)
