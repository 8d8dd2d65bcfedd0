"""INVITEs dressed as the two carriers send them.

The shapes are those of real traffic (private Contact, several Record-Routes, for Telnyx compact
names without a space after the colon and a number without ``+``); numbers and hosts are fictitious.
The source addresses are those that ``exchange.py`` admits as trunks of each carrier.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from tests.e2e.patience import PATIENCE
from tests.e2e.wire import Address, Dialog, Message, Peer, new_branch, write

TWILIO_HOST = "127.0.11.1"
TELNYX_HOST = "127.0.12.1"
TELNYX_SECOND_HOST = "127.0.12.2"
STRANGER_HOST = "127.0.66.1"

CALLER = "+14155550142"


def audio_offer(
    host: str, port: int, *, formats: str = "0 8 101", direction: str = "sendrecv", version: int = 1
) -> str:
    """An SDP offer of G.711 and telephone-event, as Twilio's media gateway writes it."""
    lines = [
        "v=0",
        f"o=root 1234567 {version} IN IP4 172.18.0.9",
        "s=Media Gateway",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {formats}",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=maxptime:20",
        f"a={direction}",
    ]
    return "\r\n".join([*lines, ""])


def telnyx_offer(host: str, port: int) -> str:
    """An offer with two telephone-events; only the one at 8000 Hz fits G.711."""
    lines = [
        "v=0",
        "o=Telnyx 1700000000 1700000001 IN IP4 50.0.2.48",
        "s=Telnyx",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0 8 9 18 102 101 103",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:18 G729/8000",
        "a=fmtp:18 annexb=no",
        "a=rtpmap:102 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:103 telephone-event/48000",
        "a=fmtp:103 0-15",
        f"a=rtcp:{port + 1} IN IP4 {host}",
        "a=ptime:20",
    ]
    return "\r\n".join([*lines, ""])


@dataclass(slots=True)
class Call:
    """A call that a carrier places: what must be remembered to send it, repeat it, cancel it or end it."""

    peer: Peer
    gateway: Address
    number: str
    sdp: str = ""
    call_id: str = field(default_factory=lambda: secrets.token_hex(12) + "@0.0.0.0")
    tag: str = field(default_factory=lambda: secrets.token_hex(6))
    branch: str = field(default_factory=new_branch)
    carrier_call_id: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    cseq: int = 29044

    @property
    def contact(self) -> str:
        """A private address, as real carriers send: only the route set leads back to them."""
        return f"<sip:{CALLER}@172.25.1.2:5060;transport=udp>"

    @property
    def record_routes(self) -> list[str]:
        return [
            f"<sip:{self.peer.hostport};r2=on;lr>",
            f"<sip:{self.peer.address[0]}:5061;transport=tls;r2=on;lr>",
        ]

    @property
    def uri(self) -> str:
        return f"sip:{self.number}@{self.gateway[0]}:{self.gateway[1]}"

    def _identity(self) -> list[tuple[str, str]]:
        return [
            ("From", f"<sip:{CALLER}@example.pstn.twilio.com:5060>;tag={self.tag}"),
            ("To", f"<sip:{self.number}@voice.example.com;transport=udp>"),
            ("Call-ID", self.call_id),
        ]

    def invite(self) -> bytes:
        """A Twilio-shaped INVITE: top Via without ``rport``, a second private Via, two Record-Routes."""
        headers: list[tuple[str, str]] = [("Record-Route", route) for route in self.record_routes]
        headers += [
            ("Via", f"SIP/2.0/UDP {self.peer.hostport};branch={self.branch}"),
            ("Via", "SIP/2.0/UDP 172.25.1.2:5060;rport=5060;branch=z9hG4bKprivate"),
            *self._identity(),
            ("CSeq", f"{self.cseq} INVITE"),
            ("Max-Forwards", "60"),
            ("Contact", self.contact),
            ("P-Asserted-Identity", f"<sip:{CALLER}@203.0.113.9:5060>"),
            ("Diversion", f"<sip:{self.number}@twilio.com>;reason=unconditional"),
            ("Allow", "ACK,BYE,CANCEL,INVITE,OPTIONS,REFER,NOTIFY"),
            ("User-Agent", "Twilio Gateway"),
            ("X-Twilio-AccountSid", "AC" + "0" * 32),
            ("X-Twilio-CallSid", self.carrier_call_id),
            ("Content-Type", "application/sdp"),
        ]
        return write(f"INVITE {self.uri} SIP/2.0", headers, self.sdp)

    def send(self) -> None:
        self.peer.send(self.invite(), self.gateway)

    def cancel(self) -> None:
        """CANCEL, of the same branch (RFC 3261 §9.1)."""
        headers: list[tuple[str, str]] = [
            ("Via", f"SIP/2.0/UDP {self.peer.hostport};branch={self.branch}"),
            *self._identity(),
            ("CSeq", f"{self.cseq} CANCEL"),
            ("Max-Forwards", "60"),
        ]
        self.peer.send(write(f"CANCEL {self.uri} SIP/2.0", headers), self.gateway)

    def ack_refusal(self, response: Message) -> None:
        """ACK for a final response that is not 2xx: the same branch, the response's To (§17.1.1.3)."""
        headers: list[tuple[str, str]] = [
            ("Via", f"SIP/2.0/UDP {self.peer.hostport};branch={self.branch}"),
            ("From", response["from"]),
            ("To", response["to"]),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} ACK"),
            ("Max-Forwards", "60"),
        ]
        self.peer.send(write(f"ACK {self.uri} SIP/2.0", headers), self.gateway)

    def dialog(self, ok: Message) -> Dialog:
        return Dialog.of_caller(self.peer, ok, self.contact)

    def answered(self, timeout: float = PATIENCE) -> tuple[Message, Dialog]:
        """Wait for the 200, acknowledge it; fails on any other final response."""
        ok = self.peer.receive_final(timeout)
        assert ok.status == 200, f"refused: {ok}\n{self.peer.story}"
        dialog = self.dialog(ok)
        dialog.ack(ok)
        return ok, dialog

    def refused(self, timeout: float = PATIENCE) -> Message:
        """Wait for a final response other than 2xx, and acknowledge it."""
        response = self.peer.receive_final(timeout)
        assert response.status >= 300, f"answered: {response}"
        self.ack_refusal(response)
        return response


class TelnyxCall(Call):
    """The same call in Telnyx's dress: compact names, no space, no ``+``, three Record-Routes."""

    __slots__ = ()

    @property
    def contact(self) -> str:
        return "<sip:mod_sofia@10.231.91.24:6000>"

    @property
    def record_routes(self) -> list[str]:
        return [
            f"<sip:{self.peer.hostport};r2=on;lr;ftag={self.tag}>",
            "<sip:10.255.0.1;r2=on;lr>",
            "<sip:10.231.83.184:6050;lr;tnx=1>",
        ]

    def invite(self) -> bytes:
        caller, dialled = CALLER.removeprefix("+"), self.number.removeprefix("+")
        lines = [
            f"INVITE sip:{dialled}@{self.gateway[0]}:{self.gateway[1]} SIP/2.0",
            *(f"Record-Route: {route}" for route in self.record_routes),
            f"Via: SIP/2.0/UDP {self.peer.hostport};branch={self.branch}",
            "Via: SIP/2.0/UDP 10.255.0.1:5060;branch=z9hG4bKinner",
            "v:SIP/2.0/UDP 10.231.91.24;received=10.231.91.24;rport=6000;branch=z9hG4bKsofia",
            "Max-Forwards:24",
            f'f:"{caller}"<sip:{caller}@sip.telnyx.com>;tag={self.tag}',
            f"t:<sip:{dialled}@10.231.83.184>",
            f"i:{self.call_id}",
            f"CSeq:{self.cseq} INVITE",
            f"m:{self.contact}",
            "k:timer,path",
            "u:talk,hold,conference,refer",
            "Privacy:none",
            "c:application/sdp",
            "Content-Disposition:session",
            "Allow:INVITE,ACK,BYE,CANCEL,OPTIONS,MESSAGE,INFO,UPDATE,REFER,NOTIFY",
            f"X-Telnyx-Session-ID:{self.carrier_call_id}",
            "X-Telnyx-Leg-ID:5f2b6c1e-0000-4000-8000-000000000001",
            f'P-Asserted-Identity:"{caller}"<sip:{caller}@sip.telnyx.com;verstat=TN-Validation-Passed-C>',
            f"l:{len(self.sdp.encode())}",
            "",
            "",
        ]
        return "\r\n".join(lines).encode() + self.sdp.encode()
