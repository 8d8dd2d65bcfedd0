"""The operations that wire a carrier's account to this deployment, and find out what is wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.carrier_accounts import AccountBusy, Accounts, Seller
from api.carrier_problems import ASKED, problem_of
from api.carrier_types import (
    MAX_WIRED,
    DoctorFinding,
    DoctorQuery,
    DoctorReport,
    SetupRequest,
    SetupResult,
    SetupStep,
)
from api.carriers.base import AccountSuspended, CarrierError, CarrierUnavailable, CredentialsRefused
from api.carriers.twilio_plan import STRONG, strong
from api.carriers.wiring import Desired, Place, Wired, Wiring
from api.number_records import NumberRecords
from api.operations import Operation, Reply, Request
from api.problems import FieldError, Problem, invalid, not_found
from api.store.database import Database
from api.store.tables import IntegrationRow, NumberRow
from api.types import IntegrationMetadata

log = structlog.get_logger("api")

TAG: Final = "Carriers"

SETUP_SECONDS: Final = 50.0
"""For all of it: a little less than commands wait. What is not done by then is done by the next run."""

NO_NODES: Final = (
    "nobody told where carriers reach this deployment",
    "set carriers.nodes, as in voice.example.com:5060, or sip.advertised_host",
)

EXAMPLE: Final = {"phone_numbers": ["+14155550100"], "dry_run": True}


@dataclass(frozen=True, slots=True)
class _Account:
    """What the store knows about an integration. username, password: for calls towards the carrier."""

    seller: Seller
    metadata: IntegrationMetadata
    phone_numbers: tuple[str, ...]
    username: str | None
    password: str | None = field(repr=False)


class CarrierSetup:
    """Wires integrations.

    Args:
        database: the store.
        accounts: open integrations' accounts.
        numbers: refer to integrations, and have credentials for the way back.
        place: our deployment as carriers see it.

    """

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        numbers: NumberRecords,
        place: Place,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._numbers = numbers
        self._place = place

    def operations(self) -> list[Operation]:
        """What can be asked."""
        one = "/v1/integrations/{integration_id}"
        return [
            Operation(
                id="setUpIntegration",
                method="POST",
                path=f"{one}/setup",
                summary="Wire the carrier's account, so that its calls come here; or tell what that changes",
                tag=TAG,
                scope="write",
                act=self.set_up,
                request=SetupRequest,
                response=SetupResult,
                problems=("not-found", "in-progress", *ASKED),
                example=EXAMPLE,
            ),
            Operation(
                id="examineIntegration",
                method="GET",
                path=f"{one}/doctor",
                summary="Find out what keeps the carrier's calls from arriving here",
                tag=TAG,
                scope="read",
                act=self.examine,
                query=DoctorQuery,
                response=DoctorReport,
                problems=("not-found", *ASKED),
            ),
        ]

    async def set_up(self, request: Request) -> Reply:
        """Wire, or plan."""
        body: SetupRequest = request.body
        if not self._place.nodes:
            raise invalid(FieldError("carriers.nodes", "required", *NO_NODES))
        if (body.auth_username is None) != (body.auth_password is None):
            missing = "auth_password" if body.auth_password is None else "auth_username"
            raise invalid(FieldError(missing, "required", "user and password belong together", "send both"))
        integration_id = request.path["integration_id"]
        account = await self._database.read(lambda session: self._account(session, integration_id))
        if body.auth_username is not None and account.seller.carrier == "telnyx":
            fix = "leave it out: Telnyx makes user and password itself, and its portal shows them"
            raise invalid(FieldError("auth_username", "carrier", "cannot be chosen at Telnyx", fix))
        if body.auth_password is not None and not strong(body.auth_password):
            raise invalid(FieldError("auth_password", "weak", "Twilio would refuse it", f"choose {STRONG}"))
        wired = await self._wire(account, _desired(self._place, account, body), body.dry_run)
        for step in wired.steps if not body.dry_run else ():
            log.info(
                "carrier set up",
                integration=integration_id,
                carrier=account.seller.carrier,
                change=step.change.kind,
                status=step.status,
                detail=step.error or "",
            )
        return Reply(_result(account.seller.carrier, self._place, wired, dry_run=body.dry_run))

    async def examine(self, request: Request) -> Reply:
        """Find out what is wrong."""
        query: DoctorQuery = request.query
        integration_id = request.path["integration_id"]
        account = await self._database.read(lambda session: self._account(session, integration_id))
        countries = query.countries.split(",") if query.countries else []
        desired = _desired(self._place, account, SetupRequest(countries=countries))
        return Reply(await self._report(account, desired))

    async def _wire(self, account: _Account, desired: Desired, dry_run: bool) -> Wired:
        account_id = account.seller.account_id or ""
        try:
            async with contextlib.AsyncExitStack() as stack:
                if not dry_run:
                    await stack.enter_async_context(self._accounts.alone(account_id))
                wiring = await stack.enter_async_context(self._wiring(account.seller))
                return await wiring.set_up(desired, dry_run=dry_run)
        except AccountBusy as error:
            detail = f"{account_id}: {error}"
            raise Problem("in-progress", detail, headers={"Retry-After": "5"}) from None
        except CarrierError as error:
            again = "ask again, and it goes on where it stopped"
            raise problem_of(account.seller.carrier, error, again) from None

    @contextlib.asynccontextmanager
    async def _wiring(self, seller: Seller) -> AsyncIterator[Wiring]:
        """An account's, for `SETUP_SECONDS` at most. Raises CarrierError."""
        try:
            async with asyncio.timeout(SETUP_SECONDS), self._accounts.opened(seller) as opened:
                wiring = opened.account.wiring
                if wiring is None:
                    raise CarrierError("there is nothing to wire")
                yield wiring
        except TimeoutError:
            raise CarrierUnavailable("took too long") from None

    async def _report(self, account: _Account, desired: Desired) -> DoctorReport:
        carrier = account.seller.carrier
        found: list[DoctorFinding] = []
        if not self._place.nodes:
            found.append(DoctorFinding("nodes", *NO_NODES, grave=True, by_setup=False))
        try:
            async with self._wiring(account.seller) as wiring:
                told = await wiring.examine(desired)
        except CredentialsRefused as error:
            fix = "put the account's present key into the integration: PATCH /v1/integrations/{id}"
            found.append(DoctorFinding("credentials", f"{carrier}: {error}", fix, True, False))
        except AccountSuspended as error:
            fix = f"see {carrier}'s console: an account is suspended for lack of funds, or by its support"
            found.append(DoctorFinding("account", f"{carrier}: {error}", fix, True, False))
        except CarrierError as error:
            raise problem_of(carrier, error) from None
        else:
            found += [
                DoctorFinding(each.check, each.detail, each.fix, each.grave, each.by_setup) for each in told
            ]
        return DoctorReport(
            carrier=carrier,
            healthy=not any(each.grave for each in found),
            phone_numbers=list(desired.phone_numbers),
            destinations=[node.uri for node in self._place.nodes],
            findings=sorted(found, key=lambda each: not each.grave),
        )

    def _account(self, session: Session, integration_id: str) -> _Account:
        """An integration and the numbers that it is for. Raises Problem."""
        row = session.scalar(select(IntegrationRow).where(IntegrationRow.id == integration_id))
        if row is None:
            raise not_found("integration", integration_id)
        metadata = msgspec.json.decode(row.details, type=IntegrationMetadata)
        query = select(NumberRow).where(NumberRow.credential_id == row.id, NumberRow.provisioning.is_(None))
        numbers = list(session.scalars(query.order_by(NumberRow.seq).limit(MAX_WIRED)))
        if metadata.phone_number is not None:
            own = select(NumberRow).where(NumberRow.phone_number == metadata.phone_number)
            numbers = [*session.scalars(own), *numbers]
        named = [metadata.phone_number] if metadata.phone_number else []
        named += [number.phone_number for number in numbers]
        configs = [config for number in numbers if (config := self._numbers.writable(number).provider_config)]
        config = next((each for each in configs if each.auth_username), None)
        return _Account(
            Seller(row.provider, row.id),
            metadata,
            tuple(dict.fromkeys(named))[:MAX_WIRED],
            config.auth_username if config else None,
            config.auth_password if config else None,
        )


def _desired(place: Place, account: _Account, body: SetupRequest) -> Desired:
    given = body.auth_username is not None
    return Desired(
        place,
        account.phone_numbers if body.phone_numbers is None else tuple(dict.fromkeys(body.phone_numbers)),
        domain=body.trunk_domain or account.metadata.sip_trunk,
        username=body.auth_username if given else account.username,
        password=body.auth_password if given else account.password,
        countries=tuple(dict.fromkeys(body.countries)),
        remove_others=body.remove_others,
        renew_password=given,
    )


def _result(carrier: str, place: Place, wired: Wired, *, dry_run: bool) -> SetupResult:
    steps = [SetupStep(step.change.kind, step.change.detail, step.status, step.error) for step in wired.steps]
    return SetupResult(
        carrier=carrier,
        dry_run=dry_run,
        complete=all(step.status == "done" for step in steps),
        trunk_id=wired.identity,
        trunk_domain=wired.domain,
        destinations=[node.uri for node in place.nodes],
        steps=steps,
        notes=wired.notes,
    )
