"""Twilio's request for ending and moving a live call, over real HTTP."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.destinations.remote_control import HangUpAsked, RemoteControl
from gateway.web.twilio_calls import MAX_TWIML, install

CALL, ACCOUNT, TOKEN = "CA" + "1" * 32, "AC" + "2" * 32, "a secret token"
PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json"
AUTH = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT, TOKEN)}


class Calls:
    """One live call, and what was asked of it."""

    def __init__(self, token: str | None = TOKEN) -> None:
        self.delivered: list[object] = []
        self.moves: list[tuple[str | None, str | None]] = []
        self.fault: str | None = None
        self.control = RemoteControl(ACCOUNT, CALL, "+1", "+2", token, self.delivered.append)

    def find(self, call_sid: str) -> RemoteControl | None:
        return self.control if call_sid == CALL else None

    def move(self, call_sid: str, *, agent_id: str | None, number: str | None) -> str | None:
        self.moves.append((agent_id, number))
        return self.fault


async def ask(calls: Calls, fields: dict | None = None, *, path: str = PATH, headers: dict = AUTH):
    app = web.Application()
    install(app, calls)
    async with TestClient(TestServer(app)) as client:
        method = "GET" if fields is None else "POST"
        async with client.request(method, path, data=fields, headers=headers) as response:
            return response.status, await response.json()


async def test_completed_ends_the_call():
    calls = Calls()
    status, body = await ask(calls, {"Status": "completed"})
    assert (status, body["status"], body["sid"]) == (200, "completed", CALL)
    assert calls.delivered == [HangUpAsked()]


async def test_get_tells_of_the_call():
    calls = Calls()
    status, body = await ask(calls)
    assert (status, body["status"], body["from"], body["to"]) == (200, "in-progress", "+1", "+2")
    assert not calls.delivered


async def test_a_call_that_is_not_there_is_twilios_20404():
    status, body = await ask(Calls(), {"Status": "completed"}, path=PATH.replace(CALL, "CA" + "3" * 32))
    assert (status, body["code"]) == (404, 20404)


async def test_the_account_is_whichever_the_agent_was_configured_with():
    calls, other = Calls(), "AC" + "3" * 32
    headers = {"Authorization": aiohttp.encode_basic_auth(other, TOKEN)}
    status, body = await ask(
        calls, {"Status": "completed"}, path=PATH.replace(ACCOUNT, other), headers=headers
    )
    assert (status, body["account_sid"]) == (200, ACCOUNT) and calls.delivered == [HangUpAsked()]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": aiohttp.encode_basic_auth(ACCOUNT, "wrong")},
        {"Authorization": aiohttp.encode_basic_auth("AC", TOKEN)},
        {"Authorization": "Basic é"},
    ],
)
async def test_without_the_token_nothing_is_done(headers: dict):
    calls = Calls()
    status, body = await ask(calls, {"Status": "completed"}, headers=headers)
    assert (status, body["code"]) == (401, 20003) and not calls.delivered


async def test_an_endpoint_without_a_token_allows_nobody():
    calls = Calls(None)
    status, body = await ask(calls, {"Status": "completed"})
    assert status == 401 and "auth_token" in body["message"] and not calls.delivered


@pytest.mark.parametrize(
    ("fields", "move"),
    [
        ({"AgentId": "agt_2"}, ("agt_2", None)),
        ({"To": "+14155550100"}, (None, "+14155550100")),
        ({"Twiml": "<Response><Dial>+14155550100</Dial></Response>"}, (None, "+14155550100")),
        (
            {"Twiml": "<Response><Dial timeout='5'><Number> +14155550100 </Number></Dial></Response>"},
            (None, "+14155550100"),
        ),
    ],
)
async def test_a_call_is_moved(fields: dict, move: tuple):
    calls = Calls()
    status, body = await ask(calls, fields)
    assert (status, body["status"]) == (200, "in-progress") and calls.moves == [move]


async def test_hangup_in_twiml():
    calls = Calls()
    assert (await ask(calls, {"Twiml": "<Response><Hangup/></Response>"}))[1]["status"] == "completed"
    assert calls.delivered == [HangUpAsked()]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Url": "https://example.com/twiml"},
        {"AgentId": "agt_2", "To": "+1"},
        {"Twiml": "<Response>"},
        {"Twiml": "<Response><Say>Hello</Say></Response>"},
        {"Twiml": "<Response><Dial><Sip>sip:a@b</Sip></Dial></Response>"},
        {"Twiml": "<Response><Dial/></Response>"},
        {"Twiml": '<!DOCTYPE x [<!ENTITY a "b">]><Response><Dial>&a;</Dial></Response>'},
        {"Twiml": "<Response>" + " " * MAX_TWIML + "<Hangup/></Response>"},
    ],
)
async def test_what_is_not_understood_is_refused_with_what_to_do(fields: dict):
    calls = Calls()
    status, body = await ask(calls, fields)
    assert (status, body["code"], body["status"]) == (400, 20001, 400) and body["message"]
    assert not calls.delivered and not calls.moves


async def test_a_target_that_is_not_ours_is_told():
    calls = Calls()
    calls.fault = "number not known"
    status, body = await ask(calls, {"To": "+14155550100"})
    assert (status, body["message"]) == (400, "number not known")
