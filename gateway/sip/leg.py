"""One side of a call: the dialog verbs that both the caller's leg and the agent's leg have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from gateway.sip.events import Event
from gateway.sip.flow import Flow

Listener: TypeAlias = Callable[[Event], None]
HeaderList: TypeAlias = Sequence[tuple[str, str]]


class LegStateError(RuntimeError):
    """A verb was called out of order: a mistake of ours, never of the peer's."""


class Leg:
    """One dialog with one peer, from its first INVITE to its last goodbye.

    Goodbyes cross: a verb called on a leg that has `ended` does nothing. A verb that could never be right at this
    point (answering twice) raises `LegStateError`.

    Attributes:
        listener: told every event, synchronously; the owner sets it, at the latest before control
            returns to the core.
        call_id: the dialog's Call-ID.
        local_tag: our tag; unique among all legs of this process.
        flow: the path to the peer, as last seen.
        ended: no call is left on this leg: it was cancelled, refused, has failed, or one side said goodbye.

    """

    listener: Listener
    call_id: str
    local_tag: str
    flow: Flow
    ended: bool

    @property
    def remote_contact(self) -> str | None:
        """The URI of the peer's latest Contact; None before it sent one."""
        raise NotImplementedError

    def hangup(self, headers: HeaderList = ()) -> None:
        """End this leg, whatever its state: BYE, CANCEL, or a 480 to a caller not answered yet.

        The BYE of an answered caller waits for its ACK (§15). `LegEnded` follows an answered call,
        `FailureReceived` or `LegEnded` a cancelled one, nothing a refused one.

        headers: put into the BYE or CANCEL, e.g. a Reason (RFC 3326).
        """
        raise NotImplementedError

    def reinvite(self, body: bytes, headers: HeaderList = ()) -> None:
        """Offer a changed session; `ReinviteAnswered` or `ReinviteFailed` follows (§14.1).

        Waits for the ACK of our own answer. Collisions (491) are retried by themselves, as §14.1 times them; if an INVITE of
        the peer waits for our answer already, `ReinviteFailed` with 491 follows at once.

        body: the SDP offer; empty asks the peer to make one, to be answered by `ack`.
        """
        raise NotImplementedError

    def ack(self, body: bytes) -> None:
        """Confirm a 2xx that made the offer, with our SDP answer. Only after an INVITE of ours without a body."""
        raise NotImplementedError

    def answer_reinvite(self, body: bytes, headers: HeaderList = ()) -> None:
        """Accept the peer's re-INVITE with 200 and an SDP answer (or offer, if it had none)."""
        raise NotImplementedError

    def refuse_reinvite(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Refuse the peer's re-INVITE, typically with 488; the session stays as it was."""
        raise NotImplementedError

    def info(self, content_type: str, body: bytes) -> None:
        """Send INFO (RFC 6086). A refusal is not told; 481 or silence ends the leg."""
        raise NotImplementedError
