"""Twilio's SDK, tamed: every call has a time limit, is made once, and fails with an error of ours.

Its asynchronous client ignores the timeout that it is given, so the time is kept here. It is not left to log
what it sends, which holds passwords and phone numbers. Imported only when an account is asked
(`api.carriers.connect`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final, TypeVar

import aiohttp
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from api.carriers.base import (
    AccountSuspended,
    CarrierError,
    CarrierUnavailable,
    CredentialsRefused,
    DocumentsNeeded,
    InsufficientFunds,
    NotConnected,
    NotFound,
    NumberUnavailable,
    Throttled,
)
from api.carriers.patience import THROTTLED, pause, retry_after
from api.carriers.wiring import CALL_SECONDS, TEMPORARY

Result = TypeVar("Result")

SUSPENDED: Final = frozenset({20005, 10001, 10002, 22300})
"""Codes of an account that is not active, is on trial, or may not buy."""

UNAVAILABLE: Final = frozenset({21421, 21422})
"""Codes of a number that is none, or that cannot be had."""

DOCUMENTS: Final = frozenset({21615, 21631, 21649, 21650, 21651})
"""Codes of a number that a regulation wants an address or a bundle for."""

NO_FUNDS: Final = re.compile(r"insufficient (?:funds|balance)|not enough (?:funds|credit)", re.IGNORECASE)
"""Twilio's list of codes has none for this; HTTP 402 and these words are taken for it."""

_silent: Final = logging.getLogger("api.carriers.twilio")
_silent.disabled = True


class PatientHttpClient(AsyncTwilioHttpClient):  # type: ignore[misc]  # it comes without types
    """Asks a question again that was throttled; the SDK's errors do not tell for how long to wait."""

    async def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
        """See the SDK. Raises CarrierUnavailable if Twilio goes on throttling."""
        user, password = options.pop("auth", None) or ("", "")
        if user:  # as a header of ours, since aiohttp deprecates the way in which the SDK gives it
            basic = base64.b64encode(f"{user}:{password}".encode()).decode()
            options["headers"] = {**(options.get("headers") or {}), "Authorization": f"Basic {basic}"}
        attempt = 1
        while True:
            response = await super().request(method, url, *args, **options)
            if response.status_code != THROTTLED:
                return response
            wait = pause(method, response.status_code, response.headers, attempt)
            if wait is None:
                raise Throttled("too many requests (20429)", retry_after(response.headers))
            await asyncio.sleep(wait)
            attempt += 1


@contextlib.asynccontextmanager
async def twilio_client(account_sid: str, auth_token: str, url: str = "") -> AsyncIterator[Client]:
    """Twilio's client for an account. url: where its API is, if not at Twilio."""
    http = PatientHttpClient(logger=_silent)
    client = Client(account_sid, auth_token, http_client=http)
    if url:
        client.api.base_url = client.trunking.base_url = client.voice.base_url = url.rstrip("/")
    try:
        yield client
    finally:
        await http.close()


async def asked(call: Awaitable[Result]) -> Result:
    """The result of one call. Raises CarrierError for whatever goes wrong."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await call
    except TimeoutError:
        raise CarrierUnavailable("no answer in time") from None
    except TwilioRestException as error:
        raise _of_twilio(error.status, error.code, error.msg) from None
    except TwilioException as error:
        raise _of_page(error) from None
    except aiohttp.ClientConnectorError as error:
        raise NotConnected(f"cannot be reached: {type(error).__name__}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise CarrierUnavailable(f"cannot be reached: {type(error).__name__}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # What is no JSON, or lacks what the SDK reads: a proxy's error page, for instance.
        raise CarrierUnavailable(f"an answer that its SDK cannot read: {type(error).__name__}") from None


def _of_twilio(status: int, code: int | None, words: str) -> CarrierError:
    text = f"{words} ({code})" if code else f"{words} (HTTP {status})"
    if code in SUSPENDED:
        return AccountSuspended(text)
    if status in {401, 403} and code in {20003, None}:
        return CredentialsRefused(text)
    if code in UNAVAILABLE:
        return NumberUnavailable(text)
    if code in DOCUMENTS:
        return DocumentsNeeded(text)
    if status == 402 or (status in {400, 403} and NO_FUNDS.search(words)):
        return InsufficientFunds(text)
    if status == 404:
        return NotFound(text)
    return CarrierUnavailable(text) if status in TEMPORARY else CarrierError(text)


def _of_page(error: TwilioException) -> CarrierError:
    """A list that is refused is another exception of Twilio's SDK, which holds the response unread."""
    response = error.args[1] if len(error.args) > 1 else None
    status = getattr(response, "status_code", None)
    if response is None or not isinstance(status, int):
        return CarrierUnavailable(f"an answer that its SDK cannot read: {type(error).__name__}")
    try:
        body = json.loads(response.text)
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    code = said.get("code")
    return _of_twilio(
        status, code if isinstance(code, int) else None, str(said.get("message") or error.args[0])
    )
