"""What a dialled number leads to: numbers, agents and their endpoints, as the cache holds them."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

from msgspec import Struct, field

DIRECT_MEDIA = "media=direct"
"""URI parameter of a sip endpoint: session descriptions pass through and RTP never touches us."""


RecordingPolicy: TypeAlias = Literal["off", "voicemail", "all"]
"""What of calls is recorded: nothing, messages in the voicemail, or messages and whole calls."""

REGION_PATTERN = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"
"""A region's name, as clouds write them."""

KNOWN_URLS = 10_000
"""Endpoint URLs whose parts are remembered: asked for by every call."""


@lru_cache(KNOWN_URLS)
def _split_url(url: str) -> tuple[str, bool]:
    """A URL as it goes on the wire, and whether media is direct."""
    first, *params = url.split(";")
    kept = [part for part in params if part.lower() != DIRECT_MEDIA]
    return ";".join([first, *kept]), len(kept) < len(params)


class Endpoint(Struct, frozen=True, omit_defaults=True):
    """One way to reach an agent.

    url: ``sip:``, ``sips:``, ``ws:`` or ``wss:``.
    protocol: what is spoken on a WebSocket; None means the default.
    priority: lower is tried first.
    weight: share of the calls among endpoints of equal priority.
    max_calls: simultaneous calls at most; None means no limit.
    headers: further headers of the handshake or the INVITE.
    auth_token: signs the handshake of a WebSocket as Twilio does, and is the password with which the agent
        may end or move its calls over HTTP. Of a SIP endpoint, the password for an agent that asks who calls
        (digest); a secret.
    options: of the protocol on a WebSocket, or of SIP (`routing.endpoint_rules`).
    region: where it is: gateways of the same region try it before others of its priority; None: near to all.
    """

    url: str
    protocol: str | None = None
    priority: int = 10
    weight: int = 10
    max_calls: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    auth_token: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    region: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, priority={self.priority}, weight={self.weight})"

    @property
    def is_sip(self) -> bool:
        """Whether calls reach it by INVITE."""
        return self.url[:5].lower().startswith(("sip:", "sips:"))

    @property
    def direct_media(self) -> bool:
        """Whether audio flows between carrier and agent without us."""
        return _split_url(self.url)[1]

    @property
    def username(self) -> str:
        """Who we are for a SIP agent that asks: as configured, or the user of its URL."""
        place = self.url.partition(":")[2]
        return self.options.get("auth_username") or (place.partition("@")[0] if "@" in place else "")

    @property
    def srtp(self) -> str:
        """Whether a SIP agent's audio is encrypted: ``off``, ``optional``, ``required``, or ``dtls``."""
        return self.options.get("srtp", "off")

    @property
    def request_uri(self) -> str:
        """The URL without parameters that are meant for us."""
        return _split_url(self.url)[0]


class Agent(Struct, frozen=True, omit_defaults=True):
    """A voice agent: who takes the call, and where.

    voicemail_message: spoken when nobody takes a call meant for it, unless the number has its own.
    recording: of calls meant for it, unless the number has its own policy.
    voicemail_greeting: id of the audio that is played in place of that message.
    """

    id: str
    name: str
    endpoints: tuple[Endpoint, ...] = ()
    voicemail_message: str | None = None
    recording: RecordingPolicy | None = None
    voicemail_greeting: str | None = None


class Fallback(Struct, frozen=True):
    """Who takes the call when the primary agent cannot."""

    agent_id: str


class InboundRouting(Struct, frozen=True, omit_defaults=True):
    """Where calls to a number go.

    agent_id: overrides the number's own agent for inbound calls.
    voicemail: False means a 480 instead of voicemail when no agent takes the call, so that carriers fail
        over.
    answer_first: answer the caller before any agent is tried, for agents that take long.
    recording: what of its calls is recorded; None leaves it to the agent, and then to the configuration.
    voicemail_greeting: id of the audio that is played in place of the message.
    voicemail_email: where the API sends its messages; gateways are not told.
    """

    agent_id: str | None = None
    fallback: Fallback | None = None
    voicemail_message: str | None = None
    voicemail: bool = True
    answer_first: bool = False
    recording: RecordingPolicy | None = None
    voicemail_greeting: str | None = None
    voicemail_email: str | None = None


class PhoneNumber(Struct, frozen=True, omit_defaults=True):
    """A number that people dial.

    phone_number: E.164 with plus.
    inbound_routing: None makes the number outbound-only.
    updated_at: RFC 3339, UTC.
    """

    id: str
    phone_number: str
    friendly_name: str | None = None
    provider: str | None = None
    agent_id: str | None = None
    status: Literal["active", "inactive"] = "active"
    inbound_routing: InboundRouting | None = None
    updated_at: str | None = None
