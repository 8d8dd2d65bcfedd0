"""The gateway that runs, as commands ask it: the one of this configuration, unless another is named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from gateway.cli.api_client import ApiClient, ApiTarget, open_session
from gateway.cli.errors import UsageError
from gateway.operator_key import FILE
from gateway.variables import CLIENT_VARIABLES

if TYPE_CHECKING:
    from gateway.config import Settings

Result = TypeVar("Result")


def with_gateway(target: ApiTarget, work: Callable[[ApiClient], Awaitable[Result]]) -> Result:
    """Do something with a running gateway. Raises UsageError."""
    url, key = place(target)

    async def run() -> Result:
        async with open_session() as session:
            return await work(ApiClient(session, url, key))

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def place(target: ApiTarget) -> tuple[str, str]:
    """Its address and a key for it. Raises UsageError or ConfigError."""
    if target.url is not None:
        if not target.key:
            raise UsageError(f"--url needs a key: give it by --key or {CLIENT_VARIABLES['key']}")
        return target.url, target.key
    from gateway.config import load

    settings = load(target.config)
    return f"http://{_reachable(settings.web.listen)}", target.key or _local_key(settings)


def _local_key(settings: Settings) -> str:
    path = settings.data.dir / FILE
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise UsageError(
            f"{path} is not there: the gateway of this configuration never ran here; name one by --url"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}: give an API key by --key or {CLIENT_VARIABLES['key']}"
        ) from None


def _reachable(listen: str) -> str:
    """Where a listener on any address is reached from its own machine."""
    host, _, port = listen.rpartition(":")
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host) + f":{port}"  # noqa: S104 - a comparison
