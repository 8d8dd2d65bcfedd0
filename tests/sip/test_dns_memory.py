"""How long answers count; DNS is simulated, time is virtual."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable

import pytest

from gateway.sip import dns_memory
from gateway.sip.dns_memory import MAX_LIFETIME, MAX_STALE, MIN_LIFETIME, PATIENCE, RECHECK, DnsMemory
from gateway.sip.dns_records import Answer, DnsError, Kind
from tests.simulation import virtual_time


class Dns:
    def __init__(self) -> None:
        self.answer: Answer | None = Answer(("192.0.2.1",), 60)
        self.delay = 0.0
        self.asked: list[tuple[str, Kind]] = []

    async def ask(self, name: str, kind: Kind) -> Answer:
        self.asked.append((name, kind))
        answer = self.answer
        await asyncio.sleep(self.delay)
        if answer is None:
            raise DnsError(f"{name}: away")
        return answer


def in_virtual_time(test: Callable[[Dns, DnsMemory], Awaitable[None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        async def scenario() -> None:
            dns = Dns()
            memory = DnsMemory(dns)
            await test(dns, memory)
            await memory.close()

        virtual_time.run(scenario())

    del run.__wrapped__  # pytest would take the parameters for fixtures
    return run


@in_virtual_time
async def test_an_answer_counts_for_its_lifetime(dns: Dns, memory: DnsMemory) -> None:
    assert await memory.ask("a", "A") == ("192.0.2.1",)
    await asyncio.sleep(59)
    assert memory.fresh("a", "A") == ("192.0.2.1",)
    await memory.ask("a", "A")
    assert len(dns.asked) == 1
    await asyncio.sleep(2)
    assert memory.fresh("a", "A") is None
    await memory.ask("a", "A")
    assert len(dns.asked) == 2


@pytest.mark.parametrize(("lifetime", "counts"), [(0, MIN_LIFETIME), (10**9, MAX_LIFETIME)])
def test_lifetimes_have_bounds(lifetime: float, counts: float) -> None:
    @in_virtual_time
    async def scenario(dns: Dns, memory: DnsMemory) -> None:
        dns.answer = Answer((), lifetime)
        assert await memory.ask("a", "A") == ()
        await asyncio.sleep(counts - 0.1)
        assert memory.fresh("a", "A") == ()  # that there is none counts as well
        await asyncio.sleep(0.2)
        assert memory.fresh("a", "A") is None

    scenario()


@in_virtual_time
async def test_callers_together_ask_once(dns: Dns, memory: DnsMemory) -> None:
    dns.delay = 1
    answers = await asyncio.gather(*(memory.ask("a", "A") for _ in range(5)), memory.ask("a", "AAAA"))
    assert answers == [("192.0.2.1",)] * 6
    assert dns.asked == [("a", "A"), ("a", "AAAA")]


@in_virtual_time
async def test_an_old_answer_serves_while_dns_is_away_and_costs_little_time(
    dns: Dns, memory: DnsMemory
) -> None:
    await memory.ask("a", "A")
    dns.answer, dns.delay = None, 4
    await asyncio.sleep(100)
    began = asyncio.get_running_loop().time()
    assert await memory.ask("a", "A") == ("192.0.2.1",)
    assert asyncio.get_running_loop().time() - began == pytest.approx(PATIENCE)
    await asyncio.sleep(4)
    assert memory.fresh("a", "A") == ("192.0.2.1",)  # until the recheck nobody waits
    await asyncio.sleep(RECHECK)
    dns.answer, dns.delay = Answer(("192.0.2.2",), 60), 0
    assert await memory.ask("a", "A") == ("192.0.2.2",)


@in_virtual_time
async def test_an_answer_that_comes_late_serves_the_next_caller(dns: Dns, memory: DnsMemory) -> None:
    await memory.ask("a", "A")
    dns.answer, dns.delay = Answer(("192.0.2.2",), 60), 1
    await asyncio.sleep(100)
    assert await memory.ask("a", "A") == ("192.0.2.1",)
    await asyncio.sleep(1)
    assert memory.fresh("a", "A") == ("192.0.2.2",)


@in_virtual_time
async def test_a_very_old_answer_is_none(dns: Dns, memory: DnsMemory) -> None:
    await memory.ask("a", "A")
    dns.answer = None
    await asyncio.sleep(MAX_STALE + 100)
    with pytest.raises(DnsError):
        await memory.ask("a", "A")
    assert memory.recall("a", "A") == ("192.0.2.1",)


@in_virtual_time
async def test_a_failure_counts_for_a_moment(dns: Dns, memory: DnsMemory) -> None:
    dns.answer = None
    for _ in range(3):
        with pytest.raises(DnsError, match="a: away"):
            await memory.ask("a", "A")
    assert len(dns.asked) == 1
    await asyncio.sleep(RECHECK + 0.1)
    dns.answer = Answer(("192.0.2.1",), 60)
    assert await memory.ask("a", "A") == ("192.0.2.1",)


@in_virtual_time
async def test_who_gives_up_waiting_ends_nobodys_question(dns: Dns, memory: DnsMemory) -> None:
    dns.delay = 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await memory.ask("a", "A")
    await asyncio.sleep(1)
    assert memory.fresh("a", "A") == ("192.0.2.1",)


@in_virtual_time
async def test_closing_ends_what_is_asked(dns: Dns, memory: DnsMemory) -> None:
    dns.delay = 1000
    asking = asyncio.create_task(memory.ask("a", "A"))
    await asyncio.sleep(1)
    await memory.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_memory, "KNOWN_ANSWERS", 2)

    @in_virtual_time
    async def scenario(dns: Dns, memory: DnsMemory) -> None:
        for name in "abc":
            await memory.ask(name, "A")
        assert memory.recall("a", "A") == ()
        assert memory.recall("c", "A") == ("192.0.2.1",)
        dns.answer = None
        for name in "xyz":
            with pytest.raises(DnsError):
                await memory.ask(name, "A")
        assert len(memory._failed) == 2

    scenario()
