"""Wiring an FQDN connection of a Telnyx account to this deployment, through Telnyx's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final, cast

from telnyx import AsyncTelnyx, UnprocessableEntityError
from telnyx.types import InboundFqdnParam, OutboundFqdnParam

from api.carriers.base import CarrierError
from api.carriers.telnyx_plan import (
    DOMAIN,
    MAX_FQDNS,
    ORDER,
    Connection,
    Found,
    Fqdn,
    Number,
    findings,
    in_order,
    plan,
    same_place,
    unusable,
)
from api.carriers.telnyx_sdk import all_of
from api.carriers.wiring import Ask, Change, Desired, Finding, Place, Told, Wired, carry_out

PAGE: Final = 100

DUPLICATE: Final = "10012"

LOOKS: Final = 4
LOOK_SECONDS: Final = 1.0
"""Between looks for something that Telnyx says is there, and does not list yet."""


class TelnyxWiring:
    """See `api.carriers.wiring.Wiring`.

    Args:
        client: the SDK's, which must not retry by itself.
        ask: awaits it, within a time, and maps its errors.
        sleep: seconds, between looks.

    """

    carrier = "telnyx"

    def __init__(
        self, client: AsyncTelnyx, ask: Ask[Any], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client = client
        self._ask = ask
        self._sleep = sleep

    def obstacle(self, place: Place) -> str | None:
        """See the protocol."""
        if in_order(place.nodes):
            return None
        return "an FQDN connection wants a name: give a node in carriers.nodes by its DNS name"

    async def set_up(self, desired: Desired, *, dry_run: bool, told: Told | None = None) -> Wired:
        """See the protocol."""
        if desired.place.nodes and (obstacle := self.obstacle(desired.place)):
            raise CarrierError(obstacle)
        found = await self.look(desired)
        made: dict[str, Any] = {
            "connection": found.connection.id if found.connection else None,
            "profile": found.profile,
            "username": found.connection.username if found.connection else None,
            "fqdns": list(found.connection.fqdns) if found.connection else [],
        }

        async def work(change: Change) -> None:
            await self._carry_out(change, desired, made)

        steps = await carry_out(plan(desired, found), work, dry_run=dry_run, told=told)
        if found.profile is None and made["profile"] is not None and desired.countries:
            found = replace(found, destinations=await self._destinations(made["profile"]))
        return Wired(made["connection"], DOMAIN, steps, _notes(desired, found, made["username"]))

    async def attach(self, number: str, trunk: str) -> None:
        """See the protocol."""
        await self._ask(self._client.phone_numbers.update(number, connection_id=trunk))

    async def shut(self, countries: Sequence[str], trunk: str) -> tuple[str, ...]:
        """See the protocol; the connection's outbound voice profile permits countries."""
        connection = (await self._ask(self._client.fqdn_connections.retrieve(trunk))).data
        outbound = connection.outbound if connection else None
        profile = outbound.outbound_voice_profile_id if outbound else None
        allowed = await self._destinations(profile) if profile else ()
        return tuple(each for each in countries if each not in allowed)

    async def _destinations(self, profile: str) -> tuple[str, ...]:
        """Countries that an outbound voice profile may call; a new one has Telnyx's own."""
        found = (await self._ask(self._client.outbound_voice_profiles.retrieve(profile))).data
        return tuple(found.whitelisted_destinations or ()) if found else ()

    async def examine(self, desired: Desired) -> list[Finding]:
        """See the protocol."""
        return findings(desired, await self.look(desired))

    async def look(self, desired: Desired) -> Found:
        """What is there. Raises CarrierError."""
        name = desired.place.name
        connections = await self._ask(
            all_of(
                self._client.fqdn_connections.list(
                    filter={"connection_name": {"contains": name}}, page_size=PAGE
                )
            )
        )
        mine = next((each for each in connections if each.connection_name == name), None)
        credential = await self._ask(all_of(self._client.credential_connections.list(page_size=PAGE)))
        profiles = await self._ask(
            all_of(
                self._client.outbound_voice_profiles.list(filter={"name": {"contains": name}}, page_size=PAGE)
            )
        )
        own = next((each for each in profiles if each.name == name), None)
        attached = mine.outbound.outbound_voice_profile_id if mine and mine.outbound else None
        if attached and (own is None or own.id != attached):
            own = (await self._ask(self._client.outbound_voice_profiles.retrieve(attached))).data
        numbers = {each: await self._number(each) for each in desired.phone_numbers}
        return Found(
            await self._whole(mine),
            {each: number for each, number in numbers.items() if number},
            own.id if own else None,
            tuple(own.whitelisted_destinations or ()) if own else (),
            {str(each.id): each.connection_name or "" for each in credential},
        )

    async def _whole(self, found: Any) -> Connection | None:
        """A connection with its destinations."""
        if found is None:
            return None
        listed = await self._ask(
            all_of(self._client.fqdns.list(filter={"connection_id": found.id}, page_size=PAGE))
        )
        return Connection(
            found.id,
            found.connection_name,
            found.active is not False,
            found.transport_protocol or "UDP",
            found.encrypted_media is not None,
            found.inbound.to_dict(exclude_none=False) if found.inbound else {},
            found.outbound.outbound_voice_profile_id if found.outbound else None,
            found.user_name,
            tuple(Fqdn(str(each.id), each.fqdn or "", each.port) for each in listed),
        )

    async def _number(self, phone_number: str) -> Number | None:
        found = await self._ask(
            all_of(self._client.phone_numbers.list(filter={"phone_number": phone_number}, page_size=PAGE))
        )
        same = (each for each in found if each.phone_number == phone_number)
        return next((Number(each.id, each.connection_id or None, each.status) for each in same), None)

    async def _carry_out(self, change: Change, desired: Desired, made: dict[str, Any]) -> None:
        values = dict(change.values)
        connections, connection = self._client.fqdn_connections, made["connection"]
        if change.kind == "create outbound profile":
            made["profile"] = await self._create_profile(values["name"])
        elif change.kind == "create connection":
            values["outbound"] = values["outbound"] | {"outbound_voice_profile_id": made["profile"]}
            made["connection"], made["username"] = await self._create_connection(values)
        elif change.kind == "change connection":
            await self._ask(connections.update(connection, **values))
        elif change.kind == "set outbound profile":
            outbound: OutboundFqdnParam = {"outbound_voice_profile_id": made["profile"]}
            await self._ask(connections.update(connection, outbound=outbound))
        elif change.kind == "add destination":
            made["fqdns"].append(await self._create_fqdn(connection, values))
        elif change.kind == "order destinations":
            await self._ask(connections.update(connection, inbound=_order(desired, made["fqdns"])))
        elif change.kind == "remove destination":
            await self._ask(self._client.fqdns.delete(values["id"]))
        else:
            await self._ask(self._client.phone_numbers.update(values["id"], connection_id=connection))

    async def _create_profile(self, name: str) -> str:
        made = (await self._ask(self._client.outbound_voice_profiles.create(name=name))).data
        if made is None or made.id is None:
            raise CarrierError("Telnyx made an outbound voice profile without an id")
        return str(made.id)

    async def _create_connection(self, values: Mapping[str, Any]) -> tuple[str, str | None]:
        """A new connection; or the one of its name, if a listing did not show it yet."""
        name = values["connection_name"]

        async def create() -> Any:
            try:
                return (await self._client.fqdn_connections.create(**values)).data
            except UnprocessableEntityError as error:
                if DUPLICATE not in str(error.body):
                    raise
                return None

        made = await self._ask(create())
        for _ in range(LOOKS if made is None else 0):
            listed = await self._ask(
                all_of(
                    self._client.fqdn_connections.list(
                        filter={"connection_name": {"contains": name}}, page_size=PAGE
                    )
                )
            )
            made = next((each for each in listed if each.connection_name == name), None)
            if made is not None:
                break
            await self._sleep(LOOK_SECONDS)
        if made is None or made.id is None:
            raise CarrierError(f"Telnyx says that there is a connection {name}, and does not list it")
        return str(made.id), made.user_name

    async def _create_fqdn(self, connection: str, values: Mapping[str, Any]) -> Fqdn:
        made = (await self._ask(self._client.fqdns.create(connection_id=connection, **values))).data
        if made is None or made.id is None:
            raise CarrierError("Telnyx made a destination without an id")
        return Fqdn(made.id, values["fqdn"], values["port"])


def _order(desired: Desired, fqdns: list[Fqdn]) -> InboundFqdnParam:
    """Which destination is tried first, second and third."""
    nodes = in_order(desired.place.nodes)
    ids = [next(each.id for each in fqdns if same_place(each, node)) for node in nodes]
    return cast("InboundFqdnParam", dict(zip(ORDER, ids, strict=False)))


def _notes(desired: Desired, found: Found, username: str | None) -> list[str]:
    """What people should know besides the plan."""
    notes = []
    usable = [node for node in desired.place.nodes if not unusable(node)]
    if len(usable) > MAX_FQDNS:
        notes.append(
            f"a connection takes {MAX_FQDNS} destinations: "
            f"the last {len(usable) - MAX_FQDNS} in rank are left out"
        )
    notes += [
        f"{node.host} is an address and left out: an FQDN connection wants names"
        for node in desired.place.nodes
        if unusable(node)
    ]
    if any(first.transport != second.transport for first, second in pairwise(usable)):
        notes.append("a connection has one transport for all destinations: that of the first node is used")
    for phone_number in desired.phone_numbers:
        if phone_number not in found.numbers:
            notes.append(
                f"{phone_number} is not among the account's numbers: buy or port it, then run this again"
            )
    if username is not None:
        notes.append(
            f"for calls towards Telnyx: {DOMAIN}, user {username}; the portal shows the password, under the "
            "connection's outbound settings (Telnyx makes both for an FQDN connection, nobody chooses them)"
        )
    shut = [country for country in desired.countries if country not in found.destinations]
    if shut:
        notes.append(
            f"calls to {', '.join(shut)} are not permitted and would get 403: add them in the Telnyx portal, "
            "Voice, Outbound voice profiles, Destinations (not done here, since it also lets fraud through)"
        )
    return notes
