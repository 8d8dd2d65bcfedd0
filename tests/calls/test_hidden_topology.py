"""Neither side of a call learns where the other one is, and nobody writes headers of ours."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.calls.identity import MAX_PASSED_HEADERS, MAX_PASSED_LENGTH
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Request, parse_message
from tests.calls.rig import CALLER, CALLING, GATEWAY, NUMBER, Party, Rig, in_virtual_time
from tests.simulation.peer import PORT

TALKATIVE = (
    ("Server", "secret-agent/9.9 on 10.1.0.1"),
    ("User-Agent", "secret-agent/9.9 on 10.1.0.1"),
    ("Warning", '399 10.1.0.1 "from 10.1.0.1"'),
    ("P-Asserted-Identity", "<sip:bot@10.1.0.1>"),
    ("X-Twilio-Internal", "10.1.0.1"),
    ("Reason", 'SIP;cause=200;text="10.1.0.1"'),
    ("Record-Route", "<sip:10.1.0.1;lr>"),
    ("Call-Info", "<http://10.1.0.1/>"),
    ("Error-Info", "<sip:10.1.0.1>"),
)
"""What an agent might say of itself."""

CURIOUS = tuple((name, value.replace("10.1.", "10.2.")) for name, value in TALKATIVE)
"""The same of a caller."""

LINES = (
    b"a=rtcp:6001 IN IP4 %s\r\na=candidate:1 1 UDP 2130706431 %s 6000 typ host\r\n"
    b"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefabcdefabcdefabcdef\r\na=x-where:%s\r\n"
)

GIVEN_TO_AGENTS = {
    *("Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "User-Agent", "Allow"),
    *("Supported", "X-Agent-Id", "X-Call-Id", "X-Dialled-Number", "Content-Type", "Content-Length"),
    *("Session-Expires", "Min-SE"),
}
"""Names of headers that an agent's INVITE may have besides those that the carrier's entry lists."""


def told(rig: Rig, host: str) -> bytes:
    """Starts to collect all bytes that arrive at a host."""
    heard = bytearray()
    rig.network.taps.append(lambda source, target, data: heard.extend(data if target == host else b""))
    return heard  # type: ignore[return-value]


def talkative(behave: Callable[[InboundLeg, bytes], None]) -> Callable[[InboundLeg], None]:
    def invited(leg: InboundLeg) -> None:
        party: Party = leg.listener.__self__  # type: ignore[attr-defined]
        host = party.host.encode()
        behave(leg, party.answer_to(leg.request.body) + LINES % (host, host, host))

    return invited


def rings_and_answers(leg: InboundLeg, body: bytes) -> None:
    leg.ring(180, "Ringing at 10.1.0.1", headers=TALKATIVE)
    leg.ring(183, "Progress at 10.1.0.1", body, TALKATIVE)
    asyncio.get_running_loop().call_later(0.1, lambda: leg.answer(body, TALKATIVE))


def refuses(leg: InboundLeg, body: bytes) -> None:
    leg.refuse(486, "Busy at 10.1.0.1", TALKATIVE)


def moves(leg: InboundLeg, body: bytes) -> None:
    leg.refuse(302, "Moved to 10.1.0.1", (("Contact", "<sip:bot@10.1.0.1>"), *TALKATIVE))


@pytest.mark.parametrize("voicemail", [True, False])
@pytest.mark.parametrize("behave", [rings_and_answers, refuses, moves])
@in_virtual_time
async def test_neither_side_learns_where_the_other_is(
    rig: Rig, behave: Callable[[InboundLeg, bytes], None], voicemail: bool
) -> None:
    agent = await rig.agent(talkative(behave))
    rig.line(agent, voicemail=voicemail)
    to_caller, to_agent = told(rig, CALLER), told(rig, agent.host)
    host = CALLER.encode()
    body = rig.caller.sdp(6000) + LINES % (host, host, host)
    leg = rig.dial(body=body, headers=tuple(item for item in CURIOUS if "Twilio" not in item[0]))
    await asyncio.sleep(2)
    leg.hangup((("Reason", 'SIP;cause=200;text="10.2.0.1"'),))
    await asyncio.sleep(1)
    for secret in (b"10.1.", b"secret-agent", b"candidate", b"x-where", b"ice-pwd"):
        assert secret not in to_caller, bytes(to_caller).decode(errors="replace")
    for secret in (b"10.2.", b"secret-agent", b"candidate", b"x-where", b"ice-pwd", b"Alice"):
        assert secret not in to_agent, bytes(to_agent).decode(errors="replace")
    assert not re.search(rb"(?:Server|User-Agent): \S*\d", to_caller)  # no version of ours either


@in_virtual_time
async def test_an_agent_that_hangs_up_tells_the_caller_nothing_of_itself(rig: Rig) -> None:
    agent = await rig.agent(talkative(rings_and_answers))
    rig.line(agent)
    to_caller = told(rig, CALLER)
    rig.dial()
    await asyncio.sleep(1)
    agent.leg.hangup(TALKATIVE)
    await asyncio.sleep(1)
    assert b"BYE" in to_caller
    assert b"10.1." not in to_caller
    assert b"secret-agent" not in to_caller


def raw_invite(user: str, caller: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """A caller's INVITE as bytes: whatever a parser may let through is in there."""
    lines = [
        f"INVITE sip:{user}@{GATEWAY}:{PORT} SIP/2.0",
        f"Via: SIP/2.0/UDP {CALLER}:{PORT};branch=z9hG4bKraw",
        "Max-Forwards: 70",
        f"From: <sip:{caller}@{CALLER}>;tag=raw",
        f"To: <sip:{user}@{GATEWAY}>",
        "Call-ID: raw",
        "CSeq: 1 INVITE",
        f"Contact: <sip:{caller}@{CALLER}>",
        *(f"{name}: {value}" for name, value in headers),
        "Content-Type: application/sdp",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


EVIL = st.text(
    st.sampled_from('\r\n\0 \tab:;,<>"\\@%é€\x7f\x1b') | st.characters(exclude_categories=["Cs"]), max_size=30
)
OVERLONG = st.sampled_from(["", "x" * 300, "y" * 5000])
INJECTION = st.sampled_from(
    ["", "\r\nX-Agent-Id: agt_evil", "%0d%0aX-Evil:%201", "\n\nX-Evil: 1", "\0X-Evil: 1"]
)


def check(heard: bytes) -> None:
    """What reached an agent is one message, with no header that a caller made."""
    head = heard.partition(b"\r\n\r\n")[0]
    assert b"\0" not in head
    assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r")
    message = parse_message(heard)
    assert len(head) < 16_384
    if isinstance(message, Request) and message.method == "INVITE":
        names = {name for name, _ in message.headers.items() if not name.startswith("X-Twilio-")}
        assert names <= GIVEN_TO_AGENTS
        assert message.headers.get_all("X-Agent-Id") == ["agt_primary"]


def reached(data: Callable[[Rig], bytes]) -> int:
    """Sends these bytes as a caller; how many messages an agent got, each of them checked."""
    to_agent: list[bytes] = []

    @in_virtual_time
    async def place(rig: Rig) -> None:
        agent = await rig.agent(talkative(refuses))
        rig.line(agent)
        rig.network.taps.clear()  # the caller cannot read all that it gets: its own faults are repeated
        rig.network.taps.append(
            lambda source, target, heard: to_agent.append(heard) if target == agent.host else None
        )
        rig.caller.peer.send(rig.caller.peer.flow(GATEWAY, PORT), data(rig))
        await asyncio.sleep(1)

    place()
    for heard in to_agent:
        check(heard)
    return len(to_agent)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    user=st.tuples(st.sampled_from([NUMBER, "", "1"]), EVIL, INJECTION),
    caller=st.tuples(st.sampled_from([CALLING, ""]), EVIL, INJECTION, OVERLONG),
    values=st.lists(st.tuples(EVIL, INJECTION, OVERLONG), max_size=5),
    escaped=st.booleans(),
)
def test_no_caller_writes_a_header_of_an_agents(
    user: tuple[str, ...], caller: tuple[str, ...], values: list[tuple[str, ...]], escaped: bool
) -> None:
    def escape(text: str) -> str:
        return quote(text, "+") if escaped else text

    headers = [(f"X-{kind}-1", "".join(value)) for value in values for kind in ("Twilio", "Secret")]
    user_text, caller_text = escape("".join(user)), escape("".join(caller))
    reached(lambda rig: raw_invite(user_text, caller_text, headers, rig.caller.sdp(6000)))


@pytest.mark.parametrize(
    "tail", ["", "\r\nX-Evil: 1", "\0", "\nX-Agent-Id: agt_evil\n\n", "é€\x7f", "<sip:x>;tag=1"]
)
def test_what_stands_escaped_in_a_number_stays_there(tail: str) -> None:
    headers = [("X-Twilio-Text", "plain\0text"), ("X-Secret", "of the trunk")]
    assert reached(lambda rig: raw_invite(NUMBER, quote(CALLING + tail, "+"), headers, rig.caller.sdp(6000)))


@in_virtual_time
async def test_overlong_and_countless_headers_of_a_carrier_stay_behind(rig: Rig) -> None:
    agent = await rig.agent(talkative(refuses))
    rig.line(agent)
    many = tuple((f"X-Twilio-{number}", "v") for number in range(100))
    rig.dial(headers=(("X-Twilio-Long", "x" * (MAX_PASSED_LENGTH + 1)), *many))
    await asyncio.sleep(1)
    names = [name for name, _ in agent.invite.headers.items() if name.startswith("X-Twilio-")]
    assert len(names) == MAX_PASSED_HEADERS
    assert "X-Twilio-Long" not in names
