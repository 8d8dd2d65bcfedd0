"""Live calls as they are ended and moved from outside, by whoever has an agent's token."""

from __future__ import annotations

from gateway.calls.dispatcher import Dispatcher
from gateway.destinations.remote_control import RemoteControl, RemoteControls, Target
from routing.numbering import normalise
from routing.plan import Refusal


class RemoteCalls:
    """What the web server asks.

    Args:
        controls: the calls that agents on a WebSocket have.
        dispatcher: knows whether there is anybody to send a call on to.

    """

    def __init__(self, controls: RemoteControls, dispatcher: Dispatcher) -> None:
        self._controls = controls
        self._dispatcher = dispatcher

    def find(self, call_sid: str) -> RemoteControl | None:
        """The call of that SID, while an agent has it."""
        return self._controls.find(call_sid)

    def move(self, call_sid: str, *, agent_id: str | None, number: str | None) -> str | None:
        """Send a call on to an agent, or to a number of ours; why that cannot be, None if it is done.

        number: E.164 with its plus. Nobody else is called: this is no way to place calls.
        """
        control = self._controls.find(call_sid)
        if control is None:
            return "the call is over"
        if number is not None and (number := normalise(number, "US")) is None:
            return "To: not a telephone number; write it as +14155550100"
        target = Target(agent_id, number)
        plan = self._dispatcher.plan_of(target)
        if isinstance(plan, Refusal):
            return f"{plan.reason}: a call can go on to an agent or a number that is registered here"
        control.move(target)
        return None
