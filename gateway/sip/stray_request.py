"""A request inside a dialog that is not here, while somebody looks whether it was in a process that died."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.timers import Timer

MAX_STRAYS = 256
"""Such requests that wait at a time; more are answered 481 at once. Half a second's worth, of a node that has
taken over 500 calls a second."""

PATIENCE = 1.0
"""Seconds after which it is answered, whatever whoever looks may still be doing: before its sender's second
retransmission."""


class StrayRequest:
    """Waits to be settled, once.

    Attributes:
        call_id, local_tag, remote_tag: of its dialog, the local tag being ours.
        method: of the request.
        timer: settles it in the end.

    """

    __slots__ = ("_settle", "call_id", "incoming", "local_tag", "method", "remote_tag", "timer")

    def __init__(self, incoming: IncomingRequest, settle: Callable[[StrayRequest], None]) -> None:
        request = incoming.request
        self.incoming = incoming
        self.call_id = request.call_id
        self.local_tag = request.to_tag or ""
        self.remote_tag = request.from_tag or ""
        self.method = request.method
        self.timer: Timer | None = None
        self._settle: Callable[[StrayRequest], None] | None = settle

    def settle(self) -> None:
        """Have it taken by its dialog, if that is here now; else it is answered 481. Idempotent."""
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(self)
