"""The office: the process that leads the workers, and has what there is once on a machine.

It takes no calls. It keeps the private Redis, brings routes there (from the API that it serves, from a file,
or from a remote API), keeps the workers running, and answers on `web.listen` for all of them.

When it starts while another one runs on the same data directory, it takes over: its workers take calls first,
then the other office gives way, and what only one can have is opened here. The other one's workers finish
their calls meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from gateway.admission.carriers import CarriersError, CarrierTable
from gateway.admission.carriers_file import load_carriers
from gateway.composition.addresses import web_address, with_public_address
from gateway.composition.background import Background
from gateway.composition.call_history import open_call_history
from gateway.composition.private_redis import start_private_redis
from gateway.composition.start_failures import start_error
from gateway.config import Settings
from gateway.faults import StartError, file_fault
from gateway.listening import carrier_places, try_to_bind
from gateway.node import node_name
from gateway.office_desk import OfficeDesk, OfficeNode
from gateway.office_metrics import OfficeMetrics
from gateway.office_web import Hello, make_office_app
from gateway.passed_sockets import Held, of_web
from gateway.redis_access import redis_place
from gateway.route_sources import RouteSources
from gateway.sip.addresses import AddressError
from gateway.telemetry.loop_lag import LoopLagMonitor
from gateway.telemetry.metrics import Metrics
from gateway.web import twilio_calls
from gateway.web.server import WebServer, make_app
from gateway.worker_client import FAILURES, WorkerClient, of_each
from gateway.worker_seat import Order, encode_order
from gateway.worker_web import PrivateServer, State, Successors
from gateway.workers.nursery import Nursery
from gateway.workers.slots import Claim, NoSlotLeft, claim, run_directory, web_socket
from gateway.workers.supervisor import Process, Supervisor
from routing.nodes import NodeRegistry
from routing.redis_clients import BACKGROUND_TIMEOUT, connect
from routing.redis_server import socket_url
from routing.replica import Replica

if TYPE_CHECKING:
    from gateway.api_service import ApiService, CallsService

LOOK_SECONDS: Final = 1.0
"""Between two questions to each worker how it does."""

YIELD_SECONDS: Final = 60.0
"""For an earlier version to let go of the web port, the store and the private Redis."""

READY_LOOK_SECONDS: Final = 0.05
"""Between two looks whether a worker that is being started answers."""

log = structlog.get_logger("office")


class Office:
    """Leads the workers, started and stopped in order.

    Args:
        settings: of all.
        claimed: the workers' slots.
        nursery: forks them.
        held: sockets that were passed to us.

    """

    def __init__(
        self, settings: Settings, claimed: Claim, nursery: Nursery, held: Held | None = None
    ) -> None:
        self.settings = settings
        self._held = held or {}
        self.metrics = Metrics()
        self.metrics.passed_sockets.set(len(self._held))
        self.name = node_name(settings)
        self.states: dict[int, State] = {}
        self.retired = False
        self._claim = claimed
        self._nursery = nursery
        self._directory = run_directory(settings.data.dir)
        self.workers = [WorkerClient(self._directory, slot) for slot in claimed.slots]
        # With those of earlier versions, for as long as they are there: calls go on at them, too.
        self._all = [*self.workers, *(WorkerClient(self._directory, slot) for slot in claimed.others)]
        self.supervisor = Supervisor(claimed.slots, self._launch, self._answers, self)
        self.node = OfficeNode(self.name, self.workers, self._all, self.states)
        self.page = OfficeMetrics(self.metrics, self._all, self.supervisor.pid, self._refresh)
        self.api: ApiService | None = None
        self.carriers: CarrierTable
        self.web: WebServer
        self._calls: CallsService | None = None
        self._sources: RouteSources
        self._redis_url = ""
        self._before: list[int] = []
        self._up = {slot: self.metrics.worker_up.labels(str(slot)) for slot in claimed.slots}
        self._restarts = {slot: self.metrics.worker_restarts.labels(str(slot)) for slot in claimed.slots}
        # What another office takes over, and what stays until the last worker has ended.
        self._only_one = Background()
        self._exit = Background()

    async def start(self) -> None:
        """Start everything, or take it over.

        Raises:
            StartError: something that is needed is missing, taken or wrong; what had started is stopped
            again.

        """
        try:
            await self._start()
        except BaseException as error:
            await self._only_one.aclose()
            await self._exit.aclose()
            if (told := start_error(error)) is not None:
                raise told from error
            raise

    async def _start(self) -> None:
        settings = self.settings = await with_public_address(self.settings)
        self.carriers = await self._load_carriers()
        self._nursery.open()
        self._exit.push_async_callback(self._nursery.close)
        for worker in self._all:
            self._exit.push_async_callback(worker.close)
        before = await self._office_before()
        private_redis = not settings.redis.url.get_secret_value()
        if private_redis:
            self._redis_url = socket_url(settings.data.dir)
        self._exit.push_async_callback(self.supervisor.stop, settings.drain.timeout)
        if before is not None or self._claim.others:
            self._before = list(self._claim.others if before is None else before.slots)
            await self.supervisor.start()
            await self._take_over(before)
            self._before = []
            await of_each(self.workers, WorkerClient.begin)
        await self._open_what_only_one_has(private_redis=private_redis)
        if not self.supervisor.running:
            await self.supervisor.start()
        await self._look()
        self._exit.run(self._keep_looking, "worker-states")
        lag = LoopLagMonitor(self.metrics.loop_lag.observe)
        lag.start()
        self._exit.callback(lag.stop)

    async def _open_what_only_one_has(self, *, private_redis: bool) -> None:
        settings, stack = self.settings, self._only_one
        if private_redis:
            await start_private_redis(settings, stack)
        place = redis_place(settings)
        redis = connect(place, BACKGROUND_TIMEOUT)
        stack.push_async_callback(redis.aclose)
        self._nodes = NodeRegistry(redis)
        self._sources = RouteSources(
            settings,
            place,
            self.metrics,
            self.node,
            self._nodes,
            stack,
        )
        await self._sources.start()
        self.api = self._sources.api
        replica = self.replica = Replica(
            place,
            self.metrics,
            snapshot_path=settings.data.dir / "routes.snapshot",
            on_error=lambda text: log.error("routing", detail=text),
        )
        await replica.start()
        stack.push_async_callback(replica.stop)
        await self._sources.follow(replica)
        service: ApiService | CallsService
        if self.api is not None:
            service = self.api
        else:
            service = self._calls = await open_call_history(
                settings, self.metrics.registry, self.node, self._nodes, stack
            )
        app = make_app(self.page.registry, self.obstacles, self.page.refresh)
        await service.install(app)
        self._forward_twilio_calls(app)
        await self._install_console(app, service)
        self.web = WebServer(app, *web_address(settings.web.listen), held=of_web(self._held, settings))
        await self.web.start()
        stack.push_async_callback(self.web.stop)
        told = self._calls.put if self._calls is not None else None
        hello = Hello(os.getpid(), version("voice-gateway"), list(self.supervisor.slots))
        private = PrivateServer(
            make_office_app(hello, give_way=self._give_way, ended=told), web_socket(self._directory, 0)
        )
        await private.start()
        self._exit.push_async_callback(private.stop)

    # Another version, before us or after us.

    async def _office_before(self) -> Hello | None:
        """The office that runs on this data directory; None if there is none, or it does not answer."""
        client = WorkerClient(self._directory, 0)
        try:
            _, body = await client.forward("GET", "/hello", {}, b"")
            return msgspec.msgpack.decode(body, type=Hello)
        except FAILURES:
            return None
        finally:
            await client.close()

    async def _take_over(self, before: Hello | None) -> None:
        """Have an earlier version give way; its workers finish their calls."""
        log.info("taking over", version="" if before is None else before.version, slots=self._claim.others)
        if before is not None:
            client = WorkerClient(self._directory, 0)
            try:
                async with asyncio.timeout(YIELD_SECONDS):
                    words = msgspec.msgpack.encode(Successors(list(self.supervisor.slots)))
                    await client.forward("POST", "/way", {}, words, seconds=YIELD_SECONDS)
            except FAILURES as error:
                raise StartError(
                    f"data.dir: the gateway that runs there (process {before.pid}) does not give way: {error}"
                ) from None
            finally:
                await client.close()
            return
        # Its office was killed: the workers are told one by one.
        orphans = [WorkerClient(self._directory, slot) for slot in self._claim.others]
        await of_each(orphans, lambda worker: worker.retire(self.supervisor.slots))
        for orphan in orphans:
            await orphan.close()

    async def _give_way(self, successors: Sequence[int]) -> None:
        """Another office takes over: let go of everything that only one can have."""
        log.info("giving way", successors=successors, calls=self.calls)
        self.retired = True
        self.supervisor.retire()
        answered = {
            each.slot for each, _ in await of_each(self.workers, lambda worker: worker.retire(successors))
        }
        for slot in self.supervisor.slots:
            if slot not in answered:
                self.supervisor.signal(signal.SIGTERM, slot)
        await self._only_one.aclose()

    # What workers need.

    async def _launch(self, slot: int, again: bool) -> Process:
        order = Order(
            slot=slot,
            members=list(self.supervisor.slots),
            elders=list(self._claim.others),
            before=self._before,
            restarted=again,
            redis_url=self._redis_url,
            advertised_host=self.settings.sip.advertised_host,
            events=self.settings.routing.numbers_file is None and not self.settings.api.remote_url,
            draining=self.node.drains,
        )
        return await self._nursery.fork(encode_order(order))

    async def _answers(self, slot: int) -> None:
        worker = next(each for each in self.workers if each.slot == slot)
        while True:
            with contextlib.suppress(*FAILURES):
                state = await worker.state()
                if state.pid == self.supervisor.pid(slot):
                    return
            await asyncio.sleep(READY_LOOK_SECONDS)

    # What the supervisor tells.

    def started(self, slot: int, pid: int, *, again: bool) -> None:
        """See `gateway.workers.supervisor.Observer`."""
        log.info("worker started", worker=slot, pid=pid, again=again)

    def ended(self, slot: int, pid: int, status: int) -> None:
        """See `Observer`."""
        self._restarts[slot].inc()
        self._up[slot].set(0)
        log.error("worker ended", worker=slot, pid=pid, status=status)

    def stuck(self, slot: int, pid: int) -> None:
        """See `Observer`."""
        log.error("worker killed: it neither came up nor ended", worker=slot, pid=pid)

    # What operators ask.

    @property
    def calls(self) -> int:
        """Calls that go on."""
        return sum(state.calls for state in self.states.values())

    def obstacles(self) -> list[str]:
        """Why no calls are taken; empty while one worker takes them, for it stands in for the others."""
        ours = [self.states[slot] for slot in self.supervisor.slots if slot in self.states]
        if any(not state.obstacles for state in ours):
            return []
        reasons = dict.fromkeys(reason for state in ours for reason in state.obstacles)
        return list(reasons) or ["no worker answers"]

    def _refresh(self) -> None:
        metrics = self.metrics
        metrics.ready.set(not self.obstacles())
        metrics.sync_age.set(self.replica.age)
        metrics.remote_age.set(self._sources.remote_age)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        answers = {worker.slot: state for worker, state in await of_each(self._all, WorkerClient.state)}
        self.states.clear()
        self.states.update(answers)
        for slot, up in self._up.items():
            up.set(slot in answers)

    async def reload(self) -> None:
        """Read carriers, certificates and numbers again (SIGHUP), here and in every worker."""
        try:
            self.carriers = await self._load_carriers()
        except CarriersError as error:
            log.error("carriers not reloaded", detail=str(error), key="admission.carriers_files")
        await of_each(self.workers, WorkerClient.reload, self._not_reloaded)
        await self._sources.reload()

    def _not_reloaded(self, worker: WorkerClient, error: BaseException) -> None:
        log.error("worker not reloaded", worker=worker.slot, error=str(error))

    async def stop(self) -> None:
        """Have every worker drain and end, then close everything. Bounded."""
        await self.supervisor.stop(self.settings.drain.timeout)
        await self._only_one.aclose()
        await self._exit.aclose()

    async def _load_carriers(self) -> CarrierTable:
        paths = [Path(name) for name in self.settings.admission.carriers_files]
        return await asyncio.to_thread(load_carriers, paths)

    async def _install_console(self, app: web.Application, service: ApiService | CallsService) -> None:
        if not self.settings.web.console:
            return
        from gateway.web.console.pages import Console

        desk = OfficeDesk(
            self.node,
            self._all,
            self.states,
            service.calls,
            self.settings,
            self.replica,
            self._nodes,
            lambda: self.carriers,
        )
        console = await asyncio.to_thread(Console, desk, service.keys)
        console.install(app)

    def _forward_twilio_calls(self, app: web.Application) -> None:
        """An agent's request that ends or moves a call goes to the worker that has it: the others say 404."""

        async def serve(request: web.Request) -> web.Response:
            body = await request.read()
            headers = {
                name: request.headers[name]
                for name in ("Authorization", "Content-Type")
                if name in request.headers
            }
            answers = await of_each(
                self._all, lambda worker: worker.forward(request.method, request.path, headers, body)
            )
            found = sorted((answer for _, answer in answers), key=lambda answer: answer[0] == 404)
            status, text = found[0] if found else (503, b"{}")
            return web.Response(status=status, body=text, content_type="application/json")

        app.router.add_get(twilio_calls.PATH, serve)
        app.router.add_post(twilio_calls.PATH, serve)


def claim_slots(settings: Settings, held: Held | None = None) -> Claim:
    """Take the workers' slots, and see that nothing is in their way. Blocks. Raises StartError."""
    try:
        claimed = claim(run_directory(settings.data.dir), settings.workers.count)
    except NoSlotLeft as error:
        raise StartError(str(error)) from None
    except OSError as error:
        raise StartError(file_fault(error)) from None
    try:
        if not (claimed.others or held):
            _check_ports(settings)
    except StartError:
        claimed.give_back()
        raise
    return claimed


def _check_ports(settings: Settings) -> None:
    """See that nobody but workers of ours listens where they are going to. Raises StartError.

    Sharing a port is allowed to every process of the same user: a stranger among them would be given a part
    of the calls, and nobody would know.
    """
    for place in carrier_places(settings):
        try:
            if not place.address[1]:
                raise StartError(
                    f"{place.key}: {place.text}: workers share a port, so it must be told: write one"
                )
            try_to_bind(place)
        except AddressError as error:
            raise StartError(f"{place.key}: {error}") from None
        except OSError as error:
            fault = (
                "is taken by another program"
                if error.errno == errno.EADDRINUSE
                else f"cannot be opened: {error.strerror}"
            )
            raise StartError(f"{place} {fault}") from None


async def serve(office: Office, on_ready: Callable[[Office], None] = lambda office: None) -> None:
    """Run until SIGTERM or SIGINT, or until another office has taken over and the last call is over.

    A second SIGTERM stops at once; SIGHUP reloads.

    Raises:
        StartError: see `Office.start`.

    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()
    drain: asyncio.Task[None] | None = None

    def asked_to_stop() -> None:
        if drain is not None or office.retired:
            office.supervisor.signal(signal.SIGTERM)  # the second one, to each of them
        stop.set()

    def asked_to_reload() -> None:
        task = loop.create_task(office.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    loop.add_signal_handler(signal.SIGHUP, asked_to_reload)
    await office.start()
    on_ready(office)
    log.info("ready", workers=office.supervisor.slots, web=office.web.address)
    asked = asyncio.create_task(stop.wait())
    over = asyncio.create_task(office.supervisor.ended())
    await asyncio.wait((asked, over), return_when=asyncio.FIRST_COMPLETED)
    for task in (asked, over):
        task.cancel()
    log.info("draining", calls=office.calls, timeout=office.settings.drain.timeout)
    drain = asyncio.create_task(office.stop())
    await drain
