"""Telnyx's SDK, tamed: every call has a time limit, is made once, and fails with an error of ours.

Left to itself it repeats what failed, purchases included. Importing it takes seconds, so that it is imported
only when an account is asked, and in a thread (`api.carriers.connect`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Final, TypeVar

import httpx
import telnyx

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
from api.carriers.wiring import CALL_SECONDS, MAX_LISTED, TEMPORARY

Result = TypeVar("Result")

CODES: Final[Mapping[str, type[CarrierError]]] = {
    "10002": NumberUnavailable,
    "10027": NumberUnavailable,
    "20100": InsufficientFunds,
}
"""A number that is none, one that cannot be had, a balance that is too low (Telnyx's page on API errors)."""

WORDS: Final[Sequence[tuple[re.Pattern[str], type[CarrierError]]]] = (
    (
        re.compile(r"account .*(?:inactive|blocked|suspended|disabled|unverified)", re.IGNORECASE),
        AccountSuspended,
    ),
    (re.compile(r"insufficient funds", re.IGNORECASE), InsufficientFunds),
    (re.compile(r"regulatory|requirement", re.IGNORECASE), DocumentsNeeded),
)
"""What other codes mean, by their titles: Telnyx has hundreds, several for the same thing."""


class PatientTransport(httpx.AsyncHTTPTransport):
    """Asks a question again that was throttled, and nothing else."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        attempt = 1
        while True:
            response = await super().handle_async_request(request)
            wait = pause(request.method, response.status_code, response.headers, attempt)
            if wait is None:
                return response
            await response.aclose()
            await asyncio.sleep(wait)
            attempt += 1


@contextlib.asynccontextmanager
async def telnyx_client(api_key: str, url: str = "") -> AsyncIterator[telnyx.AsyncTelnyx]:
    """Telnyx's client for an account. url: where its API is, if not at Telnyx."""
    base = f"{url.rstrip('/')}/v2" if url else None
    http = httpx.AsyncClient(transport=PatientTransport(), timeout=CALL_SECONDS)
    async with telnyx.AsyncTelnyx(
        api_key=api_key, base_url=base, max_retries=0, timeout=CALL_SECONDS, http_client=http
    ) as client:
        yield client


async def all_of(pages: AsyncIterable[Any]) -> list[Any]:
    """What a list has, page after page; MAX_LISTED at most."""
    found: list[Any] = []
    async for each in pages:
        found.append(each)
        if len(found) >= MAX_LISTED:
            break
    return found


async def asked(call: Awaitable[Result]) -> Result:
    """The result of one call. Raises CarrierError for whatever goes wrong."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            result = await call
    except TimeoutError:
        raise CarrierUnavailable("no answer in time") from None
    except telnyx.APIStatusError as error:
        raise _of_telnyx(error) from None
    except telnyx.APIConnectionError as error:
        if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
            raise NotConnected(f"cannot be reached: {type(error).__name__}") from None
        raise CarrierUnavailable(f"cannot be reached: {type(error).__name__}") from None
    except OSError as error:
        raise CarrierUnavailable(f"cannot be reached: {type(error).__name__}") from None
    except (telnyx.TelnyxError, ValueError, TypeError, KeyError, AttributeError) as error:
        # What is no JSON, or lacks what the SDK reads: a proxy's error page, for instance.
        raise CarrierUnavailable(f"an answer that its SDK cannot read: {type(error).__name__}") from None
    if isinstance(result, str):  # what it gives back, whatever its types say, when a success is no JSON
        raise CarrierUnavailable("an answer that is no JSON")
    return result


def _of_telnyx(error: telnyx.APIStatusError) -> CarrierError:
    text = _words(error.body) or f"HTTP {error.status_code}"
    if error.status_code == 401:
        return CredentialsRefused(text)
    if (kind := _kind(error.body)) is not None:
        return kind(text)
    if error.status_code == 404:
        return NotFound(text)
    if error.status_code == 402:
        return InsufficientFunds(text)
    if error.status_code == THROTTLED:
        return Throttled(text, retry_after(error.response.headers))
    if error.status_code in TEMPORARY:
        return CarrierUnavailable(text, retry_after(error.response.headers))
    return CarrierError(text)


def _words(body: Any) -> str:
    """What Telnyx says in an error, all in one line; empty if it is none of its own."""
    return "; ".join(
        f"{each.get('detail') or each.get('title')} ({each.get('code')})" for each in _told(body)
    )


def _kind(body: Any) -> type[CarrierError] | None:
    """What an error is, if its code or its title tells."""
    for each in _told(body):
        if (kind := CODES.get(str(each.get("code")))) is not None:
            return kind
        for pattern, kind in WORDS:
            if pattern.search(str(each.get("title"))):
                return kind
    return None


def _told(body: Any) -> list[dict[str, Any]]:
    errors = body.get("errors") if isinstance(body, dict) else None
    return [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
