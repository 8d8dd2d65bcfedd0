"""What is kept of an established call: enough for another process to go on with it, or to end it in order.

Of a call whose audio passes through its process there is nothing to go on with: it is ended, so no session
description is kept. Nor is it where descriptions hold SRTP keys, which are nobody's but the two ends'.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from gateway.calls.call import Call
from gateway.destinations.base import Connection, Tried
from gateway.sip.leg_state import LegState
from gateway.sip.secure_profiles import SECURE

FORM: Final = 1
"""Of the record; one of another form is of another version of the program, and is not understood."""


class KeptEngine(Struct, frozen=True, array_like=True):
    """Where audio goes through rtpengine; see `gateway.media.rtpengine.EngineCall`.

    address: of the instance, as it is configured; id: of the call there.
    """

    address: str
    id: str
    to_agent: bytes
    to_caller: bytes


class KeptAgent(Struct, frozen=True, array_like=True):
    """The agent that has the call; see `gateway.destinations.base.Connection`.

    engine: None with direct media.
    talked_at: when it took the call, in seconds since the epoch by Redis's clock.
    """

    role: str
    agent_id: str
    endpoint: str
    leg: LegState
    engine: KeptEngine | None
    offered: bytes
    answered: bytes
    talked_at: float


class KeptCall(Struct, frozen=True, array_like=True):
    """One call; the fields are those of `CallRecord` and `Call`.

    caller_leg: the caller's leg. theirs, shown: of `CallerAudio`; empty where they are not kept.
    Of descriptions that are the same only one is kept: where `agent.offered` is empty it is `theirs`, where
    `shown` is it is `agent.answered`, and a leg's is what its peer has from us.
    destination, role: who has the call, also where that is no SIP agent.
    lives: its audio does not need the process that had it, and all is here to go on with it.
    began_at: when its INVITE came, by Redis's clock; `started_at` is by its process's. 0: by an older one.
    """

    form: int
    call_id: str
    carrier: str
    caller: str
    dialled: str
    number: str
    started_at: float
    source: str
    carrier_call_id: str
    sip_call_ids: list[str]
    plan: list[str]
    tried: list[tuple[str, str, str, float]]
    stages: dict[str, float]
    transfers: list[str]
    verstat: str
    rescued: bool
    destination: str
    role: str
    carrier_headers: list[tuple[str, str]]
    max_forwards: int
    asserted: str
    withheld: bool
    caller_leg: LegState
    theirs: bytes
    shown: bytes
    lives: bool
    agent: KeptAgent | None
    began_at: float = 0.0

    @property
    def dialogs(self) -> tuple[str, ...]:
        """The Call-IDs of its legs."""
        return dialogs_of(self.caller_leg, self.agent)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(KeptCall)


def encode(kept: KeptCall) -> bytes:
    """As it is kept."""
    return _encoder.encode(kept)


def decode(record: bytes) -> KeptCall:
    """As it was kept. Raises msgspec.DecodeError, also for one of another version of the program."""
    kept = _decoder.decode(record)
    if kept.form != FORM:
        raise msgspec.ValidationError(f"a record of form {kept.form}")
    return _described(kept) if kept.lives else kept


def kept(call: Call, wall_time: float) -> KeptCall | None:
    """An answered call as it is now; None if there is nothing of it that another process could have.

    wall_time: seconds since the epoch, by Redis's clock.
    """
    if call.caller.ended:
        return None
    record, audio = call.record, call.audio
    connection = None if call.connected is None else call.connected.connection()
    if connection is not None and connection.leg.ended:
        connection = None
    lives = connection is not None and connection.media != "here" and bool(audio.theirs)
    lives = lives and SECURE not in audio.theirs and SECURE not in audio.shown
    return KeptCall(
        FORM,
        record.call_id,
        record.carrier,
        record.caller,
        record.dialled,
        record.number,
        record.started_at,
        record.source,
        record.carrier_call_id,
        record.sip_call_ids,
        list(record.plan),
        [(each.destination, each.endpoint, each.answer, each.seconds) for each in record.tried],
        record.stages,
        record.transfers,
        record.verstat,
        call.rescued,
        call.destination,
        call.role,
        call.carrier_headers,
        call.max_forwards,
        call.asserted,
        call.withheld,
        call.caller.state._replace(described=b""),
        audio.theirs if lives else b"",
        _unless_same(audio.shown, connection.answered) if lives and connection is not None else b"",
        lives,
        None if connection is None else _agent(connection, wall_time, audio.theirs, described=lives),
        wall_time - call.seconds,
    )


def tried(kept: KeptCall) -> list[Tried]:
    """The destinations that were tried."""
    return [Tried(*each) for each in kept.tried]


def dialogs_of(caller: LegState, agent: KeptAgent | None) -> tuple[str, ...]:
    """The Call-IDs of a call's legs."""
    return (caller.call_id,) if agent is None else (caller.call_id, agent.leg.call_id)


def _agent(connection: Connection, wall_time: float, theirs: bytes, *, described: bool) -> KeptAgent:
    media = connection.media
    return KeptAgent(
        connection.role,
        connection.agent_id,
        connection.endpoint,
        connection.leg.state._replace(described=b""),
        None
        if isinstance(media, str)
        else KeptEngine(str(media.engine.address), media.id, media.to_agent, media.to_caller),
        _unless_same(connection.offered, theirs) if described else b"",
        connection.answered if described else b"",
        wall_time - connection.talked,
    )


def _unless_same(description: bytes, other: bytes) -> bytes:
    return b"" if description == other else description


def _described(kept: KeptCall) -> KeptCall:
    """The same with all of its descriptions."""
    agent = kept.agent
    if agent is None:
        raise msgspec.ValidationError("a call that goes on without an agent")
    shown, offered = kept.shown or agent.answered, agent.offered or kept.theirs
    replace = msgspec.structs.replace
    return replace(
        kept,
        caller_leg=kept.caller_leg._replace(described=shown),
        shown=shown,
        agent=replace(agent, leg=agent.leg._replace(described=offered), offered=offered),
    )
