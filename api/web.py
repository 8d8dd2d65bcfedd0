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
    for operation in operations:
        if "{" not in operation.path:
            app.router.add_route(operation.method, operation.path, pipeline.handler(operation))
    for path in sorted({operation.path for operation in operations if "{" not in operation.path}):
        # Otherwise `/v1/phone-numbers/import` would be a number whose id is `import`.
        app.router.add_route("*", path, _refusal({each.method for each in operations if each.path == path}))
    for operation in operations:
        if "{" in operation.path:
            handler = pipeline.handler(operation)
            app.router.add_route(operation.method, operation.path, handler)
            if operation.content is not None:
                app.router.add_route("HEAD", operation.path, handler)
    app.middlewares.append(_problems)


def _refusal(allowed: set[str]) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


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
