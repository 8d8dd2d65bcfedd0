"""Calls as they are remembered and shown: those that are over, and those that live."""

from __future__ import annotations

from collections.abc import Callable

from gateway.calls.call import Call
from gateway.calls.records import CallRecord
from gateway.media.quality import LegQuality, stream_mos
from routing.call_events import CallRecorded, moment
from routing.call_records import CallShown, LegAudio, TriedDestination
from routing.endpoint_rules import shown_url

VOICEMAIL = "voicemail"


class CallKeeper:
    """Hands each call that is over to its history.

    Args:
        put: takes the event, at once; must not raise.
        node: the name of this gateway.

    """

    def __init__(self, put: Callable[[CallRecorded], None], node: str) -> None:
        self._put = put
        self._node = node

    def __call__(self, record: CallRecord) -> None:
        """Take the record of a call. The sink of records."""
        shown = _shown(record, self._node, "over", record.seconds, _last_destination(record))
        self._put(CallRecorded(id=f"evt_record_{record.call_id}", call=shown))


def live(call: Call, node: str) -> CallShown:
    """A call that goes on, as it is now."""
    heard = call.audio.heard
    mos = None if heard is None else stream_mos(heard)
    return _shown(call.record, node, state_of(call), call.seconds, call.destination, mos)


def state_of(call: Call) -> str:
    """What is going on; see `CallShown.state`."""
    if call.talking:
        return "talking"
    if not call.destination:
        return "routing"
    if call.destination == VOICEMAIL:
        return VOICEMAIL
    return "waiting" if call.answered else "ringing"


def _shown(
    record: CallRecord,
    node: str,
    state: str,
    seconds: float,
    destination: str,
    mos: float | None = None,
) -> CallShown:
    measured = [leg.mos for leg in record.legs if leg.mos is not None]
    return CallShown(
        id=record.call_id,
        node=node,
        state=state,
        started_at=moment(record.started_at),
        began=record.started_at,
        seconds=round(seconds, 3),
        carrier=record.carrier,
        carrier_call_id=record.carrier_call_id,
        source=record.source,
        caller=record.caller,
        dialled=record.dialled,
        number=record.number,
        sip_call_ids=list(record.sip_call_ids),
        plan=list(record.plan),
        destination=destination,
        position=record.plan.index(destination) + 1 if destination in record.plan else 0,
        outcome=record.outcome,
        status=record.status,
        cause=record.cause,
        rule=record.rule,
        tried=[
            TriedDestination(each.destination, shown_url(each.endpoint), each.answer, round(each.seconds, 4))
            for each in record.tried
        ],
        stages={name: round(seconds, 6) for name, seconds in record.stages.items()},
        legs=list(map(_leg, record.legs)),
        moments=list(record.moments),
        quality=list(record.samples),
        mos=min(measured, default=mos),
    )


def _last_destination(record: CallRecord) -> str:
    """Whom the call ended with."""
    return record.tried[-1].destination if record.tried else ""


def _leg(leg: LegQuality) -> LegAudio:
    return LegAudio(
        leg.leg,
        leg.codec,
        leg.packets_in,
        leg.packets_out,
        leg.lost,
        leg.jitter,
        leg.round_trip,
        leg.far_lost,
        leg.far_jitter,
        leg.mos,
    )
