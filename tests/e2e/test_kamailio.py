"""Kamailio between us and others: as an edge that speaks TLS and stays in the path, and as a registrar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.e2e import audio
from tests.e2e.baresip import Baresip, both_hear
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.kamailio_tls import SecureKamailio
from tests.e2e.sipp import free_port

pytestmark = pytest.mark.e2e


class House:
    """A gateway with TLS, and the authority of everybody."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority(directory)
        self.tls_port = free_port(HOST)
        self.exchange = Exchange(
            directory,
            sip={
                "tls_certificate": str(self.authority.issue(HOST, file="gateway.pem")),
                "tls_listen": [f"{HOST}:{self.tls_port}"],
            },
            agents={"ca_file": str(self.authority.file), "probe_interval": 3600.0},
        )

    def kamailio(self, name: str, **options: object) -> SecureKamailio:
        certificate = self.authority.issue(HOST, file=f"{name}.pem")
        return SecureKamailio(self.directory / name, certificate, self.authority.file, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("kamailio"))
    with house.exchange.gateway:
        yield house


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_an_edge_that_records_its_route_before_the_gateway(
    house: House, tmp_path: Path, transport: str
) -> None:
    """The caller speaks UDP to Kamailio, Kamailio the other transport to us; the BYE goes the same way."""
    port = house.tls_port if transport == "tls" else house.exchange.gateway.sip[1]
    target = f"sip:{HOST}:{port};transport={transport}"
    with (
        house.kamailio(f"edge-{transport}", target=target) as edge,
        Baresip(tmp_path / "agent", audio.tone(620, 15)) as agent,
    ):
        line = house.exchange.line(agent.uri)
        dials = f"sip:{line.number}@{edge.host}:{edge.port}"
        with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials) as caller:
            both_hear(caller, agent)


def test_an_edge_between_the_gateway_and_an_agent(house: House, tmp_path: Path) -> None:
    """We speak TLS to Kamailio and verify it, Kamailio UDP to the agent; the agent hangs up through it."""
    with Baresip(tmp_path / "agent", audio.tone(620, 15)) as agent:
        target = agent.uri.replace("sip:baresip@", "sip:")
        with house.kamailio("agents", target=target) as edge:
            uri = agent.uri.replace(agent.uri.partition("@")[2], f"{edge.host}:{edge.tls_port};transport=tls")
            line = house.exchange.line(uri)
            host, port = house.exchange.gateway.sip
            with Baresip(
                tmp_path / "caller", audio.tone(440, 15), dials=f"sip:{line.number}@{host}:{port}"
            ) as caller:
                caller.wait_for("incoming rtp")
                agent.wait_for("incoming rtp")
                agent.hang_up()
                caller.wait_for("session closed")


@pytest.mark.parametrize(("password", "taken"), [("secret", True), ("wrong-password", False)])
def test_an_agent_that_asks_who_calls(house: House, tmp_path: Path, password: str, taken: bool) -> None:
    """A proxy's 407 to our INVITE; ACK and BYE go through as well."""
    with Baresip(tmp_path / "agent", audio.tone(620, 15)) as agent:
        target = agent.uri.replace("sip:baresip@", "sip:")
        with house.kamailio(f"asking-{taken}", target=target, challenges=True) as edge:
            uri = f"sip:baresip@{edge.host}:{edge.tls_port};transport=tls"
            endpoint = {"auth_token": password, "options": {"auth_username": "office"}}
            line = house.exchange.line(uri, endpoint=endpoint, voicemail=False)
            host, port = house.exchange.gateway.sip
            dials = f"sip:{line.number}@{host}:{port}"
            with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials) as caller:
                if taken:
                    both_hear(caller, agent)
                else:
                    caller.wait_for("480 Temp")
    assert password not in house.exchange.gateway.log


@pytest.mark.parametrize("transport", ["udp", "tls"])
def test_a_carrier_that_calls_where_we_have_registered(house: House, tmp_path: Path, transport: str) -> None:
    """It asks for our password; its calls go to our Contact, the dialled number stands in To."""
    gateway = house.exchange.gateway
    carriers = house.directory / "carriers.toml"
    before = carriers.read_text()
    with house.kamailio(f"registrar-{transport}") as registrar:
        port = registrar.tls_port if transport == "tls" else registrar.port
        where = f"sip:{registrar.host}:{port};transport={transport}"
        account = f'registration = {{ registrar = "{where}", username = "office", password = "secret" }}'
        carriers.write_text(f"{before}{account}\n")  # of the last entry, whose address is this machine's
        gateway.reload()
        up = "gateway_registration_up"
        wait_until(lambda: gateway.metric(up, carrier="development") == 1, "registered")
        line = house.exchange.line(None)
        dials = f"sip:{line.number}@{registrar.host}:{registrar.port}"
        with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials) as caller:
            caller.wait_for("Call established")
            caller.hang_up()
        carriers.write_text(before)
        gateway.reload()  # taken back: the registrar knows nobody any more
        wait_until(lambda: "gateway_registration_up{" not in gateway.get("/metrics")[1], "taken back")
        with Baresip(tmp_path / "late", audio.tone(440, 15), dials=dials) as caller:
            caller.wait_for("Not Registered")


def test_a_wrong_password_is_told(house: House) -> None:
    gateway = house.exchange.gateway
    carriers = house.directory / "carriers.toml"
    before = carriers.read_text()
    with house.kamailio("refusing") as registrar:
        where = f"sip:{registrar.host}:{registrar.port}"
        account = (
            f'registration = {{ registrar = "{where}", username = "office", password = "wrong-password" }}'
        )
        carriers.write_text(f'{before}\n[[trunk]]\nname = "wrong"\n{account}\n')
        gateway.reload()
        wait_until(
            lambda: gateway.metric("gateway_registration_failures_total", carrier="wrong") == 1,
            "a failure",
            10,
        )
        carriers.write_text(before)
        gateway.reload()
    wait_until(lambda: "username or password is wrong" in gateway.log, "the reason")
    assert "wrong-password" not in gateway.log
