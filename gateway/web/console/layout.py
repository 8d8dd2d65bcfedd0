"""The frame of every page."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.web.console.html import Html, html
from gateway.web.console.sessions import Session

ROOT: Final = "/console"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Nothing from elsewhere, and nothing inline: what a peer writes into a message cannot become code."""

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all, browsers send forms with the Origin `null`
    "Cache-Control": "no-store",
}

PAGES: Final = (
    ("live", "Live"),
    ("calls", "History"),
    ("refused", "Refused"),
    ("numbers", "Numbers"),
    ("agents", "Agents"),
    ("nodes", "Nodes"),
    ("test", "Route tester"),
)

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – voice-gateway</title>
<link rel="icon" href="/console/assets/icon.svg">
<link rel="stylesheet" href="/console/assets/console.css">
<script type="module" src="/console/assets/console.js"></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
{top}
<main id="main" tabindex="-1">
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

_TOP: Final = """<header>
<nav aria-label="Pages"><ul>{links}</ul></nav>
<form role="search" action="/console/calls" method="get">
<label class="hidden" for="search">Search calls: number, Call-ID, or the carrier's id</label>
<input id="search" name="search" type="search" placeholder="number, Call-ID, carrier's id" value="{search}">
<button>Search</button>
</form>
<p class="node">{node}{draining}</p>
<button type="button" id="theme" hidden>Theme</button>
<form action="/console/logout" method="post">
<input type="hidden" name="csrf" value="{csrf}"><button>Log out</button></form>
</header>"""


def page(
    title: str,
    body: Html,
    session: Session | None = None,
    *,
    node: str = "",
    draining: bool = False,
    here: str = "",
    search: str = "",
    status: int = 200,
) -> web.Response:
    """A whole page; here: which of `PAGES` it belongs to."""
    top = Html()
    if session is not None:
        links = [
            html(
                '<li><a href="{}/{}"{}>{}</a></li>',
                ROOT,
                name,
                Html(' aria-current="page"' if name == here else ""),
                text,
            )
            for name, text in PAGES
        ]
        drains = html(' <strong class="badge refused">draining</strong>') if draining else None
        top = html(_TOP, links=links, search=search, node=node, draining=drains, csrf=session.csrf)
    text = html(_PAGE, title=title, top=top, body=body)
    return web.Response(text=text, content_type="text/html", status=status, headers=HEADERS)
