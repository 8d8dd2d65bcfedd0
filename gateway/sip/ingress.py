"""Who gets through to the user agent: decided by the source address, before anything is parsed.

Carriers and agents have listeners of their own. On the carriers' side, only admitted sources are heard. On
the agents' side, whoever we called lately is heard, and others only inside a dialog, where a tag that nobody
can guess vouches for them; calls never begin there. Whatever is not heard gets silence and is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.sip.flow import Flow
from gateway.sip.grammar import SipParseError
from gateway.sip.message import Request, parse_message

CALLED_HOSTS = 1024
"""Addresses lately called that are remembered; agents are far fewer. The longest known goes first."""

UNKNOWN_SOURCE = "unknown_source"

RESPONSE = b"SIP/2.0 "
"""How a response begins, and no request."""

_INVITE = b"INVITE "


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

    def forbid(self, data: bytes, flow: Flow) -> None:
        """Answer a request with 403, and forget it. Never raises."""

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
        reject_unknown: answer strangers 403 instead of silence.

    """

    __slots__ = ("_admit", "_called", "_core", "_reject_unknown")

    def __init__(
        self, core: Core, admit: Callable[[str], object | None], called: CalledHosts, *, reject_unknown: bool
    ) -> None:
        self._core = core
        self._admit = admit
        self._called = called
        self._reject_unknown = reject_unknown

    def message_received(self, data: bytes, flow: Flow) -> None:
        """Deliver it with its carrier, or not at all."""
        peer = self._admit(flow.host)
        if peer is not None or (flow.host in self._called and data.startswith(RESPONSE)):
            self._core.deliver(data, flow, peer)
            return
        self._core.dropped(UNKNOWN_SOURCE)
        if self._reject_unknown:
            self._core.forbid(data, flow)

    def flow_failed(self, flow: Flow, reason: str) -> None:
        """Hand on."""
        self._core.flow_failed(flow, reason)

    def admits(self, host: str) -> bool:
        """A stranger may connect only to be told 403."""
        if self._reject_unknown or self._admit(host) is not None:
            return True
        self._core.dropped(UNKNOWN_SOURCE)
        return False

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

    def admits(self, host: str) -> bool:
        """Only hosts that we called may connect: others have no reason to."""
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
