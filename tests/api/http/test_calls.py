"""Calls over HTTP: history and search from the store, live calls, traces and drain from the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api import calls_service
from api.call_history import CallHistory
from api.calls_service import CallsService
from api.identifiers import timestamp
from api.metrics import ApiMetrics
from api.store.database import Database, Transaction
from api.store.tables import CallLegRow, CallRow
from routing.call_events import CallRecorded
from routing.call_records import CallShown, TraceRung
from tests.api.conftest import Store, until
from tests.api.http.rig import KEY, Api, running_api

SHOWN = CallShown(
    id="c0",
    node="here",
    state="over",
    started_at="2026-11-27T12:00:00.000Z",
    began=1_795_780_800.0,
    seconds=12.5,
    carrier="twilio",
    carrier_call_id="CA0",
    source="192.0.2.1",
    caller="+14155550142",
    dialled="+14155550100",
    number="+14155550100",
    sip_call_ids=["leg-c0", "leg-a0"],
    plan=["agt_a", "voicemail"],
    destination="agt_a",
    position=1,
    outcome="agent",
    status=200,
    cause="caller hung up",
    rule="",
    tried=[],
    stages={"answer": 0.004},
    legs=[],
    moments=[],
    quality=[],
    mos=4.4,
)


def made(index: int, **fields: Any) -> CallShown:
    own = {
        "id": f"c{index}",
        "carrier_call_id": f"CA{index}",
        "sip_call_ids": [f"leg-c{index}", f"leg-a{index}"],
    }
    return msgspec.structs.replace(SHOWN, **(own | fields))


class Gateway:
    """The node of a test."""

    name = "here"

    def __init__(self) -> None:
        self.draining = False
        self.calls = {"live1": made(1, id="live1", state="talking", outcome="")}
        self.fails = False

    async def live(self) -> list[CallShown]:
        return list(self.calls.values())

    async def find(self, call_id: str) -> CallShown | None:
        return self.calls.get(call_id)

    async def hang_up(self, call_id: str) -> bool:
        return self.calls.pop(call_id, None) is not None

    async def drain(self, draining: bool) -> None:
        self.draining = draining

    def has(self, node: str) -> bool:
        return node == self.name

    async def trace(self, call: CallShown) -> list[TraceRung]:
        if self.fails:
            raise OSError(5, "Input/output error")
        return [
            TraceRung(
                at=0.1,
                side="caller",
                out=False,
                label="INVITE",
                kind="",
                again=False,
                transport="udp",
                local="10.0.0.1:5060",
                remote="192.0.2.1:5060",
                message="INVITE sip:a@b SIP/2.0",
            )
        ]

    async def trace_text(self, call: CallShown) -> str:
        return f"ladder of {call.id} — ●"

    async def trace_capture(self, call: CallShown) -> bytes:
        return b"packets"


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def api(tmp_path: Path, gateway: Gateway) -> AsyncIterator[Api]:
    async with running_api(tmp_path, node=gateway) as api:
        yield api


async def recorded(api: Api, *calls: CallShown) -> None:
    events = [CallRecorded(id=f"evt_{call.id}", call=call) for call in calls]
    await api.service.database.write(lambda tx: api.intake.take(tx, events))


async def ids(api: Api, query: str = "") -> list[str]:
    answer = await api.get(f"/v1/calls{query}")
    assert answer.status == 200, answer
    return [each["id"] for each in answer.body["items"]]


async def test_calls_come_newest_first_and_by_pages(api: Api) -> None:
    await recorded(api, *(made(number) for number in range(5)))
    first = (await api.get("/v1/calls?limit=2")).body
    assert [each["id"] for each in first["items"]] == ["c4", "c3"]
    assert first["has_more"]
    second = (await api.get(f"/v1/calls?limit=3&cursor={first['next_cursor']}")).body
    assert [each["id"] for each in second["items"]] == ["c2", "c1", "c0"]
    assert not second["has_more"]


async def test_a_call_that_is_told_twice_is_there_once(api: Api) -> None:
    await recorded(api, made(1))
    await recorded(api, made(1), made(2))
    assert await ids(api) == ["c2", "c1"]
    assert (await api.get("/v1/calls/c1")).body == msgspec.to_builtins(made(1))


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("%2B14155550100", ["c2", "c1"]),
        ("14155550100", ["c2", "c1"]),
        ("(415) 555-01".replace(" ", "%20"), []),
        ("%2B1415555", ["c3", "c2", "c1"]),
        ("%2B44207", ["c3"]),
        ("leg-a2", ["c2"]),
        ("leg-c3", ["c3"]),
        ("CA1", ["c1"]),
        ("c2", ["c2"]),
        ("C2", []),
        ("nothing", []),
        ("%25", []),
    ],
)
async def test_calls_are_found_by_numbers_and_by_every_id(api: Api, search: str, found: list[str]) -> None:
    await recorded(
        api, made(1), made(2), made(3, number="+14155550199", dialled="+14155550199", caller="+442071838750")
    )
    assert await ids(api, f"?search={search}") == found


async def test_calls_are_filtered(api: Api) -> None:
    refused = made(2, outcome="refused", number="", dialled="1000", cause="number not known", status=404)
    await recorded(api, made(1), refused, made(3, carrier="telnyx", started_at="2026-11-28T00:00:00.000Z"))
    assert await ids(api, "?refused=true") == ["c2"]
    assert await ids(api, "?refused=false") == ["c3", "c1"]
    assert await ids(api, "?carrier=telnyx") == ["c3"]
    assert await ids(api, "?outcome=agent&started_before=2026-11-27T13:00:00Z") == ["c1"]
    assert await ids(api, "?started_since=2026-11-27T13:00:00Z") == ["c3"]
    assert await ids(api, "?search=1000") == ["c2"]


async def test_live_calls_are_shown_and_ended(api: Api, gateway: Gateway) -> None:
    live = (await api.get("/v1/calls/live")).body
    assert (live["node"], [each["id"] for each in live["items"]]) == ("here", ["live1"])
    assert (await api.get("/v1/calls/live1")).body["state"] == "talking"
    assert (await api.delete("/v1/calls/live1")).status == 204
    assert (await api.delete("/v1/calls/live1")).status == 404
    assert not gateway.calls


async def test_traces_come_as_json_text_and_capture(api: Api) -> None:
    await recorded(api, made(1))
    trace = (await api.get("/v1/calls/c1/trace")).body
    assert [each["label"] for each in trace["rungs"]] == ["INVITE"]
    assert (await api.get("/v1/calls/c1/trace.txt")).body == "ladder of c1 — ●"
    capture = await api.get("/v1/calls/c1/trace.pcap")
    assert capture.headers["Content-Type"] == "application/vnd.tcpdump.pcap"
    assert 'filename="c1.pcap"' in capture.headers["Content-Disposition"]


async def test_a_trace_that_is_not_here_says_where_it_is(api: Api, gateway: Gateway) -> None:
    await recorded(api, made(1, node="there"), made(2))
    answer = await api.get("/v1/calls/c1/trace")
    assert answer.status == 404
    assert "on there; this is here" in answer.body["detail"]
    assert (await api.get("/v1/calls/none/trace.txt")).status == 404
    gateway.fails = True
    assert (await api.get("/v1/calls/c2/trace")).status == 503


async def test_the_gateway_is_drained_and_comes_back(api: Api, gateway: Gateway) -> None:
    assert (await api.get("/v1/drain")).body == {"node": "here", "draining": False, "calls": 1}
    assert (await api.post("/v1/drain")).body["draining"] is True
    assert gateway.draining
    assert (await api.delete("/v1/drain")).body["draining"] is False


async def test_who_may_only_read_ends_and_drains_nothing(api: Api, gateway: Gateway) -> None:
    made_key = await api.post("/v1/api-keys", {"name": "reader", "scopes": ["read"]})
    key = made_key.body["key"]
    assert (await api.get("/v1/calls/live", key=key)).status == 200
    assert (await api.delete("/v1/calls/live1", key=key)).status == 403
    assert (await api.post("/v1/drain", key=key)).status == 403
    assert (await api.get("/v1/calls", key=None)).status == 401
    assert gateway.calls


async def test_an_api_without_a_gateway_has_history_alone(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        await recorded(api, made(1))
        assert await ids(api) == ["c1"]
        for path in ("/v1/calls/live", "/v1/calls/c1/trace", "/v1/drain"):
            assert (await api.get(path)).status == 404


async def test_numbers_are_masked_on_demand(database: Database) -> None:
    history = CallHistory(mask=True)
    await database.write(lambda tx: history.keep(tx, [made(1)]))
    call = await database.read(lambda session: history.get(session, "c1"))
    assert call is not None
    assert (call.caller, call.number) == ("***42", "***00")


async def test_old_calls_go_by_count_and_by_age(store: Store) -> None:
    async with store.opened() as database:
        calls = [made(number, started_at="2099-01-01T00:00:00.000Z") for number in range(30)]
        await database.write(lambda tx: CallHistory().keep(tx, calls))
        await database.write(CallHistory(max_calls=10, days=0).forget_old)

        def left(session: Any) -> tuple[int, int]:
            return session.query(CallRow).count(), session.query(CallLegRow).count()

        assert await database.read(left) == (10, 20)
        await database.write(CallHistory(days=1e-9).forget_old)
        assert await database.read(left) == (10, 20)  # they are of a time to come
        old = made(50, started_at="2020-01-01T00:00:00.000Z")
        await database.write(lambda tx: CallHistory().keep(tx, [old]))
        assert await database.read(left) == (11, 22)
        await database.write(CallHistory(days=1).forget_old)
        assert await database.read(left) == (10, 20)


async def test_a_gateway_whose_clock_is_wrong_takes_only_its_own_calls_from_the_history(store: Store) -> None:
    now = timestamp()
    async with store.opened() as database:
        calls = [made(number, started_at=now) for number in range(4)]
        calls.insert(2, made(9, started_at="1970-01-01T00:00:03.000Z"))
        await database.write(lambda tx: CallHistory().keep(tx, calls))
        await database.write(CallHistory(days=30).forget_old)
        kept = await database.read(lambda session: [row.id for row in session.query(CallRow)])
        assert sorted(kept) == ["c0", "c1", "c2", "c3"]


async def test_a_call_is_found_the_moment_it_is_over(tmp_path: Path, gateway: Gateway) -> None:
    service = CallsService(
        tmp_path,
        version="1",
        keys=[KEY],
        node=gateway,
        history=CallHistory(),
        rate_limit=100,
        metrics=ApiMetrics(),
    )
    await service.open()
    try:
        service.put(made(1))  # nobody writes yet: that is done every other second
        assert await service.calls.find("c1") is not None
        assert await service.calls.find("c2") is None
    finally:
        await service.close()


class EverMore(CallHistory):
    """Of a busy gateway: while calls are written there is always one more that ends."""

    ended: Callable[[CallShown], None]

    def keep(self, tx: Transaction, calls: Sequence[CallShown]) -> None:
        """See `CallHistory`."""
        super().keep(tx, calls)
        self.ended(made(len(calls) + 1))


async def test_calls_that_end_while_others_are_written_wait_for_the_next_time(
    tmp_path: Path, gateway: Gateway
) -> None:
    history = EverMore()
    service = CallsService(
        tmp_path,
        version="1",
        keys=[KEY],
        node=gateway,
        history=history,
        rate_limit=100,
        metrics=ApiMetrics(),
    )
    history.ended = service.put
    await service.open()
    service.put(made(1))
    async with asyncio.timeout(30):
        await service.flush()
    assert [call.id for call in service._waiting] == ["c2"]
    await service.close()


async def test_a_gateway_without_an_api_keeps_its_own_history(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_service, "WRITE_SECONDS", 0.001)
    service = CallsService(
        tmp_path,
        version="1",
        keys=[KEY],
        node=gateway,
        history=CallHistory(),
        rate_limit=100,
        metrics=ApiMetrics(),
    )
    await service.open()
    writing = asyncio.create_task(service.run())
    service.put(made(1))
    await until(lambda: not service._waiting)
    service.put(made(2))
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await service.close()
    again = CallsService(
        tmp_path,
        version="1",
        keys=[KEY],
        node=gateway,
        history=CallHistory(),
        rate_limit=100,
        metrics=ApiMetrics(),
    )
    await again.open()
    assert await again.calls.find("c2") == made(2)
    await again.close()
