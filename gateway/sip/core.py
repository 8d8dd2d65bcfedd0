"""What every leg shares: the clock, the network, the transactions and the table of legs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.sip.extensions import RELIABLE, Extensions
from gateway.sip.grammar import format_host
from gateway.sip.next_hop import next_hop
from gateway.sip.request_writer import header_lines
from gateway.sip.timers import TimerQueue
from gateway.sip.transaction_layer import TransactionLayer

if TYPE_CHECKING:
    from gateway.sip.dialog import Dialog
    from gateway.sip.flow import Flow
    from gateway.sip.inbound_leg import InboundLeg
    from gateway.sip.leg import Leg
    from gateway.sip.sink import Sink, TokenSource

ALLOWED_METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "PRACK", "UPDATE", "REFER")
"""What we take, as the Allow header says it."""

ALLOW = ("Allow", ", ".join(ALLOWED_METHODS))

CallKey = tuple[str, str, int]
"""Call-ID, From tag and CSeq number: the same in every copy of one INVITE (§8.2.2.2)."""


class Core:
    """The surroundings of a leg.

    Args:
        sink, clock, tokens, product, resolve, extensions: as given to `UserAgent`.

    Attributes:
        timers: the only deadlines of the core.
        transactions: the only way out.
        legs: all legs alive, by our tag, which no peer can choose.
        calls: the legs of INVITEs lately received, to know a second copy by.
        supported: the Supported header.
        answer_lines: what every 2xx to an INVITE says of us, as header lines.
        invite_lines, late_invite_lines: likewise an INVITE of ours with an offer, and one without, which
            nobody may answer in a provisional response.

    """

    __slots__ = (
        "_resolve",
        "answer_lines",
        "calls",
        "extensions",
        "invite_lines",
        "late_invite_lines",
        "legs",
        "product",
        "sink",
        "supported",
        "timers",
        "tokens",
        "transactions",
    )

    def __init__(
        self,
        sink: Sink,
        clock: Callable[[], float],
        tokens: TokenSource,
        product: str,
        resolve: Callable[[str], str | None],
        extensions: Extensions | None = None,
    ) -> None:
        self._resolve = resolve
        self.sink = sink
        self.tokens = tokens
        self.product = product
        self.extensions = extensions or Extensions()
        tags = self.extensions.tags
        self.supported = ("Supported", ", ".join(tags))
        agent = ("User-Agent", product)
        late = ("Supported", ", ".join([tag for tag in tags if tag != RELIABLE]))
        self.answer_lines = header_lines((ALLOW, self.supported, ("Server", product)))
        self.invite_lines = header_lines((ALLOW, self.supported, agent))
        self.late_invite_lines = header_lines((ALLOW, late, agent))
        self.timers = TimerQueue(clock, sink.wake)
        self.transactions = TransactionLayer(sink, self.timers, tokens)
        self.legs: dict[str, Leg] = {}
        self.calls: dict[CallKey, InboundLeg] = {}

    def contact(self, flow: Flow, *, sips: bool = False, user: str = "") -> tuple[str, str]:
        """The Contact header that leads back to us from this flow's peer.

        user: of its URI, escaped; empty for none.
        sips: the dialog was begun with a sips URI, so that nothing in it may leave TLS (RFC 3261 §8.1.1.8,
            §12.1.1).
        """
        host, port = self.sink.local_address(flow)
        at = f"{user}@" if user else ""
        if sips:
            return "Contact", f"<sips:{at}{format_host(host)}:{port}>"
        transport = "" if flow.transport == "udp" else f";transport={flow.transport}"
        return "Contact", f"<sip:{at}{format_host(host)}:{port}{transport}>"

    def next_hop(self, dialog: Dialog, flow: Flow) -> Flow:
        """The flow towards a dialog's peer, last seen on `flow`."""
        return next_hop(dialog.next_hop, flow, self.sink, self._resolve)

    def chance(self) -> float:
        """A random number from 0 up to 1, from the source of tokens: the core rolls no dice of its own."""
        return int(self.tokens()[:8], 16) / 2**32
