"""From an integration's credentials to its account: its numbers, and its wiring."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib import import_module

from api.carriers.base import Carrier
from api.carriers.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of an account.

    carrier: twilio or telnyx; account: Twilio's SID, which Telnyx does not need; key: token or API key.
    """

    carrier: str
    account: str | None
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CarrierUrls:
    """Where carriers' APIs are; empty: where the carriers have them."""

    twilio: str = ""
    telnyx: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """What can be done with an account. wiring: None where there is nothing to wire."""

    carrier: Carrier
    wiring: Wiring | None = None


@contextlib.asynccontextmanager
async def connect(credentials: Credentials, urls: CarrierUrls) -> AsyncIterator[Account]:
    """An account; its connections are closed at the end.

    A carrier's SDK is imported now, in a thread, and not before: that takes seconds, and calls are going on.
    """
    module = await asyncio.to_thread(import_module, f"api.carriers.{credentials.carrier}_account")
    async with module.account(credentials, urls) as account:
        yield account
