"""What another process must know of a leg to go on with it: plain values, to be kept anywhere."""

from __future__ import annotations

from typing import NamedTuple


class TimerState(NamedTuple):
    """What was agreed of a session timer (RFC 4028).

    interval: seconds; floor: the shortest that everybody on the way takes.
    ours: we refresh; agreed: the peer takes part.
    """

    interval: int
    floor: int
    ours: bool
    agreed: bool


class LegState(NamedTuple):
    """One side of an established call; see `gateway.sip.dialog.Dialog` for the dialog's part.

    inbound: the peer placed the call to us, and is a carrier's.
    transport, host, port, name: of the flow to the peer, as last seen; not which socket of ours.
    described: our latest session description in this dialog; empty where it is not to be kept.
    takes_update: the peer has said that it takes UPDATE.
    timer: None without a session timer.
    """

    inbound: bool
    call_id: str
    local: str
    remote: str
    local_tag: str
    remote_tag: str
    local_cseq: int
    remote_cseq: int | None
    remote_target: str
    routes: tuple[str, ...]
    transport: str
    host: str
    port: int
    name: str
    sips: bool
    takes_update: bool
    described: bytes
    timer: TimerState | None
