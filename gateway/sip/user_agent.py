"""The user agent core: every message in, every leg out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.sip.events import FailureCause
from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import HeaderList, Listener
from gateway.sip.message import Response
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.sink import Sink, TokenSource


class UserAgent:
    """A SIP user agent, client and server, without I/O: messages and time go in, messages and events come out.

    Args:
        sink: sends and counts.
        clock: seconds, monotonic.
        tokens: makes tags, branches and Call-IDs.
        product: User-Agent and Server header.
        on_invite: called with each new call; it sets the leg's listener. A leg with `merged_with` set is a second copy
            of a call already here: refuse it with 482, or as the first one was.
        options_status: what an OPTIONS outside of a dialog is answered: status and headers (200 while calls are
            taken, else 503 and Retry-After).
        resolve: an IP literal for a host name, from memory; None if unknown, and then requests of a dialog go where
            the dialog's peer was last seen.

    """

    def __init__(
        self,
        sink: Sink,
        clock: Callable[[], float],
        tokens: TokenSource,
        *,
        product: str = "voice-gateway",
        on_invite: Callable[[InboundLeg], None],
        options_status: Callable[[], tuple[int, HeaderList]] = lambda: (200, ()),
        resolve: Callable[[str], str | None] = lambda host: None,
    ) -> None:
        raise NotImplementedError

    def receive(self, data: bytes, flow: Flow, peer: object = None) -> None:
        """Take one whole message (a datagram, or a message framed from a stream). Never raises for its content.

        peer: handed on as `InboundLeg.peer`.
        """
        raise NotImplementedError

    def handle_timers(self) -> None:
        """Do everything that is due now."""
        raise NotImplementedError

    def next_deadline(self) -> float | None:
        """When `handle_timers` is due next, in seconds of the clock."""
        raise NotImplementedError

    def transport_failed(self, flow: Flow, reason: str) -> None:
        """A connection could not be opened, or ended in whatever manner, or a datagram could not be sent.

        flow: as it was given to `Sink.send`, or as it was given to `receive`.
        """
        raise NotImplementedError

    def invite(
        self,
        uri: str,
        flow: Flow,
        *,
        from_: str,
        to: str,
        body: bytes,
        content_type: str = "application/sdp",
        headers: Sequence[tuple[str, str]] = (),
        listener: Listener,
    ) -> OutboundLeg:
        """Place a call: the INVITE is sent before this returns.

        from_, to: name-addr without a tag, e.g. ``"Alice" <sip:+14155550101@example.com>``.
        body: the SDP offer; empty asks the peer for one.
        headers: further headers; a Max-Forwards among them replaces 70.
        """
        raise NotImplementedError

    def request(
        self,
        method: str,
        uri: str,
        flow: Flow,
        *,
        headers: HeaderList = (),
        on_result: Callable[[Response | None, FailureCause], None],
    ) -> None:
        """Send a request outside of any dialog, such as an OPTIONS probe; not for INVITE.

        on_result: called once, with the final response and "response", or with None and why there is none.
        """
        raise NotImplementedError

    @property
    def transaction_counts(self) -> dict[str, int]:
        """Transactions alive, by kind: invite_client, invite_server, client, server."""
        raise NotImplementedError

    @property
    def leg_count(self) -> int:
        """Legs alive."""
        raise NotImplementedError

    @property
    def timer_count(self) -> int:
        """Timers armed; 0 when nothing is left to happen."""
        raise NotImplementedError
