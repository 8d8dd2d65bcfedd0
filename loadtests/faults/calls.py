"""What became of each call, as its carrier saw it and as the nodes recorded it, and whether the schedule
explains it.

Pure: text in, accounts out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from loadtests.faults.schedule import KINDS, SEA, Fault

RECOVERY: Final = 8.0
"""Seconds after its end that a fault may still be felt: a node needs most of them to start again on a busy
machine, and until then its edge finds it silent."""

LOCAL: Final = 6.0
"""Seconds into a cut between the regions after which each of them must serve its own callers: an edge has
found the gateways of the other one silent by then."""

MARGIN: Final = 0.5
"""Seconds by which two clocks, or a log line and its event, may differ."""


@dataclass(slots=True)
class Placed:
    """One call at its carrier; times are seconds since the start of the load.

    status: the final one, 0 for none. ended: by whom: ``carrier`` (its BYE was answered), ``gateway`` (it
    sent one), or empty: nobody heard of an end. targets: hosts that its requests within the call were for.
    """

    call_id: str
    carrier: str
    at: float
    status: int = 0
    ended: str = ""
    over: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)
    targets: set[str] = field(default_factory=set)

    @property
    def outcome(self) -> str:
        """The one thing that became of it."""
        if self.status == 0:
            return "unanswered"
        if self.status >= 300:
            return f"refused {self.status}"
        return {"carrier": "completed", "gateway": "cut off", "": "vanished"}[self.ended]


def placed(lines: Iterable[str], carrier: str, start: float) -> list[Placed]:
    """The calls in SIPp's short messages. start: of the load, seconds since the epoch."""
    calls: dict[str, Placed] = {}
    for line in lines:
        fields = line.rstrip("\n").split("\t")
        if len(fields) < 7:
            continue  # the last line of a SIPp that was killed
        at, sent, call_id, method, begins = (
            float(fields[2]) - start,
            fields[3] == "S",
            fields[4],
            fields[5].rpartition(" ")[2],
            fields[6],
        )
        call = calls.get(call_id)
        if call is None:
            if not (sent and begins.startswith("INVITE")):
                continue  # of a call that another process had placed
            call = calls[call_id] = Placed(call_id, carrier, at)
        call.over = at
        if not begins.startswith("SIP/2.0"):
            if sent and method in ("ACK", "BYE"):
                call.targets.add(begins.split()[1].removeprefix("sip:").partition(":")[0])
            if not sent and method == "BYE":
                call.ended = call.ended or "gateway"
            continue
        status = int(begins.split()[1])
        if not sent and method == "INVITE" and status >= 200:
            call.answers[status] += 1
            call.status = call.status or status
        elif not sent and method == "BYE" and status == 200:
            call.ended = call.ended or "carrier"
    return list(calls.values())


@dataclass(frozen=True, slots=True)
class Recorded:
    """The record of a call in a node's log. number: that was called; tried: the endpoints, in order."""

    call_id: str
    sip_call_id: str
    node: str
    outcome: str
    tried: tuple[str, ...]
    number: str = ""


def recorded(lines: Iterable[str], node: str) -> list[Recorded]:
    """The records in a node's log."""
    found: list[Recorded] = []
    for line in lines:
        if '"sip_call_id"' not in line or '"outcome"' not in line:
            continue
        try:
            row = json.loads(line)
        except ValueError:  # a process was killed while it wrote
            continue
        tried = tuple(str(each.get("endpoint") or "") for each in row.get("tried", []))
        number = str(row.get("number", ""))
        found.append(Recorded(row["call_id"], row["sip_call_id"], node, row["outcome"], tried, number))
    return found


@dataclass(slots=True)
class Account:
    """Offered calls against outcomes. unexplained: a sentence for each that the schedule does not explain."""

    offered: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    twice: int = 0
    unrecorded: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    local: Counter[str] = field(default_factory=Counter)
    """Outcomes of calls that were placed while the regions had been cut off from each other for `LOCAL`."""


def account(
    calls: Sequence[Placed],
    records: Sequence[Recorded],
    faults: Sequence[Fault],
    on_the_way: Mapping[str, str],
) -> Account:
    """Balance them.

    on_the_way: hosts whose trouble a caller may notice, with their addresses: nodes, edges, carriers, agents.
        What happens to Redis, the store or the API explains nothing. Nor does a clock that is wrong, a
        gateway that is restarted in good order, or a cut between the regions for calls in its midst.
    """
    result = Account(offered=len(calls))
    by_call: dict[str, list[Recorded]] = {}
    for record in records:
        by_call.setdefault(record.sip_call_id, []).append(record)
        result.records[record.outcome] += 1
    felt = [fault for fault in faults if _felt(fault, on_the_way)]
    cuts = [fault for fault in faults if fault.kind == "cut"]
    for call in calls:
        result.outcomes[call.outcome] += 1
        if any(cut.at + LOCAL <= call.at <= cut.until for cut in cuts):
            result.local[call.outcome] += 1
        mine = by_call.pop(call.call_id, [])
        cause = _cause(call, mine, felt, on_the_way)
        if call.outcome != "completed":
            _explain(result, call, cause, call.outcome)
        if sum(call.answers.values()) > 1 and len(call.answers) > 1:
            _explain(result, call, cause, f"answered with {sorted(call.answers)}")
        if len(mine) > 1:
            result.twice += 1
            _explain(result, call, cause, f"recorded {len(mine)} times")
        elif not mine and call.outcome != "unanswered":
            result.unrecorded += 1
            _explain(result, call, cause, f"{call.outcome}, and in no record")
    result.unexplained += [f"{call_id}: recorded, and nobody placed it" for call_id in by_call]
    return result


def _felt(fault: Fault, on_the_way: Mapping[str, str]) -> bool:
    """Whether it may be the cause of a call's trouble."""
    orderly = fault.kind == "restart" and fault.host.startswith("n")
    return fault.host == SEA or (fault.host in on_the_way and fault.kind != "skew" and not orderly)


def _cause(
    call: Placed, records: Sequence[Recorded], felt: Sequence[Fault], on_the_way: Mapping[str, str]
) -> Fault | None:
    """The fault that hit it: of those in its time, on its way, the worst, and of those the last."""
    way = {call.carrier, f"e{call.carrier[1:]}"} | {record.node for record in records}
    way |= {host for host, address in on_the_way.items() if address in call.targets}
    tried = " ".join(endpoint for record in records for endpoint in record.tried)

    def met(fault: Fault) -> bool:
        if fault.host == SEA:
            return call.at < fault.at + LOCAL
        if fault.host.startswith("a"):
            return not records or f"{on_the_way[fault.host]}:" in tried
        return fault.host in way or (fault.host.startswith("n") and not records)

    near = [
        fault
        for fault in felt
        if fault.at - MARGIN <= call.over and call.at <= fault.until + RECOVERY and met(fault)
    ]
    return min(near, key=lambda fault: (KINDS.index(fault.kind), -fault.at), default=None)


def _explain(result: Account, call: Placed, cause: Fault | None, what: str) -> None:
    if cause is None:
        result.unexplained.append(f"{call.at:.2f}–{call.over:.2f} s {call.call_id}: {what}")
    else:
        result.explained[f"{what}: {cause.kind} {cause.host}"] += 1
