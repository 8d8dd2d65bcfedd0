"""Asks another deployment of the phone-number API for its lists; whatever it may answer has a bound."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

NUMBERS: Final = "/v1/phone-numbers"
NUMBERS_BY_CURSOR: Final = "/v1/phone-numbers/cursor"
AGENTS: Final = "/v1/agents"

CURSOR_PAGE: Final = 250
"""Records asked for at once: taking one page over holds the event loop for some milliseconds."""

OFFSET_PAGE: Final = 100

MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
MAX_PAGE_RECORDS: Final = 1_000
MAX_RECORDS: Final = 5_000_000
"""In one list: one that never ends is a mistake."""

MAX_RETRY_AFTER: Final = 300
"""Seconds that the API may send us away for."""

REQUEST_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0


class RemoteError(Exception):
    """The API did not answer, or not what it should; the message says what, and the key to look at.

    retry_after: seconds that it wants to be left alone.
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class NotOfferedError(RemoteError):
    """The deployment does not know the path, the method or the parameter."""


class ListMovedError(RemoteError):
    """The list changed while it was read by offsets: something may have been passed over."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What one short look told.

    unchanged: nothing has changed since the look before, by the list's ETag.
    total: how many numbers there are; None when it was not told.
    """

    unchanged: bool
    total: int | None


class RemoteApi:
    """The API at an address.

    Args:
        url: up to `/v1`, without it.
        key: API key; sent to this address only: redirections are not followed.

    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._key = key
        self._session: ClientSession | None = None
        self._etag = ""

    def __repr__(self) -> str:
        return f"RemoteApi({self.url!r})"

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def forget(self) -> None:
        """Have the next glance tell of a change, whatever there is."""
        self._etag = ""

    async def glance(self) -> Glance:
        """Look whether anything changed. Raises RemoteError.

        The list's ETag holds until any number or agent changes, unless it is a weak one, which says less.
        """
        status, headers, body = await self._get(NUMBERS, {"limit": "1"}, self._etag)
        if status == 304:
            return Glance(unchanged=True, total=None)
        etag = headers.get("ETag", "")
        self._etag = "" if etag.startswith("W/") else etag
        _items(body, NUMBERS)
        return Glance(unchanged=False, total=_total(body))

    async def numbers(self, since: str | None = None) -> AsyncIterator[list[Any]]:
        """All numbers, or those that changed at a time (RFC 3339) or later, in pages.

        Raises:
            NotOfferedError: there is no telling what changed.
            RemoteError: the list cannot be read, or not to its end.

        """
        query = {} if since is None else {"updated_since": since}
        try:
            async for page in self._by_cursor(NUMBERS_BY_CURSOR, query):
                yield page
        except NotOfferedError:
            if since is not None:
                raise
            async for page in self._by_offset(NUMBERS):
                yield page

    async def agents(self) -> AsyncIterator[list[Any]]:
        """All agents, in pages. Raises NotOfferedError or RemoteError."""
        async for page in self._by_offset(AGENTS):
            yield page

    async def _by_cursor(self, path: str, query: Mapping[str, str]) -> AsyncIterator[list[Any]]:
        cursor, read = "", 0
        while True:
            place = {"cursor": cursor} if cursor else {}
            _, _, body = await self._get(path, {"limit": str(CURSOR_PAGE), **query, **place})
            items = _items(body, path)
            read += len(items)
            if read > MAX_RECORDS:
                raise RemoteError(f"GET {path} goes on for more than {MAX_RECORDS} records")
            if items:
                yield items
            following = body.get("next_cursor")
            if not body.get("has_more", following is not None):
                return
            if not items or not isinstance(following, str) or following in ("", cursor):
                raise RemoteError(f"GET {path} says that there is more, and not where")
            cursor = following

    async def _by_offset(self, path: str) -> AsyncIterator[list[Any]]:
        """Pages that overlap by one record: if it is another one, the list has moved."""
        read, last = 0, ""
        while True:
            start = max(0, read - 1)
            _, _, body = await self._get(path, {"limit": str(OFFSET_PAGE), "offset": str(start)})
            items, total = _items(body, path), _total(body)
            if total is None:
                raise RemoteError(f"GET {path} does not tell the total")
            if total > MAX_RECORDS:
                raise RemoteError(f"GET {path} has more than {MAX_RECORDS} records")
            if read and (not items or _identity(items[0]) != last):
                raise ListMovedError(f"GET {path} changes faster than it can be read")
            items = items[1:] if read else items
            if items:
                last = _identity(items[-1])
                yield items
            read += len(items)
            if read >= total:
                return
            if not items:
                raise RemoteError(f"GET {path} ends after {read} of {total} records")

    async def _get(
        self, path: str, query: Mapping[str, str], etag: str = ""
    ) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        """One request: status, headers and body. Raises RemoteError."""
        headers = {"If-None-Match": etag} if etag else {}
        try:
            async with self._opened().get(
                self.url + path, params=query, headers=headers, allow_redirects=False
            ) as response:
                if response.status == 304 and etag:
                    return 304, response.headers, {}
                _refuse(response, path)
                body = _object(await _read(response, path), path)
                return response.status, response.headers, body
        except TimeoutError:
            raise RemoteError(f"api.remote_url: {self.url} took longer than {REQUEST_SECONDS:g} s") from None
        except (ClientError, OSError) as error:
            fault = str(error) or type(error).__name__
            raise RemoteError(f"api.remote_url: {self.url}: {fault}") from None

    def _opened(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                timeout=ClientTimeout(total=REQUEST_SECONDS, connect=CONNECT_SECONDS),
                headers={"Authorization": f"Bearer {self._key}", "Accept": "application/json"},
            )
        return self._session


def _refuse(response: ClientResponse, path: str) -> None:
    """Raise what an answer other than 200 means."""
    status = response.status
    if status == 200:
        return
    text = f"GET {path} is answered {status}"
    if status in (400, 404, 405, 422):
        raise NotOfferedError(f"{text}: check api.remote_url, it ends before /v1")
    if status in (401, 403):
        raise RemoteError(f"{text}: check api.remote_key; it needs the scope `read`")
    if 300 <= status < 400:
        raise RemoteError(f"{text}, a redirection: write the address that it leads to in api.remote_url")
    raise RemoteError(text, _retry_after(response.headers.get("Retry-After", "")))


def _retry_after(text: str) -> float:
    """Seconds (RFC 9110 §10.2.3); 0 for a date, which asks for a clock like theirs, or nonsense."""
    return float(min(int(text), MAX_RETRY_AFTER)) if text.isascii() and text.isdigit() else 0.0


async def _read(response: ClientResponse, path: str) -> bytes:
    """The body, decompressed, up to `MAX_PAGE_BYTES`."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_PAGE_BYTES:
            raise RemoteError(f"GET {path}: a page has more than {MAX_PAGE_BYTES} bytes")
    return bytes(body)


def _object(body: bytes, path: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RemoteError(f"GET {path} is answered with something that is no JSON object")
    return value


def _items(body: Mapping[str, Any], path: str) -> list[Any]:
    items = body.get("items")
    if not isinstance(items, list):
        raise RemoteError(f"GET {path} is answered without `items`")
    if len(items) > MAX_PAGE_RECORDS:
        raise RemoteError(f"GET {path}: a page has more than {MAX_PAGE_RECORDS} records")
    return items


def _total(body: Mapping[str, Any]) -> int | None:
    total = body.get("total")
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None


def _identity(record: Any) -> str:
    """By what a record is known again."""
    return str(record.get("id")) if isinstance(record, dict) else json.dumps(record)
