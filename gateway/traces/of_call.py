"""The trace of one call: put together from what was kept, as a ladder, as text, and as a capture."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from gateway.sip.addresses import format_address
from gateway.traces import ladder, pcap
from gateway.traces.ladder import Rung
from gateway.traces.log import MAX_MESSAGES, TraceLog
from gateway.traces.redaction import mask_numbers
from gateway.traces.rtp_heads import RtpHeads
from gateway.traces.segments import Entry
from routing.call_records import CallShown, TraceRung

EARLIER, LATER = 1.0, 40.0
"""Seconds around a call in which its messages are looked for: its record began after its INVITE came, and
goodbyes are sent again for 32 s."""

_OUR_PORTS: Final = re.compile(rb"\nm=audio (\d{1,5})[ /]")


class CallTraces:
    """Finds traces.

    Args:
        log: of SIP messages.
        heads: of RTP; None if none are kept.
        mask: show no telephone numbers.

    """

    def __init__(self, log: TraceLog, heads: RtpHeads | None = None, *, mask: bool = False) -> None:
        self._log = log
        self._heads = heads
        self._mask = mask

    async def rungs(self, call: CallShown) -> list[TraceRung]:
        """Everything that happened, in order. Raises OSError."""
        return [_told(rung) for rung in await self._ladder(call)]

    async def text(self, call: CallShown) -> str:
        """The same for people. Raises OSError."""
        rungs = await self._ladder(call)
        return await asyncio.to_thread(_page, call, rungs)

    async def capture(self, call: CallShown) -> bytes:
        """SIP, and RTP where it was kept, as a pcap file. Raises OSError."""
        entries = await self._entries(call)
        if self._heads is not None:
            ours = (entry.data for entry in entries if entry.out)
            ports = frozenset(int(port) for data in ours for port in _OUR_PORTS.findall(data))
            entries = sorted(entries + await self._heads.read(ports, *_window(call)))
        return await asyncio.to_thread(pcap.capture, entries)

    async def _ladder(self, call: CallShown) -> list[Rung]:
        entries = await self._entries(call)
        return await asyncio.to_thread(ladder.rungs, entries, call.moments, call.began)

    async def _entries(self, call: CallShown) -> list[Entry]:
        entries = await self._log.read(call.sip_call_ids, *_window(call))
        if not self._mask:
            return entries
        return await asyncio.to_thread(
            lambda: [entry._replace(data=mask_numbers(entry.data)) for entry in entries]
        )


def _window(call: CallShown) -> tuple[float, float]:
    return call.began - EARLIER, call.began + call.seconds + LATER


def _told(rung: Rung) -> TraceRung:
    entry = rung.entry
    return TraceRung(
        at=round(rung.at, 6),
        side=rung.side,
        out=rung.out,
        label=rung.label,
        kind=rung.kind,
        again=rung.again,
        transport="" if entry is None else entry.transport,
        local="" if entry is None else format_address((entry.local_host, entry.local_port)),
        remote="" if entry is None else format_address((entry.host, entry.port)),
        message="" if entry is None else entry.data.decode("utf-8", "replace"),
    )


def _page(call: CallShown, rungs: list[Rung]) -> str:
    facts = {
        "call": call.id,
        "node": call.node,
        "started": call.started_at,
        "carrier": f"{call.carrier} ({call.source})",
        "carrier's id": call.carrier_call_id,
        "caller": call.caller or "withheld",
        "dialled": call.dialled,
        "number": call.number,
        "plan": " → ".join(call.plan),
        "outcome": f"{call.outcome or call.state}: {call.cause}"
        if call.cause
        else call.outcome or call.state,
        "seconds": f"{call.seconds:.3f}",
    }
    lines = [f"{name:<13} {value}" for name, value in facts.items() if value]
    lines += ["", ladder.draw(rungs), ""]
    messages = [_told(rung) for rung in rungs if rung.entry is not None]
    if len(messages) >= MAX_MESSAGES:
        lines.append(f"There are more than {MAX_MESSAGES} messages; these are the first.")
    if not messages:
        lines.append("No message of this call is kept: traces were off, or it made room for newer ones.")
    for message in messages:
        way = f"{message.local} → {message.remote}" if message.out else f"{message.remote} → {message.local}"
        lines += [f"── {message.at * 1000:.1f} ms  {message.transport.upper()}  {way}", ""]
        lines += [message.message.replace("\r\n", "\n").rstrip("\n"), ""]
    return "\n".join(lines) + "\n"
