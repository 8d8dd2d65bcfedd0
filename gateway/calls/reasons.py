"""Why a call ended as it did, in plain words, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from routing.call_records import CallShown


@dataclass(frozen=True, slots=True)
class Reason:
    """What happened, and the fix; the fix is empty where nothing is wrong."""

    text: str
    fix: str = ""


_REFUSED: Final[dict[str, Reason]] = {
    "draining": Reason(
        "This gateway was being drained, so it took no new calls; the carrier goes to its next address.",
        "Nothing, if somebody meant it. `voice-gateway drain --undo` takes calls again.",
    ),
    "no_routes": Reason(
        "The gateway knew no numbers at all: Redis had none, and there was no snapshot on disk.",
        "See why the routes are missing: `voice-gateway check`, and the log's lines about routing.",
    ),
    "max_active_calls": Reason(
        "As many calls were under way as this gateway takes.",
        "Raise admission.max_active_calls if the machine has room, or add a gateway.",
    ),
    "caller refused": Reason(
        "The caller is on the carrier's list of refused callers (603: the carrier does not try again).",
        "Take the number out of refused_callers of that carrier in admission.carriers_files, if it may call.",
    ),
    "not a telephone number": Reason(
        "What was dialled is no telephone number (404).",
        "Look at the INVITE's first line: the carrier should send E.164. For national numbers, set"
        " default_country of the carrier.",
    ),
    "number not known": Reason(
        "Nobody has registered the dialled number (404).",
        "Register it: `voice-gateway numbers create`, or POST /v1/phone-numbers. If it is registered, see how"
        " old the routes are: routing_sync_age_seconds.",
    ),
    "number inactive": Reason(
        "The dialled number is registered, but its status is not `active` (404).",
        "Set its status to `active`.",
    ),
    "number is outbound-only": Reason(
        "The dialled number has no inbound_routing, so that it takes no calls (404).",
        "Give it an inbound_routing with an agent_id.",
    ),
    "no agent and no voicemail": Reason(
        "The number's routing names no agent that is known, and its voicemail is switched off (480).",
        "Name an agent that exists, or set inbound_routing.voicemail to true.",
    ),
    "no media port left": Reason(
        "Every RTP port was in use or resting (503).",
        "Widen media.port_low to media.port_high, in the firewall, too; or add a gateway.",
    ),
}
"""By the rule of an admission, or the cause of a refusal."""

_ABANDONED: Final = Reason("The caller hung up before anybody answered.")


def reason_of(call: CallShown) -> Reason:
    """Why, and what to do."""
    if not call.outcome:
        return Reason(_going_on(call))
    known = _REFUSED.get(call.rule) or _REFUSED.get(call.cause)
    if known is not None and call.outcome in {"refused", "failed"}:
        return known
    match call.outcome.removesuffix("_rescued"):
        case "abandoned":
            return _ABANDONED
        case "refused":
            return Reason(
                f"Refused with {call.status}: {call.cause}.",
                "Look at the offer in the INVITE: codecs, addresses, encryption."
                if call.status == 488
                else "Ask the route tester what would happen to this call now.",
            )
        case "failed":
            return _failed(call)
        case "voicemail":
            agents = _agents_that_did_not(call)
            if not agents:
                return Reason(
                    f"Voicemail took it, as its plan says; it ended because {_because(call.cause)}."
                )
            return Reason(f"Voicemail took it, because {agents}.", _fix_of(call))
        case "fallback":
            return Reason(
                f"The fallback agent took it, because {_agents_that_did_not(call) or 'the first did not'}.",
                _fix_of(call),
            )
    rescued = call.outcome.endswith("_rescued")
    text = f"The agent took it; it ended because {_because(call.cause)}."
    if rescued:
        return Reason(f"An agent was lost during the call, and another took over. {text}", _fix_of(call))
    return Reason(text)


def _going_on(call: CallShown) -> str:
    match call.state:
        case "routing":
            return "Its number is being looked up."
        case "ringing" | "waiting":
            return f"{call.destination} is being reached."
        case "talking":
            return f"{call.destination} and the caller are talking."
    return "The caller is with the voicemail."


def _failed(call: CallShown) -> Reason:
    tried = _agents_that_did_not(call)
    if tried:
        return Reason(f"Nobody took it ({call.status}): {tried}.", _fix_of(call))
    return Reason(
        f"It failed with {call.status}: {call.cause}.",
        "See the log's lines with this call_id, and its trace.",
    )


def _agents_that_did_not(call: CallShown) -> str:
    return "; ".join(
        f"{each.destination} answered “{each.answer}” after {_seconds(each.seconds)}"
        for each in call.tried
        if each.destination != "voicemail" and each.answer not in _TAKEN
    )


_TAKEN: Final = frozenset({"connected", "answered", "200 OK", "caller left"})

_FIXES: Final[Sequence[tuple[re.Pattern[str], str]]] = (
    (
        re.compile(r"no (response|handshake|connection) in time"),
        "The agent's endpoint is silent: is it running, and does a firewall let this gateway through?",
    ),
    (
        re.compile(r"handshake refused with (401|403)|\b(401|403|407)\b"),
        "The agent wants credentials: set its endpoint's headers.",
    ),
    (re.compile(r"certificate|ssl|tls", re.IGNORECASE), "Correct the certificate, or set agents.ca_file."),
    (
        re.compile(r"refused|unreachable|no connection|reset"),
        "Nothing listens at the agent's endpoint: start it, or correct its URL.",
    ),
    (re.compile(r"no answer in time"), "The agent rings for longer than dispatch.ring_timeout."),
    (re.compile(r"\b(486|600)\b|full"), "The agent is busy: give it more room, or raise its max_calls."),
    (re.compile(r"\b488\b"), "The agent does not speak the caller's codecs: see the offer in the trace."),
    (re.compile(r"\b(404|480|604)\b"), "The agent's server does not know whom we ask for: correct the URL."),
    (re.compile(r"\b5\d\d\b"), "The agent's server failed: see its log at this time."),
    (re.compile(r"silent|said nothing"), "The agent sent no audio: see its log at this time."),
)
"""What agents answer, and what to do about it; the first that fits."""


def _fix_of(call: CallShown) -> str:
    for tried in call.tried:
        if tried.destination != "voicemail" and tried.answer not in _TAKEN:
            for pattern, fix in _FIXES:
                if pattern.search(tried.answer):
                    return f"{tried.destination}: {fix}"
    return ""


def _because(cause: str) -> str:
    return f"the {cause}" if cause.startswith(("caller", "agent")) else cause


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
