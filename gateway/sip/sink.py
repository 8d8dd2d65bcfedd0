"""What the sans-IO core asks of the outside world: a way to send, a wake-up, and somebody who counts.

The core never reads a clock, opens a socket or rolls dice. `SipEndpoint` fulfils this protocol with sockets;
tests and the simulation fulfil it with a link in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

from gateway.sip.flow import Flow

Direction: TypeAlias = Literal["in", "out"]

TokenSource: TypeAlias = Callable[[], str]
"""A fresh random token: at least 16 hex digits (64 bits: RFC 3261 §19.3 wants tags hard to guess)."""


class Sink(Protocol):
    """The core's only way out. No method raises, and none calls back into the core before it returns."""

    def send(self, flow: Flow, data: bytes) -> None:
        """Send one whole message.

        A stream flow made by `flow_to`, or one whose connection has ended, asks for a connection to
        `flow.host`, `flow.port`: an open one is used again, otherwise one is opened and the message waits for
        it. Whatever goes wrong is reported later by `UserAgent.transport_failed`; a connection that takes
        longer than about a second to open is better reported as failed, since a call waits for it.
        """

    def flow_to(self, near: Flow, transport: str, host: str, port: int) -> Flow:
        """A flow to another address, leaving from the same side (interface, listener) as `near` does.

        host: an IP literal without brackets. For a stream no connection is opened yet: `send` does that.
        """

    def local_address(self, flow: Flow) -> tuple[str, int]:
        """Host and port that the peer of this flow reaches us at: what goes into Via and Contact.

        The host is a name or an IP literal, IPv6 without brackets.
        """

    def is_open(self, flow: Flow) -> bool:
        """Whether this flow names a connection that can still be written to; asked for streams only."""

    def wake(self, deadline: float) -> None:
        """Call `UserAgent.handle_timers` at `deadline` (seconds of the core's clock).

        Takes the place of the deadline asked for before. Called when the earliest deadline moves earlier,
        and after each `handle_timers` if anything is still to come.
        """

    def message(self, direction: Direction, method: str, code: int) -> None:
        """One message went by: a request (code 0) or a response to `method`. Retransmissions included."""

    def retransmission(self, direction: Direction) -> None:
        """A message was sent again by a timer of ours (``out``), or came again from the peer (``in``)."""

    def dropped(self, reason: str) -> None:
        """A message was neither answered nor delivered; `reason` is one of a few fixed words."""
