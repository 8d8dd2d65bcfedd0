"""Ending and moving a live call from outside: what agents' frameworks do over HTTP at a carrier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call is to go on: one of the three.

    agent_id: an agent's; number: a number's plan, E.164; uri: a SIP URI, of no agent perhaps.
    headers: what the INVITE to that URI has besides (Referred-By, Replaces).
    """

    agent_id: str | None = None
    number: str | None = field(default=None, repr=False)
    uri: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class HangUpAsked:
    """The agent's framework asked for the end of the call."""


@dataclass(frozen=True, slots=True)
class MoveAsked:
    """The agent's framework asked for the call to go on elsewhere."""

    target: Target


@dataclass(frozen=True, slots=True)
class RemoteControl:
    """What may be done to one call while an agent has it.

    account_sid, call_sid: as the agent was told; token: the password, None if nobody has one.
    deliver: the call's mailbox.
    """

    account_sid: str
    call_sid: str
    caller: str = field(repr=False)
    dialled: str = field(repr=False)
    token: str | None = field(repr=False)
    deliver: Callable[[object], None] = field(repr=False)

    def hang_up(self) -> None:
        """End the call."""
        self.deliver(HangUpAsked())

    def move(self, target: Target) -> None:
        """Have the call go on elsewhere, where that is known to be possible."""
        self.deliver(MoveAsked(target))


class RemoteControls:
    """The calls that agents on a WebSocket have now, by call SID. As many as there are such calls."""

    def __init__(self) -> None:
        self._controls: dict[str, RemoteControl] = {}

    def add(self, control: RemoteControl) -> None:
        """An agent has taken a call."""
        self._controls[control.call_sid] = control

    def remove(self, control: RemoteControl) -> None:
        """The agent does not have it any more."""
        if self._controls.get(control.call_sid) is control:
            del self._controls[control.call_sid]

    def find(self, call_sid: str) -> RemoteControl | None:
        """The call of that SID, while an agent has it."""
        return self._controls.get(call_sid)
