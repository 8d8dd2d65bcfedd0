"""What differs between a Telnyx account and what is wanted of it: plans and findings, without any I/O.

Telnyx sends the calls of a number to the connection that the number is on. A credential connection, which
many guides name, sends them to whoever has registered with its credentials, and has no other destination;
this gateway does not register. So an FQDN connection is made: it has destinations by name, and credentials
for the way back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from api.carriers.wiring import (
    ANSWER_SECONDS,
    LEAST_ANSWER_SECONDS,
    LEAST_RINGBACK_SECONDS,
    RINGBACK_SECONDS,
    Change,
    Desired,
    Finding,
    Node,
)

DOMAIN: Final = "sip.telnyx.com"
"""Where calls towards Telnyx go, whatever the connection."""

CODECS: Final = ("G711U", "G711A")
"""What everybody here understands; Telnyx offers them in this order."""

MAX_FQDNS: Final = 3
"""Primary, secondary and tertiary: a connection has no more."""

ORDER: Final = ("default_primary_fqdn_id", "default_secondary_fqdn_id", "default_tertiary_fqdn_id")

WHY: Final = (
    "an FQDN connection, not the credential connection of many guides: that one sends calls only to a "
    "contact that has registered with its credentials, and has no destination of its own"
)


@dataclass(frozen=True, slots=True)
class Fqdn:
    """A destination of a connection. port: None with SRV."""

    id: str
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Connection:
    """An FQDN connection. inbound: its settings towards us, as Telnyx names them."""

    id: str
    name: str
    active: bool = True
    transport: str = "UDP"
    encrypted: bool = False
    inbound: Mapping[str, Any] = field(default_factory=dict)
    profile: str | None = None
    username: str | None = None
    fqdns: tuple[Fqdn, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the account. connection: the id of what it is on; locked: against deletion."""

    id: str
    connection: str | None
    status: str = "active"


@dataclass(frozen=True, slots=True)
class Found:
    """What is in the account.

    connection: ours, if there is one.
    profile: id of our outbound voice profile; destinations: countries that it may call.
    credential_connections: names of the guide's sort, by id.
    """

    connection: Connection | None
    numbers: Mapping[str, Number]
    profile: str | None = None
    destinations: tuple[str, ...] = ()
    credential_connections: Mapping[str, str] = field(default_factory=dict)


def unusable(node: Node) -> bool:
    """Whether Telnyx cannot be given this node: an FQDN connection wants a name."""
    try:
        ip_address(node.host.strip("[]"))
    except ValueError:
        return False
    return True


def inbound_wanted(nodes: Sequence[Node]) -> dict[str, Any]:
    """Settings of a connection that is made."""
    together = len({node.priority for node in nodes}) == 1 and len(nodes) > 1
    return {
        "ani_number_format": "+E.164",
        "dnis_number_format": "+e164",
        "codecs": list(CODECS),
        "timeout_1xx_secs": RINGBACK_SECONDS,
        "timeout_2xx_secs": ANSWER_SECONDS,
        "default_routing_method": "round-robin" if together else "sequential",
    }


def transport_of(nodes: Sequence[Node]) -> str:
    """One for a connection and all its destinations: that of the first node."""
    return nodes[0].transport.upper() if nodes else "UDP"


def plan(desired: Desired, found: Found) -> list[Change]:
    """What has to be done, in order."""
    changes: list[Change] = []
    name, nodes = desired.place.name, in_order(desired.place.nodes)
    connection = found.connection
    if found.profile is None and (connection is None or connection.profile is None):
        detail = f"an outbound voice profile {name}, for calls towards Telnyx"
        changes.append(Change("create outbound profile", detail, {"name": name}))
    if connection is None:
        values = {
            "connection_name": name,
            "transport_protocol": transport_of(nodes),
            "inbound": inbound_wanted(nodes),
            "outbound": {"ip_authentication_method": "credential-authentication"},
        }
        changes.append(Change("create connection", f"{WHY}: {name}", values))
    else:
        changes += _connection_changes(connection, nodes)
    changes += _fqdns(desired, connection, nodes)
    for phone_number, number in found.numbers.items():
        if connection is None or number.connection != connection.id:
            detail = f"{phone_number}{_before(number, found)}"
            changes.append(Change("attach number", detail, {"phone_number": phone_number, "id": number.id}))
    return changes


def in_order(nodes: Sequence[Node]) -> list[Node]:
    """Those that a connection takes, first the most important."""
    return sorted(
        (node for node in nodes if not unusable(node)), key=lambda node: (node.priority, -node.weight)
    )[:MAX_FQDNS]


def _before(number: Number, found: Found) -> str:
    if number.connection is None:
        return ""
    if number.connection in found.credential_connections:
        name = found.credential_connections[number.connection]
        return (
            f", which is on the credential connection {name} now, where calls only reach who has registered"
        )
    return f", which is on {number.connection} now"


def _connection_changes(connection: Connection, nodes: Sequence[Node]) -> list[Change]:
    changes = []
    wanted, inbound = inbound_wanted(nodes), connection.inbound
    differing: dict[str, Any] = {}
    for key in ("ani_number_format", "dnis_number_format", "default_routing_method"):
        if inbound.get(key) != wanted[key]:
            differing[key] = wanted[key]
    for key, least in (
        ("timeout_1xx_secs", LEAST_RINGBACK_SECONDS),
        ("timeout_2xx_secs", LEAST_ANSWER_SECONDS),
    ):
        if (inbound.get(key) or 0) < least:
            differing[key] = wanted[key]
    if not set(CODECS) & set(inbound.get("codecs") or CODECS):
        differing["codecs"] = wanted["codecs"]
    values: dict[str, Any] = {"inbound": differing} if differing else {}
    if nodes and connection.transport != transport_of(nodes):
        values["transport_protocol"] = transport_of(nodes)
    if not connection.active:
        values["active"] = True
    if values:
        told = [f"{key} {inbound.get(key)} → {value}" for key, value in differing.items()]
        told += [f"{key} → {value}" for key, value in values.items() if key != "inbound"]
        changes.append(Change("change connection", ", ".join(told), values))
    if connection.profile is None:
        changes.append(Change("set outbound profile", "so that calls towards Telnyx are allowed"))
    return changes


def _fqdns(desired: Desired, connection: Connection | None, nodes: Sequence[Node]) -> list[Change]:
    changes = []
    there = connection.fqdns if connection else ()
    kept: list[str | None] = []
    for node in nodes:
        same = next((each for each in there if same_place(each, node)), None)
        kept.append(same.id if same else None)
        if same is None:
            values = {"fqdn": node.host, "port": node.port, "dns_record_type": "a"}
            changes.append(Change("add destination", f"{node.host}:{node.port}", values))
    inbound = connection.inbound if connection else {}
    present = [inbound.get(key) for key in ORDER[: len(nodes)]]
    if nodes and (None in kept or present != kept):
        named = ", ".join(f"{node.host}:{node.port}" for node in nodes)
        changes.append(Change("order destinations", named, {"count": len(nodes)}))
    for each in there:
        ours = any(same_place(each, node) for node in nodes)
        if each.id not in kept and (ours or desired.remove_others):  # ours twice: a listing was behind
            changes.append(Change("remove destination", f"{each.host}:{each.port}", {"id": each.id}))
    return changes


def same_place(fqdn: Fqdn, node: Node) -> bool:
    """Whether a destination is a node."""
    return fqdn.host.lower() == node.host.lower() and fqdn.port == node.port


def findings(desired: Desired, found: Found) -> list[Finding]:
    """What keeps calls from arriving here."""
    told: list[Finding] = []
    setup = "voice-gateway carriers setup telnyx"
    for node in desired.place.nodes:
        if unusable(node):
            detail = f"{node.host} is an address, and an FQDN connection wants a name"
            told.append(Finding("destination", detail, "name the node in carriers.nodes by a DNS name"))
    if found.connection is None:
        detail = f"the account has no FQDN connection {desired.place.name}"
        told.append(Finding("connection", detail, setup, by_setup=True))
    else:
        told += _connection_findings(desired, found.connection)
    for phone_number in desired.phone_numbers:
        told += _number_findings(phone_number, found)
    for country in desired.countries:
        if country not in found.destinations:
            detail = f"the outbound voice profile does not permit calls to {country}: they get 403"
            fix = "add it in the Telnyx portal under Voice, Outbound voice profiles, Destinations"
            told.append(Finding("geo permission", detail, fix, grave=False))
    return told


def _connection_findings(desired: Desired, connection: Connection) -> list[Finding]:
    told: list[Finding] = []
    setup, name = "voice-gateway carriers setup telnyx", connection.name
    inbound = connection.inbound

    def add(check: str, detail: str, *, grave: bool = True) -> None:
        told.append(Finding(check, detail, setup, by_setup=True, grave=grave))

    if not connection.active:
        add("connection inactive", f"connection {name} is switched off")
    for node in in_order(desired.place.nodes):
        if not any(same_place(each, node) for each in connection.fqdns):
            add("destination", f"connection {name} does not lead to {node.host}:{node.port}")
    if not connection.fqdns:
        add("destination", f"connection {name} has no destination")
    elif inbound.get(ORDER[0]) is None:
        add("destination", f"connection {name} has no primary destination")
    for each in connection.fqdns:
        if not any(same_place(each, node) for node in desired.place.nodes):
            first = inbound.get(ORDER[0]) == each.id
            fix = f"{setup} --remove-others, or remove it in the portal"
            detail = f"{each.host}:{each.port} leads elsewhere"
            told.append(Finding("destination elsewhere", detail, fix, by_setup=True, grave=first))
    if inbound.get("dnis_number_format") == "sip_username":
        add("number format", "dialled numbers arrive as SIP user names, which name no number")
    elif (inbound.get("ani_number_format"), inbound.get("dnis_number_format")) != ("+E.164", "+e164"):
        formats = f"{inbound.get('ani_number_format')} and {inbound.get('dnis_number_format')}"
        add("number format", f"numbers arrive as {formats}, not as +E.164", grave=False)
    if (inbound.get("timeout_1xx_secs") or 0) < LEAST_RINGBACK_SECONDS:
        seconds = inbound.get("timeout_1xx_secs")
        add(
            "1xx timeout",
            f"a call without 180 is dropped after {seconds} s: too short for a failover of nodes",
        )
    if (inbound.get("timeout_2xx_secs") or 0) < LEAST_ANSWER_SECONDS:
        seconds = inbound.get("timeout_2xx_secs")
        add(
            "answer timeout",
            f"a call is dropped after {seconds} s of ringing, before fallback and voicemail had their turn",
        )
    if not set(CODECS) & set(inbound.get("codecs") or CODECS):
        add("codecs", "neither G711U nor G711A is offered")
    if (connection.encrypted or connection.transport == "TLS") and not desired.place.has_tls:
        detail = f"connection {name} sends TLS or SRTP, and no node here takes TLS"
        fix = "switch encryption off on the connection, or add a node with ;transport=tls to carriers.nodes"
        told.append(Finding("secure connection", detail, fix))
    if connection.profile is None:
        add(
            "outbound profile",
            f"connection {name} has no outbound voice profile: calls there get 403",
            grave=False,
        )
    return told


def _number_findings(phone_number: str, found: Found) -> list[Finding]:
    number = found.numbers.get(phone_number)
    if number is None:
        detail = f"{phone_number} is not among the account's numbers"
        return [Finding("number", detail, "check the number, and whose API key the integration has")]
    if number.status != "active":
        detail = f"{phone_number} is {number.status}, not active"
        return [
            Finding("number", detail, "see the portal under Numbers: Telnyx says there what it waits for")
        ]
    if found.connection is not None and number.connection == found.connection.id:
        return []
    if number.connection in found.credential_connections:
        where = (
            f"is on the credential connection {found.credential_connections[number.connection or '']}, "
            "whose calls only reach a contact that has registered"
        )
    else:
        where = f"is on the connection {number.connection}" if number.connection else "is on no connection"
    fix = "voice-gateway carriers setup telnyx"
    return [Finding("number not attached", f"{phone_number} {where}", fix, by_setup=True)]
