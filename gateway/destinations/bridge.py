"""A caller and an agent talking, until one of them says goodbye, vanishes, or has talked for long enough."""

from __future__ import annotations

from gateway.destinations.audio_path import AudioPath
from gateway.destinations.base import Call, CallerLeft, CallerReplaced, Finished, Lost
from gateway.destinations.session_exchange import SessionExchange
from gateway.destinations.silence import SilenceWatch
from gateway.destinations.transfers import Refused, SentOn
from gateway.destinations.trunk import Trunk
from gateway.sip.events import (
    AckReceived,
    HungUp,
    InfoReceived,
    LegEnded,
    ReferReceived,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
    SessionExpired,
    SessionRefreshed,
)
from gateway.sip.leg import Leg
from gateway.sip.reason import passed_reason

DEFAULT_CONTENT_TYPE = "application/octet-stream"


class Bridge:
    """Two answered legs and the audio between them.

    Args:
        agent: answered; whoever made the bridge hangs it up.
        offered: what the agent was offered; empty when the offer was left to it.
        answered: what it answered.
        talked: seconds for which they have been talking already.

    """

    __slots__ = ("_agent", "_began", "_call", "_ends_at", "_exchange", "_limits", "_silence")

    def __init__(
        self,
        call: Call,
        agent: Leg,
        path: AudioPath,
        limits: Trunk,
        *,
        offered: bytes,
        answered: bytes,
        talked: float = 0.0,
    ) -> None:
        now = call.now()
        self._call = call
        self._agent = agent
        self._limits = limits
        self._began = now - talked
        self._ends_at = self._began + limits.max_duration
        self._exchange = SessionExchange(call, agent, path, offered, answered)
        self._silence = SilenceWatch(
            path,
            agent_limit=limits.agent_silence_timeout,
            caller_limit=limits.caller_silence_timeout,
            now=now,
        )
        self._follow_hold()

    @property
    def talked(self) -> float:
        """Seconds since the agent took the call."""
        return self._call.now() - self._began

    @property
    def offered(self) -> bytes:
        """The session description that the agent has from us."""
        return self._exchange.agent_knows

    @property
    def answered(self) -> bytes:
        """The one that we have from the agent."""
        return self._exchange.agent_said

    async def run(self) -> Finished | Lost | SentOn:
        """Stay until the end; after a transfer that came to nothing, once more."""
        call = self._call
        call.agent_joined()
        self._agent.may_refer = self._limits.transfers is not None
        self._follow_hold()
        try:
            while True:
                event = await call.next_event(min(self._ends_at, self._silence.next_check(call.now())))
                ending = self._overdue() if event is None else self._handle(event)
                if ending is not None:
                    return ending
        except CallerLeft as left:
            return Finished(left.cause, left.status)
        finally:
            call.agent_left()
            self._exchange.close()

    def _handle(self, event: object) -> Finished | Lost | SentOn | None:
        caller, agent, exchange = self._call.caller, self._agent, self._exchange
        match event:
            case HungUp() if event.leg is agent:
                return Finished("agent hung up", reason=passed_reason(event.reason_header))
            case LegEnded() if event.leg is agent:
                return Lost("agent vanished")
            case SessionExpired() if event.leg is agent:
                return Lost("agent's session timer expired")
            case AckReceived():
                if failure := exchange.acknowledged(event.leg, event.body):
                    return Finished(failure, 488)
                self._follow_hold()
                self._call.session_changed()
            case ReinviteReceived():
                exchange.offered(event.leg, event.request)
            case SessionRefreshed():
                exchange.refreshed(event.leg, event.body)
            case ReinviteAnswered():
                exchange.answered(event.leg, event.response.body)
                self._follow_hold()
                self._call.session_changed()
            case ReinviteFailed():
                if failure := exchange.refused(event):
                    return Lost(failure)
            case CallerReplaced():
                exchange.close()
            case ReferReceived() if event.leg is agent:
                return self._refer(event)
            case InfoReceived() if exchange.established:
                content_type = event.request.headers.get("Content-Type") or DEFAULT_CONTENT_TYPE
                (caller if event.leg is agent else agent).info(content_type, event.request.body)
        return None

    def _refer(self, refer: ReferReceived) -> SentOn | None:
        """The agent wants the caller to go on elsewhere."""
        transfers = self._limits.transfers
        if transfers is None:
            refer.referral.refuse(603)
            return None
        verdict = transfers.judge(refer.request, refer.referral)
        if isinstance(verdict, Refused):
            refer.referral.refuse(verdict.status, verdict.reason)
            self._call.transferred("refused")
            return None
        refer.referral.accept()
        return SentOn(verdict, refer.referral)

    def _follow_hold(self) -> None:
        if self._exchange.on_hold:
            self._silence.hold()
        else:
            self._silence.resume(self._call.now())

    def _overdue(self) -> Finished | Lost | None:
        now = self._call.now()
        if now >= self._ends_at:
            return Finished(f"longer than {self._limits.max_duration:g} s", 408)
        match self._silence.silent(now):
            case "agent":
                return Lost(f"agent silent for {self._limits.agent_silence_timeout:g} s")
            case "caller":
                return Finished(f"caller silent for {self._limits.caller_silence_timeout:g} s", 408)
        return None
