"""The sandbox, failing as it is told; and a clock that a test moves."""

from __future__ import annotations

from collections.abc import Sequence

from api.carriers.base import AvailableNumber, CarrierError, NumberQuery, Purchase
from api.carriers.sandbox import SandboxCarrier
from api.service import ApiService


class FaultyCarrier:
    """The sandbox, failing before or after it has done what it was asked.

    looks: what it answers to the next questions about purchases, instead of what is true.
    asked: numbers that it was asked to sell.
    """

    name = "sandbox"

    def __init__(self, carrier: SandboxCarrier) -> None:
        self._carrier = carrier
        self.before: list[CarrierError] = []
        self.after: list[CarrierError] = []
        self.looks: list[Purchase] = []
        self.asked: list[str] = []

    async def search(self, query: NumberQuery) -> Sequence[AvailableNumber]:
        return await self._carrier.search(query)

    async def purchase(self, phone_number: str, reference: str) -> Purchase:
        self.asked.append(phone_number)
        self._fail(self.before)
        purchase = await self._carrier.purchase(phone_number, reference)
        self._fail(self.after)
        return purchase

    async def purchased(self, phone_number: str, reference: str) -> Purchase:
        self._fail(self.before)
        if self.looks:
            return self.looks.pop(0)
        return await self._carrier.purchased(phone_number, reference)

    async def release(self, identity: str) -> None:
        self._fail(self.before)
        await self._carrier.release(identity)
        self._fail(self.after)

    @staticmethod
    def _fail(faults: list[CarrierError]) -> None:
        if faults:
            raise faults.pop(0)


class Clock:
    """Seconds since the epoch, for everything that goes on with numbers; nothing happens by itself."""

    def __init__(self, service: ApiService) -> None:
        self.now = 1_800_000_000.0
        self._service = service
        for part in (service.purchases, service.provisioner, service.worker, service.accounts):
            part._clock = lambda: self.now
        service.provisioner._dice = lambda: 0.5
        service.worker.wake = lambda: None  # type: ignore[method-assign]  # the tests say when

    async def pass_by(self, seconds: float) -> int:
        """Let time go by, and do what is due by then; returns how many numbers were gone on with."""
        self.now += seconds
        taken = await self._service.worker.take_up(self.now)
        for phone_id in taken:
            await self._service.provisioner.go_on(phone_id)
        return len(taken)
