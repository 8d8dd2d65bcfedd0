"""A few calls a second of our own beside the load, timed in microseconds.

SIPp's clock moves in steps of 4 ms, which is as long as the bar for 100 Trying. This probe is one
thread with two sockets, the caller's and the agent's, so that no second thread or process stands
between the gateway and the clock: the agent answers 200 the moment the INVITE is read.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from dataclasses import dataclass, field

Address = tuple[str, int]

_SDP = (
    "v=0\r\no=probe 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio 16406 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


@dataclass(slots=True)
class Latencies:
    """Milliseconds from the INVITE's departure, one entry a call; ``lost`` calls got no 200 in a second."""

    trying: list[float] = field(default_factory=list)
    dispatched: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    lost: int = 0


def percentile(values: list[float], share: float) -> float:
    """The value below which that share (0…1) of ``values`` lies; NaN when there are none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def header(message: bytes, name: bytes) -> bytes:
    """The first header line of that name, without the line end."""
    start = message.index(b"\r\n" + name) + 2
    return message[start : message.index(b"\r\n", start)]


class LatencyProbe:
    """Places ``rate`` calls a second through the gateway to itself until stopped.

    number: a number whose agent is ``agent_uri`` (with direct media: no RTP is sent).
    """

    def __init__(self, gateway: Address | None = None, number: str = "", *, host: str = "127.0.0.1") -> None:
        self.gateway, self.number = gateway, number
        self._caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for sock in (self._caller, self._agent):
            sock.bind((host, 0))
        self._sockets: tuple[socket.socket, ...] = (self._caller, self._agent)
        self._host = host
        self._body = _SDP.format(host=host).encode()
        self._calls = itertools.count()
        self._latencies = Latencies()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def agent_uri(self) -> str:
        host, port = self._agent.getsockname()
        return f"sip:probe@{host}:{port};media=direct"

    def start(self, rate: float = 20.0) -> None:
        self._latencies, self._stopping = Latencies(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(1 / rate,), daemon=True)
        self._thread.start()

    def stop(self) -> Latencies:
        """End after the call under way; what was measured since ``start``."""
        self._stopping.set()
        assert self._thread is not None
        self._thread.join()
        return self._latencies

    def close(self) -> None:
        self._caller.close()
        self._agent.close()

    def _run(self, interval: float) -> None:
        due = time.perf_counter()
        while not self._stopping.is_set():
            self._call(next(self._calls))
            due = max(due + interval, time.perf_counter())
            while (left := due - time.perf_counter()) > 0:
                self._serve(left)  # a probe of the endpoint by OPTIONS may come at any time

    def _request(self, method: str, uri: str, call: int, to_tag: str = "", body: bytes = b"") -> bytes:
        host, port = self._caller.getsockname()
        cseq = 2 if method == "BYE" else 1
        text = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKp{port}{method}{call}\r\n"
            f"From: <sip:+14155550142@{host}>;tag=p{call}\r\nTo: <sip:{self.number}@{host}>{to_tag}\r\n"
            f"Call-ID: probe-{port}-{call}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 60\r\n"
            f"Contact: <sip:probe@{host}:{port}>\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return text.encode() + body

    def _call(self, call: int) -> None:
        assert self.gateway is not None
        uri = f"sip:{self.number}@{self.gateway[0]}:{self.gateway[1]}"
        invite = self._request("INVITE", uri, call, body=self._body)
        mark = f"probe-{self._caller.getsockname()[1]}-{call}\r\n".encode()
        seen: dict[str, float] = {}
        started = time.perf_counter_ns()
        self._caller.sendto(invite, self.gateway)
        while (waited := (time.perf_counter_ns() - started) / 1e6) < 1000:
            for who, message in self._serve(max(0.0, 1 - waited / 1000)):
                elapsed = (time.perf_counter_ns() - started) / 1e6
                if who == "agent":
                    seen.setdefault("dispatched", elapsed)
                elif mark in message:
                    if message.startswith(b"SIP/2.0 100 "):
                        seen.setdefault("trying", elapsed)
                    elif message.startswith(b"SIP/2.0 200 ") and b" INVITE\r\n" in message:
                        seen["answered"] = elapsed
                        self._finish(message, call)
            if "answered" in seen:
                break
        else:
            self._latencies.lost += 1
        for stage, elapsed in seen.items():
            getattr(self._latencies, stage).append(elapsed)

    def _finish(self, ok: bytes, call: int) -> None:
        """ACK and BYE at once."""
        assert self.gateway is not None
        target = header(ok, b"Contact:").partition(b"<")[2].partition(b">")[0].decode()
        tag = ";tag=" + header(ok, b"To:").decode().rpartition(";tag=")[2]
        self._caller.sendto(self._request("ACK", target, call, tag), self.gateway)
        self._caller.sendto(self._request("BYE", target, call, tag), self.gateway)

    def _serve(self, timeout: float) -> list[tuple[str, bytes]]:
        """Read what is there, answer as the agent; returns the caller's messages and the agent's INVITEs."""
        events: list[tuple[str, bytes]] = []
        readable, _, _ = select.select(self._sockets, [], [], timeout)
        for sock in readable:
            message, source = sock.recvfrom(65535)
            if sock is self._caller:
                events.append(("caller", message))
            else:
                self._take(sock, message, source)
                if sock is self._agent and message.startswith(b"INVITE "):
                    events.append(("agent", message))
        return events

    def _take(self, sock: socket.socket, message: bytes, source: Address) -> None:
        """Answer what comes to an agent."""
        if message.startswith((b"INVITE ", b"BYE ", b"OPTIONS ")):
            sock.sendto(self._answer(message, body=self._body), source)

    def _answer(self, request: bytes, status: bytes = b"SIP/2.0 200 OK", *, body: bytes = b"") -> bytes:
        """A response; `body` goes with that to an INVITE."""
        head = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        lines = [status, *(line for line in head if line.startswith((b"Via:", b"Record-Route:")))]
        to = header(request, b"To:")
        lines += [header(request, b"From:"), to if b";tag=" in to else to + b";tag=probe"]
        lines += [header(request, b"Call-ID:"), header(request, b"CSeq:")]
        if not request.startswith(b"INVITE "):
            body = b""
        if body:
            host, port = self._agent.getsockname()
            lines += [f"Contact: <sip:probe@{host}:{port}>".encode(), b"Content-Type: application/sdp"]
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body
