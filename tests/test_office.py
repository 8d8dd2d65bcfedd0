"""What the office makes of its workers' answers: real sockets, and workers that say what a test wants."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from gateway.admission.carriers import Carrier, CarrierTable
from gateway.admission.doorkeeper import TurnedAway
from gateway.config import Settings
from gateway.faults import StartError
from gateway.office import claim_slots
from gateway.office_desk import OfficeDesk, OfficeNode
from gateway.office_metrics import OfficeMetrics
from gateway.office_web import Hello, make_office_app
from gateway.telemetry.metrics import Metrics
from gateway.web.console.desk import LiveRow, NodesAway
from gateway.worker_client import WorkerClient, of_each
from gateway.worker_web import Closed, PrivateServer, State, Successors
from gateway.workers.slots import web_socket
from gateway.workers.totals import families
from routing.models import Agent, Endpoint
from routing.view import RouteView
from tests.web.console.test_pages import CALL

NAME = "host:5060"
AGENT = Agent("agt_1", "Bot", (Endpoint("sip:bot@192.0.2.7"),))


class Worker:
    """One that answers its office as the tests say, and the office's client of it."""

    def __init__(self, directory: Path, slot: int) -> None:
        self.slot = slot
        self.client = WorkerClient(directory, slot)
        self.answers: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[str, str]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = PrivateServer(app, web_socket(directory, slot))

    async def _answer(self, request: web.Request) -> web.Response:
        key = request.method, request.path
        self.asked.append(key)
        answer = self.answers.get(key)
        if isinstance(answer, web.Response):
            return answer
        if answer is None:
            return web.Response(status=404)
        return web.Response(body=msgspec.msgpack.encode(answer))

    def state(self, **fields: Any) -> State:
        told: dict[str, Any] = {
            "slot": self.slot,
            "pid": 100 + self.slot,
            "obstacles": [],
            "draining": False,
            "retired": False,
            "calls": 0,
            "agents": {},
            "closed": [],
        }
        return State(**told | fields)


class House:
    """Two workers and the office's view of them."""

    def __init__(self, directory: Path) -> None:
        self.workers = [Worker(directory, slot) for slot in (1, 2)]
        self.one, self.two = self.workers
        self.clients = [worker.client for worker in self.workers]
        self.states: dict[int, State] = {worker.slot: worker.state() for worker in self.workers}
        self.node = OfficeNode(NAME, self.clients, self.clients, self.states)

    def desk(self, nodes: object = None, **logs: object) -> OfficeDesk:
        view = RouteView()
        replica = SimpleNamespace(view=view, agents={AGENT.id: AGENT}, loaded=True, get=view.number)
        carriers = CarrierTable([Carrier("twilio"), Carrier("own", sources=(IPv4Network("192.0.2.0/30"),))])
        settings = Settings(logs=logs)  # type: ignore[arg-type]
        return OfficeDesk(
            self.node,
            self.clients,
            self.states,
            SimpleNamespace(),  # type: ignore[arg-type]
            settings,
            replica,  # type: ignore[arg-type]
            nodes,  # type: ignore[arg-type]
            lambda: carriers,
        )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    for worker in house.workers:
        await worker.server.start()
    yield house
    for worker in house.workers:
        await worker.client.close()
        await worker.server.stop()


def of(slot: int, call_id: str, began: float = 0.0) -> Any:
    return msgspec.structs.replace(CALL, id=call_id, node=f"{NAME}/{slot}", began=began)


# As the API sees it.


async def test_live_calls_of_all_are_listed_by_their_beginning(house: House) -> None:
    house.one.answers["GET", "/calls"] = [of(1, "c", 3.0), of(1, "a", 1.0)]
    house.two.answers["GET", "/calls"] = [of(2, "b", 2.0)]
    assert [call.id for call in await house.node.live()] == ["a", "b", "c"]
    await house.two.server.stop()
    assert [call.id for call in await house.node.live()] == ["a", "c"], "who is not there has none to show"


async def test_a_call_is_found_and_ended_where_it_is(house: House) -> None:
    house.two.answers["GET", "/calls/x"] = of(2, "x")
    house.two.answers["DELETE", "/calls/x"] = web.Response(status=204)
    found = await house.node.find("x")
    assert found is not None
    assert found.node == f"{NAME}/2"
    assert await house.node.find("y") is None
    assert await house.node.hang_up("x")
    assert not await house.node.hang_up("y")
    assert house.node.has(f"{NAME}/2")
    assert not house.node.has(f"{NAME}/3")


async def test_it_drains_once_all_of_its_own_do(house: House) -> None:
    assert not house.node.draining
    await house.node.drain(True)
    assert house.node.drains
    assert house.one.asked == house.two.asked == [("POST", "/drain")]
    house.states[1] = house.one.state(draining=True)
    assert not house.node.draining
    house.states[2] = house.two.state(draining=True)
    assert house.node.draining
    house.states.clear()
    assert not house.node.draining, "nobody has said so"


async def test_a_trace_comes_from_the_worker_that_has_it(house: House) -> None:
    house.one.answers["POST", "/trace"] = []
    house.one.answers["POST", "/trace.txt"] = "ladder"
    house.one.answers["POST", "/trace.pcap"] = b"packets"
    call = of(1, "x")
    assert await house.node.trace(call) == []
    assert await house.node.trace_text(call) == "ladder"
    assert await house.node.trace_capture(call) == b"packets"
    assert house.two.asked == []
    with pytest.raises(OSError, match="is on host:5060/9"):
        await house.node.trace(of(9, "x"))
    house.one.answers["POST", "/trace"] = web.Response(status=503, text="No space left on device")
    with pytest.raises(OSError, match="does not answer: No space left"):
        await house.node.trace(call)
    await house.one.server.stop()
    with pytest.raises(OSError, match="does not answer"):
        await house.node.trace_text(call)


async def test_an_answer_that_is_none_is_a_worker_that_does_not_answer(house: House) -> None:
    house.one.answers["GET", "/state"] = "no state"
    house.two.answers["GET", "/state"] = house.two.state(calls=3)
    failed: list[int] = []
    told = await of_each(house.clients, WorkerClient.state, lambda worker, error: failed.append(worker.slot))
    assert [(worker.slot, state.calls) for worker, state in told] == [(2, 3)]
    assert failed == [1]
    with pytest.raises(ZeroDivisionError):  # a mistake of ours is not hidden
        await of_each(house.clients, _mistaken)


async def _mistaken(worker: WorkerClient) -> float:
    return 1 / 0


# As the console sees it.


async def test_rows_are_the_newest_first_and_who_was_turned_away_stands_once(house: House) -> None:
    row = LiveRow("a", "talking", 1.0, "twilio", "x", "y", 1, 2, "agt_1", None)
    house.one.answers["GET", "/rows"] = [row]
    house.two.answers["GET", "/rows"] = [msgspec.structs.replace(row, id="b", began=2.0)]
    house.one.answers["GET", "/away"] = [TurnedAway("192.0.2.1", "unknown_source", 2, 10.0)]
    house.two.answers["GET", "/away"] = [
        TurnedAway("192.0.2.1", "unknown_source", 3, 8.0),
        TurnedAway("twilio", "overload", 1, 11.0),
    ]
    desk = house.desk()
    assert [each.id for each in await desk.rows()] == ["b", "a"]
    assert await desk.turned_away() == [
        TurnedAway("twilio", "overload", 1, 11.0),
        TurnedAway("192.0.2.1", "unknown_source", 5, 10.0),
    ]


async def test_agents_are_what_all_workers_know_of_them(house: House) -> None:
    url = AGENT.endpoints[0].url
    house.states[1] = house.one.state(calls=2, agents={"agt_1": 2}, closed=[Closed("agt_1", url, "down")])
    house.states[2] = house.two.state(calls=1, agents={"agt_1": 1, "agt_2": 9})
    desk = house.desk()
    assert desk.calls_at("agt_1") == 3
    assert desk.calls_at("agt_3") == 0
    assert desk.obstacle(AGENT, AGENT.endpoints[0]) == "down"
    assert desk.obstacle(AGENT, Endpoint("sip:other@192.0.2.8")) is None
    assert (desk.agents(), desk.count_numbers(), desk.number("+14155550100")) == ([], 0, None)
    assert [number async for number in desk.numbers()] == []
    assert desk.sources() == [("own", "192.0.2.0")]
    assert desk.explain("+14155550100", "192.0.2.1", None)
    assert not desk.draining


async def test_numbers_are_masked_where_that_is_wanted(house: House) -> None:
    assert house.desk().shown("+14155550100") == "+14155550100"
    assert "0100" not in house.desk(mask_personal_data=True).shown("+14155550100")[:-2]


async def test_nodes_that_cannot_be_asked_for_are_told_so(house: House) -> None:
    async def away() -> Sequence[object]:
        raise TimeoutError("Redis is silent")

    async def there() -> Sequence[object]:
        return ["node"]

    with pytest.raises(NodesAway, match="Redis is silent"):
        await house.desk(SimpleNamespace(nodes=away)).nodes()
    assert await house.desk(SimpleNamespace(nodes=there)).nodes() == ["node"]


# Its metrics.


async def test_metrics_are_those_of_all_who_answer(house: House) -> None:
    for worker, count in ((house.one, 2), (house.two, 3)):
        registry = CollectorRegistry()
        Counter("calls", "Calls.", registry=registry).inc(count)
        Gauge("active", "Now.", registry=registry).set(count)
        worker.answers["GET", "/samples"] = families(registry)
    refreshed: list[None] = []
    page = OfficeMetrics(Metrics(), house.clients, lambda slot: 100 + slot, lambda: refreshed.append(None))

    async def shown() -> str:
        await page.refresh()
        return await asyncio.to_thread(lambda: generate_latest(page.registry).decode())

    text = await shown()
    assert "calls_total 5.0" in text
    assert "active 5.0" in text
    await house.two.server.stop()
    text = await shown()
    assert "calls_total 5.0" in text, "what was counted stays counted"
    assert "active 2.0" in text
    assert len(refreshed) == 2


# What it answers others.


@pytest.fixture
async def answering(tmp_path: Path) -> AsyncIterator[Callable[[web.Application], Any]]:
    servers: list[PrivateServer] = []
    client = WorkerClient(tmp_path, 0)

    async def start(app: web.Application) -> WorkerClient:
        server = PrivateServer(app, web_socket(tmp_path, 0))
        await server.start()
        servers.append(server)
        return client

    yield start
    await client.close()
    for server in servers:
        await server.stop()


async def test_it_says_who_it_is_gives_way_and_takes_calls_that_are_over(
    answering: Callable[[web.Application], Any],
) -> None:
    given: list[Sequence[int]] = []
    ended: list[str] = []

    async def give_way(slots: Sequence[int]) -> None:
        given.append(slots)

    hello = Hello(7, "1.0", [1, 2])
    client = await answering(
        make_office_app(hello, give_way=give_way, ended=lambda call: ended.append(call.id))
    )
    status, body = await client.forward("GET", "/hello", {}, b"")
    assert (status, msgspec.msgpack.decode(body, type=Hello)) == (200, hello)
    words = msgspec.msgpack.encode(Successors([3, 4]))
    assert (await client.forward("POST", "/way", {}, words))[0] == 204
    calls = msgspec.msgpack.encode([of(1, "a"), of(2, "b")])
    assert (await client.forward("POST", "/ended", {}, calls))[0] == 204
    assert given == [[3, 4]]
    assert ended == ["a", "b"]


async def test_calls_that_go_another_way_are_taken_and_left(
    answering: Callable[[web.Application], Any],
) -> None:
    async def give_way(slots: Sequence[int]) -> None: ...

    client = await answering(make_office_app(Hello(7, "1.0", []), give_way=give_way, ended=None))
    assert (await client.forward("POST", "/ended", {}, msgspec.msgpack.encode([of(1, "a")])))[0] == 204


# What is in its way.


def settings_in(directory: Path, listen: str) -> Settings:
    return Settings(
        sip={"listen": [listen]},  # type: ignore[arg-type]
        data={"dir": directory},  # type: ignore[arg-type]
        workers={"count": 2},  # type: ignore[arg-type]
    )


def test_ports_that_a_stranger_has_are_told_before_they_are_shared(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        listen = "{}:{}".format(*stranger.getsockname())
        with pytest.raises(StartError, match=rf"^sip\.listen: UDP {listen} is taken by another program$"):
            claim_slots(settings_in(tmp_path, listen))
        claimed = claim_slots(settings_in(tmp_path, listen), {("udp", stranger.getsockname()): stranger})
        claimed.give_back()  # it was passed to us


@pytest.mark.parametrize(
    ("listen", "told"),
    [
        ("127.0.0.1:0", "workers share a port, so it must be told"),
        ("localhost:5060", "is not an IP address"),
        ("192.0.2.1:5060", "cannot be opened: Cannot assign"),
    ],
)
def test_addresses_that_cannot_be_shared_are_told(tmp_path: Path, listen: str, told: str) -> None:
    with pytest.raises(StartError, match=rf"^sip\.listen: .*{told}"):
        claim_slots(settings_in(tmp_path, listen))


def test_a_data_directory_that_cannot_be_written_is_told() -> None:
    with tempfile.TemporaryDirectory() as directory:  # a short path: sockets are below it
        file = Path(directory, "file")
        file.touch()
        with pytest.raises(StartError, match=str(file)):
            claim_slots(settings_in(file / "below", "127.0.0.1:5060"))
