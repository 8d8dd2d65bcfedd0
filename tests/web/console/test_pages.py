"""The console over HTTP: who gets in, what forms need, and that nothing a peer wrote becomes code."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from gateway.admission.doorkeeper import MAX_AWAY, Doorkeeper
from gateway.calls.explain import Step
from gateway.web.console import feed, sessions
from gateway.web.console.desk import HistoryAway, LiveRow, NodesAway
from gateway.web.console.layout import ROOT
from gateway.web.console.pages import Console
from routing.call_records import AudioSample, CallMoment, CallShown, LegAudio, TraceRung, TriedDestination
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber
from routing.nodes import NodeShown

READ, WRITE = "oi_sk_reads", "oi_sk_writes"
EVIL = "<script>alert('x')</script>\"'"

CALL = CallShown(
    id="c1",
    node="here",
    state="over",
    started_at="2026-11-27T12:00:00.000Z",
    began=1_795_780_800.0,
    seconds=75.5,
    carrier="twilio",
    carrier_call_id="CA1",
    source="192.0.2.1",
    caller="+14155550142",
    dialled="4155550100",
    number="+14155550100",
    sip_call_ids=["one@h", "two@h"],
    plan=["agt_a", "voicemail"],
    destination="agt_a",
    position=1,
    outcome="agent",
    status=200,
    cause="caller hung up",
    rule="",
    tried=[TriedDestination("agt_a", "sip:a@b", "200 OK", 0.012)],
    stages={"lookup": 0.0002, "answer": 0.02, "other": 0.0},
    legs=[LegAudio("caller", "PCMU", 10, 10, 1, 0.002, mos=4.2)],
    moments=[CallMoment(0.01, "route", "agent agt_a")],
    quality=[AudioSample(5.0, 4.3, 0.0, 0.002), AudioSample(10.0, 3.1, 0.05, 0.01)],
    mos=4.2,
)
REFUSED = msgspec.structs.replace(
    CALL,
    id="c2",
    outcome="refused",
    status=404,
    cause="number not known",
    tried=[],
    plan=[],
    quality=[],
    legs=[],
)
LIVE = LiveRow("c3", "talking", 1_795_780_800.0, "twilio", "+1", "+2", 1, 2, "agt_a", 4.4)
NODE = NodeShown(
    name=EVIL,
    state="up",
    last_seen=0.5,
    version="1.0",
    started_at=1_795_780_800.0,
    address="192.0.2.1:5060",
    region="eu-west",
    calls=3,
    revision=7,
    behind=0,
    sync_age=0.2,
    incarnation="a1",
)
MESSAGE = TraceRung(
    at=0.0,
    side="caller",
    out=False,
    label="INVITE +SDP",
    kind="",
    again=False,
    transport="udp",
    local="10.0.0.1:5060",
    remote="192.0.2.1:5060",
    message=f"INVITE sip:a@b SIP/2.0\r\nSubject: {EVIL}\r\n\r\n",
)
MOMENT = msgspec.structs.replace(MESSAGE, side="gateway", kind="route", label=EVIL * 3, message="")
ANSWER = msgspec.structs.replace(MESSAGE, side="agent", label=f"200 {EVIL}", again=True)


@dataclass
class Holder:
    scopes: frozenset[str]


class Keys:
    def __init__(self) -> None:
        self.valid = {READ: Holder(frozenset({"read"})), WRITE: Holder(frozenset({"read", "write"}))}

    async def find(self, key: str) -> Holder | None:
        return self.valid.get(key)


@dataclass
class Desk:
    name: str = "here"
    draining: bool = False
    away: bool = False
    live: list[LiveRow] = field(default_factory=lambda: [LIVE])
    calls: dict[str, CallShown] = field(default_factory=lambda: {"c1": CALL, "c2": REFUSED})
    rungs: list[TraceRung] = field(default_factory=lambda: [MESSAGE, MOMENT, ANSWER])
    ended: list[str] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    disk: OSError | None = None
    door: Doorkeeper = field(default_factory=Doorkeeper)

    async def rows(self) -> list[LiveRow]:
        return list(self.live)

    async def find(self, call_id: str) -> CallShown | None:
        if self.away:
            raise HistoryAway("too busy")
        return self.calls.get(call_id)

    async def search(
        self, text: str, *, refused: bool, cursor: str, limit: int
    ) -> tuple[list[CallShown], str]:
        if self.away:
            raise HistoryAway("too busy")
        self.asked.append((text, refused, cursor))
        found = [call for call in self.calls.values() if not refused or call.outcome == "refused"]
        return [call for call in found if text in call.number], "next" if not text else ""

    async def hang_up(self, call_id: str) -> bool:
        self.ended.append(call_id)
        return True

    async def drain(self, draining: bool) -> None:
        self.draining = draining

    def has(self, node: str) -> bool:
        return node == self.name

    async def trace(self, call: CallShown) -> list[TraceRung]:
        if self.disk is not None:
            raise self.disk
        return self.rungs

    async def trace_text(self, call: CallShown) -> str:
        return "ladder"

    async def trace_capture(self, call: CallShown) -> bytes:
        return b"packets"

    async def turned_away(self) -> list[Any]:
        return self.door.lately()

    def agents(self) -> list[Agent]:
        return [
            Agent("agt_up", "Up", (Endpoint("wss://bot:secret@h/x?token=secret"),)),
            Agent("agt_down", EVIL, (Endpoint("sip:down@h"),)),
        ]

    def obstacle(self, agent: Agent, endpoint: Endpoint) -> str | None:
        return "down: no answer" if agent.id == "agt_down" else None

    def calls_at(self, agent_id: str) -> int:
        return 3

    async def nodes(self) -> list[NodeShown]:
        if self.away:
            raise NodesAway("no answer")
        return [NODE, msgspec.structs.replace(NODE, name="two:5060", state="gone", behind=3, sync_age=9.0)]

    def number(self, phone_number: str) -> PhoneNumber | None:
        return None

    async def numbers(self) -> AsyncIterator[PhoneNumber]:
        routing = InboundRouting(agent_id="agt_a", fallback=Fallback("agt_b"))
        yield PhoneNumber("phn_1", "+14155550100", friendly_name=EVIL, inbound_routing=routing)
        yield PhoneNumber("phn_2", "+442071838750")

    def count_numbers(self) -> int:
        return 2

    def shown(self, number: str) -> str:
        return number

    def sources(self) -> list[tuple[str, str]]:
        return [("twilio", "192.0.2.1")]

    def explain(self, dialled: str, source: str, caller: str | None) -> list[Step]:
        self.asked.append((dialled, source, caller))
        return [Step("admission", True, "is twilio"), Step("result", False, EVIL)]


class Site:
    def __init__(self, desk: Desk, keys: Keys, address: str, session: aiohttp.ClientSession) -> None:
        self.desk, self.keys, self.address, self.session = desk, keys, address, session

    async def get(self, path: str, **options: Any) -> tuple[int, str]:
        async with self.session.get(self.address + path, **options) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **fields: str) -> tuple[int, str]:
        headers = {"Origin": fields.pop("origin")} if "origin" in fields else {}
        async with self.session.post(self.address + path, data=fields, headers=headers) as answer:
            return answer.status, await answer.text()

    async def log_in(self, key: str = WRITE) -> str:
        """The token that forms of this session need."""
        status, text = await self.post("/console/login", key=key)
        assert status == 200, text
        match = re.search(r'name="csrf" value="([^"]+)"', text)
        assert match is not None
        return match[1]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    desk, keys = Desk(), Keys()
    app = web.Application()
    (await asyncio.to_thread(Console, desk, keys)).install(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    jar = aiohttp.CookieJar(unsafe=True)  # for an address in place of a name
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Site(desk, keys, f"http://{host}:{port}", session)
    await runner.cleanup()


PAGES = (
    *("live", "calls", "calls/c1", "calls/c2", "refused", "numbers", "agents", "nodes"),
    "test?number=14155550100",
)


async def test_without_a_login_there_is_the_login_alone(site: Site) -> None:
    for name in (*PAGES, "calls/c1/trace.txt", "calls/c1/trace.pcap"):
        status, text = await site.get(f"{ROOT}/{name}")
        assert status == 200
        assert "API key" in text
        assert "+1415555" not in text
    assert (await site.get(f"{ROOT}/live/events"))[0] == 401
    assert (await site.post(f"{ROOT}/drain", draining="1", csrf=""))[1].count("API key") == 1
    assert not site.desk.draining


async def test_a_key_opens_every_page_and_wrong_ones_none(site: Site) -> None:
    status, text = await site.post("/console/login", key="wrong")
    assert (status, "no such key" in text) == (403, True)
    await site.log_in()
    for name in PAGES:
        status, text = await site.get(f"{ROOT}/{name}")
        assert status == 200, name
        assert "Log out" in text
    status, text = await site.get(f"{ROOT}/calls/c1")
    for told in ("INVITE", "the caller hung up", "12.0 ms", "CA1", "two@h", "1:16", "4.2", "trace.pcap"):
        assert told in text
    assert (await site.get(f"{ROOT}/calls/nothing"))[0] == 404


async def test_the_cookie_and_every_answer_are_as_browsers_are_safest_with(site: Site) -> None:
    async with site.session.post(
        f"{site.address}/console/login", data={"key": READ}, allow_redirects=False
    ) as answer:
        cookie = answer.headers["Set-Cookie"]
        assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/console"))
        assert "Secure" not in cookie
        assert READ not in cookie
    proxied = {"X-Forwarded-Proto": "https"}
    async with site.session.post(
        f"{site.address}/console/login", data={"key": READ}, headers=proxied, allow_redirects=False
    ) as answer:
        assert "Secure" in answer.headers["Set-Cookie"]
    for path in ("live", "assets/console.js", "assets/console.css", "assets/live.js", "assets/icon.svg"):
        async with site.session.get(f"{site.address}{ROOT}/{path}") as answer:
            assert answer.status == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            text = await answer.text()
            if path == "live":
                assert "<style" not in text
                assert not re.search(r"\son\w+=|\sstyle=|<script(?![^>]*src)", text)
    assert (await site.get(f"{ROOT}/assets/../pages.py"))[0] == 404


async def test_what_peers_and_operators_write_is_text_and_nothing_else(site: Site) -> None:
    site.desk.calls["c1"] = msgspec.structs.replace(CALL, caller=EVIL, cause=EVIL, carrier_call_id=EVIL)
    site.desk.live = [msgspec.structs.replace(LIVE, caller=EVIL, destination=EVIL)]
    site.desk.door(EVIL, "unknown_source")
    await site.log_in()
    for name in (
        *PAGES,
        f"numbers?search={EVIL}",
        f"calls?search={EVIL}",
        f"test?number={EVIL}&source={EVIL}",
    ):
        _, text = await site.get(f"{ROOT}/{name}")
        assert "<script>alert" not in text, name
    _, text = await site.get(f"{ROOT}/agents")
    assert "secret" not in text


async def test_nodes_in_trouble_come_first_and_redis_may_be_away(site: Site) -> None:
    await site.log_in()
    _, text = await site.get(f"{ROOT}/nodes")
    assert text.index("two:5060") < text.index("eu-west")
    assert "3 changes behind, 9 s old" in text
    assert "current" in text
    site.desk.away = True
    status, text = await site.get(f"{ROOT}/nodes")
    assert (status, "no answer" in text) == (503, True)


async def test_forms_need_the_sessions_token_and_this_origin(site: Site) -> None:
    csrf = await site.log_in()
    assert (await site.post(f"{ROOT}/drain", draining="1"))[0] == 403
    assert (await site.post(f"{ROOT}/drain", draining="1", csrf="x"))[0] == 403
    foreign = await site.post(f"{ROOT}/drain", draining="1", csrf=csrf, origin="https://evil.example")
    assert foreign[0] == 403
    assert not site.desk.draining
    assert (await site.post(f"{ROOT}/drain", draining="1", csrf=csrf, origin=site.address))[0] == 200
    assert site.desk.draining
    await site.post(f"{ROOT}/drain", draining="0", csrf=csrf)
    assert not site.desk.draining
    await site.post(f"{ROOT}/calls/c1/hangup", csrf=csrf)
    assert site.desk.ended == ["c1"]
    login = await site.post("/console/login", key=WRITE, origin="https://evil.example")
    assert login[0] == 403


async def test_who_may_only_read_is_offered_and_allowed_nothing_else(site: Site) -> None:
    csrf = await site.log_in(READ)
    _, text = await site.get(f"{ROOT}/live")
    assert "Drain" not in text
    assert (await site.post(f"{ROOT}/drain", draining="1", csrf=csrf))[0] == 403
    assert (await site.post(f"{ROOT}/calls/c1/hangup", csrf=csrf))[0] == 403
    assert not site.desk.draining
    assert not site.desk.ended


async def test_a_revoked_key_a_logout_and_a_shifts_end_close_the_console(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    csrf = await site.log_in()
    assert "API key" in (await site.post(f"{ROOT}/logout", csrf=csrf))[1]
    assert "API key" in (await site.get(f"{ROOT}/live"))[1]
    await site.log_in()
    revoked = site.keys.valid.pop(WRITE)
    assert "API key" in (await site.get(f"{ROOT}/live"))[1]
    site.keys.valid[WRITE] = revoked
    assert "API key" in (await site.get(f"{ROOT}/live"))[1]


async def test_logins_are_tried_a_few_times_and_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    now = 0.0
    kept = sessions.Sessions(Keys(), lambda: now)
    tokens = []
    for _ in range(5):
        now += 10
        token = await kept.log_in(READ, "192.0.2.1")
        assert token is not None
        tokens.append(token)
    assert [await kept.find(token) is not None for token in tokens] == [False, False, True, True, True]
    found = [
        await kept.log_in("wrong", "192.0.2.2") or await kept.log_in(READ, "192.0.2.2") for _ in range(3)
    ]
    assert found[-1] is None, "it tries too often"
    now += sessions.SESSION_SECONDS
    assert await kept.find(tokens[-1]) is None
    assert await kept.log_in("x" * (sessions.MAX_KEY + 1), "192.0.2.3") is None


async def told(site: Site, count: int) -> list[dict[str, Any]]:
    """The first messages of the feed."""
    messages = []
    async with site.session.get(f"{site.address}{ROOT}/live/events") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        async for line in answer.content:
            if line.startswith(b"data: "):
                messages.append(json.loads(line[6:]))
                if len(messages) == 1:
                    site.desk.live = []
                if len(messages) == count:
                    break
    return messages


async def test_the_feed_tells_what_has_changed_and_no_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "BEAT_SECONDS", 0.01)
    await site.log_in()
    first, second, third = await told(site, 3)
    assert [row[0] for row in first["rows"]] == ["c3"]
    assert (second["rows"], second["gone"], second["total"]) == ([], ["c3"], 0)
    assert (third["rows"], third["gone"]) == ([], [])


async def test_too_many_watchers_are_told_to_come_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_WATCHERS", 0)
    await site.log_in()
    assert (await site.get(f"{ROOT}/live/events"))[0] == 503


async def test_a_feed_ends_so_that_the_login_is_looked_at_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "WATCH_SECONDS", 0.0)
    await site.log_in()
    assert (await site.get(f"{ROOT}/live/events"))[1].startswith("retry: ")


async def test_search_goes_straight_to_the_only_call(site: Site) -> None:
    await site.log_in()
    site.desk.calls = {"c1": CALL}
    assert "The agent took it" in (await site.get(f"{ROOT}/calls?search=4155550100"))[1]
    assert "There is no such call." in (await site.get(f"{ROOT}/calls?search=zzz"))[1]
    _, text = await site.get(f"{ROOT}/calls")
    assert "cursor=next" in text


async def test_what_is_away_is_said(site: Site) -> None:
    await site.log_in()
    site.desk.calls["there"] = msgspec.structs.replace(CALL, id="there", node="there")
    assert "Its trace is on there; this is here." in (await site.get(f"{ROOT}/calls/there"))[1]
    assert (await site.get(f"{ROOT}/calls/there/trace.pcap"))[0] == 404
    site.desk.disk = OSError(5, "Input/output error")
    assert "The trace cannot be read" in (await site.get(f"{ROOT}/calls/c1"))[1]
    site.desk.away = True
    status, text = await site.get(f"{ROOT}/calls")
    assert (status, "cannot be read now" in text) == (503, True)
    assert (await site.get(f"{ROOT}/live"))[0] == 200


async def test_refused_calls_and_strangers_come_with_what_to_do(site: Site) -> None:
    site.desk.door("203.0.113.7", "unknown_source")
    site.desk.door("203.0.113.7", "unknown_source")
    await site.log_in()
    _, text = await site.get(f"{ROOT}/refused")
    assert "Nobody has registered" in text
    assert "203.0.113.7" in text
    assert "admission.carriers_files" in text
    assert '<td class="number">2</td>' in text


async def test_the_tester_reads_a_number_without_its_plus(site: Site) -> None:
    await site.log_in()
    await site.get(f"{ROOT}/test?number=14155550100&source=192.0.2.1&caller=%2B1")
    assert site.desk.asked[-1] == ("+14155550100", "192.0.2.1", "+1")
    assert "no IP address" in (await site.get(f"{ROOT}/test?number=1&source=nowhere"))[1]


def test_the_door_remembers_a_bounded_number_of_strangers() -> None:
    now = iter(range(10_000))
    door = Doorkeeper(lambda: float(next(now)))
    for index in range(MAX_AWAY + 10):
        door(str(index), "unknown_source")
        door("again", "unknown_source")
    kept = door.lately()
    assert len(kept) == MAX_AWAY
    assert (kept[0].who, kept[0].count) == ("again", MAX_AWAY + 10)
