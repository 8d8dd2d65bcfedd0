"""The reference in a browser: `/openapi.json`, `/docs` and `/docs/problems`, all from this package."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any, Final

import msgspec
from aiohttp import web

from api.problems import KINDS

_TYPES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
    "page.css": "text/css",
}

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Nothing from elsewhere; Swagger UI sets styles on its elements."""

_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_REFERENCE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>voice-gateway: API reference</title>
<link rel="icon" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<noscript>Needs JavaScript; the same is in <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""

_START: Final = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
});
"""

_STYLE: Final = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; }
h2 { margin-top: 2rem; } code { background: #eee; padding: 0 .2em; } :target { background: #ffc; }
"""


class ReferencePages:
    """Read once, when it is made, which blocks; served from memory.

    Args:
        document: the OpenAPI document.

    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        vendored = files("api") / "resources" / "swagger-ui"
        made = {"start.js": _START, "page.css": _STYLE}
        self._assets = {
            name: made[name].encode() if name in made else (vendored / name).read_bytes() for name in _TYPES
        }
        self._document = msgspec.json.encode(document)

    def install(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_get("/openapi.json", _page(self._document, "application/json"))
        app.router.add_get("/docs", _page(_REFERENCE.encode(), "text/html"))
        app.router.add_get("/docs/problems", _page(problems_page().encode(), "text/html"))
        for name, body in self._assets.items():
            app.router.add_get(f"/docs/assets/{name}", _page(body, _TYPES[name]))


def problems_page() -> str:
    """Every kind of problem, explained."""
    entries = "\n".join(
        f'<h2 id="{kind}">{html.escape(told.title)} <small>({told.status})</small></h2>\n'
        f"<p>{_marked(told.meaning)}</p>\n<p><code>{kind}</code></p>"
        for kind, told in KINDS.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>voice-gateway: problems</title>'
        '<link rel="stylesheet" href="/docs/assets/page.css"></head><body>\n<h1>Problems</h1>\n'
        "<p>What the API answers when it cannot do what was asked, as <code>application/problem+json</code>"
        f" (RFC 9457). <code>type</code> leads here.</p>\n{entries}\n</body></html>\n"
    )


def _marked(text: str) -> str:
    """Backquotes as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _page(body: bytes, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    etag = hashlib.sha256(body).hexdigest()[:16]

    async def serve(request: web.Request) -> web.Response:
        if any(each.value == etag for each in request.if_none_match or ()):
            return web.Response(status=304, headers={**_HEADERS, "ETag": f'"{etag}"'})
        charset = None if content_type.startswith("image/") else "utf-8"
        response = web.Response(body=body, content_type=content_type, charset=charset, headers=_HEADERS)
        response.etag = etag
        return response

    return serve
