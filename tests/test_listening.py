"""Where the gateway listens, and whether it can: sockets of this machine."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.listening import Place, agent_places, carrier_places, try_to_bind, web_place
from gateway.sip.addresses import AddressError


def test_each_address_is_a_place_of_each_kind() -> None:
    settings = Settings()
    told = [str(place) for place in (*carrier_places(settings), *agent_places(settings))]
    assert told == [
        "sip.listen: UDP 0.0.0.0:5060",
        "sip.listen: TCP 0.0.0.0:5060",
        "sip.agent_listen: UDP 0.0.0.0:0",
        "sip.agent_listen: TCP 0.0.0.0:0",
    ]
    assert web_place(settings) == ("web.listen", "127.0.0.1:8080", "tcp")


def test_tls_is_one_once_there_is_a_certificate() -> None:
    settings = Settings(sip={"tls_certificate": Path("some.pem")})  # type: ignore[arg-type]
    assert Place("sip.tls_listen", "0.0.0.0:5061", "tcp") in list(carrier_places(settings))
    assert Place("sip.agent_tls_listen", "0.0.0.0:0", "tcp") in list(agent_places(settings))


@pytest.mark.parametrize("kind", ["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_somebody_has_cannot_be_bound(kind: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as taken:
        taken.bind((host, 0))
        if kind == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        place = Place("sip.listen", f"[{host}]:{port}" if ":" in host else f"{host}:{port}", kind)  # type: ignore[arg-type]
        with pytest.raises(OSError) as caught:
            try_to_bind(place)
        assert caught.value.errno == errno.EADDRINUSE
    try_to_bind(place)


def test_what_is_no_address_or_not_ours_is_told() -> None:
    with pytest.raises(AddressError):
        try_to_bind(Place("web.listen", "localhost:80", "tcp"))
    with pytest.raises(OSError) as caught:
        try_to_bind(Place("sip.listen", "192.0.2.1:5060", "udp"))
    assert caught.value.errno == errno.EADDRNOTAVAIL
