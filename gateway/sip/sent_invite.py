"""One INVITE of ours, first or repeated in a dialog: its CANCEL, its ACK, and the answers of its forks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.sip.dialog import Dialog
from gateway.sip.early_dialogs import MAX_FORKS, EarlyDialog, EarlyDialogs, reliable_number
from gateway.sip.reasons import reason_phrase
from gateway.sip.transaction import TRANSACTION_TIMEOUT, State

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.events import FailureCause
    from gateway.sip.flow import Flow
    from gateway.sip.leg import HeaderList
    from gateway.sip.message import Response
    from gateway.sip.request_writer import RequestWriter
    from gateway.sip.timers import Timer

RINGING_LIMIT = 300.0
"""Seconds an INVITE may go without a final response before we cancel it ourselves: nothing rings longer than
Telnyx's "No Answer Timeout", and a peer that says 100 and dies would otherwise be waited for for ever."""

STATUS_OF_CAUSE: dict[FailureCause, int] = {"timeout": 408, "transport": 503}
"""What no response at all counts as (§8.1.3.1)."""


class InviteUser(Protocol):
    """Who sent the INVITE."""

    def invite_progressed(self, response: Response) -> None:
        """Learn of a provisional response."""

    def invite_answered(self, response: Response) -> None:
        """Learn of the first 2xx; `SentInvite.acknowledge` must follow, now or later."""

    def invite_failed(self, status: int, reason: str, cause: FailureCause, response: Response | None) -> None:
        """Learn that there will be no 2xx."""


class SentInvite:
    """An INVITE on its way.

    Args:
        core: the surroundings.
        request: the INVITE.
        flow: where to.
        offered: it has an SDP offer, so that its ACK needs no answer.
        user: who is told.

    Attributes:
        acknowledged: the ACK of its 2xx was sent.

    """

    __slots__ = (
        "_ack",
        "_cancel_headers",
        "_cancel_sent",
        "_core",
        "_early",
        "_flow",
        "_forks",
        "_limit",
        "_local_tag",
        "_tag",
        "_transaction",
        "_user",
        "acknowledged",
        "offered",
        "request",
    )

    def __init__(
        self,
        core: Core,
        request: RequestWriter,
        flow: Flow,
        *,
        local_tag: str,
        offered: bool,
        user: InviteUser,
    ) -> None:
        self._core = core
        self._flow = flow
        self._local_tag = local_tag
        self._user: InviteUser | None = user
        self._ack: tuple[Flow, bytes] | None = None
        self._tag: str | None = None
        self._forks: dict[str, tuple[Flow, bytes]] | None = None
        self._early: EarlyDialogs | None = None
        self._cancel_headers: HeaderList | None = None
        self._cancel_sent = False
        self.acknowledged = False
        self.offered = offered
        self.request = request
        self._limit: Timer = core.timers.schedule(RINGING_LIMIT, self.cancel)
        self._transaction = core.transactions.invite(request, flow, self._responded, self._failed)

    @property
    def awaits_ack(self) -> bool:
        """A 2xx came that `acknowledge` has not confirmed yet."""
        return self._tag is not None and not self.acknowledged

    def cancel(self, headers: HeaderList = ()) -> None:
        """Send CANCEL, as soon as a provisional response has come (§9.1). Idempotent."""
        if self._cancel_headers is None:
            self._cancel_headers = headers
        if not self._cancel_sent and self._transaction.state is State.PROCEEDING:
            self._cancel_sent = True
            self._limit.cancel()
            self._limit = self._core.timers.schedule(TRANSACTION_TIMEOUT, self._transaction.abandon)
            self._core.transactions.request(
                self.request.cancel(self._cancel_headers), self._transaction.flow, _ignore, _ignore
            )

    def acknowledge(self, dialog: Dialog, body: bytes = b"") -> None:
        """Send the ACK of the 2xx, along the dialog's route (§13.2.2.4).

        body: our SDP answer, if the 2xx made the offer.
        """
        self.acknowledged = True
        self._ack = self._send_ack(dialog, body)

    def dialog_of(self, response: Response) -> Dialog:
        """The dialog that a 2xx makes, or its early one made before."""
        dialog = Dialog.calling(self.request, self._local_tag, response)
        if self._early is not None:
            self._early.go_on_in(dialog)
        return dialog

    def early_dialog(self, tag: str) -> EarlyDialog | None:
        """The fork of that tag, if it sent reliable provisional responses."""
        return self._early.find(tag) if self._early is not None else None

    def detach(self) -> None:
        """Tell nobody any more; late 2xx responses are still confirmed, and other forks hung up."""
        self._user = None
        self._limit.cancel()

    def _send_ack(self, dialog: Dialog, body: bytes = b"") -> tuple[Flow, bytes]:
        flow = self._core.next_hop(dialog, self._flow)
        transactions = self._core.transactions
        headers: HeaderList = (("Content-Type", "application/sdp"),) if body else ()
        if self.request.credentials:  # the same as in the INVITE (§22.1): nobody can challenge an ACK
            headers = (*headers, *self.request.credentials)
        ack = dialog.request("ACK", transactions.branch(), cseq=self.request.cseq, headers=headers, body=body)
        return flow, transactions.send_ack(ack, flow)

    def _responded(self, response: Response) -> None:
        if response.status < 200:
            if self._cancel_headers is not None:
                self.cancel()
            rseq = reliable_number(response)
            if rseq is not None and not self._confirm(response, rseq):
                return
            if self._user is not None:
                self._user.invite_progressed(response)
        elif response.status < 300:
            self._answered(response)
        else:
            self._end(response.status, response.reason, "response", response)

    def _confirm(self, response: Response, rseq: int) -> bool:
        """Send PRACK (RFC 3262 §4); False if the response is a repetition, or came before its time."""
        if self._early is None:
            self._early = EarlyDialogs(self.request, self._local_tag)
        fork = self._early.take(response, rseq)
        if fork is None:
            return False
        transactions = self._core.transactions
        headers = (("RAck", f"{rseq} {self.request.cseq} INVITE"), ("User-Agent", self._core.product))
        prack = fork.dialog.request("PRACK", transactions.branch(), headers=headers)
        transactions.request(prack, self._core.next_hop(fork.dialog, self._flow), _ignore, _ignore)
        return True

    def _answered(self, response: Response) -> None:
        tag = response.to_tag or ""
        if self._tag is None:
            self._limit.cancel()
            self._tag = tag
            if self._user is not None:
                self._user.invite_answered(response)
        elif tag == self._tag:
            self._repeat_ack(self._ack)
        else:
            self._decline_fork(tag, response)

    def _decline_fork(self, tag: str, response: Response) -> None:
        """Another phone answered as well: it must be acknowledged, and is hung up (§13.2.2.4)."""
        if self._forks is None:
            self._forks = {}
        if tag in self._forks:
            self._repeat_ack(self._forks[tag])
        elif len(self._forks) < MAX_FORKS:
            dialog = self.dialog_of(response)
            self._forks[tag] = self._send_ack(dialog)
            transactions = self._core.transactions
            bye = dialog.request("BYE", transactions.branch())
            transactions.request(bye, self._core.next_hop(dialog, self._flow), _ignore, _ignore)

    def _repeat_ack(self, ack: tuple[Flow, bytes] | None) -> None:
        self._core.transactions.retransmission_received()
        if ack is not None:
            self._core.transactions.send_again(*ack, "ACK")

    def _failed(self, cause: FailureCause) -> None:
        status = STATUS_OF_CAUSE[cause]
        self._end(status, reason_phrase(status), cause, None)

    def _end(self, status: int, reason: str, cause: FailureCause, response: Response | None) -> None:
        self._limit.cancel()
        user, self._user = self._user, None
        if user is not None:
            user.invite_failed(status, reason, cause, response)


def _ignore(_: object) -> None:
    """Take the outcome of a CANCEL, a PRACK, or a fork's BYE: nothing depends on it."""
