"""OPTIONS probes: what counts as alive."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from gateway.destinations.prober import MAX_AT_ONCE, PROBE_TIMEOUT, Prober
from gateway.sip.flow import Flow
from gateway.sip.message import Headers, Response
from routing.models import Agent, Endpoint
from tests.simulation import virtual_time

TRUSTED = ssl.create_default_context()
AGENT = Agent("agt_1", "One", (Endpoint("sip:bot@192.0.2.9;media=direct"),))


class Health:
    def __init__(self, due: list[tuple[Agent, Endpoint]]) -> None:
        self.due = due
        self.found: list[tuple[str, bool, str]] = []

    def due_probes(self, agents):
        due, self.due = self.due, []
        return due

    def probed(self, agent: Agent, endpoint: Endpoint, alive: bool, reason: str = "") -> None:
        self.found.append((endpoint.url, alive, reason))


class Sip:
    """Answers every OPTIONS after a second, in the way it was told."""

    def __init__(self, answer: int | str | OSError | None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []
        self.flows: tuple[Flow, ...] = (Flow("udp", "192.0.2.9", 5060, 1),)
        self.failed: list[str] = []
        self.well: set[str] = set()
        self.under_way = self.most = 0

    async def ways(self, uri: str) -> tuple[Flow, ...]:
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.flows

    def way_stated(self, uri: str) -> Flow | None:
        return None

    def way_failed(self, flow: Flow) -> None:
        self.failed.append(flow.host)

    def request(self, method: str, uri: str, flow: Flow, *, headers=(), digest=None, on_result) -> None:
        self.asked.append((method, uri))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if flow.host in self.well:
            on_result(Response(200, "OK", Headers()), "response")
        elif self.answer is not None:
            asyncio.get_running_loop().call_later(1, self._answer, on_result)

    def _answer(self, on_result) -> None:
        self.under_way -= 1
        if isinstance(self.answer, int):
            on_result(Response(self.answer, "Whatever", Headers()), "response")
        else:
            on_result(None, self.answer)


@pytest.mark.parametrize(
    ("answer", "alive", "reason"),
    [
        (200, True, ""),
        (404, True, ""),
        (501, True, ""),
        (503, False, "OPTIONS: 503 Whatever"),
        ("transport", False, "nothing listens there, or no way leads there"),
        (OSError("no such host"), False, "no such host"),
        (None, False, "no answer to OPTIONS"),
    ],
)
def test_any_answer_shows_life_but_those_that_say_not_now(answer, alive: bool, reason: str):
    sip, health = Sip(answer), Health([(AGENT, AGENT.endpoints[0])])
    virtual_time.run(Prober(sip, TRUSTED, health, lambda: [AGENT]).probe_due())
    assert health.found == [("sip:bot@192.0.2.9;media=direct", alive, reason)]
    if not isinstance(answer, OSError):
        assert sip.asked == [("OPTIONS", "sip:bot@192.0.2.9")]


def test_an_endpoint_is_well_while_one_of_its_servers_is():
    sip, health = Sip("transport"), Health([(AGENT, AGENT.endpoints[0])])
    sip.flows = tuple(Flow("udp", f"192.0.2.{last}", 5060, 1) for last in range(3))
    sip.well = {"192.0.2.2"}
    virtual_time.run(Prober(sip, TRUSTED, health, lambda: [AGENT]).probe_due())
    assert health.found == [("sip:bot@192.0.2.9;media=direct", True, "")]
    assert sip.failed == ["192.0.2.0", "192.0.2.1"]


def test_silent_servers_share_the_time_of_one():
    sip, health = Sip(None), Health([(AGENT, AGENT.endpoints[0])])
    sip.flows = tuple(Flow("udp", f"192.0.2.{last}", 5060, 1) for last in range(4))

    async def scenario() -> None:
        await Prober(sip, TRUSTED, health, lambda: [AGENT]).probe_due()
        assert asyncio.get_running_loop().time() == pytest.approx(PROBE_TIMEOUT)

    virtual_time.run(scenario())
    assert health.found == [("sip:bot@192.0.2.9;media=direct", False, "no answer to OPTIONS")]
    assert len(sip.failed) >= 3


def test_a_late_answer_is_nobody_s_business():
    sip, health = Sip(None), Health([(AGENT, AGENT.endpoints[0])])
    late = []
    sip.request = lambda *_, on_result, **__: late.append(on_result)

    async def scenario() -> None:
        await Prober(sip, TRUSTED, health, lambda: [AGENT]).probe_due()
        assert asyncio.get_running_loop().time() == PROBE_TIMEOUT
        late[0](None, "timeout")

    virtual_time.run(scenario())
    assert len(health.found) == 1


def test_only_so_many_are_asked_at_once():
    due = [(AGENT, Endpoint(f"sip:bot@192.0.2.{number}")) for number in range(2 * MAX_AT_ONCE + 1)]
    sip, health = Sip(200), Health(due)
    virtual_time.run(Prober(sip, TRUSTED, health, lambda: [AGENT]).probe_due())
    assert len(health.found) == len(due)
    assert sip.most == MAX_AT_ONCE


def test_it_goes_on_until_it_is_stopped_and_leaves_nobody_marked():
    async def scenario() -> None:
        sip, health = Sip(None), Health([(AGENT, AGENT.endpoints[0])])
        task = asyncio.ensure_future(Prober(sip, TRUSTED, health, lambda: [AGENT]).run())
        await asyncio.sleep(PROBE_TIMEOUT / 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert health.found == [("sip:bot@192.0.2.9;media=direct", True, "")]

    virtual_time.run(scenario())
