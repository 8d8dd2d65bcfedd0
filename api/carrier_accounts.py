"""Accounts at carriers: chosen by a request or the configuration, opened, and wired by one at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.carriers.base import Carrier, CarrierError
from api.carriers.connect import Account, Credentials
from api.integrations import Integrations
from api.problems import FieldError, invalid
from api.store.database import Database, Transaction
from api.store.tables import IntegrationRow
from api.types import IntegrationMetadata

SANDBOX: Final = "sandbox"

CARRIERS: Final = ("twilio", "telnyx")
"""Those with accounts, which integrations have the credentials of."""

WIRED_SECONDS: Final = 90.0
"""That an account is kept for who wires it: longer than that may take. Then who had it is taken for dead."""

Connect: TypeAlias = Callable[[Credentials], AbstractAsyncContextManager[Account]]


@dataclass(frozen=True, slots=True)
class Seller:
    """Whom numbers are bought from. account_id: the integration's; None for the sandbox."""

    carrier: str
    account_id: str | None


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account that can be asked. domain: of the trunk that is wanted, if the integration names one."""

    account: Account
    domain: str | None = None


class AccountBusy(CarrierError):  # noqa: N818 - it says how things are
    """Somebody else is wiring the account."""

    temporary = True


class Accounts:
    """Opens accounts.

    Args:
        database: the store.
        integrations: open their secrets.
        connect: gives an account for its credentials.
        sandbox: the carrier that needs none.
        seller: whom numbers are bought from, unless a request says: `sandbox`, `twilio` or `telnyx` for the
            only integration of that carrier, or the id of one.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: Database,
        integrations: Integrations,
        connect: Connect,
        sandbox: Carrier,
        seller: str = SANDBOX,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._connect = connect
        self._sandbox = sandbox
        self._seller = seller
        self._clock = clock

    def chosen(self, session: Session, credential_id: str | None) -> Seller:
        """Whom a request buys from. Raises Problem."""
        named = credential_id or self._seller
        if credential_id is None and named == SANDBOX:
            return Seller(SANDBOX, None)
        if credential_id is None and named in CARRIERS:
            return Seller(named, self._only(session, named))
        row = session.scalar(select(IntegrationRow).where(IntegrationRow.id == named))
        if row is not None:
            return Seller(row.provider, row.id)
        fix = "create it with POST /v1/integrations, or take one that GET /v1/integrations lists"
        where = "there is" if credential_id else "carriers.seller names an integration that is not there:"
        raise invalid(FieldError("credential_id", "reference", f"{where} no integration {named}", fix))

    @contextlib.asynccontextmanager
    async def opened(self, seller: Seller) -> AsyncIterator[OpenAccount]:
        """An account, for as long as the block lasts. Raises CarrierError."""
        if seller.account_id is None:
            yield OpenAccount(Account(self._sandbox))
            return
        account_id = seller.account_id
        known = await self._database.read(lambda session: self._known(session, account_id))
        if known is None:
            raise CarrierError(f"the integration {account_id} is gone, and with it the account's key")
        credentials, metadata = known
        async with self._connect(credentials) as account:
            yield OpenAccount(account, metadata.sip_trunk)

    @contextlib.asynccontextmanager
    async def alone(self, account_id: str) -> AsyncIterator[None]:
        """Nobody else wires the account meanwhile, in any process. Raises AccountBusy."""
        until = self._clock() + WIRED_SECONDS

        def take(tx: Transaction) -> bool:
            row = tx.session.scalar(select(IntegrationRow).where(IntegrationRow.id == account_id))
            if row is None or (row.wired_until or 0) > self._clock():
                return False
            row.wired_until = until
            return True

        def give_back(tx: Transaction) -> None:
            row = tx.session.scalar(select(IntegrationRow).where(IntegrationRow.id == account_id))
            if row is not None and row.wired_until == until:
                row.wired_until = None

        if not await self._database.write(take):
            raise AccountBusy("the account is being wired for another number, or by hand")
        try:
            yield
        finally:
            await self._database.write(give_back)

    def _only(self, session: Session, carrier: str) -> str:
        """The integration of a carrier that has just one. Raises Problem."""
        query = select(IntegrationRow.id).where(IntegrationRow.provider == carrier)
        ids: Sequence[str] = session.scalars(query.order_by(IntegrationRow.seq).limit(2)).all()
        if len(ids) == 1:
            return ids[0]
        if not ids:
            detail = f"numbers are bought at {carrier}, and there is no integration of it"
            fix = "create one with POST /v1/integrations"
        else:
            detail = f"{carrier} has several integrations"
            fix = "name one here, or its id in carriers.seller"
        raise invalid(FieldError("credential_id", "required", detail, fix))

    def _known(self, session: Session, account_id: str) -> tuple[Credentials, IntegrationMetadata] | None:
        row = session.scalar(select(IntegrationRow).where(IntegrationRow.id == account_id))
        if row is None:
            return None
        metadata = msgspec.json.decode(row.details, type=IntegrationMetadata)
        return Credentials(row.provider, metadata.account_sid, self._integrations.api_key(row)), metadata
