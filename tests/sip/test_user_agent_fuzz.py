"""Nothing that a peer sends raises out of the core, or stays in it after all timers have run."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Request
from tests.sip.rig import ANSWER, OFFER, PEER, PEER_TCP, Rig, connect, establish, request, response

FLOWS = (PEER, PEER_TCP, Flow("udp", "2001:db8::1", 5060), Flow("tls", "192.0.2.10", 40002, 9))

NASTY = (
    b"", b"\0", b"\r\n", b" ", b"\t", b",", b";", b"<", b">", b'"', b":", b"@", b"\xff\xfe", b"%00", b"=",
    b"-1", b"4294967296", b"SIP/2.0", b";tag=", b";branch=z9hG4bK", b"sip:", b"A" * 5000,
)  # fmt: skip


def messages(rig: Rig) -> list[bytes]:
    """One of everything a peer might send to this user agent, for legs that exist."""
    inbound = establish(rig)
    inbound.may_refer = True
    ringing_tag = "ringing"
    rig.receive(request(branch="z9hG4bKring", call_id=ringing_tag, from_tag=ringing_tag))
    rig.legs[-1].ring()
    rig.take()
    outbound, invite = connect(rig)
    outbound.reinvite(OFFER)
    inbound.info("text/plain", b"x")
    rig.call()
    waiting = [message for message in rig.take() if isinstance(message, Request)]
    tags = {"to_tag": inbound.local_tag}
    return [
        request(branch="z9hG4bKnew", call_id="new"),
        request(),
        request("CANCEL", branch="z9hG4bKring", call_id=ringing_tag, from_tag=ringing_tag),
        request("ACK", branch="z9hG4bKa", **tags),  # type: ignore[arg-type]
        request("INVITE", branch="z9hG4bKr", cseq=2, **tags),  # type: ignore[arg-type]
        request("INFO", branch="z9hG4bKi", cseq=3, body=b"Signal=1", **tags),  # type: ignore[arg-type]
        request("OPTIONS", branch="z9hG4bKo", cseq=4, **tags),  # type: ignore[arg-type]
        request("UPDATE", branch="z9hG4bKu", cseq=5, body=OFFER, **tags),  # type: ignore[arg-type]
        request("PRACK", branch="z9hG4bKk", cseq=6, extra="RAck: 1 1 INVITE", **tags),  # type: ignore[arg-type]
        request("REFER", branch="z9hG4bKf", cseq=7, extra="Refer-To: <sip:a@b>", **tags),  # type: ignore[arg-type]
        request(branch="z9hG4bKt", call_id="timed", extra="Supported: timer\r\nx: 90\r\nRequire: 100rel"),
        request("BYE", branch="z9hG4bKb", cseq=8, **tags),  # type: ignore[arg-type]
        request("OPTIONS", branch="z9hG4bKp"),
        request(via="SIP/2.0/UDP 192.0.2.10", call_id="old"),
        response(invite, 200, tag="fork"),
        *(
            response(message, status, record_route=("<sip:192.0.2.1;lr>", "<sip:192.0.2.2>"))
            for message in waiting
            for status in (100, 183, 200, 302, 481, 491)
        ),
        *(response(message, 183, extra="Require: 100rel\r\nRSeq: 1", body=ANSWER) for message in waiting),
        *(response(message, 200, extra="Session-Expires: 90;refresher=uas") for message in waiting),
    ]


def mutate(data: bytes, random: Random) -> bytes:
    """The same message with a few things wrong."""
    for _ in range(random.randrange(4)):
        lines = data.split(b"\r\n")
        position = random.randrange(len(data) + 1)
        line = random.randrange(len(lines))
        match random.randrange(7):
            case 0:
                data = data[:position] + random.choice(NASTY) + data[position:]
            case 1:
                data = data[:position]
            case 2:
                data = data[:position] + bytes([random.randrange(256)]) + data[position + 1 :]
            case 3:
                data = b"\r\n".join(lines[:line] + lines[line + 1 :])
            case 4:
                data = b"\r\n".join(lines[:line] + [lines[line]] * 3 + lines[line + 1 :])
            case 5:
                random.shuffle(lines)
                data = b"\r\n".join(lines)
            case _:
                name, colon, _ = lines[line].partition(b":")
                lines[line] = name + colon + random.choice(NASTY)
                data = b"\r\n".join(lines)
    return data


def finish(rig: Rig) -> None:
    """Hang everything up and let all timers run."""
    rig.advance(40)
    for leg in list(rig.legs):
        leg.hangup()
    for leg in list(rig.ua._core.legs.values()):
        leg.hangup()
    rig.advance(800)
    rig.assert_idle()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=5))
def test_garbage_is_survived(garbage: list[bytes]) -> None:
    rig = Rig()
    for data in garbage:
        rig.receive(data)
    finish(rig)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_mutated_messages_are_survived_and_leave_nothing(seed: int) -> None:
    random = Random(seed)
    rig = Rig()
    seeds = messages(rig)
    for _ in range(30):
        rig.receive(mutate(random.choice(seeds), random), random.choice(FLOWS))
        for leg in rig.legs:
            act(leg, random)
        if random.random() < 0.2:
            rig.ua.transport_failed(random.choice(FLOWS), "reset")
        rig.advance(random.choice((0.0, 0.0, 0.3, 3.0)))
    finish(rig)


def act(leg: InboundLeg, random: Random) -> None:
    """The owner does something that it may do now."""
    if random.random() < 0.8:
        return
    if leg.final_status is None:
        random.choice((leg.ring, lambda: leg.answer(ANSWER), lambda: leg.refuse(503)))()
    elif leg.answered:
        random.choice(
            (
                lambda: leg.answer_reinvite(ANSWER),
                lambda: leg.refuse_reinvite(488),
                lambda: leg.reinvite(OFFER),
            )
        )()
