"""Wiring an Elastic SIP Trunk of a Twilio account to this deployment, through Twilio's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client
from twilio.rest.trunking.v1.trunk import TrunkInstance

from api.carriers.base import CarrierError
from api.carriers.twilio_plan import (
    STRONG,
    Found,
    Trunk,
    Url,
    domain_of,
    findings,
    ours,
    plan,
    strong,
)
from api.carriers.wiring import MAX_LISTED, Ask, Change, Desired, Finding, Place, Told, Wired, carry_out

Result = TypeVar("Result")

AT_ONCE: Final = 4
"""Questions at once: few enough that no account is throttled for them."""

DOMAIN_TAKEN: Final = 21248
ALREADY_THERE: Final = 21240
"""Of a credential list whose name exists, as when a listing does not show it yet."""

LOOKS: Final = 4
LOOK_SECONDS: Final = 1.0
"""Between looks for something that Twilio says is there, and does not list yet."""


class TwilioWiring:
    """See `api.carriers.wiring.Wiring`.

    Args:
        client: the SDK's, asynchronous, for the account.
        ask: awaits it, within a time, and maps its errors.
        sleep: seconds, between looks.

    """

    carrier = "twilio"

    def __init__(
        self, client: Client, ask: Ask[Any], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client = client
        self._ask = ask
        self._sleep = sleep
        self._few = asyncio.Semaphore(AT_ONCE)

    def obstacle(self, place: Place) -> str | None:
        """See the protocol; Twilio takes names and addresses."""
        return None

    async def set_up(self, desired: Desired, *, dry_run: bool, told: Told | None = None) -> Wired:
        """See the protocol."""
        found = await self.look(desired)
        made = {"trunk": found.trunk.sid if found.trunk else None, "list": found.credential_list}
        changes = plan(desired, found, self._account)

        async def work(change: Change) -> None:
            await self._carry_out(change, desired, made)

        steps = await carry_out(changes, work, dry_run=dry_run, told=told)
        domain = (found.trunk.domain if found.trunk else None) or domain_of(desired, self._account)
        return Wired(made["trunk"], domain, steps, _notes(desired, found))

    async def attach(self, number: str, trunk: str) -> None:
        """See the protocol. An update of the number, since that may be made again."""
        await self._asked(self._client.incoming_phone_numbers(number).update_async(trunk_sid=trunk))

    async def shut(self, countries: Sequence[str], trunk: str) -> tuple[str, ...]:
        """See the protocol; Twilio's permissions are the account's."""
        allowed = await asyncio.gather(*(self._may_call(each) for each in countries))
        return tuple(each for each, may in zip(countries, allowed, strict=True) if not may)

    async def examine(self, desired: Desired) -> list[Finding]:
        """See the protocol."""
        return findings(desired, await self.look(desired))

    async def look(self, desired: Desired) -> Found:
        """What is there. Raises CarrierError."""
        trunks = self._client.trunking.v1.trunks
        listed = [_trunk(each) for each in await self._asked(trunks.list_async(limit=MAX_LISTED))]
        trunk = ours(listed, desired, self._account)
        lists = await self._credential_lists()
        list_sid = lists.get(desired.place.name)
        (numbers, countries), whole, users = await asyncio.gather(
            self._numbers_and_countries(desired), self._whole(trunk), self._usernames(list_sid)
        )
        return Found(whole, numbers, list_sid, users, countries)

    async def _numbers_and_countries(
        self, desired: Desired
    ) -> tuple[Mapping[str, tuple[str, str | None]], Mapping[str, bool]]:
        numbers = await asyncio.gather(*(self._number(each) for each in desired.phone_numbers))
        allowed = await asyncio.gather(*(self._may_call(each) for each in desired.countries))
        found = {name: number for name, number in zip(desired.phone_numbers, numbers, strict=True) if number}
        return found, dict(zip(desired.countries, allowed, strict=True))

    async def _whole(self, trunk: Trunk | None) -> Trunk | None:
        """A trunk with what hangs on it."""
        if trunk is None:
            return None
        context = self._client.trunking.v1.trunks(trunk.sid)
        urls, lists = await asyncio.gather(
            self._asked(context.origination_urls.list_async(limit=MAX_LISTED)),
            self._asked(context.credentials_lists.list_async(limit=MAX_LISTED)),
        )
        return Trunk(
            trunk.sid,
            trunk.name,
            trunk.domain,
            trunk.secure,
            tuple(
                Url(each.sid, each.sip_url or "", each.priority or 0, each.weight or 0, bool(each.enabled))
                for each in urls
            ),
            tuple(each.sid for each in lists),
        )

    async def _number(self, phone_number: str) -> tuple[str, str | None] | None:
        numbers = self._client.incoming_phone_numbers
        found = await self._asked(numbers.list_async(phone_number=phone_number, limit=MAX_LISTED))
        return next(((each.sid, each.trunk_sid) for each in found if each.phone_number == phone_number), None)

    async def _may_call(self, country: str) -> bool:
        async def fetch() -> bool:
            try:
                countries = self._client.voice.v1.dialing_permissions.countries
                return bool((await countries(country).fetch_async()).low_risk_numbers_enabled)
            except TwilioRestException as error:
                if error.status == 404:
                    return False  # a country that Twilio does not know
                raise

        return bool(await self._asked(fetch()))

    async def _credential_lists(self) -> dict[str, str]:
        lists = await self._asked(self._client.sip.credential_lists.list_async(limit=MAX_LISTED))
        return {each.friendly_name: each.sid for each in reversed(lists)}

    async def _usernames(self, list_sid: str | None) -> dict[str, str]:
        if list_sid is None:
            return {}
        credentials = self._client.sip.credential_lists(list_sid).credentials
        return {
            each.username: each.sid for each in await self._asked(credentials.list_async(limit=MAX_LISTED))
        }

    async def _carry_out(self, change: Change, desired: Desired, made: dict[str, str | None]) -> None:
        values = dict(change.values)
        if change.kind == "create trunk":
            made["trunk"] = await self._create_trunk(values)
            return
        if change.kind == "create credential list":
            made["list"] = await self._create_list(values)
            return
        trunk, credentials = self._client.trunking.v1.trunks(made["trunk"]), made["list"]
        if change.kind == "set domain":
            await self._asked(trunk.update_async(**values))
        elif change.kind == "add origination":
            await self._asked(trunk.origination_urls.create_async(friendly_name=desired.place.name, **values))
        elif change.kind == "change origination":
            await self._asked(trunk.origination_urls(values.pop("sid")).update_async(**values))
        elif change.kind == "remove origination":
            await self._asked(trunk.origination_urls(values["sid"]).delete_async())
        elif change.kind == "attach credential list":
            await self._asked(trunk.credentials_lists.create_async(credential_list_sid=credentials))
        elif change.kind == "attach number":
            await self._asked(trunk.phone_numbers.create_async(phone_number_sid=values["sid"]))
        elif not strong(desired.password or ""):
            raise CarrierError(f"Twilio takes no such SIP password: it wants {STRONG}")
        else:
            of_list = self._client.sip.credential_lists(credentials).credentials
            if change.kind == "create credential":
                await self._asked(of_list.create_async(desired.username, desired.password))
            else:
                await self._asked(of_list(values["sid"]).update_async(password=desired.password))

    async def _create_trunk(self, values: Mapping[str, Any]) -> str:
        """A new trunk; or the one that has its domain, if a listing did not show it yet."""

        async def create() -> str | None:
            try:
                return str((await self._client.trunking.v1.trunks.create_async(**values)).sid)
            except TwilioRestException as error:
                if error.code != DOMAIN_TAKEN:
                    raise
                return None

        sid = await self._asked(create())
        for _ in range(LOOKS if sid is None else 0):
            trunks = await self._asked(self._client.trunking.v1.trunks.list_async(limit=MAX_LISTED))
            sid = next((each.sid for each in trunks if each.domain_name == values["domain_name"]), None)
            if sid is not None:
                break
            await self._sleep(LOOK_SECONDS)
        if sid is None:
            raise CarrierError(f"{values['domain_name']} belongs to another account: choose another domain")
        return str(sid)

    async def _create_list(self, values: Mapping[str, Any]) -> str:
        async def create() -> str | None:
            try:
                return str((await self._client.sip.credential_lists.create_async(**values)).sid)
            except TwilioRestException as error:
                if error.code != ALREADY_THERE:
                    raise
                return None

        sid = await self._asked(create())
        for _ in range(LOOKS if sid is None else 0):
            sid = (await self._credential_lists()).get(values["friendly_name"])
            if sid is not None:
                break
            await self._sleep(LOOK_SECONDS)
        if sid is None:
            raise CarrierError(f"Twilio takes no credential list {values['friendly_name']}")
        return str(sid)

    async def _asked(self, call: Awaitable[Any]) -> Any:
        async with self._few:
            return await self._ask(call)

    @property
    def _account(self) -> str:
        return str(self._client.account_sid)


def _trunk(found: TrunkInstance) -> Trunk:
    return Trunk(str(found.sid), found.friendly_name or "", found.domain_name, bool(found.secure))


def _notes(desired: Desired, found: Found) -> list[str]:
    """What people should know besides the plan."""
    notes = [
        f"{phone_number} is not among the account's numbers: buy or port it, then run this again"
        for phone_number in desired.phone_numbers
        if phone_number not in found.numbers
    ]
    if desired.username is not None and desired.password is None and desired.username not in found.usernames:
        notes.append(f"no password for the user {desired.username}: calls towards Twilio will get 403")
    if desired.username is None:
        notes.append("no SIP credentials were given: calls towards Twilio need them, calls from there do not")
    shut = [country for country in desired.countries if not found.countries.get(country)]
    if shut:
        notes.append(_shut(shut))
    told = {finding.check: finding.detail for finding in findings(desired, found)}
    notes += [told[check] for check in ("secure trunk", "origination elsewhere") if check in told]
    return notes


def _shut(countries: Sequence[str]) -> str:
    named = ", ".join(countries)
    return (
        f"calls to {named} are not permitted and would get 403: switch them on in the Twilio Console under "
        "Voice, Settings, Geo permissions (not done here, since it also lets fraud through)"
    )
