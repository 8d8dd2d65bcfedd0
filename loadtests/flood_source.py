"""Where a flood comes from: a process of its own, bounded in rate and in time.

    .venv/bin/python loadtests/flood_source.py 127.0.0.1 5060 --from 127.0.66.1 --rate 4000 --seconds 20

Sends new INVITEs (and, one in ten each, OPTIONS and REGISTER, as scanners do) and reads nothing. The sources
are consecutive loopback addresses. Prints how many it sent, and how many answers its sockets hold at the end.
"""

from __future__ import annotations

import argparse
import itertools
import socket
import time
from ipaddress import ip_address

MAX_RATE = 50_000
MAX_SECONDS = 120
MAX_SOURCES = 2_000
BEAT = 0.005  # seconds between bunches

_SDP = "v=0\r\no=x 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"


def template(method: str, host: str, number: str, gateway: str) -> bytes:
    """A request with ``@@`` where each one differs."""
    body = _SDP.format(host) if method == "INVITE" else ""
    return (
        f"{method} sip:{number}@{gateway} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK@@;rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:100@{host}>;tag=@@\r\nTo: <sip:{number}@{gateway}>\r\n"
        f"Call-ID: @@@{host}\r\nCSeq: 1 {method}\r\nContact: <sip:100@{host}:5060>\r\n"
        f"User-Agent: friendly-scanner\r\nContent-Type: application/sdp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def opened(first: str, count: int) -> list[socket.socket]:
    """A socket for each source address."""
    sockets = []
    for number in range(count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((str(ip_address(first) + number), 0))
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def answers(sock: socket.socket) -> int:
    """How many datagrams wait in a socket."""
    count = 0
    while True:
        try:
            sock.recv(65_535)
        except BlockingIOError:
            return count
        except OSError:  # an ICMP error in between
            continue
        count += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--from", dest="first", default="127.0.66.1", help="the first source address")
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--rate", type=int, default=4_000, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--number", default="+14155550100")
    options = parser.parse_args()
    rate, seconds = min(options.rate, MAX_RATE), min(options.seconds, MAX_SECONDS)
    if not ip_address(options.host).is_loopback:
        parser.error("only a gateway on loopback is flooded")
    gateway = (options.host, options.port)
    sockets = opened(options.first, min(options.sources, MAX_SOURCES))
    methods = ["INVITE"] * 8 + ["OPTIONS", "REGISTER"]
    requests = [
        (sock, template(method, sock.getsockname()[0], options.number, options.host).split(b"@@"))
        for sock, method in itertools.islice(
            zip(itertools.cycle(sockets), itertools.cycle(methods), strict=False), max(len(sockets), 10)
        )
    ]
    turns = itertools.cycle(requests)
    sent = refused = 0
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        for sock, parts in itertools.islice(turns, max(0, int(elapsed * rate) - sent - refused)):
            try:
                sock.sendto(f"{sent:010x}{id(sock):x}".encode().join(parts), gateway)
                sent += 1
            except OSError:
                refused += 1
        time.sleep(BEAT)
    time.sleep(0.2)
    print(f"{sent} sent, {sum(map(answers, sockets))} answered")


if __name__ == "__main__":
    main()
