"""Both ends of a call in one test's hands: the carrier's probe, the agent's probe, and their audio."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Self

from tests.e2e import carriers
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import Exchange
from tests.e2e.rtp import RtpPeer
from tests.e2e.wire import Dialog, Message, Peer

AGENT_TAG = "agent"

DIRECT = ";media=direct"
"""Behind an agent's URI: audio passes the gateway by."""

ASKED_WITHIN = 30.0
"""Seconds for a peer to be asked whether it is still there: generous, on a busy machine."""


class TwoEnds:
    """A number of its own whose primary agent is ``agent``; ``call`` is what the carrier places to it."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        dress: type[Call] = Call,
        host: str = carriers.TWILIO_HOST,
        codec: str = "PCMU",
        fallback: str | None = None,
        uri_suffix: str = "",
        **fields: Any,
    ) -> None:
        self.exchange = exchange
        self.carrier, self.agent = Peer(host), Peer()
        self.caller_audio, self.agent_audio = RtpPeer(codec=codec), RtpPeer(codec=codec)
        self.line = exchange.line(f"sip:agent@{self.agent.hostport}{uri_suffix}", fallback, **fields)
        offer = audio_offer(*self.caller_audio.address, formats=f"{self.caller_audio.payload_type} 101")
        self.call = dress(self.carrier, exchange.gateway.sip, self.line.number, offer)
        self.agent_answer = audio_offer(
            *self.agent_audio.address, formats=f"{self.agent_audio.payload_type} 101"
        )

    def invite(self) -> Message:
        """Send the INVITE; what reaches the agent. The carrier's 100 has then been read."""
        self.call.send()
        self.carrier.receive(100)
        return self.agent.receive("INVITE")

    def ring(self) -> Message:
        """As ``invite``, and the agent rings until the carrier hears it."""
        invite = self.invite()
        self.agent.respond(invite, 180, "Ringing", tag=AGENT_TAG, headers=[self.agent_contact])
        self.carrier.receive(180)
        return invite

    @property
    def agent_contact(self) -> tuple[str, str]:
        return "Contact", f"<sip:agent@{self.agent.hostport}>"

    def answer(self, invite: Message) -> bytes:
        """The agent's 200 with its SDP; the bytes, so that a test can send them again."""
        return self.agent.respond(
            invite, 200, "OK", tag=AGENT_TAG, headers=[self.agent_contact], body=self.agent_answer
        )

    def connect(self) -> tuple[Dialog, Dialog]:
        """Ring, answer, acknowledge, start the audio both ways: (the carrier's dialog, the agent's)."""
        invite = self.ring()
        self.answer(invite)
        ok, caller = self.call.answered()
        self.agent.receive("ACK")
        self.caller_audio.connect(ok.rtp_address)
        self.agent_audio.connect(invite.rtp_address)
        return caller, Dialog.of_callee(self.agent, invite, tag=AGENT_TAG)

    def hang_up(self, caller: Dialog, callee: Dialog) -> None:
        """The carrier says goodbye, and the agent hears it."""
        caller.hang_up()
        callee.expect_bye()

    def both_asked(self, caller: Dialog, callee: Dialog) -> None:
        """Whoever has taken the call over asks both sides whether they are still there."""
        _asked(caller, self.agent_answer, self.call.sdp)
        _asked(callee, self.call.sdp, self.agent_answer)

    def close(self) -> None:
        for end in (self.caller_audio, self.agent_audio, self.carrier, self.agent):
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _asked(dialog: Dialog, knows: str, says: str) -> None:
    """A peer is offered what it knows; it learns a new Contact."""
    peer = dialog.peer
    invite = peer.receive("INVITE", timeout=ASKED_WITHIN)
    assert Message.rtp_address.fget(invite) == _address(knows), invite
    peer.respond(invite, 200, "OK", headers=[("Contact", f"<sip:peer@{peer.hostport}>")], body=says)
    peer.receive("ACK")
    dialog.target, dialog.next_hop = invite.contact, invite.source


def _address(description: str) -> tuple[str, int]:
    media = re.search(r"^m=audio (\d+)", description, re.MULTILINE)
    host = re.search(r"^c=IN IP4 (\S+)", description, re.MULTILINE)
    assert media and host
    return host[1].strip(), int(media[1])
