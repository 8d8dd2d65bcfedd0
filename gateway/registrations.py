"""The accounts that are registered at carriers, one task each, as the carriers' files have them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from gateway.admission.carriers import Carrier
from gateway.sip.account import Account
from gateway.sip.registration import Registering, Registration
from gateway.telemetry.metrics import Metrics

log = structlog.get_logger("registration")


class Registrations:
    """Starts, stops and tells of them.

    Args:
        sip: registers.
        metrics: counts.
        ours: whether a carrier's account is for this process to register.

    """

    def __init__(
        self, sip: Registering, metrics: Metrics, ours: Callable[[str], bool] = lambda carrier: True
    ) -> None:
        self._sip = sip
        self._ours = ours
        self._metrics = metrics
        self._running: dict[str, tuple[Account, Registration, asyncio.Task[None]]] = {}
        self._told: dict[str, str] = {}
        self._carriers: dict[str, Carrier] = {}

    def match(self, host: str) -> Carrier | None:
        """Whose registrar has this address: a call from there is the carrier's."""
        for name, (_, registration, _) in self._running.items():
            if host in registration.hosts:
                return self._carriers.get(name)
        return None

    async def follow(self, carriers: Iterable[Carrier]) -> None:
        """Register what is new, and take back what is gone or has changed."""
        self._carriers = {
            each.name: each for each in carriers if each.registration is not None and self._ours(each.name)
        }
        gone = [
            name
            for name, (account, _, _) in self._running.items()
            if name not in self._carriers or self._carriers[name].registration != account
        ]
        await self._end(gone)
        for name, carrier in self._carriers.items():
            if name not in self._running and carrier.registration is not None:
                self._begin(name, carrier.registration)

    async def stop(self) -> None:
        """Take all of them back; bounded."""
        await self._end(list(self._running))

    def _begin(self, name: str, account: Account) -> None:
        self._metrics.registration_up.labels(name).set(0)

        def on_state(up: bool, why: str) -> None:
            self._metrics.registration_up.labels(name).set(up)
            if not up:
                self._metrics.registration_failures.labels(name).inc()
                log.error("not registered", carrier=name, registrar=account.registrar, reason=why)
            elif self._told.get(name) != "up":
                log.info("registered", carrier=name, registrar=account.registrar)
            self._told[name] = "up" if up else why

        registration = Registration(self._sip, account, on_state)
        task = asyncio.create_task(registration.run(), name=f"registration-{name}")
        self._running[name] = account, registration, task

    async def _end(self, names: Iterable[str]) -> None:
        tasks = []
        for name in names:
            _, _, task = self._running.pop(name)
            task.cancel()
            tasks.append(task)
            self._told.pop(name, None)
            self._metrics.registration_up.remove(name)
        await asyncio.gather(*tasks, return_exceptions=True)
