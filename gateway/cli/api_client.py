"""The phone-number API as commands use it: over HTTP, whether it runs elsewhere or only for the command."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar
from urllib.parse import quote, urlencode

from gateway.cli.errors import UsageError
from gateway.variables import CLIENT_VARIABLES

if TYPE_CHECKING:
    import aiohttp

    from gateway.config import Settings

Result = TypeVar("Result")

REQUEST_SECONDS: Final = 60.0
"""An import of a thousand numbers takes one or two."""

RETRIES: Final = 5
MAX_RETRY_SECONDS: Final = 30
"""Of what a busy API asks to wait; a request is repeated only if it cannot happen twice."""

PAGE: Final = 1_000

RETRIED: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class ApiTarget:
    """Which API a command is for.

    url, key: of one that runs; without an URL it is the store of the configuration.
    """

    config: Path | None
    url: str | None
    key: str | None


class Refused(UsageError):  # noqa: N818 - it names what the API did
    """The API refused. problem: as it was sent (RFC 9457)."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(told(problem))
        self.status = int(problem.get("status", 0))
        self.problem = problem


class ApiClient:
    """Asks one API."""

    def __init__(self, session: aiohttp.ClientSession, root: str, key: str) -> None:
        self._session = session
        self._root = root.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def request(self, method: str, path: str, body: Any = None, **query: object) -> Any:
        """What is answered, from JSON; None for an empty answer.

        path: after `/v1`; query: parameters, those that are None left out.

        Raises:
            Refused: by the API.
            UsageError: it cannot be reached.

        """
        asked = {name: str(value) for name, value in query.items() if value is not None}
        url = f"{self._root}/v1{path}" + (f"?{urlencode(asked)}" if asked else "")
        headers = dict(self._headers)
        if method == "POST":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        for attempt in range(RETRIES):
            status, wait, answer = await self._once(method, url, headers, body)
            if status < 400:
                return answer
            if status not in RETRIED or attempt == RETRIES - 1 or method in {"PATCH", "DELETE"}:
                raise Refused(answer if isinstance(answer, dict) else {"status": status})
            await asyncio.sleep(wait)
        raise AssertionError

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> tuple[int, int, Any]:
        import aiohttp

        try:
            async with self._session.request(method, url, json=body, headers=headers) as response:
                text = await response.read()
                after = response.headers.get("Retry-After", "1")
                wait = min(int(after) if after.isdigit() else 1, MAX_RETRY_SECONDS)
                return response.status, wait, json.loads(text) if text else None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UsageError(f"{self._root}: the API cannot be reached: {error or 'no answer'}") from None
        except ValueError:
            raise UsageError(f"{self._root}: what answers there is not the phone-number API") from None

    async def upload(self, path: str, data: bytes, content_type: str, **query: object) -> Any:
        """Send a file; what is answered, from JSON. Raises Refused, UsageError."""
        import aiohttp

        headers = {**self._headers, "Content-Type": content_type, "Idempotency-Key": secrets.token_hex(16)}
        asked = {name: str(value) for name, value in query.items() if value is not None}
        try:
            async with self._session.post(
                f"{self._root}/v1{path}", data=io.BytesIO(data), params=asked, headers=headers
            ) as response:
                answer = json.loads(await response.read() or b"{}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UsageError(f"{self._root}: the API cannot be reached: {error or 'no answer'}") from None
        except ValueError:
            raise UsageError(f"{self._root}: what answers there is not the phone-number API") from None
        if response.status >= 400:
            raise Refused(answer if isinstance(answer, dict) else {"status": response.status})
        return answer

    async def download(self, path: str, out: BinaryIO) -> int:
        """Write what is at a path to a file; how many bytes that is. Raises Refused, UsageError, OSError."""
        import aiohttp

        try:
            async with self._session.get(f"{self._root}/v1{path}", headers=self._headers) as response:
                if response.status >= 400:
                    answer = json.loads(await response.read() or b"{}")
                    raise Refused(answer if isinstance(answer, dict) else {"status": response.status})
                size = 0
                async for piece in response.content.iter_any():
                    size += out.write(piece)
                return size
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UsageError(f"{self._root}: the API cannot be reached: {error or 'no answer'}") from None
        except ValueError:
            raise UsageError(f"{self._root}: what answers there is not the phone-number API") from None

    async def each(self, path: str, **query: object) -> AsyncIterator[Any]:
        """Every item of a list of numbers, by cursor."""
        cursor: str | None = None
        while True:
            page = await self.request("GET", f"{path}/cursor", limit=PAGE, cursor=cursor, **query)
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def all(self, path: str, **query: object) -> list[Any]:
        """Every item of a short list, by offset."""
        items: list[Any] = []
        while True:
            page = await self.request("GET", path, limit=100, offset=len(items), **query)
            items += page["items"]
            if not page["items"] or len(items) >= page["total"]:
                return items

    async def number_id(self, named: str) -> str:
        """The id of a number that is named by its id or by itself, plus or not. Raises UsageError."""
        digits = named.removeprefix("+")
        if not digits.isdigit():
            return quote(named, safe="")
        found = await self.request("GET", "/phone-numbers", phone_number=f"+{digits}")
        if not found["items"]:
            raise UsageError(f"+{digits} is not registered: voice-gateway numbers list shows what is")
        return str(found["items"][0]["id"])


def told(problem: Mapping[str, Any]) -> str:
    """A problem document in one line."""
    errors = problem.get("errors") or []
    if errors:
        return "; ".join(f"{each['field']}: {each['detail']} ({each['fix']})" for each in errors)
    detail = str(problem.get("detail") or f"the API answered {problem.get('status')}")
    if problem.get("status") == 401:
        detail += f": give a key by --key or {CLIENT_VARIABLES['key']}"
    return detail


def with_api(target: ApiTarget, work: Callable[[ApiClient], Awaitable[Result]]) -> Result:
    """Do something with an API. Raises UsageError."""

    async def run() -> Result:
        async with _client(target) as client:
            return await work(client)

    return asyncio.run(run())


def ask(target: ApiTarget, method: str, path: str, body: Any = None, **query: object) -> Any:
    """Make one request of an API; see `ApiClient.request`. Raises UsageError."""
    return with_api(target, lambda api: api.request(method, path, body, **query))


def ask_all(target: ApiTarget, path: str, **query: object) -> list[Any]:
    """Every item of a short list of an API; see `ApiClient.all`. Raises UsageError."""
    return with_api(target, lambda api: api.all(path, **query))


@contextlib.asynccontextmanager
async def _client(target: ApiTarget) -> AsyncIterator[ApiClient]:
    if target.url is not None:
        if not target.key:
            raise UsageError(f"--url needs a key: give it by --key or {CLIENT_VARIABLES['key']}")
        async with open_session() as session:
            yield ApiClient(session, target.url, target.key)
        return
    from gateway.config import load

    settings = load(target.config)
    if settings.routing.numbers_file is not None:
        raise UsageError(
            f"the numbers are in {settings.routing.numbers_file} (routing.numbers_file): edit that file"
        )
    if settings.api.remote_url:
        async with open_session() as session:
            yield ApiClient(session, settings.api.remote_url, settings.api.remote_key.get_secret_value())
        return
    async with _own(settings) as client:
        yield client


def open_session(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    """A session for an `ApiClient`."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    return aiohttp.ClientSession(connector=connector, timeout=timeout)


@contextlib.asynccontextmanager
async def _own(settings: Settings) -> AsyncIterator[ApiClient]:
    """An API for this command alone, on the configured store, which running gateways follow by themselves."""
    import aiohttp
    import structlog
    from aiohttp import web

    from gateway.api_service import ApiStartError, make_service
    from gateway.cli.first_key import KEY_SHOWN

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    service = make_service(settings)
    try:
        await service.open()
    except ApiStartError as error:
        raise UsageError(str(error)) from None
    async with contextlib.AsyncExitStack() as exit_stack:
        exit_stack.push_async_callback(service.close)
        if service.first_key is not None:
            sys.stderr.write(KEY_SHOWN.format(key=service.first_key))
        key = secrets.token_urlsafe(32)
        service.admit(key)
        app = web.Application()
        await service.install(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        exit_stack.push_async_callback(runner.cleanup)
        directory = exit_stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-gateway-"))
        path = str(Path(directory, "api.sock"))  # in a directory that nobody else may enter
        await web.UnixSite(runner, path).start()
        session = await exit_stack.enter_async_context(open_session(aiohttp.UnixConnector(path)))
        yield ApiClient(session, "http://localhost", key)
