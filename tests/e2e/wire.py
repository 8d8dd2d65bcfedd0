"""A SIP peer that does exactly what a test tells it, one message at a time.

Independent of ``gateway.sip``: it splits lines and knows the compact names, nothing else. It never
retransmits, never answers and never acknowledges by itself — except OPTIONS, which the gateway uses
to ask whether an endpoint lives. What arrives twice is kept apart in ``repeats``.
"""

from __future__ import annotations

import itertools
import re
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.e2e.patience import PATIENCE

Address = tuple[str, int]
HeaderList = Sequence[tuple[str, str]]

_LONG_NAMES = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
    "k": "supported",
    "u": "allow-events",
}  # RFC 3261 §7.3.3


@dataclass(frozen=True, slots=True)
class Message:
    """A received message: its start line, its header lines in order, its body, and where it came from."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    source: Address
    at: float

    @property
    def status(self) -> int:
        """The status code; 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The request's method, or the method a response belongs to."""
        return self["cseq"].split()[1] if self.status else self.start.split()[0]

    @property
    def uri(self) -> str:
        return self.start.split()[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def get(self, name: str) -> str | None:
        found = self.all(name)
        return found[0] if found else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self}"
        return value

    @property
    def contact(self) -> str:
        """The URI inside Contact."""
        found = re.search(r"<([^>]*)>", self["contact"])
        return found[1] if found else self["contact"].split(";")[0]

    @property
    def rtp_address(self) -> Address:
        """Where the body's audio wants to be sent: session or media level ``c=``, and the ``m=`` port."""
        text = self.body.decode()
        media = re.search(r"^m=audio (\d+)", text, re.MULTILINE)
        hosts = re.findall(r"^c=IN IP4 (\S+)", text, re.MULTILINE)
        assert media and hosts, f"no audio in {text!r}"
        return hosts[-1], int(media[1])

    def __str__(self) -> str:
        return "\n".join(
            [self.start, *(f"{name}: {value}" for name, value in self.headers), "", self.body.decode()]
        )


def read(data: bytes, source: Address) -> Message:
    """Split a message; nothing is validated."""
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = tuple((_LONG_NAMES.get(n.strip().lower(), n.strip().lower()), v.strip()) for n, _, v in pairs)
    return Message(start, headers, body, source, time.monotonic())


def write(start: str, headers: HeaderList, body: bytes | str = b"") -> bytes:
    """A message with its Content-Length."""
    raw = body.encode() if isinstance(body, str) else body
    lines = [start, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(raw)}", "", ""]
    return "\r\n".join(lines).encode() + raw


def tag_of(value: str) -> str | None:
    found = re.search(r";\s*tag=([^;>\s]+)", value.rpartition(">")[2] or value)
    return found[1] if found else None


class Peer:
    """A UDP socket with a memory. ``receive`` is strict: the next new message must be the one expected."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.address: Address = self._socket.getsockname()
        self.repeats: list[Message] = []
        self.log: list[str] = []
        self.answer_options = True
        self._seen: set[bytes] = set()
        self._put_back: list[Message] = []

    @property
    def hostport(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def send(self, data: bytes, to: Address) -> None:
        self.log.append(f"→ {to} {data.decode(errors='replace')}")
        self._socket.sendto(data, to)

    def _next(self, deadline: float, *, repeated: bool = False) -> Message | None:
        """The next message not seen before (or seen before, when ``repeated``); None at the deadline."""
        if self._put_back and not repeated:
            return self._put_back.pop(0)
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data, source = self._socket.recvfrom(65535)
            except TimeoutError:
                return None
            except ConnectionError:  # an ICMP error of an earlier send
                continue
            self.log.append(f"← {source} {data.decode(errors='replace')}")
            if not data.strip():
                continue
            message = read(data, source)
            if message.start.startswith("OPTIONS") and self.answer_options:
                self.respond(message, 200, "OK")
                continue
            if data in self._seen:
                self.repeats.append(message)
                if repeated:
                    return message
                continue
            self._seen.add(data)
            if repeated:
                self._put_back.append(message)
                continue
            return message

    def receive(self, *expected: int | str, timeout: float = PATIENCE) -> Message:
        """The next new message, which must be one of ``expected``: a method, a status, or ``"200 BYE"``."""
        message = self._next(time.monotonic() + timeout)
        wanted = " or ".join(map(str, expected))
        assert message is not None, f"nothing came within {timeout} s, expected {wanted}\n{self.story}"
        names = {message.status, f"{message.status} {message.method}"} if message.status else {message.method}
        assert names & set(expected), f"expected {wanted}, got\n{message}\n{self.story}"
        return message

    def receive_final(self, timeout: float = PATIENCE) -> Message:
        """The next response that is not provisional."""
        deadline = time.monotonic() + timeout
        while True:
            message = self._next(deadline)
            assert message is not None, f"no final response within {timeout} s\n{self.story}"
            assert message.status, f"expected a response, got\n{message}"
            if message.status >= 200:
                return message

    def receive_repeat(self, timeout: float = PATIENCE) -> Message:
        """The next message that is an exact copy of one received before."""
        message = self._next(time.monotonic() + timeout, repeated=True)
        assert message is not None, f"nothing was repeated within {timeout} s\n{self.story}"
        return message

    def poll(self, method: str, seconds: float) -> Message | None:
        """That request, if it comes next and in that time; any other message is kept for ``receive``."""
        message = self._next(time.monotonic() + seconds)
        if message is not None and (message.status or message.method != method):
            self._put_back.append(message)
            return None
        return message

    def receive_nothing(self, seconds: float) -> None:
        """Assert that nothing new comes."""
        message = self._next(time.monotonic() + seconds)
        assert message is None, f"expected silence, got\n{message}"

    def respond(
        self,
        request: Message,
        status: int,
        reason: str,
        *,
        tag: str | None = None,
        headers: HeaderList = (),
        body: str = "",
    ) -> bytes:
        """Answer ``request`` where its top Via (or its source) says, and return what was sent."""
        echoed: list[tuple[str, str]] = [("Via", via) for via in request.all("via")]
        echoed += [("Record-Route", route) for route in request.all("record-route") if status < 300]
        echoed += [("From", request["from"])]
        to = request["to"]
        echoed += [("To", to if tag is None or tag_of(to) else f"{to};tag={tag}")]
        echoed += [("Call-ID", request["call-id"]), ("CSeq", request["cseq"]), *headers]
        if body:
            echoed.append(("Content-Type", "application/sdp"))
        data = write(f"SIP/2.0 {status} {reason}", echoed, body)
        self.send(data, request.source)
        return data

    @property
    def story(self) -> str:
        """Everything this peer sent and received, for a failing test's report."""
        return "\n".join(["— the wire —", *self.log])

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)


@dataclass(slots=True)
class Dialog:
    """The half of a dialog (RFC 3261 §12) that a test must remember to go on speaking in it."""

    peer: Peer
    next_hop: Address
    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str] = field(default_factory=list)
    contact: str = ""
    cseq: itertools.count[int] = field(default_factory=lambda: itertools.count(2))

    @classmethod
    def of_caller(cls, peer: Peer, ok: Message, contact: str) -> Dialog:
        """The caller's dialog as the gateway sees it: the carrier's own proxies have removed their Route."""
        cseq = itertools.count(int(ok["cseq"].split()[0]) + 1)
        return cls(peer, ok.source, ok["call-id"], ok["from"], ok["to"], ok.contact, [], contact, cseq)

    @classmethod
    def of_callee(cls, peer: Peer, invite: Message, *, tag: str) -> Dialog:
        """The callee's dialog: route set in the INVITE's order (§12.1.1)."""
        return cls(
            peer,
            invite.source,
            invite["call-id"],
            f"{invite['to']};tag={tag}",
            invite["from"],
            invite.contact,
            invite.all("record-route"),
            f"<sip:agent@{peer.hostport}>",
        )

    def build(
        self, method: str, *, cseq: int | None = None, headers: HeaderList = (), body: str = ""
    ) -> bytes:
        number = next(self.cseq) if cseq is None else cseq
        lines: list[tuple[str, str]] = [("Via", f"SIP/2.0/UDP {self.peer.hostport};branch={new_branch()}")]
        lines += [("Route", route) for route in self.routes]
        lines += [("Max-Forwards", "70"), ("From", self.local), ("To", self.remote)]
        lines += [("Call-ID", self.call_id), ("CSeq", f"{number} {method}")]
        lines += [("Contact", self.contact), *headers]
        if body:
            lines.append(("Content-Type", "application/sdp"))
        return write(f"{method} {self.target} SIP/2.0", lines, body)

    def send(
        self, method: str, *, cseq: int | None = None, headers: HeaderList = (), body: str = ""
    ) -> bytes:
        """Send a request inside the dialog and return its bytes, so that a test can send them again."""
        data = self.build(method, cseq=cseq, headers=headers, body=body)
        self.peer.send(data, self.next_hop)
        return data

    def ack(self, ok: Message, body: str = "") -> bytes:
        return self.send("ACK", cseq=int(ok["cseq"].split()[0]), body=body)

    def hang_up(self) -> Message:
        """BYE, and the 200 it must get."""
        self.send("BYE", headers=[("Reason", 'Q.850;cause=16;text="Normal call clearing"')])
        return self.peer.receive("200 BYE")

    def expect_bye(self, timeout: float = PATIENCE) -> Message:
        """The other side's BYE, answered."""
        bye = self.peer.receive("BYE", timeout=timeout)
        self.peer.respond(bye, 200, "OK")
        return bye
