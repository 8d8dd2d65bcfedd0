"""Sockets of a service manager: each finds its place in the configuration, or the start says what is wrong."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gateway import passed_sockets
from gateway.config import ListenVariables, Settings, take_listen_variables
from gateway.faults import StartError
from gateway.passed_sockets import Held, held_sockets, of_web
from gateway.sip.addresses import format_address
from tests.e2e.sipp import free_port

HOST = "127.0.0.1"


class Unit:
    """A service manager with a socket unit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._stack = ExitStack()
        self.port, self.web = free_port(HOST), 0

    def open(
        self, kind: socket.SocketKind, port: int = 0, host: str = HOST, *, only_v6: bool = False
    ) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self._stack.enter_context(socket.socket(family, kind))
        if only_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return sock

    def usual(self) -> list[socket.socket]:
        """UDP and TCP of `sip.listen`, and `web.listen`, in no particular order."""
        web = self.open(socket.SOCK_STREAM)
        self.web = web.getsockname()[1]
        return [
            web,
            self.open(socket.SOCK_STREAM, self.port),
            self.open(socket.SOCK_DGRAM, self.port),
        ]

    def settings(self, **sip: object) -> Settings:
        listen = {"listen": [f"{HOST}:{self.port}"], **sip}
        return Settings(sip=listen, web={"listen": f"{HOST}:{self.web}"})  # type: ignore[arg-type]

    def pass_on(
        self, sockets: Sequence[socket.socket], settings: Settings | None = None, names: str = ""
    ) -> Held:
        """What the gateway makes of them. They are given to it in one row of descriptors, as systemd does."""
        first = 200
        for index, sock in enumerate(sockets):
            os.dup2(sock.fileno(), first + index)
        self._patch.setattr(passed_sockets, "FIRST", first)
        words = ListenVariables(str(os.getpid()), str(len(sockets)), names)
        try:
            held = held_sockets(settings or self.settings(), words)
        except StartError:
            for index in range(len(sockets)):
                with suppress(OSError):  # closed with the start that failed
                    os.close(first + index)
            raise
        for each in held.values():
            self._stack.enter_context(each)
        return held

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def unit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Unit]:
    made = Unit(monkeypatch)
    yield made
    made.close()


def test_each_finds_its_place_and_does_not_reach_children(unit: Unit) -> None:
    held = unit.pass_on(unit.usual())
    assert {(kind, address[1]) for kind, address in held} == {
        ("udp", unit.port),
        ("tcp", unit.port),
        ("tcp", unit.web),
    }
    for (kind, address), sock in held.items():
        assert sock.getsockname() == address
        assert sock.type == (socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        assert not sock.get_inheritable()
    web = of_web(held, unit.settings())
    assert web is not None
    assert web.getsockname()[1] == unit.web


def test_an_address_may_be_written_in_another_way(unit: Unit) -> None:
    sockets = unit.usual()
    v6 = [unit.open(kind, unit.port, "::1", only_v6=True) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    written = "[0:0:0:0:0:0:0:1]"
    settings = unit.settings(listen=[f"{HOST}:{unit.port}", f"{written}:{unit.port}"])
    held = unit.pass_on([*v6, *sockets], settings)
    assert held["udp", (written[1:-1], unit.port)].getsockname()[:2] == ("::1", unit.port)


def test_nothing_is_passed_or_to_somebody_else(unit: Unit) -> None:
    settings = unit.settings()
    assert held_sockets(settings, ListenVariables("", "", "")) == {}
    assert held_sockets(settings, ListenVariables(str(os.getppid()), "3", "")) == {}
    assert of_web({}, settings) is None


def test_the_environment_is_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("LISTEN_PID", "1"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a:b")):
        monkeypatch.setenv(name, text)
    assert take_listen_variables() == ("1", "2", "a:b")
    assert not [name for name in os.environ if name.startswith("LISTEN_")]


def test_one_that_is_missing_is_named_with_its_line(unit: Unit) -> None:
    web, _tcp, udp = unit.usual()
    with pytest.raises(StartError, match=rf"^sip\.listen: TCP .*ListenStream={HOST}:{unit.port} ") as caught:
        unit.pass_on([udp, web])
    assert "\n" not in str(caught.value)
    with pytest.raises(StartError, match=r"^web\.listen: TCP "):
        unit.pass_on([_tcp, udp])
    settings = unit.settings(tls_certificate=Path("some.pem"), tls_listen=[f"{HOST}:{unit.port + 1}"])
    with pytest.raises(StartError, match=r"^sip\.tls_listen: TCP "):
        unit.pass_on([web, _tcp, udp], settings)


def test_one_that_is_of_no_use_is_named_with_the_keys_that_could_have_it(unit: Unit) -> None:
    sockets, more = unit.usual(), unit.open(socket.SOCK_DGRAM)
    line = f"ListenDatagram={format_address(more.getsockname())}"
    with pytest.raises(StartError, match=rf"^sip\.listen: .*{line} .*sip\.tls_listen or to web\.listen"):
        unit.pass_on([*sockets, more])
    tls = unit.open(socket.SOCK_STREAM)
    settings = unit.settings(tls_listen=[format_address(tls.getsockname())])
    with pytest.raises(StartError, match=r"^sip\.tls_certificate: needed for ListenStream="):
        unit.pass_on([*sockets, tls], settings)


def test_what_is_no_listening_socket_of_the_internet_is_refused(unit: Unit, tmp_path: Path) -> None:
    idle = socket.socket()
    with idle, pytest.raises(StartError, match=r"descriptor 200 \(sip\) does not listen: .*Accept=no"):
        unit.pass_on([idle], names="sip")
    with socket.socket(socket.AF_UNIX) as local, pytest.raises(StartError, match="neither UDP nor TCP"):
        unit.pass_on([local])
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        with pytest.raises(StartError, match="BindIPv6Only=ipv6-only"):
            unit.pass_on([both])
    with (tmp_path / "file").open("wb") as file, pytest.raises(StartError, match="is no socket"):
        unit.pass_on([file])  # type: ignore[list-item]


@pytest.mark.parametrize("count", ["", "-1", "x", "65", "٣"])
def test_a_count_that_is_none_is_refused(unit: Unit, count: str) -> None:
    with pytest.raises(StartError, match="LISTEN_FDS"):
        held_sockets(unit.settings(), ListenVariables(str(os.getpid()), count, ""))


def test_a_descriptor_that_is_not_there_is_told(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_sockets, "FIRST", 900)
    with pytest.raises(StartError, match="descriptor 900: Bad file descriptor"):
        held_sockets(unit.settings(), ListenVariables(str(os.getpid()), "1", ""))
