"""The early dialogs of an INVITE of ours, one a fork, and the reliable responses in each (RFC 3262 §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.dialog import Dialog
from gateway.sip.extensions import RELIABLE, lists_option
from gateway.sip.grammar import SipParseError
from gateway.sip.headers import parse_number

if TYPE_CHECKING:
    from gateway.sip.message import Response
    from gateway.sip.request_writer import RequestWriter

MAX_FORKS = 16
"""Forks of one INVITE that are followed, acknowledged and hung up: more phones than anybody's agent rings at
once."""


class EarlyDialog:
    """One fork that wants its provisional responses confirmed.

    Attributes:
        dialog: for PRACK, and for whatever follows: its sequence numbers go on after an answer.
        rseq: of the latest one taken.
        session: its session description, if one of them had one: the answer to our offer.

    """

    __slots__ = ("dialog", "rseq", "session")

    def __init__(self, dialog: Dialog, rseq: int) -> None:
        self.dialog = dialog
        self.rseq = rseq
        self.session = b""


class EarlyDialogs:
    """Those of one INVITE.

    Args:
        invite: ours.
        local_tag: ours.

    """

    __slots__ = ("_forks", "_invite", "_local_tag")

    def __init__(self, invite: RequestWriter, local_tag: str) -> None:
        self._invite = invite
        self._local_tag = local_tag
        self._forks: dict[str, EarlyDialog] = {}

    def take(self, response: Response, rseq: int) -> EarlyDialog | None:
        """Take a reliable provisional response; None if it is a repetition, or came before its time (§4)."""
        tag = response.to_tag or ""
        fork = self._forks.get(tag)
        if fork is None:
            if len(self._forks) >= MAX_FORKS:
                return None
            fork = self._forks[tag] = EarlyDialog(
                Dialog.calling(self._invite, self._local_tag, response), rseq
            )
        elif rseq != fork.rseq + 1:
            return None
        else:
            fork.rseq = rseq
            fork.dialog.refresh_target(response)
        fork.session = fork.session or response.body
        return fork

    def find(self, tag: str) -> EarlyDialog | None:
        """The fork of that tag."""
        return self._forks.get(tag)

    def go_on_in(self, dialog: Dialog) -> None:
        """Have the dialog that a 2xx made count on where its early one ended (RFC 3261 §13.2.2.4)."""
        fork = self._forks.get(dialog.remote_tag)
        if fork is not None:
            dialog.local_cseq = fork.dialog.local_cseq
            dialog.remote_cseq = fork.dialog.remote_cseq


def reliable_number(response: Response) -> int | None:
    """The RSeq of a provisional response that wants a PRACK; None for any other."""
    value = response.headers.get("RSeq")
    if value is None or response.status <= 100 or not lists_option(response, "Require", RELIABLE):
        return None
    try:
        return parse_number("RSeq", value, 2**32 - 1)
    except SipParseError:
        return None
