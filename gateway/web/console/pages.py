"""The console's addresses: who may see what, and which page it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from gateway.web.console import call_lists, node_page, route_pages
from gateway.web.console.call_page import call_body
from gateway.web.console.desk import Desk, HistoryAway, Keys, NodesAway
from gateway.web.console.feed import MAX_ROWS, Feed
from gateway.web.console.html import Html, html
from gateway.web.console.layout import HEADERS, ROOT, page
from gateway.web.console.sessions import Session, Sessions, genuine
from routing.call_records import CallShown

COOKIE: Final = "voice_gateway_console"

PAGE_CALLS: Final = 50

MAX_SEARCH: Final = 256
"""Characters of a search that are looked at."""

TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_LOGIN: Final = """<form method="post" action="/console/login" class="ask">{wrong}
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
<p>A key with the scope <code>read</code> shows everything; ending calls and draining need <code>write</code>.
On the machine itself <code>operator.key</code> in the data directory holds one.</p></form>"""

Page: TypeAlias = Callable[[web.Request, Session], Awaitable[web.StreamResponse]]


class Console:
    """Serves the console. Made where it may block, since it reads its assets.

    Args:
        desk: the gateway.
        keys: who may log in.

    """

    def __init__(self, desk: Desk, keys: Keys) -> None:
        self._desk = desk
        self._sessions = Sessions(keys)
        self._feed = Feed(desk)
        folder = files("gateway.web.console") / "assets"
        self._assets = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}

    def install(self, app: web.Application) -> None:
        """Serve it; before the application starts."""
        get, post = app.router.add_get, app.router.add_post
        get(ROOT, self._to_live)
        get(ROOT + "/", self._to_live)
        get(ROOT + "/assets/{name}", self._asset)
        get(ROOT + "/login", self._login_form)
        post(ROOT + "/login", self._log_in)
        for path, shown in (
            ("/live", self._live),
            ("/live/events", self._events),
            ("/calls", self._history),
            ("/calls/{call_id}", self._call),
            ("/calls/{call_id}/trace.txt", self._text),
            ("/calls/{call_id}/trace.pcap", self._capture),
            ("/refused", self._refused),
            ("/numbers", self._numbers),
            ("/agents", self._agents),
            ("/nodes", self._nodes),
            ("/test", self._tester),
        ):
            get(ROOT + path, self._logged_in(shown))
        for path, done in (
            ("/logout", self._log_out),
            ("/drain", self._drain),
            ("/calls/{call_id}/hangup", self._hang_up),
        ):
            post(ROOT + path, self._logged_in(self._form(done)))

    # Who may.

    def _logged_in(self, shown: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            session = await self._sessions.find(request.cookies.get(COOKIE, ""))
            if session is None:
                if request.path.endswith("/events"):
                    return web.Response(status=401)
                raise web.HTTPSeeOther(ROOT + "/login")
            try:
                return await shown(request, session)
            except HistoryAway as error:
                told = html('<p role="alert">The history of calls cannot be read now: {}</p>', error)
                return self._page("Not available", told, session, status=503)

        return serve

    def _form(self, done: Page) -> Page:
        async def take(request: web.Request, session: Session) -> web.StreamResponse:
            form = await request.post()
            if not genuine(session, str(form.get("csrf", ""))) or not _same_origin(request):
                told = html('<p role="alert">This form is not from a page of yours: load the page again.</p>')
                return self._page("Refused", told, session, status=403)
            return await done(request, session)

        return take

    async def _login_form(self, _request: web.Request) -> web.StreamResponse:
        return page("Log in", html(_LOGIN, wrong=None))

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        key = str(form.get("key", "")).strip()
        token = None
        if _same_origin(request):
            token = await self._sessions.log_in(key, request.remote or "")
        if token is None:
            wrong = html('<p role="alert">There is no such key, or you try too often.</p>')
            return page("Log in", html(_LOGIN, wrong=wrong), status=403)
        response = web.HTTPSeeOther(ROOT + "/live")
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(COOKIE, token, path=ROOT, httponly=True, samesite="Strict", secure=secure)
        raise response

    async def _log_out(self, request: web.Request, _session: Session) -> web.StreamResponse:
        self._sessions.log_out(request.cookies.get(COOKIE, ""))
        response = web.HTTPSeeOther(ROOT + "/login")
        response.del_cookie(COOKIE, path=ROOT)
        raise response

    # What is shown.

    async def _to_live(self, _request: web.Request) -> web.StreamResponse:
        raise web.HTTPSeeOther(ROOT + "/live")

    async def _live(self, _request: web.Request, session: Session) -> web.StreamResponse:
        rows = await self._desk.rows()
        body = await call_lists.live_body(rows[:MAX_ROWS], len(rows), session, draining=self._desk.draining)
        return self._page("Live calls", body, session, here="live")

    async def _events(self, request: web.Request, _session: Session) -> web.StreamResponse:
        return await self._feed.watch(request)

    async def _history(self, request: web.Request, session: Session) -> web.StreamResponse:
        search = _asked(request, "search")
        calls, cursor = await self._desk.search(
            search, refused=False, cursor=_asked(request, "cursor"), limit=PAGE_CALLS
        )
        if search and len(calls) == 1 and not request.query.get("cursor"):
            raise web.HTTPSeeOther(f"{ROOT}/calls/{calls[0].id}")
        body = call_lists.history_body(calls, search, cursor)
        return self._page("Calls", body, session, here="calls", search=search)

    async def _refused(self, request: web.Request, session: Session) -> web.StreamResponse:
        calls, cursor = await self._desk.search(
            "", refused=True, cursor=_asked(request, "cursor"), limit=PAGE_CALLS
        )
        body = call_lists.refused_body(calls, await self._desk.turned_away(), cursor)
        return self._page("Refused calls", body, session, here="refused")

    async def _call(self, request: web.Request, session: Session) -> web.StreamResponse:
        call = await self._desk.find(request.match_info["call_id"])
        if call is None:
            told = html("<p>There is no such call: it is older than what is remembered, or never was.</p>")
            return self._page("No such call", told, session, here="calls", status=404)
        note = ""
        try:
            rungs = await self._desk.trace(call) if self._desk.has(call.node) else []
        except OSError as error:
            rungs, note = [], f"The trace cannot be read: {error.strerror}."
        if not self._desk.has(call.node):
            note = f"Its trace is on {call.node}; this is {self._desk.name}."
        return self._page("Call", call_body(call, rungs, note, session), session, here="calls")

    async def _text(self, request: web.Request, _session: Session) -> web.StreamResponse:
        call = await self._traced(request)
        text = await self._desk.trace_text(call)
        return web.Response(text=text, content_type="text/plain", headers=HEADERS)

    async def _capture(self, request: web.Request, _session: Session) -> web.StreamResponse:
        call = await self._traced(request)
        packets = await self._desk.trace_capture(call)
        named = {"Content-Disposition": f'attachment; filename="{call.id}.pcap"'}
        return web.Response(
            body=packets, content_type="application/vnd.tcpdump.pcap", headers={**HEADERS, **named}
        )

    async def _traced(self, request: web.Request) -> CallShown:
        call = await self._desk.find(request.match_info["call_id"])
        if call is None or not self._desk.has(call.node):
            raise web.HTTPNotFound
        return call

    async def _numbers(self, request: web.Request, session: Session) -> web.StreamResponse:
        body = await route_pages.numbers_body(self._desk, _asked(request, "search"))
        return self._page("Numbers", body, session, here="numbers")

    async def _agents(self, _request: web.Request, session: Session) -> web.StreamResponse:
        return self._page("Agents", route_pages.agents_body(self._desk), session, here="agents")

    async def _nodes(self, _request: web.Request, session: Session) -> web.StreamResponse:
        try:
            body = node_page.nodes_body(await self._desk.nodes())
        except NodesAway as error:
            told = html('<p role="alert">Redis, which knows the nodes, does not answer: {}</p>', error)
            return self._page("Nodes", told, session, here="nodes", status=503)
        return self._page("Nodes", body, session, here="nodes")

    async def _tester(self, request: web.Request, session: Session) -> web.StreamResponse:
        asked = [_asked(request, name) for name in ("number", "source", "caller")]
        return self._page("Route tester", route_pages.tester_body(self._desk, *asked), session, here="test")

    # What is done.

    async def _drain(self, request: web.Request, session: Session) -> web.StreamResponse:
        form = await request.post()
        if not session.writes:
            return self._may_not(session)
        await self._desk.drain(form.get("draining") == "1")
        raise web.HTTPSeeOther(ROOT + "/live")

    async def _hang_up(self, request: web.Request, session: Session) -> web.StreamResponse:
        if not session.writes:
            return self._may_not(session)
        call_id = request.match_info["call_id"]
        await self._desk.hang_up(call_id)
        raise web.HTTPSeeOther(f"{ROOT}/calls/{call_id}")

    def _may_not(self, session: Session) -> web.Response:
        told = html('<p role="alert">Your key may only read: log in with one that has the scope write.</p>')
        return self._page("Not allowed", told, session, status=403)

    def _page(
        self, title: str, body: Html, session: Session, *, here: str = "", search: str = "", status: int = 200
    ) -> web.Response:
        return page(
            title,
            body,
            session,
            node=self._desk.name,
            draining=self._desk.draining,
            here=here,
            search=search,
            status=status,
        )

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        body = self._assets.get(name)
        if body is None:
            raise web.HTTPNotFound
        kind = TYPES.get(name[name.rfind(".") :], "application/octet-stream")
        return web.Response(
            body=body, content_type=kind, charset="utf-8", headers={**HEADERS, "Cache-Control": "no-cache"}
        )


def _asked(request: web.Request, name: str) -> str:
    return request.query.get(name, "").strip()[:MAX_SEARCH]


def _same_origin(request: web.Request) -> bool:
    """Whether a form was sent from a page of this host, as far as the browser says (RFC 6454)."""
    origin = request.headers.get("Origin")
    return origin is None or (origin != "null" and urlsplit(origin).netloc == request.host)
