"""An API that is killed between any two steps at a carrier: what was paid is not lost, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from api.provisioning import LEASE_SECONDS
from api.service import ApiService
from api.store.tables import NumberRow
from tests.api.conftest import Store
from tests.api.http.rig import KEY
from tests.api.mortal_api import MortalApi, mortal_api
from tests.carriers import telnyx_server, twilio_server
from tests.carriers.faults import Fault
from tests.carriers.telnyx_server import TelnyxServer
from tests.carriers.twilio_server import TwilioServer

Server = TwilioServer | TelnyxServer

NODE = "voice.example.com:5060"
NUMBERS = "/2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers"
WRITES: dict[type, dict[str, str]] = {
    TwilioServer: {
        "purchase": f"POST {NUMBERS}.json",
        "trunk": "POST /v1/Trunks",
        "origination": "POST /v1/Trunks/{TrunkSid}/OriginationUrls",
        "attachment": f"POST {NUMBERS}/{{Sid}}.json",
        "permissions": "GET /v1/DialingPermissions/Countries/{IsoCode}",
        "release": f"DELETE {NUMBERS}/{{Sid}}.json",
    },
    TelnyxServer: {
        "purchase": "POST /number_orders",
        "trunk": "POST /fqdn_connections",
        "origination": "POST /fqdns",
        "attachment": "PATCH /phone_numbers/{id}",
        "permissions": "GET /fqdn_connections/{id}",
        "release": "DELETE /phone_numbers/{id}",
    },
}
"""What each step asks of a carrier; the kill is before that has its effect, or after."""

STEPS = list(WRITES[TwilioServer])


class Survivor:
    """Another process's API on the same store, which goes on when the first is dead."""

    def __init__(self, service: ApiService) -> None:
        self._service = service
        self._now = time.time()
        for part in (service.provisioner, service.worker, service.accounts):
            part._clock = lambda: self._now

    async def numbers(self) -> list[NumberRow]:
        return await self._service.database.read(lambda session: list(session.scalars(select(NumberRow))))

    async def take_over(self) -> None:
        """Let time go by until nothing is left to do."""
        self._now = time.time() + LEASE_SECONDS + 1
        for _ in range(20):
            if all(row.provisioning is None for row in await self.numbers()):
                return
            for phone_id in await self._service.worker.take_up(self._now):
                await self._service.provisioner.go_on(phone_id)
            self._now += 700.0
        raise AssertionError([(row.provisioning, row.progress) for row in await self.numbers()])


@pytest.fixture(params=[TwilioServer, TelnyxServer], ids=["twilio", "telnyx"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    made: Server = request.param()
    async with made.running():
        yield made
    made.check()


def options(server: Server, store: Store) -> dict[str, Any]:
    carrier = "twilio" if isinstance(server, TwilioServer) else "telnyx"
    return {
        "bootstrap_key": KEY,
        "database_url": store.url,
        "carrier_nodes": (NODE,),
        "carrier_urls": (server.address, server.address),
        "seller": carrier,
        "recordings": None,
    }


async def ask(api: MortalApi, method: str, path: str, body: Any = None) -> Any:
    """What it answers; None if it dies over it."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with contextlib.suppress(aiohttp.ClientError):
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, api.address + path, json=body) as answer,
        ):
            return await answer.json() if answer.content_length else None
    return None


async def integrate(api: MortalApi, server: Server) -> None:
    twilio = isinstance(server, TwilioServer)
    body = {
        "name": "account",
        "provider": "twilio" if twilio else "telnyx",
        "api_key": twilio_server.AUTH_TOKEN if twilio else telnyx_server.API_KEY,
        "metadata": {"account_sid": twilio_server.ACCOUNT_SID},
    }
    assert "id" in await ask(api, "POST", "/v1/integrations", body)


async def die_over(server: Server, store: Store, directory: Path, step: str, kind: str, number: str) -> None:
    """Have an API buy a number, and if asked for release it, and be killed as the carrier hears of a step."""
    forget_wiring(server)
    server.sell(number)
    with contextlib.ExitStack() as stack:
        api = await asyncio.to_thread(stack.enter_context, mortal_api(directory, options(server, store)))
        if not server.asked:
            await integrate(api, server)
        fault: Any = "dropped" if kind == "after" else "unheard"
        server.fail(WRITES[type(server)][step], Fault(fault, then=api.kill))
        answer = await ask(api, "POST", "/v1/phone-numbers/purchase", {"phone_number": number})
        if step == "release":
            assert answer["status"] == "active", answer
            await ask(api, "DELETE", f"/v1/phone-numbers/{answer['id']}")
        await asyncio.to_thread(stack.close)


def forget_wiring(server: Server) -> None:
    """As if the account were new: every step has something to do again."""
    if isinstance(server, TwilioServer):
        server.trunks.clear()
        server.origination.clear()
    else:
        server.connections.clear()
        server.fqdns.clear()


def assert_led_here(server: Server, number: str) -> None:
    """Its calls come here, by one trunk with one destination."""
    if isinstance(server, TwilioServer):
        [trunk] = server.trunks
        assert server.number(number)["trunk_sid"] == trunk
        assert [each["sip_url"] for each in server.origination[trunk].values()] == [f"sip:{NODE}"]
    else:
        [connection] = server.connections.values()
        assert server.number(number)["connection_id"] == connection["id"]
        [fqdn] = server.fqdns.values()
        assert connection["inbound"]["default_primary_fqdn_id"] == fqdn["id"]


@pytest.mark.parametrize("kind", ["after", "before"])
async def test_killed_at_each_step(server: Server, store: Store, tmp_path: Path, kind: str) -> None:
    if store.backend == "postgresql" and kind == "before":
        pytest.skip("the store knows as much as after the step before, which is killed there, too")
    if store.backend == "postgresql" and isinstance(server, TelnyxServer):
        pytest.skip("what is written does not depend on the carrier; with Twilio it is killed there, too")
    directory = tmp_path / "data"
    survivor: Survivor | None = None
    paid = 0
    async with contextlib.AsyncExitStack() as stack:
        for index, step in enumerate(STEPS):
            number = f"+1415555{100 + index:04}"
            await die_over(server, store, directory, step, kind, number)
            if survivor is None:
                given = options(server, store)
                service = ApiService(directory, version="0", **given)
                await service.open()
                stack.push_async_callback(service.close)
                survivor = Survivor(service)
            await survivor.take_over()
            rows = {row.phone_number: row for row in await survivor.numbers()}
            never_asked = step == "purchase" and kind == "before"
            paid += not never_asked
            assert server.bought == paid, f"{step}: paid twice, or not at all"
            if never_asked or step == "release":
                assert number not in rows, f"{step}: undone"
                assert number not in [each["phone_number"] for each in server.numbers.values()]
                continue
            assert rows[number].status == "active", f"{step}: finished"
            assert_led_here(server, number)
        orders = server.requests(WRITES[type(server)]["purchase"])
        assert len(orders) == len(STEPS), "each number was asked for once"
