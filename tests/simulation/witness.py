"""What can be seen on the wire, and what must be true of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from gateway.sip.message import Request, Response, parse_message
from tests.simulation.agents import Clocks
from tests.simulation.callers import GATEWAY, SESSION_ID

Dialog = tuple[str, str]
"""Call-ID, and the caller's tag."""


ROUNDING = 0.001

PATIENCE = 40.0
"""Seconds: whole plans take some twenty, and a re-INVITE is carried to a dead peer for 64*T1."""

SENT_WITHOUT_MEMORY = (491, 500)
"""A re-INVITE that collides is refused statelessly: a later copy of it may find nothing in its way."""


@dataclass(slots=True)
class Try:
    """One INVITE of the gateway's to one agent's endpoint."""

    sent_at: float
    branches: set[str] = field(default_factory=set)
    responded_at: float | None = None
    failed_at: float | None = None
    answered: bool = False


class Witness:
    """Stands at the gateway's door: sees what has really arrived there, and all that leaves it.

    invites: when INVITEs came from outside, by Call-ID, From tag and CSeq number; answer_times: when their
        first final response left; initial: those without a To tag.
    sessions: the carrier's name for the call, by Call-ID.
    finals: distinct final responses to INVITEs from outside, by the same key.
    unknown_there: dialogs that a peer knows nothing of any more (481): they are over without a BYE (RFC 3261
        §12.2.1.2).
    tries: INVITEs to agents, by our call id and then by endpoint, in order.
    """

    def __init__(self, clock: Callable[[], float], clocks: Clocks) -> None:
        self._clock = clock
        self._clocks = clocks
        self.invites: dict[tuple[str, str, int], float] = {}
        self.answer_times: dict[tuple[str, str, int], float] = {}
        self.initial: set[tuple[str, str, int]] = set()
        self.sessions: dict[str, str] = {}
        self.finals: dict[tuple[str, str, int], set[tuple[int, str]]] = defaultdict(set)
        self.tries: dict[str, dict[str, Try]] = defaultdict(dict)
        self.confirmed: set[str] = set()
        self.unknown_there: set[str] = set()
        self.byes: dict[str, list[str]] = defaultdict(list)
        self._tries_by_branch: dict[str, Try] = {}
        self._seen_byes: set[str] = set()
        self._tries_by_call: dict[str, Try] = {}

    def arrived(self, source: str, target: str, data: bytes) -> None:
        """A message reached `target`."""
        if target == GATEWAY:
            self._into(parse_message(data))

    def sent(self, data: bytes) -> None:
        """The gateway sent a message, whether or not it will arrive."""
        message = parse_message(data)
        if isinstance(message, Request):
            self._request_out(message)
        elif message.cseq_method == "INVITE" and message.status >= 200:
            key = message.call_id, message.from_tag, message.cseq
            self.finals[key].add((message.status, message.to_tag))
            self.answer_times.setdefault(key, self._clock())
            if message.status < 300:
                self.confirmed.add(message.call_id)

    def _into(self, message: Request | Response) -> None:
        if isinstance(message, Request):
            if message.method == "INVITE":
                key = message.call_id, message.from_tag, message.cseq
                self.invites.setdefault(key, self._clock())
                if message.to_tag is None:
                    self.initial.add(key)
                    self.sessions[message.call_id] = message.headers.get(SESSION_ID)
            elif message.method == "BYE":
                self._bye(message, "peer")
        elif message.status == 481 and message.cseq_method != "CANCEL":
            self.unknown_there.add(message.call_id)
        elif message.cseq_method == "INVITE" and (tried := self._tries_by_branch.get(message.branch)):
            if tried.responded_at is None:
                tried.responded_at = self._clock()
            if message.status >= 300:
                tried.failed_at = tried.failed_at or self._clock()
            elif message.status >= 200:
                tried.answered = True

    def _request_out(self, request: Request) -> None:
        if request.method == "BYE":
            self._bye(request, "gateway")
        if request.method == "ACK" and (tried := self._tries_by_call.get(request.call_id)) and tried.answered:
            self.confirmed.add(request.call_id)  # a 2xx that comes after Timer B meets nobody
        if request.method != "INVITE" or request.to_tag is not None:
            return
        tries = self.tries[request.headers.get("X-Call-Id")]
        tried = tries.setdefault(request.uri, Try(self._clock()))
        tried.branches.add(request.branch)
        self._tries_by_branch[request.branch] = self._tries_by_call[request.call_id] = tried

    def _bye(self, request: Request, side: str) -> None:
        if request.branch not in self._seen_byes:
            self._seen_byes.add(request.branch)
            self.byes[request.call_id].append(side)

    def check(self) -> None:
        """Assert what must be true of the wire, whatever happened."""
        for key, arrived_at in self.invites.items():
            finals = self.finals[key]
            if key not in self.initial and len(finals) > 1:
                finals = {final for final in finals if final[0] not in SENT_WITHOUT_MEMORY}
            assert len(finals) == 1, f"INVITE {key} got final responses {self.finals[key]}"
            waited = self.answer_times[key] - arrived_at
            assert waited < PATIENCE, f"INVITE {key} was answered after {waited:.1f} s"
        for call_id in self.confirmed - self.unknown_there:
            said = self.byes[call_id]
            assert said, f"dialog {call_id} was answered and nobody said BYE"
            assert said.count("gateway") <= 1, f"dialog {call_id}: the gateway said BYE twice"
            assert said.index("gateway") == 0 if said[0] == "gateway" else "gateway" not in said, (
                f"dialog {call_id}: BYE answered with BYE ({said})"
            )
        for call_id, tries in self.tries.items():
            for uri, tried in tries.items():
                assert len(tried.branches) == 1, f"call {call_id}: {uri} was tried more than once"
            agent_began: dict[str, float] = {}
            for uri, tried in tries.items():
                agent_began.setdefault(agent_of(uri), tried.sent_at)
            for (uri, tried), (other, later) in pairwise(tries.items()):
                time_is_up = agent_began[agent_of(uri)] + self._clocks.ring_timeout
                given_up = self._given_up(uri, tried, later.sent_at, time_is_up)
                assert given_up, f"call {call_id}: {other} was tried too early"

    def _given_up(self, uri: str, tried: Try, now: float, time_is_up: float) -> bool:
        """Whether there was reason to try somebody else at that time."""
        if now + ROUNDING >= time_is_up or tried.answered:
            return True
        if tried.failed_at is not None and tried.failed_at <= now:
            return True
        if tried.responded_at is not None and tried.responded_at <= now:
            return False
        nobody_listens = "transport=tcp" in uri
        return now + ROUNDING >= tried.sent_at + self._clocks.response_timeout or nobody_listens


def agent_of(uri: str) -> str:
    """Endpoints of one agent differ in the last number of their address."""
    return uri.partition("@")[2].rpartition(".")[0]
