"""The operations on an aiohttp application; what is not one of them is a problem document, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from api.operations import Operation
from api.pipeline import Pipeline, respond
from api.problems import Problem

ROOT: Final = "/v1"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def install(app: web.Application, operations: Sequence[Operation], pipeline: Pipeline) -> None:
    """Serve operations under `/v1`; paths without names in them are matched first."""
    for operation in sorted(operations, key=lambda each: each.path.count("{")):
        app.router.add_route(operation.method, operation.path, pipeline.handler(operation))
    app.middlewares.append(_problems)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell in our words what aiohttp refuses by itself."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        if not _ours(request):
            raise
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.method} is not for {request.path[:200]}; there are {allowed}"
        return respond(Problem("method-not-allowed", detail, headers={"Allow": allowed}))
    except web.HTTPNotFound:
        if not _ours(request):
            raise
        return respond(Problem("not-found", f"there is nothing at {request.path[:200]}: see /docs"))


def _ours(request: web.Request) -> bool:
    return request.path == ROOT or request.path.startswith(ROOT + "/")
