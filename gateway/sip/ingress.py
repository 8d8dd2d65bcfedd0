"""Who gets through to the user agent: decided by the source address, before anything is parsed.

Carriers and agents have listeners of their own. On the carriers' side, only admitted sources are heard. On
the agents' side, whoever we called lately is heard, and others only inside a dialog, where a tag that nobody
can guess vouches for them; calls never begin there. Whatever is not heard gets silence and is counted.

An admitted source that begins more than it may gets 503 while we are willing to say so, then silence. What
belongs to something that is there already, a dialog or a transaction, always gets through.

Behind an edge proxy of ours the source is whom the edge names. It has turned strangers away itself, so that
what it passes on is never met with silence: that would look like a dead node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gateway.sip.digest_server import Admitted, Asked, Authenticator, Verdict
from gateway.sip.flow import Flow
from gateway.sip.grammar import SipParseError
from gateway.sip.message import Request, parse_message
from gateway.sip.named_source import named_source

CALLED_HOSTS = 1024
"""Addresses lately called that are remembered; agents are far fewer. The longest known goes first."""

UNKNOWN_SOURCE = "unknown_source"
SOURCE_RATE = "source_rate"
UNNAMED_SOURCE = "unnamed_source"
"""Why something was not heard."""

RESPONSE = b"SIP/2.0 "
"""How a response begins, and no request."""

_INVITE = b"INVITE "

_OPTIONS = b"OPTIONS "

_CONTINUES: Final = (RESPONSE, b"ACK ", b"BYE ", b"CANCEL ", b"PRACK ", b"UPDATE ")
"""How a message begins that is about something already there, and never about something new."""

_TO_TAG: Final = re.compile(rb"\n(?:to|t)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=", re.IGNORECASE)
"""A To that has a tag: the request is inside a dialog (RFC 3261 §12.2). Looked for in floods only."""

_OVER_RATE: Final = (("Retry-After", "1"), ("Reason", 'SIP;cause=503;text="Too Many Requests A Second"'))

_NOT_ADMITTED: Final = (("Reason", 'SIP;cause=403;text="Source Address Not Admitted"'),)

_NOT_NAMED: Final = (("Reason", 'SIP;cause=403;text="Trusted Proxy Names No Source, Or Several"'),)


class CalledHosts:
    """The addresses that we sent a request to, lately."""

    __slots__ = ("_hosts",)

    def __init__(self) -> None:
        self._hosts: dict[str, None] = {}

    def __contains__(self, host: str) -> bool:
        return host in self._hosts

    def add(self, host: str) -> None:
        """Remember an address."""
        if host not in self._hosts:
            if len(self._hosts) >= CALLED_HOSTS:
                del self._hosts[next(iter(self._hosts))]
            self._hosts[host] = None


class Core(Protocol):
    """What stands behind the door; `SipEndpoint` fulfils it."""

    def deliver(self, data: bytes, flow: Flow, peer: object) -> None:
        """Hand a message to the user agent. Never raises."""

    def refuse(self, data: bytes, flow: Flow, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        """Answer a request finally, and forget it. Never raises."""

    def flow_failed(self, flow: Flow, reason: str) -> None:
        """Tell the user agent that a flow does not work. Never raises."""

    def dropped(self, reason: str) -> None:
        """Count a message that goes no further."""


class CarrierIngress:
    """The carriers' side.

    Args:
        core: the user agent's owner.
        admit: whose address this is; None for a stranger's.
        called: hosts whose responses are heard even from strangers: a carrier's Record-Route may name one.
        within_rate: whether an admitted address may begin one more thing now; asked for nothing else.
        may_refuse: whether one more refusal may be sent now: a flood, perhaps with a forged address, must not
            make us send as much as it does.
        reject_unknown: answer strangers 403 instead of silence.
        admit_name: who is known by this name in a certificate; None where certificates are not asked for.
        authenticator: judges strangers by what they know; None where they know nothing.
        on_turned_away: told each address that was not heard, and why.
        is_edge: whether this address is an edge proxy's of ours, which names the source of what it passes on;
            None where there is none.

    """

    __slots__ = (
        "_admit",
        "_admit_name",
        "_authenticator",
        "_called",
        "_core",
        "_is_edge",
        "_may_refuse",
        "_on_turned_away",
        "_reject_unknown",
        "_within_rate",
    )

    def __init__(
        self,
        core: Core,
        admit: Callable[[str], object | None],
        called: CalledHosts,
        *,
        within_rate: Callable[[str], bool],
        may_refuse: Callable[[], bool],
        reject_unknown: bool,
        admit_name: Callable[[str], object | None] | None = None,
        authenticator: Authenticator | None = None,
        on_turned_away: Callable[[str, str], None] = lambda host, reason: None,
        is_edge: Callable[[str], bool] | None = None,
    ) -> None:
        self._core = core
        self._is_edge = is_edge
        self._on_turned_away = on_turned_away
        self._admit = admit
        self._admit_name = admit_name
        self._authenticator = authenticator
        self._called = called
        self._within_rate = within_rate
        self._may_refuse = may_refuse
        self._reject_unknown = reject_unknown

    def message_received(self, data: bytes, flow: Flow) -> None:
        """Deliver it with its carrier, or not at all."""
        if self._is_edge is not None and self._is_edge(flow.host):
            self._from_edge(data, flow)
            return
        peer: object | None = (self._named(flow.name) if flow.name else None) or self._admit(flow.host)
        if peer is not None:
            if (
                data.startswith(_CONTINUES)
                or self._within_rate(flow.host)
                or _TO_TAG.search(data) is not None
            ):
                self._core.deliver(data, flow, peer)
            else:
                self._turn_away(data, flow, flow.host, SOURCE_RATE, 503, _OVER_RATE)
        elif flow.host in self._called and data.startswith(RESPONSE):
            self._core.deliver(data, flow, peer)
        elif self._by_digest:
            self._judge(data, flow)
        elif self._reject_unknown:
            self._turn_away(data, flow, flow.host, UNKNOWN_SOURCE, 403, _NOT_ADMITTED)
        else:
            self._core.dropped(UNKNOWN_SOURCE)
            self._on_turned_away(flow.host, UNKNOWN_SOURCE)

    def _from_edge(self, data: bytes, flow: Flow) -> None:
        """Deliver what begins something with the carrier that the edge names, everything else as it is."""
        if data.startswith(_CONTINUES) or _TO_TAG.search(data) is not None:
            self._core.deliver(data, flow, None)
            return
        source = named_source(data)
        if source is None:
            if data.startswith(_OPTIONS):  # the edge's own, who asks whether we take calls
                self._core.deliver(data, flow, None)
            else:
                self._turn_away(data, flow, flow.host, UNNAMED_SOURCE, 403, _NOT_NAMED)
            return
        peer = self._admit(source)
        if peer is None:
            self._turn_away(data, flow, source, UNKNOWN_SOURCE, 403, _NOT_ADMITTED)
        elif self._within_rate(source):
            self._core.deliver(data, flow, peer)
        else:
            self._turn_away(data, flow, source, SOURCE_RATE, 503, _OVER_RATE)

    def _turn_away(
        self,
        data: bytes,
        flow: Flow,
        source: str,
        reason: str,
        status: int,
        headers: tuple[tuple[str, str], ...],
    ) -> None:
        self._core.dropped(reason)
        if status != 401:  # who is asked for a password comes back with it
            self._on_turned_away(source, reason)
        if self._may_refuse():
            self._core.refuse(data, flow, status, headers)

    def flow_failed(self, flow: Flow, reason: str) -> None:
        """Hand on."""
        self._core.flow_failed(flow, reason)

    @property
    def _by_digest(self) -> bool:
        return self._authenticator is not None and self._authenticator.wanted()

    def _judge(self, data: bytes, flow: Flow) -> None:
        """Ask a stranger who it is, or believe it."""
        judge = self._authenticator
        if judge is None:
            return
        peer = judge.known(flow.host)
        if peer is not None and (data.startswith(_CONTINUES) or _TO_TAG.search(data) is not None):
            self._core.deliver(data, flow, peer)  # a tag of ours vouches for it
            return
        if data.startswith(_CONTINUES):
            self._core.dropped(UNKNOWN_SOURCE)
            return
        if not judge.may_judge():
            self._core.dropped(Verdict.FLOODED.value)
            return
        try:
            request = parse_message(data)
        except SipParseError:
            request = None
        verdict = judge.judge(request, flow.host) if isinstance(request, Request) else Verdict.IGNORED
        match verdict:
            case Admitted():
                self._core.deliver(data, flow, verdict.peer)
            case Asked():
                self._turn_away(data, flow, flow.host, "challenged", 401, verdict.headers)
            case Verdict():
                self._core.dropped(verdict.value)
                self._on_turned_away(flow.host, verdict.value)

    def hears(self, host: str) -> bool:
        """Whether messages from there can come to anything; counts nothing."""
        return self.knows(host) or self._by_digest or host in self._called

    @property
    def asks_certificates(self) -> bool:
        """Whether a certificate, or a digest later on, can tell who a stranger is."""
        return self._admit_name is not None or self._by_digest

    def knows(self, host: str) -> bool:
        """A stranger may connect only to be told 403."""
        if self._reject_unknown or self._admit(host) is not None:
            return True
        return self._is_edge is not None and self._is_edge(host)

    def admits(self, host: str) -> bool:
        """As `knows`, and counts whom it turns away; who may know a password is let in to be asked for it."""
        if self.knows(host) or self._by_digest:
            return True
        self._core.dropped(UNKNOWN_SOURCE)
        self._on_turned_away(host, UNKNOWN_SOURCE)
        return False

    def identify(self, names: Sequence[str]) -> str | None:
        """The first name that somebody is known by."""
        return next((name for name in names if self._named(name) is not None), None)

    def _named(self, name: str) -> object | None:
        return self._admit_name(name) if self._admit_name is not None else None

    def dropped(self, reason: str) -> None:
        """Hand on."""
        self._core.dropped(reason)


class AgentIngress:
    """The agents' side. Nobody there is a carrier, so the peer of its requests is None."""

    __slots__ = ("_called", "_core")

    def __init__(self, core: Core, called: CalledHosts) -> None:
        self._core = core
        self._called = called

    def message_received(self, data: bytes, flow: Flow) -> None:
        """Deliver a response, a request of a host that we called, or one inside a dialog."""
        heard = flow.host in self._called and not data.startswith(_INVITE)
        if heard or data.startswith(RESPONSE) or _in_dialog(data):
            self._core.deliver(data, flow, None)
        else:
            self._core.dropped(UNKNOWN_SOURCE)

    def flow_failed(self, flow: Flow, reason: str) -> None:
        """Hand on."""
        self._core.flow_failed(flow, reason)

    @property
    def asks_certificates(self) -> bool:
        """Nobody calls from here, so that nobody need say who it is."""
        return False

    def knows(self, host: str) -> bool:
        """Only hosts that we called may connect: others have no reason to."""
        return host in self._called

    def identify(self, names: Sequence[str]) -> str | None:
        """Nobody is known by a certificate here."""
        return None

    def admits(self, host: str) -> bool:
        """As `knows`, and counts whom it turns away."""
        if host in self._called:
            return True
        self._core.dropped(UNKNOWN_SOURCE)
        return False

    def dropped(self, reason: str) -> None:
        """Hand on."""
        self._core.dropped(reason)


def _in_dialog(data: bytes) -> bool:
    try:
        message = parse_message(data)
        return isinstance(message, Request) and message.to_tag is not None
    except SipParseError:
        return False
