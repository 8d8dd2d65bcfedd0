"""What differs between a Twilio account and what is wanted of it: plans and findings, without any I/O.

Elastic SIP Trunking: calls come from a trunk's origination URIs, by the number that is attached to the trunk;
calls towards Twilio go to the trunk's domain, with credentials of a list that is attached to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from api.carriers.wiring import Change, Desired, Finding, Node

DOMAIN_SUFFIX: Final = ".pstn.twilio.com"

_URI: Final = re.compile(
    r"sips?:(?:[^@;?]*@)?(?P<host>\[[^\]]+\]|[^:;?]+)(?::(?P<port>[0-9]+))?(?P<rest>.*)", re.IGNORECASE
)

STRONG: Final = "12 characters or more, with a digit, a small and a capital letter"
"""What Twilio asks of a SIP password."""

GEO_FIX: Final = "switch it on in the Twilio Console under Voice, Settings, Geo permissions"


@dataclass(frozen=True, slots=True)
class Url:
    """An origination URL."""

    sid: str
    uri: str
    priority: int
    weight: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class Trunk:
    """A trunk. credential_lists: SIDs of those attached to it."""

    sid: str
    name: str
    domain: str | None
    secure: bool = False
    urls: tuple[Url, ...] = ()
    credential_lists: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What is in the account.

    trunk: ours, if there is one.
    numbers: those wanted that the account has: SID, and the trunk's SID or None.
    credential_list: SID of ours; usernames: SIDs of its credentials by name.
    countries: whether they may be called, of those wanted.
    """

    trunk: Trunk | None
    numbers: Mapping[str, tuple[str, str | None]]
    credential_list: str | None = None
    usernames: Mapping[str, str] = field(default_factory=dict)
    countries: Mapping[str, bool] = field(default_factory=dict)


def domain_of(desired: Desired, account_sid: str) -> str:
    """The trunk's domain: the one that is wanted, else one that is the same every time and nobody else's."""
    wanted = (desired.domain or "").lower()
    if re.fullmatch(rf"[a-z0-9-]+{re.escape(DOMAIN_SUFFIX)}", wanted):
        return wanted
    return f"{desired.place.name}-{account_sid[-12:].lower()}{DOMAIN_SUFFIX}"


def ours(trunks: Sequence[Trunk], desired: Desired, account_sid: str) -> Trunk | None:
    """The trunk to wire: the one with the domain, else of the name; None if it has to be made."""
    domain = domain_of(desired, account_sid)
    by_domain = (trunk for trunk in trunks if (trunk.domain or "").lower() == domain)
    by_name = (trunk for trunk in trunks if trunk.name == desired.place.name)
    return next(by_domain, None) or next(by_name, None)


def strong(password: str) -> bool:
    """Whether Twilio takes a password."""
    return len(password) >= 12 and all(re.search(sort, password) for sort in ("[0-9]", "[a-z]", "[A-Z]"))


def plan(desired: Desired, found: Found, account_sid: str) -> list[Change]:
    """What has to be done, in order."""
    changes: list[Change] = []
    trunk, name = found.trunk, desired.place.name
    domain = domain_of(desired, account_sid)
    if trunk is None:
        made = {"friendly_name": name, "domain_name": domain}
        changes.append(Change("create trunk", f"a trunk {name} with the termination domain {domain}", made))
    elif not trunk.domain:
        changes.append(Change("set domain", f"the termination domain {domain}", {"domain_name": domain}))
    changes += _origination(desired, trunk.urls if trunk else ())
    for phone_number, (sid, at) in found.numbers.items():
        if trunk is None or at != trunk.sid:
            before = f", which is on {at} now" if at else ""
            detail = f"{phone_number}{before}"
            changes.append(Change("attach number", detail, {"phone_number": phone_number, "sid": sid}))
    return changes + _credentials(desired, found)  # last: calls come in without them


def _origination(desired: Desired, urls: Sequence[Url]) -> list[Change]:
    changes = []
    matched = set[str]()
    for node in desired.place.nodes:
        wanted = {"sip_url": node.uri, "priority": node.priority, "weight": node.weight, "enabled": True}
        same = next((url for url in urls if same_uri(url.uri, node) and url.sid not in matched), None)
        told = f"{node.uri}, priority {node.priority}, weight {node.weight}"
        if same is None:
            changes.append(Change("add origination", told, wanted))
            continue
        matched.add(same.sid)
        if (same.priority, same.weight, same.enabled) != (node.priority, node.weight, True):
            state = "" if same.enabled else ", disabled"
            before = f" (was priority {same.priority}, weight {same.weight}{state})"
            changes.append(Change("change origination", told + before, {"sid": same.sid, **wanted}))
    for url in urls:
        ours = any(same_uri(url.uri, node) for node in desired.place.nodes)
        if url.sid not in matched and (ours or desired.remove_others):  # ours twice: a listing was behind
            changes.append(Change("remove origination", url.uri, {"sid": url.sid}))
    return changes


def _credentials(desired: Desired, found: Found) -> list[Change]:
    if desired.username is None:
        return []
    changes = []
    if found.credential_list is None:
        detail = f"a credential list {desired.place.name}"
        changes.append(Change("create credential list", detail, {"friendly_name": desired.place.name}))
    if desired.username not in found.usernames:
        if desired.password is not None:
            values = {"username": desired.username}
            changes.append(Change("create credential", f"for the user {desired.username}", values))
    elif desired.renew_password and desired.password is not None:
        values = {"sid": found.usernames[desired.username]}
        changes.append(Change("set password", f"of the user {desired.username}", values))
    attached = found.trunk.credential_lists if found.trunk else ()
    if found.credential_list is None or found.credential_list not in attached:
        changes.append(Change("attach credential list", f"{desired.place.name}, for calls towards Twilio"))
    return changes


def same_uri(uri: str, node: Node) -> bool:
    """Whether an origination URL leads to a node, however it is written."""
    matched = _URI.fullmatch(uri.strip())
    if matched is None:
        return False
    rest = matched["rest"].lower()
    transport = "tls" if "transport=tls" in rest else "tcp" if "transport=tcp" in rest else "udp"
    port = int(matched["port"] or (5061 if transport == "tls" else 5060))
    return (matched["host"].lower(), port, transport) == (node.host.lower(), node.port, node.transport)


def findings(desired: Desired, found: Found) -> list[Finding]:
    """What keeps calls from arriving here."""
    told: list[Finding] = []
    trunk = found.trunk
    if trunk is None:
        detail = f"the account has no trunk {desired.place.name}"
        told.append(Finding("trunk", detail, "voice-gateway carriers setup twilio", by_setup=True))
    else:
        told += _trunk_findings(desired, trunk)
    for phone_number in desired.phone_numbers:
        told += _number_findings(phone_number, found)
    told += _credential_findings(desired, found)
    for country in desired.countries:
        if not found.countries.get(country, False):
            detail = f"calls to {country} are not permitted: they get 403"
            told.append(Finding("geo permission", detail, GEO_FIX, grave=False))
    return told


def _trunk_findings(desired: Desired, trunk: Trunk) -> list[Finding]:
    told: list[Finding] = []
    setup = "voice-gateway carriers setup twilio"
    if trunk.secure and not desired.place.has_tls:
        detail = f"trunk {trunk.name} is secure: Twilio sends TLS and SRTP only, and no node here takes TLS"
        fix = "switch Secure Trunking off on the trunk, or add a node with ;transport=tls to carriers.nodes"
        told.append(Finding("secure trunk", detail, fix))
    if not trunk.urls:
        told.append(
            Finding("origination", f"trunk {trunk.name} has no origination URI", setup, by_setup=True)
        )
    for node in desired.place.nodes:
        same = next((url for url in trunk.urls if same_uri(url.uri, node)), None)
        if same is None:
            detail = f"no origination URI of trunk {trunk.name} leads to {node.uri}"
            told.append(Finding("origination", detail, setup, by_setup=True))
        elif not same.enabled:
            detail = f"the origination URI {same.uri} is disabled"
            told.append(Finding("origination disabled", detail, setup, by_setup=True))
        elif (same.priority, same.weight) != (node.priority, node.weight):
            detail = (
                f"{same.uri} has priority {same.priority} and weight {same.weight}, "
                f"not {node.priority} and {node.weight}"
            )
            told.append(Finding("origination", detail, setup, by_setup=True, grave=False))
    for url in trunk.urls:
        if not any(same_uri(url.uri, node) for node in desired.place.nodes):
            best = min((node.priority for node in desired.place.nodes), default=0)
            told.append(
                Finding(
                    "origination elsewhere",
                    f"{url.uri} (priority {url.priority}) leads elsewhere",
                    "voice-gateway carriers setup twilio --remove-others, or delete it in the Console",
                    by_setup=True,
                    grave=url.enabled and url.priority <= best,
                )
            )
    return told


def _number_findings(phone_number: str, found: Found) -> list[Finding]:
    if phone_number not in found.numbers:
        detail = f"{phone_number} is not among the account's numbers"
        fix = "check the number and the integration's account_sid; a number in a subaccount needs its own"
        return [Finding("number", detail, fix)]
    at = found.numbers[phone_number][1]
    if found.trunk is not None and at == found.trunk.sid:
        return []
    where = f"is attached to {at}" if at else "is attached to no trunk"
    detail = f"{phone_number} {where}, so that its calls do not come here"
    return [Finding("number not attached", detail, "voice-gateway carriers setup twilio", by_setup=True)]


def _credential_findings(desired: Desired, found: Found) -> list[Finding]:
    if desired.username is None:
        return []
    setup = "voice-gateway carriers setup twilio"
    if desired.username not in found.usernames:
        detail = f"the user {desired.username} is in no credential list of ours: calls towards Twilio get 403"
        return [Finding("sip credentials", detail, setup, by_setup=True, grave=False)]
    if found.trunk is not None and found.credential_list not in found.trunk.credential_lists:
        detail = "the credential list is not attached to the trunk: calls towards Twilio get 403"
        return [Finding("sip credentials", detail, setup, by_setup=True, grave=False)]
    return []
