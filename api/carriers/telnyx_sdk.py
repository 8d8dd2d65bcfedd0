"""Telnyx's SDK, tamed: every call has a time limit, is made once, and fails with an error of ours.

Left to itself it repeats what failed, purchases included. Importing it takes seconds, so that it is imported
only when an account is asked, and in a thread (`api.carriers.connect`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import httpx
import telnyx

from api.carriers.base import CarrierError, CarrierUnavailable, CredentialsRefused
from api.carriers.patience import pause, retry_after
from api.carriers.wiring import CALL_SECONDS, TEMPORARY

Result = TypeVar("Result")


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


async def asked(call: Awaitable[Result]) -> Result:
    """The result of one call. Raises CarrierError for whatever goes wrong."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            result = await call
    except TimeoutError:
        raise CarrierUnavailable("no answer in time") from None
    except telnyx.APIStatusError as error:
        raise _of_telnyx(error) from None
    except (telnyx.APIConnectionError, OSError) as error:
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
    if error.status_code in TEMPORARY:
        return CarrierUnavailable(text, retry_after(error.response.headers))
    return CarrierError(text)


def _words(body: Any) -> str:
    """What Telnyx says in an error, all in one line; empty if it is none of its own."""
    errors = body.get("errors") if isinstance(body, dict) else None
    told = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    return "; ".join(f"{each.get('detail') or each.get('title')} ({each.get('code')})" for each in told)
