"""What it takes for a carrier to send calls here: what is wanted, what differs, and what became of it.

A plan is the list of differences between what is wanted and what was found at the carrier, a pure function of
the two; carrying it out changes nothing but what differs. Nothing of it is remembered: whoever asks again
after a crash finds what is there, and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from api.carriers.base import CarrierError

Result = TypeVar("Result")

NAME: Final = "voice-gateway"
"""What trunks and connections made here are called, unless told."""

MAX_NODES: Final = 10
"""Nodes of a deployment: Twilio takes ten origination URIs; for Telnyx, which takes three, a note says so."""

MAX_LISTED: Final = 1_000
"""Trunks, connections, destinations and the like that are looked through: more than an account has."""

CALL_SECONDS: Final = 15.0
"""For one call of a carrier's SDK."""

TEMPORARY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same question may be asked again."""

PRIORITY: Final = 10
WEIGHT: Final = 10
"""Of a node that says nothing else, as in the guide."""

DEFAULT_PORT: Final[Mapping[str, int]] = {"udp": 5060, "tcp": 5060, "tls": 5061}

RINGBACK_SECONDS: Final = 10
"""Until Telnyx drops a call that has no 180: its default is shorter than a node's failover may take."""

ANSWER_SECONDS: Final = 120
"""Until Telnyx drops a call that is not answered: an agent and its fallback ring 20 s each by default."""

LEAST_RINGBACK_SECONDS: Final = 5
LEAST_ANSWER_SECONDS: Final = 60
"""Below these calls are lost that would have been answered."""

_NODE: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}))(?::(?P<port>[0-9]{1,5}))?(?P<parameters>(?:;[a-z]+=\w+)*)"
)

Transport: TypeAlias = Literal["udp", "tcp", "tls"]
Ask: TypeAlias = Callable[[Awaitable[Result]], Awaitable[Result]]
"""Awaits a call of a carrier's SDK within a time, and raises CarrierError for whatever it raises."""

Told: TypeAlias = Callable[["Change"], Awaitable[None]]
"""Hears of a change that is about to be made."""


@dataclass(frozen=True, slots=True)
class Node:
    """Where carriers reach one node. Lower priority first; equal priorities share by weight."""

    host: str
    port: int
    transport: Transport = "udp"
    priority: int = PRIORITY
    weight: int = WEIGHT

    @property
    def uri(self) -> str:
        """As an origination URI. `sips:` is not understood by Twilio, so TLS is a parameter."""
        suffix = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:{self.host}:{self.port}{suffix}"

    @classmethod
    def parse(cls, text: str) -> Node:
        """`host`, `host:port`, with `;transport=`, `;priority=` and `;weight=` behind. Raises ValueError."""
        matched = _NODE.fullmatch(text.strip())
        if matched is None:
            raise ValueError(
                f'"{text}" is not host, host:port, or that with ;transport=, ;priority=, ;weight='
            )
        parameters = dict(part.split("=") for part in matched["parameters"].split(";") if part)
        transport = parameters.pop("transport", "udp").lower()
        if transport not in DEFAULT_PORT:
            raise ValueError(f'"{text}": transport is udp, tcp or tls')
        port = int(matched["port"] or DEFAULT_PORT[transport])
        priority = _number(text, parameters.pop("priority", str(PRIORITY)), 0)
        weight = _number(text, parameters.pop("weight", str(WEIGHT)), 1)
        if parameters:
            raise ValueError(f'"{text}": {next(iter(parameters))} is no parameter of a node')
        if not 0 < port < 65536:
            raise ValueError(f'"{text}": {port} is no port')
        return cls(
            matched["host"],
            port,
            "udp" if transport == "udp" else "tcp" if transport == "tcp" else "tls",
            priority,
            weight,
        )


def _number(text: str, value: str, least: int) -> int:
    if not (value.isascii() and value.isdigit() and least <= int(value) <= 65535):
        raise ValueError(f'"{text}": priority is 0 to 65535, weight 1 to 65535')
    return int(value)


@dataclass(frozen=True, slots=True)
class Place:
    """Our deployment as carriers see it.

    nodes: none if it was not configured; name: of trunks and connections.
    """

    nodes: tuple[Node, ...] = ()
    name: str = NAME

    @property
    def has_tls(self) -> bool:
        """Whether some node is reached by TLS."""
        return any(node.transport == "tls" for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Desired:
    """What is wanted at a carrier.

    phone_numbers: E.164, to be attached.
    domain: the trunk's for calls towards the carrier; None for one that is made up from the account.
    username, password: digest credentials for those calls; None leaves what is there.
    countries: ISO 3166, that shall be callable.
    remove_others: destinations on the same trunk that are not ours are removed, else only told.
    renew_password: the password is set also if the user is there; carriers do not tell if it is the same.
    """

    place: Place
    phone_numbers: tuple[str, ...] = ()
    domain: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    countries: tuple[str, ...] = ()
    remove_others: bool = False
    renew_password: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    kind: what has to be done, as in `attach number`; detail: for people.
    values: what the carrier is to be told, by the names of its API; never a secret.
    """

    kind: str
    detail: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that keeps calls from arriving, or will.

    check: one word or two, the same every time; fix: what to do.
    by_setup: whether set-up mends it; grave: whether calls fail because of it.
    """

    check: str
    detail: str
    fix: str
    by_setup: bool = False
    grave: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a change. error: the carrier's words; cause: what they came with."""

    change: Change
    status: Literal["planned", "done", "failed", "not tried"]
    error: str | None = None
    cause: CarrierError | None = field(default=None, compare=False)


@dataclass(slots=True)
class Wired:
    """What set-up did or would do.

    identity: the carrier's id of the trunk or connection; None before it exists.
    domain: where calls towards the carrier go; notes: what people should know besides.
    """

    identity: str | None
    domain: str | None
    steps: list[Step]
    notes: list[str]

    @property
    def failed(self) -> bool:
        """Whether some step failed."""
        return any(step.status == "failed" for step in self.steps)


class Wiring(Protocol):
    """One carrier's way of being wired, for one account. Every method raises CarrierError."""

    carrier: str

    def obstacle(self, place: Place) -> str | None:
        """What keeps the carrier from ever sending calls to a place, for people; None: nothing."""

    async def set_up(self, desired: Desired, *, dry_run: bool, told: Told | None = None) -> Wired:
        """Look, plan, and carry the plan out, unless it is a dry run; told: hears of each change before."""

    async def attach(self, number: str, trunk: str) -> None:
        """Have a number's calls come from a trunk; both by the carrier's ids. Again it does nothing."""

    async def shut(self, countries: Sequence[str], trunk: str) -> tuple[str, ...]:
        """Those countries that may not be called through a trunk."""

    async def examine(self, desired: Desired) -> list[Finding]:
        """Look, and tell what is wrong; nothing is changed."""


async def ensure(wiring: Wiring, desired: Desired, told: Told | None = None) -> Wired:
    """Have it as it is wanted, whatever is there. Raises CarrierError for the first step that fails."""
    wired = await wiring.set_up(desired, dry_run=False, told=told)
    for step in wired.steps:
        if step.cause is not None:
            raise step.cause
    if wired.identity is None:  # what is missing is made, or that fails
        raise CarrierError(f"{wiring.carrier} made no trunk")
    return wired


async def carry_out(
    plan: Sequence[Change],
    work: Callable[[Change], Awaitable[None]],
    *,
    dry_run: bool,
    told: Told | None = None,
) -> list[Step]:
    """Do one change after the other; after one that fails the rest is not tried, since it builds on it."""
    if dry_run:
        return [Step(change, "planned") for change in plan]
    steps: list[Step] = []
    for change in plan:
        if steps and steps[-1].status != "done":
            steps.append(Step(change, "not tried"))
            continue
        if told is not None:
            await told(change)
        try:
            await work(change)
        except CarrierError as error:
            steps.append(Step(change, "failed", str(error), error))
        else:
            steps.append(Step(change, "done"))
    return steps
